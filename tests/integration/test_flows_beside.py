"""Flows that run at the same time: which execution each call belongs to, and what is paid after a crash."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from kitaru_nb.testing import Answer, fake_llm
from tests.further import further
from tests.integration.kernel import Kernel
from tests.integration.test_flows import KILLED, Script

PAY = """
import asyncio, threading, time
from concurrent.futures import ThreadPoolExecutor

@kt.checkpoint
def pay(name, i):
    note(f"{name}{i}")
    kt.record_usage("gpt-4o", input_tokens=1000, output_tokens=1000)
    return i

both = threading.Barrier(2)

@kt.flow
def agent(name, calls):
    if name in "ab":
        both.wait()  # they run at the same time
    paid = [pay(name, i) for i in range(calls)]
    note(f"{name}.")
    return paid

@kt.flow
async def agent_async(name, calls):
    paid = []
    for i in range(calls):
        paid.append(pay(name, i))
        await asyncio.sleep(0)
    note(f"{name}.")
    return paid
"""

TASKS = """
async def both():
    return await asyncio.gather(agent_async("a", 1), agent_async("b", 4))
print(asyncio.run(both()))
"""
POOL = """
with ThreadPoolExecutor(2) as pool:
    print(list(pool.map(agent, "ab", [1, 4])))
"""
HANDLES = """
handles = [agent.run("a", 1), agent.run("b", 4)]
print([handle.result() for handle in handles])
"""


@pytest.mark.parametrize(
    "begun", [pytest.param(TASKS, id="tasks"), further(POOL, id="pool"), further(HANDLES, id="handles")]
)
def test_flows_that_run_at_the_same_time_are_executions_of_their_own(tmp_path: Path, begun: str) -> None:
    script = Script(tmp_path, PAY + begun)

    script.run(kill_at="b.", expect=KILLED)
    printed = script.run()

    assert printed == "[[0], [0, 1, 2, 3]]\n"
    counted = Counter(script.notes())
    assert [counted[f"b{i}"] for i in range(4)] == [1, 1, 1, 1]
    executions = script.executions()
    assert {each["status"] for each in executions} == {"completed"}
    assert {each["parent"] for each in executions} == {None}
    assert {each["cost"] for each in executions} == {0.0125, 0.05}


def test_what_is_outside_of_every_flow_just_runs_beside_one(tmp_path: Path) -> None:
    script = Script(
        tmp_path,
        PAY
        + """
began, go_on = threading.Event(), threading.Event()
@kt.flow
def long():
    began.set()
    go_on.wait()
    return pay("in", 0)

handle = long.run()
began.wait()
print(kt.current_execution(), pay("main", 0))
thread = threading.Thread(target=lambda: print(kt.current_execution(), pay("thread", 0)))
thread.start(), thread.join()
with ThreadPoolExecutor(1) as pool:
    print(pool.submit(kt.current_execution).result(), pool.submit(pay, "job", 0).result())
go_on.set()
handle.result()

async def at_the_same_time():
    began, go_on = asyncio.Event(), asyncio.Event()
    @kt.flow
    async def waiting():
        began.set()
        await go_on.wait()
        return pay("in task", 0)
    async def aside():
        await began.wait()
        found = kt.current_execution(), pay("task", 0)
        go_on.set()
        return found
    return await asyncio.gather(waiting(), aside())
print(asyncio.run(at_the_same_time()))
""",
    )

    printed = script.run()

    assert printed == "None 0\n" * 3 + "[0, (None, 0)]\n"
    assert [each["cost"] for each in script.executions()] == [0.0125, 0.0125]


def test_a_flow_that_was_begun_by_run_in_another_is_made_once_and_costs_there(tmp_path: Path) -> None:
    script = Script(
        tmp_path,
        PAY
        + """
@kt.flow
def main():
    handles = [agent.run("c", 1) for _ in range(3)] + [agent.run("d", 2)]
    results = [handle.result() for handle in handles]
    note("after")
    assert [handle.status for handle in handles] == ["completed"] * 4
    return results
print(main())
""",
    )

    script.run(kill_at="after", expect=KILLED)
    printed = script.run()

    assert printed == "[[0], [0], [0], [0, 1]]\n"
    assert Counter(script.notes()) == {"c0": 3, "c.": 3, "d0": 1, "d1": 1, "d.": 1, "after": 2}
    main, *children = sorted(script.executions(), key=lambda each: each["parent"] or "")
    assert main["cost"] == pytest.approx(5 * 0.0125)
    assert [each["parent"] for each in children] == [main["id"]] * 4
    assert json.loads(script.cli("show", "latest", "--json"))["id"] == main["id"]


def test_a_flow_that_a_cell_has_begun_by_run_is_made_once(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(
        "import os, kitaru_nb as kt\n"
        "@kt.checkpoint\n"
        "def work(i):\n"
        "    with open(os.environ['RAN'], 'a') as file: file.write(f'{i}\\n')\n"
        "    return i\n"
        "@kt.flow\n"
        "def agent(i): return work(i)\n"
    )
    ran = tmp_path / "ran.txt"
    first = f"import os; os.environ['RAN'] = {str(ran)!r}\nimport helper"
    cell = "handle = helper.agent.run(1)\nresult = handle.result()\n"
    with Kernel(tmp_path / "home", notebook=tmp_path / "n.ipynb") as kernel:
        kernel.run(first, cell="a")
        died = kernel.run(cell + "import signal; os.kill(os.getpid(), signal.SIGKILL)", cell="b")
    with Kernel(tmp_path / "home", notebook=tmp_path / "n.ipynb") as kernel:
        kernel.run(first, cell="a")
        again = kernel.run(cell + "(result, handle.done(), str(handle.status))", cell="b")
        once_more = kernel.run(cell + "result", cell="b")

    assert died.status == "dead"
    assert again.result == "(1, True, 'completed')"
    assert once_more.result == "1"
    assert ran.read_text() == "1\n1\n", "once for the run that died, once for the cell run again by hand"


def test_a_flow_ends_after_the_calls_that_it_has_begun(tmp_path: Path) -> None:
    script = Script(
        tmp_path,
        """
import time
@kt.checkpoint
def slow(i):
    time.sleep(0.3)
    kt.save("kept", i)
    note(f"slow{i}")
    return i
@kt.flow
def main(fails):
    slow.submit(1)
    if fails:
        raise ValueError("on purpose")
    return "done"
print(main(bool(os.environ.get("FAILS"))))
""",
    )

    assert script.run() == "done\n"
    script.run(FAILS="1", expect=1)

    assert sorted((each["status"], each["attempts"]) for each in script.executions()) == [
        ("completed", 1),
        ("failed", 1),
    ]
    script.run(FAILS="1", expect=1)
    assert script.notes() == ["slow1", "slow1"], "what the failed attempt had begun is not made again"


def test_flows_that_end_in_all_threads_of_the_pool_make_what_they_have_begun(tmp_path: Path) -> None:
    script = Script(
        tmp_path,
        """
import time
@kt.checkpoint
def inner(i):
    note(f"inner{i}")
    return i
@kt.flow
def child(i):
    inner.submit(i)
    return i
@kt.checkpoint
def outer(i):
    time.sleep(0.2)
    return child(i)
@kt.flow
def main():
    return sum(kt.gather(*[outer.submit(i) for i in range(40)]))
print(main())
""",
    )

    assert script.run() == f"{sum(range(40))}\n"
    assert len(set(script.notes())) == len(script.notes()) == 40


def test_a_call_that_outlives_its_flow_says_so_and_begins_nothing(tmp_path: Path) -> None:
    script = Script(
        tmp_path,
        """
import threading
asked, over, threads, told = threading.Event(), threading.Event(), [], []
@kt.checkpoint
def slow(i):
    asked.set()
    over.wait()
    return i
def call():
    slow(1)
def late():
    over.wait()
    told.append(f"late {slow(2)} {kt.current_execution()}")
@kt.flow
def outer():
    threads.extend([threading.Thread(target=call), threading.Thread(target=late)])
    for thread in threads:
        thread.start()
    asked.wait()
    return "done"
threading.excepthook = lambda raised: told.append(str(raised.exc_value))
print(outer())
over.set()
for thread in threads:
    thread.join()
print(*told, sep="\\n")
""",
    )

    printed = script.run()

    assert "done\n" in printed
    assert "late 2 None\n" in printed
    assert "`outer` has ended, so what a call in it came to is not put on record" in printed
    (execution,) = script.executions()
    assert (execution["status"], execution["attempts"]) == ("completed", 1)


LAST_LINE = """
import asyncio, httpx, threading
def ask(i):
    body = {"model": "gpt-4o", "max_tokens": 1000, "messages": [{"role": "user", "content": str(i)}]}
    return httpx.post(os.environ["URL"], json=body).status_code
@kt.checkpoint
def asked(i):
    return ask(i)
@kt.flow
def plain(n):
    return [ask(i) for i in range(n)]
@kt.flow
def mapped(n):
    return asked.map(range(n))
@kt.flow
async def in_a_loop(n):  # a loop looks addresses up in a pool of threads
    return [await asyncio.to_thread(ask, i) for i in range(n)]
"""


@pytest.mark.parametrize(
    ("begun", "flow"),
    [
        further("plain.run(2)", "plain"),
        further("mapped.run(2)", "mapped"),
        further("in_a_loop.run(2)", "in_a_loop"),
        ("threading.Thread(target=mapped, args=[2]).start()", "mapped"),
    ],
)
def test_a_flow_comes_to_its_end_that_the_last_line_of_a_script_has_begun(
    tmp_path: Path, begun: str, flow: str
) -> None:
    script = Script(tmp_path, LAST_LINE + begun)
    with fake_llm(answers=lambda _: Answer(text="w " * 1000, latency=0.5)) as llm:
        script.run("--fast", URL=llm.openai_url + "/chat/completions")

        (execution,) = script.executions()
        assert (execution["status"], execution["flow"]) == ("completed", f"my_agent:{flow}")
        assert (llm.requests, execution["tokens"]) == (2, llm.tokens.input + llm.tokens.output)


@pytest.mark.further
def test_a_flow_that_goes_on_after_its_script_s_last_line_knows_that_script(tmp_path: Path) -> None:
    script = Script(
        tmp_path,
        """
import threading, time
@kt.checkpoint
def told(i):
    note(f"told{i}")
    return i
@kt.flow
def agent():
    told(0)
    note("killed")
    return [told(i) for i in range(2)], sys.argv[1:]
def late():
    while "__file__" in globals():  # so long as the script's own lines run
        time.sleep(0.01)
    print(agent(), flush=True)
if __name__ == "__main__":
    threading.Thread(target=late).start()
""",
    )
    script.run("--fast", kill_at="killed", expect=KILLED)
    said = script.cli("resume")

    assert "([0, 1], ['--fast'])" in said
    assert script.notes().count("told0") == 2, "the second is another call, the first is served"
    (execution,) = script.executions()
    assert (execution["status"], execution["flow"]) == ("completed", "my_agent:agent")


@pytest.mark.further
@pytest.mark.parametrize("called", ["flow", "checkpoint"])
def test_a_budget_holds_in_what_is_called_under_it(tmp_path: Path, called: str) -> None:
    source = """
import httpx
from kitaru_nb.testing import fake_llm
def ask(i):
    body = {"model": "gpt-4o", "max_tokens": 1000, "messages": [{"role": "user", "content": str(i)}]}
    return httpx.post(os.environ["URL"], json=body).json()["usage"]["completion_tokens"]
@kt.CALLED
def child(i):
    return kt.once(f"effect {i}", ask, i) + ask(i)
@kt.flow
def main():
    with kt.budget(LIMIT):
        return [child(i) for i in range(4)]
print(main())
""".replace("CALLED", called)
    script = Script(tmp_path, source.replace("LIMIT", "0.035"))
    with fake_llm(answers=lambda _: Answer(text="w " * 1000)) as llm:
        url = llm.openai_url + "/chat/completions"
        for _ in range(3):  # what is served counts under the budget
            script.run(expect=75, URL=url)
            assert llm.requests == 3, "each costs a cent, so the fourth would go over it"
        statuses = {each["status"] for each in script.executions() if each["parent"] is None}
        script.write(source.replace("LIMIT", "5.0"))
        printed = script.run(URL=url)

        assert statuses == {"waiting"}
        assert printed == "[2000, 2000, 2000, 2000]\n"
        assert llm.requests == 8


@pytest.mark.further
def test_what_a_call_that_is_tried_again_has_paid_counts_once(tmp_path: Path) -> None:
    script = Script(
        tmp_path,
        """
import httpx
def ask(i):
    body = {"model": "gpt-4o", "max_tokens": 1000, "messages": [{"role": "user", "content": str(i)}]}
    return httpx.post(os.environ["URL"], json=body).status_code
tries = []
@kt.checkpoint(retries=2)
def tried():
    asked = [ask(0), kt.once("effect", ask, 1)]
    tries.append(1)
    if len(tries) < 3:
        raise ValueError("on purpose")
    return [*asked, ask(2)]
@kt.flow
def main():
    with kt.budget(0.035):
        return tried()
print(main())
""",
    )
    with fake_llm(answers=lambda _: Answer(text="w " * 1000)) as llm:
        printed = script.run(URL=llm.openai_url + "/chat/completions")

        assert (printed, llm.requests) == ("[200, 200, 200]\n", 3)


@pytest.mark.further
def test_the_budget_of_an_execution_knows_what_a_flow_cost_that_was_killed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script(
        tmp_path,
        PAY
        + """
import httpx
def ask(i):
    body = {"model": "gpt-4o", "max_tokens": 1000, "messages": [{"role": "user", "content": str(i)}]}
    return httpx.post(os.environ["URL"], json=body).status_code
@kt.flow
def child():
    asked = []
    for i in range(6):
        asked.append(ask(i))
        note(f"asked{i}")
    return asked
@kt.flow
def main():
    return child()
print(main())
""",
    )
    with fake_llm(answers=lambda _: Answer(text="w " * 1000)) as llm:
        monkeypatch.setenv("URL", llm.openai_url + "/chat/completions")
        script.run(kill_at="asked2", expect=KILLED, KITARU_NB_BUDGET="0.045")
        script.run(expect=75, KITARU_NB_BUDGET="0.045")
        before = llm.requests
        printed = script.cli("resume", "latest", "--budget", "1")

        assert before == 4
        assert printed == "[200, 200, 200, 200, 200, 200]\n"
        assert llm.requests == 6
    main, child = sorted(script.executions(), key=lambda each: each["parent"] or "")
    assert main["cost"] == child["cost"] == pytest.approx(0.06, rel=0.01)


def test_what_a_stream_has_is_what_this_attempt_has_come_to(tmp_path: Path) -> None:
    script = Script(
        tmp_path,
        """
@kt.flow
def main():
    events = kt.stream("t")
    events.append("a")
    seen = list(events)
    events.append("b")
    note("end")
    return seen, list(events)
print(main())
""",
    )
    script.run(kill_at="end", expect=KILLED)

    assert script.run() == "(['a'], ['a', 'b'])\n"
