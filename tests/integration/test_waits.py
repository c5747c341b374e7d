"""Waits in real kernels, headless runs and scripts: killed while they wait, answered when nothing lives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import textwrap
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kitaru_nb.engine.person import this_person
from kitaru_nb.errors import NotFoundError, StoreError
from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.model.wait import Wait, WaitStatus
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from tests.further import further
from tests.integration.headless import Finished, Notebook, finished, start
from tests.integration.kernel import Kernel
from tests.patience import until

HOME = "KITARU_NB_HOME"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME, str(tmp_path / "home"))
    return tmp_path / "home"


def waits() -> list[Wait]:
    with closing(open_engine(resolve(), read_only=True)) as engine:
        return engine.journal.waits()


def only_wait() -> Wait:
    (found,) = waits()
    return found


def wait_until_asked(count: int = 1) -> Wait:
    """Until that many questions are on record; the newest of them."""

    def asked() -> list[Wait]:
        with suppress(StoreError, NotFoundError):  # it is just being made
            found = [each for each in waits() if each.status is WaitStatus.PENDING]
            return found if len(found) >= count else []
        return []

    return until(asked, "a question")[-1]


def command(*words: str, folder: Path) -> Finished:
    return finished(start(["-m", "kitaru_nb", *words], folder))


# In a kernel


def test_a_wait_does_not_block_the_kernel(home: Path, tmp_path: Path) -> None:
    ask = (
        "log.append('asked')\nok = kt.wait('Publish?', show='a draft', name='publish')\n"
        "print('published', ok)"
    )
    with Kernel(home, notebook=tmp_path / "n.ipynb") as kernel:
        kernel.run("import kitaru_nb as kt\nlog = []", cell="a")
        asking = kernel.send(ask, cell="b")
        queued = kernel.send("print('queued')", cell="c")

        waiting, behind = kernel.wait(asking), kernel.wait(queued)

        assert (waiting.status, waiting.ename) == ("error", "Suspended")
        # what nbclient and its like say of a cell that ended them; no front end shows it
        assert waiting.traceback[0] == "waits for an answer: Publish?"
        assert f"kitaru-nb approve {only_wait().address}" in "\n".join(waiting.traceback)
        assert "error" not in [output["output_type"] for output in waiting.outputs]
        assert f"%kitaru approve {only_wait().address}" in waiting.said
        assert behind.status == "aborted"
        assert kernel.run("log", cell="d").result == "['asked']", "the kernel is free"
        assert command("approve", "publish", folder=tmp_path).code == 0

        again, after = kernel.run(ask, cell="b"), kernel.run("print('queued')", cell="c")

        assert again.stdout == "published True\n"
        assert after.stdout == "queued\n"
        assert kernel.run("log", cell="d").result == "['asked']", "what it did before was undone"


@pytest.mark.further
def test_the_queue_stops_though_the_front_end_goes_on_after_errors(home: Path, tmp_path: Path) -> None:
    with Kernel(home, notebook=tmp_path / "n.ipynb") as kernel:
        kernel.run("import kitaru_nb as kt", cell="a")
        kernel.run("import time", cell="t")
        message = kernel.client.session.msg(
            "execute_request",
            {
                "code": "time.sleep(0.3); kt.wait('Publish?')",
                "silent": False,
                "store_history": True,
                "user_expressions": {},
                "allow_stdin": False,
                "stop_on_error": False,
            },
        )
        message["metadata"] = {"cellId": "b", "tags": ["raises-exception"]}
        kernel.client.shell_channel.send(message)
        queued = kernel.send("print('queued')", cell="c")

        kernel.wait(message["header"]["msg_id"])

        assert kernel.wait(queued).status == "aborted"


def test_a_kernel_killed_while_it_waits_is_gone_on_with_after_an_answer_that_nobody_heard(
    home: Path, tmp_path: Path
) -> None:
    base, ask = (
        "%%checkpoint base\nrows = [1, 2]",
        "%%checkpoint publish\nok = kt.wait('Publish?', name='ok')\nok",
    )
    kernel = Kernel(home, notebook=tmp_path / "n.ipynb")
    kernel.run("import kitaru_nb as kt", cell="a")
    kernel.run(base, cell="b")
    kernel.run(ask, cell="c")
    address = only_wait().address
    kernel.kill()
    assert command("approve", address, folder=tmp_path).code == 0

    with Kernel(home, notebook=tmp_path / "n.ipynb") as kernel:
        kernel.run("import kitaru_nb as kt", cell="a")
        assert "restored" in kernel.run(base, cell="b").said
        assert kernel.run(ask, cell="c").result == "True"

    assert only_wait().address == address


@pytest.mark.parametrize(
    "mark", [pytest.param("", id="plain"), further("%%checkpoint publish\n", id="checkpoint")]
)
def test_files_that_a_cell_changed_before_it_waits_are_its_own_doing(
    home: Path, tmp_path: Path, mark: str
) -> None:
    base = "%%checkpoint base\nopen('out.txt', 'w').write('one')"
    ask = f"{mark}open('out.txt', 'a').write(' two')\nok = kt.wait('Publish?', name='ok')"
    with Kernel(home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        kernel.run("import kitaru_nb as kt", cell="a")
        kernel.run(base, cell="b")
        assert kernel.run(ask, cell="c").ename == "Suspended"

        here = kernel.run(base, cell="b").said
    with Kernel(home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        kernel.run("import kitaru_nb as kt", cell="a")
        elsewhere = kernel.run(base, cell="b").said
        (tmp_path / "out.txt").write_text("mine")
        after = kernel.run(base, cell="b").said

    assert "restored" in here
    assert "restored" in elsewhere
    assert "changed by something else" not in here + elsewhere
    assert "`out.txt` was changed by something else" in after
    assert (tmp_path / "out.txt").read_text() == "mine"


@pytest.mark.further
def test_a_cell_that_keeps_a_task_that_waited_runs_again_after_the_answer(home: Path, tmp_path: Path) -> None:
    ask = (
        "async def ask(name): return await kt.wait.async_('Publish?', name=name)\n"
        "async with asyncio.TaskGroup() as group:\n    asked = [group.create_task(ask('ok'))]\n"
        "asked[0].result()"
    )
    with Kernel(home, notebook=tmp_path / "n.ipynb") as kernel:
        kernel.run("import kitaru_nb as kt, asyncio", cell="a")
        kernel.run("rows = [1, 2]\nrows", cell="b")
        assert kernel.run(ask, cell="c").ename == "Suspended"
        assert command("approve", only_wait().address, folder=tmp_path).code == 0

        again = kernel.run(ask, cell="c")

    assert again.result == "True", again.evalue


@pytest.mark.further
@pytest.mark.parametrize(
    ("before", "stops"),
    [
        ("kt.once('written', written)", "kt.wait('Publish?', name='ok')"),
        ("kt.checkpoint(written)()", "kt.wait('Publish?', name='ok')"),
        ("kt.once('written', written)", "if not Path('tried').is_dir(): Path('tried').mkdir(); 1 / 0"),
        ("", "kt.flow(lambda: (kt.once('written', written), kt.wait('Publish?', name='ok')))()"),
    ],
)
def test_a_file_that_was_written_before_the_cell_stopped_is_none_of_its_inputs(
    home: Path, tmp_path: Path, before: str, stops: str
) -> None:
    first = "import kitaru_nb as kt\nfrom pathlib import Path"
    cell = (
        "%%checkpoint ask\ndef written(): return Path('once.txt').write_text('1')\n"
        f"{before}\n{stops}\ndone = True"
    )
    with Kernel(home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        kernel.run(first, cell="a")
        assert not kernel.run(cell, cell="b").ok
        for each in waits():
            assert command("approve", each.address, folder=tmp_path).code == 0
        assert kernel.run(cell, cell="b").ok
    (tmp_path / "once.txt").unlink()

    with Kernel(home, notebook=tmp_path / "n.ipynb", cwd=tmp_path) as kernel:
        kernel.run(first, cell="a")
        again = kernel.run(cell, cell="b")

    assert "restored" in again.said, "it was not run again, nor was the question asked again"
    assert "`once.txt` was missing and is back" in again.said
    assert (tmp_path / "once.txt").read_text() == "1"


def test_holding_on_can_be_interrupted_and_the_question_stays(home: Path, tmp_path: Path) -> None:
    with Kernel(home, notebook=tmp_path / "n.ipynb") as kernel:
        kernel.run("import kitaru_nb as kt", cell="a")
        asking = kernel.send("kt.wait('Publish?', hold='10m')", cell="b")
        wait_until_asked()

        kernel.interrupt()
        stopped = kernel.wait(asking)

        assert stopped.ename == "KeyboardInterrupt"
        assert only_wait().status is WaitStatus.PENDING
        asking = kernel.send("kt.wait('Publish?', hold='10m')", cell="b")
        kernel.wait_for_input(asking)
        assert command("approve", only_wait().address, folder=tmp_path).code == 0
        held = kernel.wait(asking)

        assert held.result == "True"
        assert "true, by" in held.said, "the line says who answered"


# Headless


PAY = (
    "import kitaru_nb as kt\n@kt.checkpoint\ndef pay():\n    tick('pay')\n    return 3\n"
    "price = pay()\nprint('asking')\nok = kt.wait('Publish?', show={'price': price}, name='publish')\n"
    "print('answer', ok)"
)


def test_a_run_suspends_is_answered_with_nothing_alive_and_goes_on(home: Path, tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, ["tick('one')\nrows = [1]", PAY, "tick('last')\nprint(rows, ok)"])

    first = notebook.kitaru("run", "work.ipynb", "--no-progress")

    wait = only_wait()
    assert first.code == 75
    assert first.last_line.startswith(
        f"kitaru: waiting execution={wait.execution} wait={wait.address} checkpoint="
    )
    assert notebook.statuses() == ["completed", "pending", "pending"]
    shown = json.dumps(notebook.result().cells[2].outputs)
    assert "asking" in shown
    assert f"kitaru: waits for an answer: Publish?\\n  kitaru-nb approve {wait.address}" in shown
    assert '"error"' not in shown
    (execution,) = notebook.executions()
    assert execution.status is ExecutionStatus.WAITING
    assert [step.draft.name for step in notebook.checkpoints()] == ["imports", "rows"], "no failure"

    again = notebook.kitaru("run", "work.ipynb", "--no-progress", "--suspend-exit", "0")
    assert (again.code, again.last_line) == (0, first.last_line)
    assert json.loads(notebook.kitaru("resume", "--all", "--json").stdout) == [], "there is no answer yet"
    assert notebook.kitaru("answer", wait.address, "--value", "false").code == 0

    done = notebook.kitaru("resume", "--all", "--no-progress")

    assert done.last_line == f"kitaru: completed execution={wait.execution}"
    assert notebook.ticks() == ["one", "pay", "last"]
    assert notebook.statuses() == ["completed"] * 3
    assert [output["text"] for cell in notebook.shown()[2:] for output in cell[1]] == [
        "asking\nanswer False\n",
        "[1] False\n",
    ]


def test_papermill_suspends_and_goes_on_with_the_same_command(home: Path, tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, [PAY])

    first = notebook.papermill()
    assert (first.code, "Traceback" in first.stderr) == (75, False)
    assert notebook.statuses() == ["pending"]
    notebook.kitaru("approve", "publish")

    assert notebook.papermill().code == 0
    assert notebook.ticks() == ["pay"]


def test_a_run_may_be_told_to_hold_on_or_to_fail(home: Path, tmp_path: Path) -> None:
    notebook = Notebook(tmp_path, [PAY])

    failed = notebook.kitaru("run", "work.ipynb", "--no-progress", "--on-wait", "fail")
    assert failed.code == 1
    assert "nobody has answered" in failed.stderr
    assert notebook.statuses() == ["failed"]
    held = start(["-m", "kitaru_nb", "run", "work.ipynb", "--no-progress", "--on-wait", "hold=10m"], tmp_path)
    until(lambda: notebook.executions()[0].status is ExecutionStatus.RUNNING, "the run")
    assert notebook.kitaru("approve", "publish").code == 0

    assert finished(held).last_line.startswith("kitaru: completed")
    assert notebook.ticks() == ["pay"]
    assert notebook.kitaru("run", "work.ipynb", "--on-wait", "shrug").code == 2
    assert notebook.kitaru("run", "work.ipynb", "--suspend-exit", "300").code == 2


@pytest.mark.further
def test_a_flow_in_a_cell_makes_the_run_wait(home: Path, tmp_path: Path) -> None:
    flow = "import kitaru_nb as kt\n@kt.flow\ndef agent():\n    return kt.wait('Publish?', name='publish')\n"
    notebook = Notebook(tmp_path, [flow + "print(agent())"])

    first = notebook.kitaru("run", "work.ipynb", "--no-progress")

    wait = only_wait()
    outer = next(each for each in notebook.executions() if each.identity.flow is None)
    assert (first.code, wait.execution == outer.id) == (75, False)
    assert first.last_line.startswith(f"kitaru: waiting execution={outer.id} wait={wait.address}")
    answered = notebook.kitaru("approve", "publish")
    assert f"kitaru-nb resume {outer.id}" in answered.stdout

    assert notebook.kitaru("resume", outer.id, "--no-progress").code == 0
    assert {each.status for each in notebook.executions()} == {ExecutionStatus.COMPLETED}


# Scripts


SCRIPT = textwrap.dedent("""
    import sys
    import kitaru_nb as kt

    def tick(name):
        with open("side.txt", "a") as file:
            file.write(name + "\\n")

    @kt.checkpoint
    def draft(number):
        tick(f"draft {number}")
        return f"draft {number}"

    @kt.flow
    def agent(hold):
        first = draft(1)
        count = kt.wait("How many?", int, show=first, name="count", hold=hold or None)
        return [draft(number) for number in range(2, 2 + count)]

    if __name__ == "__main__":
        print(agent(sys.argv[1] if len(sys.argv) > 1 else ""))
""")


@pytest.fixture
def script(home: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    del home
    (tmp_path / "agent.py").write_text(SCRIPT)
    return lambda *words, **env: start(["agent.py", *words], tmp_path, env)


def test_a_script_killed_while_it_holds_on_goes_on_with_the_answer(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    holding = script("10m")
    address = wait_until_asked().address
    os.kill(holding.pid, signal.SIGKILL)
    holding.communicate()
    assert command("answer", "count", "--value", "2", folder=tmp_path).code == 0

    done = finished(script("10m"))

    assert done.stdout == "['draft 2', 'draft 3']\n"
    assert (tmp_path / "side.txt").read_text().splitlines() == ["draft 1", "draft 2", "draft 3"]
    assert (only_wait().address, only_wait().answer) == (address, 2)


@pytest.mark.parametrize("point", ["after-commit:2", "after-ask"])
def test_a_script_killed_around_a_question_asks_it_once(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path, point: str
) -> None:
    killed = finished(script(KITARU_NB_CRASH_AT=point))
    assert killed.code == -signal.SIGKILL

    assert finished(script()).code == 75
    assert len(waits()) == 1
    assert command("answer", "count", "--value", "0", folder=tmp_path).code == 0
    assert finished(script()).stdout == "[]\n"


def test_of_three_processes_that_answer_at_once_one_is_heard(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    finished(script())
    address = only_wait().address
    gate = tmp_path / "gate"
    program = (
        "import sys, time, pathlib\nfrom kitaru_nb.cli.main import main\n"
        "import kitaru_nb.cli.waits\nprint('ready', flush=True)\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): pass\n"
        f"sys.exit(main(['answer', {address!r}, '--value', sys.argv[1], '--json']))"
    )
    people = [start(["-c", program, str(number)], tmp_path) for number in (1, 2, 3)]
    for person in people:
        assert person.stdout is not None
        assert person.stdout.readline() == "ready\n"

    gate.touch()
    said = [finished(person) for person in people]

    wait = only_wait()
    (heard,) = [each for each in said if each.code == 0]
    assert json.loads(heard.stdout)["answer"] == wait.answer
    for each in said:
        if each is not heard:
            error = json.loads(each.stdout)["error"]
            assert (each.code, error["kind"]) == (1, "already-answered")
            assert f"{wait.answered_by} at {wait.answered_at:%Y-%m-%d %H:%M:%S}" in error["message"]
    kinds = [event_kind for event_kind in events() if event_kind == "wait.answered"]
    assert len(kinds) == 1
    done = finished(script())
    assert json.loads(done.stdout.replace("'", '"')) == [f"draft {n}" for n in range(2, 2 + wait.answer)]


def events() -> list[str]:
    with closing(open_engine(resolve(), read_only=True)) as engine:
        return [event.kind for event in engine.journal.events()]


def test_an_answer_killed_half_way_is_none_and_can_be_given_again(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    finished(script())
    answering = ["-m", "kitaru_nb", "answer", "count", "--value", "1"]

    killed = finished(start(answering, tmp_path, {"KITARU_NB_CRASH_AT": "inside-answer"}))

    assert killed.code == -signal.SIGKILL
    assert only_wait().status is WaitStatus.PENDING
    assert finished(start(answering, tmp_path)).code == 0
    assert finished(script()).stdout == "['draft 2']\n"


@pytest.mark.further
def test_an_answer_ahead_of_time_lets_a_script_run_through(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    finished(script(KITARU_NB_CRASH_AT="before-commit:2"))
    with closing(open_engine(resolve(), read_only=True)) as engine:
        execution = engine.journal.execution("latest").id
    early = command("answer", f"{execution}/count", "--value", "1", "--json", folder=tmp_path)
    told: dict[str, Any] = json.loads(early.stdout)
    assert (told["status"], told["question"]) == ("answered", None)

    done = finished(script())

    assert (done.code, done.stdout) == (0, "['draft 2']\n")
    assert only_wait().question == "How many?"


@pytest.mark.further
def test_the_notebook_of_the_docs_is_answered_from_a_terminal_while_nothing_lives(
    home: Path, tmp_path: Path
) -> None:
    source = Path(__file__).parents[2] / "notebooks" / "03_human_in_the_loop.ipynb"
    shutil.copy(source, tmp_path)
    mailing = json.dumps({"readers": 250, "tone": "cheerful"})

    asked = command("run", source.name, "--no-progress", folder=tmp_path)
    refused = command("answer", "mailing", "--value", mailing, folder=tmp_path)
    approved = command("approve", "publish", folder=tmp_path)
    asked_again = command("resume", "latest", folder=tmp_path)
    answered = command("answer", "mailing", "--value", mailing, folder=tmp_path)
    done = command("resume", "latest", folder=tmp_path)

    assert (asked.code, asked_again.code, done.code) == (75, 75, 0), done.stderr
    assert (refused.code == 0, approved.code, answered.code) == (False, 0, 0)
    cells = nbformat.read(tmp_path / "03_human_in_the_loop.out.ipynb", as_version=4).cells
    shown = {cell["id"]: "".join(each["text"] for each in cell.get("outputs", [])) for cell in cells}
    assert shown["publish"] == "approved\n"
    assert shown["mailing"] == "to 250 readers, cheerful, figures attached: True\n"
    assert shown["deadline"] == "Orders by region\n"
    assert f"publish: True, by {this_person()}" in shown["audit"]
    assert "subject: 'Orders by region', by deadline" in shown["audit"]
    assert "each as it was recorded" in shown["verify"]
    assert shown["count"] == "drafts made: 1\n"


@pytest.mark.further
def test_a_run_whose_question_expired_says_what_asks_again(tmp_path: Path) -> None:
    """`resume` would only fail again: what is printed is the one command that goes on."""
    ask = "import kitaru_nb as kt\nok = kt.wait('Publish?', name='publish', timeout=0.01)"
    notebook = Notebook(tmp_path, ["tick('a')", ask])
    assert notebook.kitaru("run", notebook.path.name).code == 75

    expired = notebook.kitaru("run", notebook.path.name)

    assert expired.code == 124
    hint = next(line for line in expired.stderr.splitlines() if line.startswith("  Try: kitaru-nb replay"))
    assert "--from ok asks again" in hint
    shown = notebook.kitaru("show", "latest").stdout
    assert hint.strip() in shown
    assert "go on with" not in expired.stdout + shown
    words = hint.removeprefix("  Try: kitaru-nb ").removesuffix(" asks again and keeps what is before it")
    again = notebook.kitaru(*words.split())
    assert again.code == 75, again.stderr
    assert notebook.ticks() == ["a"]


@pytest.mark.further
def test_resume_without_a_name_does_not_stop_at_a_question_that_nobody_has_answered(tmp_path: Path) -> None:
    """The newest only waits and would stop again; what can go on is the one before it."""
    for name in ("failing", "asking"):
        (tmp_path / name).mkdir()
    failing = Notebook(tmp_path / "failing", ["assert not once('fails')", "tick('a')"])
    assert failing.kitaru("run", "work.ipynb").code == 1
    asking = Notebook(tmp_path / "asking", ["import kitaru_nb as kt\nkt.wait('Publish?', name='publish')"])
    assert asking.kitaru("run", "work.ipynb").code == 75

    resumed = asking.kitaru("resume")

    assert resumed.code == 0, resumed.stderr
    assert failing.ticks() == ["a"]
    assert asking.kitaru("resume").code == 75, "where there is no other it is told what it waits for"
