"""Budgets in headless runs and in kernels: what would exceed one is not asked, and nothing is paid twice."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.testing import FakeLLM, fake_llm
from tests.integration.headless import Notebook
from tests.integration.kernel import Kernel, Ran

ASK = """
import httpx

def ask(prompt, model="gpt-4o"):
    body = {{"model": model, "messages": [{{"role": "user", "content": prompt}}], "max_tokens": 10}}
    reply = httpx.post("{url}/chat/completions", json=body)
    reply.raise_for_status()
    return reply.json()["choices"][0]["message"]["content"]
"""


@pytest.fixture
def llm() -> Iterator[FakeLLM]:
    with fake_llm(answers=lambda call: f"answer to {call.prompt}") as llm:
        yield llm


def notebook(folder: Path, llm: FakeLLM, *cells: str) -> Notebook:
    return Notebook(folder, [ASK.format(url=llm.openai_url), *cells])


def test_a_run_that_reaches_its_budget_waits_and_a_higher_one_pays_the_rest_only(
    tmp_path: Path, llm: FakeLLM
) -> None:
    cells = [
        "tick('first')\nfirst = [ask(f'a{n}') for n in range(3)]",
        "rest = [ask(f'b{n}') for n in range(6)]",
    ]
    work = notebook(tmp_path, llm, *cells, "print(len(first + rest))")

    stopped = work.kitaru("run", "work.ipynb", "--no-progress", "--budget", "0.0004")
    paid = llm.requests
    (waiting,) = work.executions()
    still = work.kitaru("resume")
    done = work.kitaru("resume", "--budget", "1")

    assert stopped.code == 75, stopped.stderr
    assert stopped.last_line.startswith(f"kitaru: waiting execution={waiting.id}")
    assert 3 <= paid < 9
    assert waiting.status is ExecutionStatus.WAITING
    assert waiting.cost is not None
    assert waiting.cost <= 0.0004
    assert still.code == 75, "resumed without more money it waits where it waited"
    assert done.code == 0, done.stderr
    assert llm.requests == 9
    assert work.ticks() == ["first"]
    assert work.shown()[-1][1][0]["text"] == "9\n"
    (ended,) = work.executions()
    assert ended.cost == pytest.approx(sum(cost(llm)))


def cost(llm: FakeLLM) -> list[float]:
    """What the server's own count comes to, in US dollars, call by call."""
    return [(call.tokens.input * 2.5 + call.tokens.output * 10) / 1e6 for call in llm.calls]


@pytest.mark.further
def test_the_setting_limits_a_run(tmp_path: Path, llm: FakeLLM) -> None:
    work = notebook(tmp_path, llm, "[ask(f'a{n}') for n in range(9)]")

    stopped = work.kitaru("run", "work.ipynb", "--no-progress", env={"KITARU_NB_BUDGET": "0.0003"})

    paid = llm.requests
    left = work.kitaru("resume", "--all")
    same = work.kitaru("resume")
    less = work.kitaru("resume", "--all", "--budget", "0.0003")

    assert stopped.code == 75, stopped.stderr
    assert 0 < paid < 9
    assert left.code == less.code == 0
    assert "waits for a larger budget" in left.stderr
    assert same.code == 75, "the limit is on record, though the shell that set it is gone"
    assert llm.requests == paid
    assert work.executions()[0].status is ExecutionStatus.WAITING

    done = work.kitaru("resume", "--all", "--budget", "1")

    assert done.code == 0, done.stderr
    assert llm.requests == 9


@pytest.mark.further
def test_a_setting_that_is_raised_counts_for_what_the_setting_stopped(tmp_path: Path, llm: FakeLLM) -> None:
    work = notebook(tmp_path, llm, "[ask(f'a{n}') for n in range(9)]")
    stopped = work.kitaru("run", "work.ipynb", "--no-progress", env={"KITARU_NB_BUDGET": "0.0001"})

    done = work.kitaru("resume", env={"KITARU_NB_BUDGET": "1"})

    assert stopped.code == 75, stopped.stderr
    assert llm.requests == 9
    assert done.code == 0, done.stderr


@pytest.mark.further
def test_a_model_without_a_price_is_not_asked_and_the_command_that_sets_one_is_told(
    tmp_path: Path, llm: FakeLLM
) -> None:
    work = notebook(tmp_path, llm, "ask('a', model='my-own-model')")

    stopped = work.kitaru("run", "work.ipynb", "--no-progress", "--budget", "5")
    without = work.kitaru("run", "work.ipynb", "--no-progress", "--new")

    assert stopped.code == 75, stopped.stderr
    assert "`my-own-model` has no price" in stopped.stderr
    assert without.code == 0, without.stderr
    assert llm.requests == 1, "where nothing limits it, it is asked, and has no price"
    newest, waiting = work.executions()
    assert newest.cost is None

    (command,) = (line for line in stopped.stderr.splitlines() if "Try: " in line)
    setting, *typed = shlex.split(command.partition("Try: ")[2])
    done = work.kitaru(*typed[1:], env=dict([setting.split("=", 1)]))

    assert typed == ["kitaru-nb", "resume", waiting.id]
    assert done.code == 0, done.stderr
    assert work.executions()[1].cost == pytest.approx(
        (llm.calls[-1].tokens.input * 0.15 + llm.calls[-1].tokens.output * 0.6) / 1e6
    )


def test_the_budget_of_a_cell_stops_that_cell_and_raising_it_goes_on(tmp_path: Path, llm: FakeLLM) -> None:
    body = "answers = [ask(f'a{n}') for n in range(6)]\nlen(answers)"
    with Kernel(resolve().home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        kernel.run(ASK.format(url=llm.openai_url), cell="a")

        stopped = kernel.run(f"%%checkpoint ask --budget 0.0003\n{body}", cell="b")
        paid = llm.requests
        waits, shown = kernel.run("%kitaru waits --json", cell="w"), kernel.run("%kitaru show", cell="w")
        other = kernel.run("ask('unlimited')", cell="c")
        done = kernel.run(f"%%checkpoint ask --budget 1\n{body}", cell="b")
        over = kernel.run("%kitaru waits", cell="w"), kernel.run("%kitaru show", cell="w")

    assert stopped.ename == "Suspended"
    (said,) = stopped.outputs
    text = said["data"]["text/plain"]
    assert "waits for a larger budget: the budget of `ask` of $0.0003 would be exceeded" in text
    assert "spent\n  Try: in its first line, --budget 0.01 or more" in text
    assert text.endswith("then run this cell again")
    (listed,) = json.loads(waits.outputs[0]["text"])
    assert (listed["kind"], listed["status"]) == ("budget", "pending")
    assert listed["question"] in text
    assert "waiting for a larger budget" in shown.outputs[0]["text"]
    assert over[0].outputs[0]["text"] == "nothing waits for an answer\n"
    assert "waiting" not in over[1].outputs[0]["data"]["text/plain"]
    assert 0 < paid < 6
    assert other.ok
    assert done.result == "6"
    assert llm.requests == 6 + 1


MANY = "%%checkpoint\nanswers = [ask(f'a{n}') for n in range(9)]\nlen(answers)"


@pytest.fixture
def limited(tmp_path: Path, llm: FakeLLM, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """A kernel that can ask, under a setting that has no room for `MANY`."""
    monkeypatch.setenv("KITARU_NB_BUDGET", "0.0003")
    with Kernel(resolve().home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        kernel.run(ASK.format(url=llm.openai_url), cell="a")
        yield kernel


def said_by(ran: Ran) -> str:
    (said,) = ran.outputs
    return str(said["data"]["text/plain"])


def test_a_budget_is_raised_by_what_the_cell_says_while_its_kernel_lives(
    limited: Kernel, llm: FakeLLM
) -> None:
    stopped = limited.run(MANY, cell="b")
    paid = llm.requests
    (typed,) = re.findall(r"Try: (%kitaru resume ex_\w+ --budget [\d.]+) or more", said_by(stopped))
    foreseen = limited.run(f"{typed} --dry-run", cell="c")
    still = limited.run(MANY, cell="b")
    told = limited.run(typed, cell="c")
    done = limited.run(MANY, cell="b")
    more = limited.run("ask('more')", cell="d")

    assert 0 < paid < 9
    assert "would be allowed to cost $0.01" in foreseen.outputs[0]["text"]
    assert still.ename == "Suspended"
    assert "may cost $0.01 from now on" in told.outputs[0]["text"]
    assert done.result == "9"
    assert more.ok
    assert llm.requests == 9 + 1, "nothing was paid again"


@pytest.mark.further
def test_a_setting_that_is_raised_while_the_kernel_lives_counts(limited: Kernel, llm: FakeLLM) -> None:
    stopped = limited.run(MANY, cell="b")
    limited.run("%env KITARU_NB_BUDGET=0.0002", cell="c")
    still = limited.run(MANY, cell="b")
    limited.run("%env KITARU_NB_BUDGET=1", cell="c")
    done = limited.run(MANY, cell="b")

    assert stopped.ename == still.ename == "Suspended"
    assert done.result == "9"
    assert llm.requests == 9


@pytest.mark.further
@pytest.mark.parametrize("way", ["what the cell says", "pyproject.toml"])
def test_a_price_is_set_while_the_kernel_lives(
    limited: Kernel, llm: FakeLLM, tmp_path: Path, way: str
) -> None:
    cell = "%%checkpoint\nask('a', model='my-own-model')"

    stopped = limited.run(cell, cell="b")
    if way == "pyproject.toml":
        table = '[tool.kitaru_nb.prices]\n"my-*" = { input = 0.15, output = 0.6 }\n'
        (tmp_path / "pyproject.toml").write_text(table)
    else:
        (typed,) = re.findall(r"Try: (%env .*)", said_by(stopped))
        limited.run(typed, cell="c")
    done = limited.run(cell, cell="b")

    assert stopped.ename == "Suspended"
    assert done.result == "'answer to a'"
    assert llm.requests == 1


@pytest.mark.further
def test_calls_at_once_do_not_exceed_a_budget_together(tmp_path: Path, llm: FakeLLM) -> None:
    cell = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    answers = list(pool.map(ask, [f'a{n}' for n in range(16)]))"
    )
    work = notebook(tmp_path, llm, cell)

    stopped = work.kitaru("run", "work.ipynb", "--no-progress", "--budget", "0.0005")
    done = work.kitaru("resume", "--budget", "1")

    assert stopped.code == 75, stopped.stderr
    assert sum(cost(llm)[: len(llm.calls)]) == pytest.approx(work.executions()[0].cost or 0)
    assert done.code == 0, done.stderr
    assert llm.requests == 16


GATHERED = """
import asyncio

async def ask_soon(client, prompt):
    body = {{"model": "gpt-4o", "messages": [{{"role": "user", "content": prompt}}], "max_tokens": 10}}
    reply = await client.post("{url}/chat/completions", json=body)
    return reply.json()["choices"][0]["message"]["content"]

async def ask_all(count):
    async with httpx.AsyncClient() as client:
        return await asyncio.gather(*(ask_soon(client, f"a{{n}}") for n in range(count)))
"""


def test_calls_at_once_wait_for_each_other_where_a_budget_has_room_for_few(
    tmp_path: Path, llm: FakeLLM
) -> None:
    work = notebook(tmp_path, llm, GATHERED.format(url=llm.openai_url), "print(len(await ask_all(6)))")

    done = work.kitaru("run", "work.ipynb", "--no-progress", "--budget", "0.0005")

    assert done.code == 0, done.stderr
    assert llm.requests == 6


@pytest.mark.further
def test_what_tasks_have_paid_is_on_record_before_a_stops_another_one(tmp_path: Path, llm: FakeLLM) -> None:
    work = notebook(tmp_path, llm, GATHERED.format(url=llm.openai_url), "print(len(await ask_all(16)))")

    stopped = work.kitaru("run", "work.ipynb", "--no-progress", "--budget", "0.0004")
    paid = llm.requests
    done = work.kitaru("resume", "--budget", "1")

    assert stopped.code == 75, stopped.stderr
    assert paid > 3
    assert done.code == 0, done.stderr
    assert llm.requests == 16


@pytest.mark.further
def test_a_call_does_not_wait_for_the_stream_that_it_is_made_in(tmp_path: Path, llm: FakeLLM) -> None:
    cell = (
        "body = {{'model': 'gpt-4o', 'messages': [{{'role': 'user', 'content': 'x'}}], 'max_tokens': 10}}\n"
        "url = '{url}/chat/completions'\n"
        "with httpx.stream('POST', url, json=body | {{'stream': True}}) as reply:\n"
        "    for line in reply.iter_lines():\n"
        "        ask('more')"
    )
    work = notebook(tmp_path, llm, cell.format(url=llm.openai_url))

    stopped = work.kitaru("run", "work.ipynb", "--no-progress", "--budget", "0.0003")

    assert stopped.code == 75, stopped.stderr
    assert "set aside for calls under way" in stopped.stderr


def test_a_budget_in_code_warns_at_80_percent_and_stops(tmp_path: Path, llm: FakeLLM) -> None:
    cell = "import kitaru_nb as kt\nwith kt.budget(0.002):\n    [ask(f'a{n}') for n in range(70)]\n"
    work = notebook(tmp_path, llm, cell)

    stopped = work.kitaru("run", "work.ipynb", "--no-progress")
    paid = llm.requests

    assert stopped.code == 75, stopped.stderr
    assert 0.002 * 0.8 < sum(cost(llm)) <= 0.002
    told = json.dumps(work.shown())
    assert "BudgetWarning: kitaru: 81% of the budget is spent" in told, told
    assert paid < 70


@pytest.mark.further
def test_a_budget_in_a_plain_cell_says_which_line_is_to_be_changed(tmp_path: Path, llm: FakeLLM) -> None:
    with Kernel(resolve().home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        kernel.run(ASK.format(url=llm.openai_url), cell="a")

        stopped = kernel.run(
            "import kitaru_nb as kt\nwith kt.budget(0.0001):\n    [ask('x') for _ in range(9)]", cell="b"
        )

    said = stopped.outputs[0]["data"]["text/plain"]
    assert "waits for a larger budget" in said
    assert "Try: in line 2 of the cell, kt.budget(0.01) or more" in said


def test_auto_makes_a_checkpoint_of_a_short_cell_whose_calls_cost_enough(
    tmp_path: Path, llm: FakeLLM
) -> None:
    with Kernel(resolve().home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        kernel.run(ASK.format(url=llm.openai_url), cell="a")
        kernel.run("%checkpoint auto --min-seconds 1h --min-cost 0.00001")

        dear, cheap = kernel.run("answer = ask('a')", cell="b"), kernel.run("other = 1", cell="c")
        again = kernel.run("answer = ask('a')", cell="b")

    assert "`answer` saved" in dear.said
    assert "`answer` restored" in again.said
    assert cheap.said == ""
