"""Forms and controls as widgets, in a real kernel: the test is the front end at the comm's other end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from kitaru_nb.engine.person import this_person
from kitaru_nb.model.wait import Wait, WaitStatus
from kitaru_nb.notebook.front import WAIT_MIME
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from tests.further import further
from tests.integration.headless import finished, start
from tests.integration.kernel import Kernel, Ran
from tests.patience import PATIENCE

pytest.importorskip("anywidget")

VIEW = "application/vnd.jupyter.widget-view+json"
ASK = "log.append('asked')\nok = kt.wait('Publish?', show='a draft', name='publish')\nprint('said', ok)"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    with Kernel(tmp_path / "home", notebook=tmp_path / "n.ipynb", cwd=tmp_path) as found:
        found.run("import kitaru_nb as kt\nlog = []", cell="a")
        yield found


def only_wait() -> Wait:
    with closing(open_engine(resolve(), read_only=True)) as engine:
        (found,) = engine.journal.waits()
        return found


def model_of(ran: Ran) -> str:
    """The widget that a cell's output shows."""
    (view,) = [output["data"][VIEW] for output in ran.outputs if VIEW in output.get("data", {})]
    return str(view["model_id"])


def tell(kernel: Kernel, model: str, content: object) -> list[dict[str, Any]]:
    """Send what a form sends; gives what the kernel publishes until it is idle again."""
    data = {"method": "custom", "content": content}
    message = kernel.client.session.msg("comm_msg", {"comm_id": model, "data": data})
    kernel.client.shell_channel.send(message)
    heard: list[dict[str, Any]] = []
    deadline = time.monotonic() + PATIENCE
    while not any(each["content"].get("execution_state") == "idle" for each in heard):
        assert time.monotonic() < deadline, heard
        heard += kernel._arrived(message["header"]["msg_id"])
    return heard


def state(kernel: Kernel, model: str, content: object) -> dict[str, Any]:
    """How the form is drawn after it has sent something."""
    updates = [
        each["content"]["data"]["state"]["state"]
        for each in tell(kernel, model, content)
        if each["msg_type"] == "comm_msg" and each["content"]["data"].get("method") == "update"
    ]
    return dict(updates[-1])


def answer(kernel: Kernel, model: str, typed: object, **more: object) -> dict[str, Any]:
    return state(kernel, model, {"kind": "answer", "typed": typed, **more})


def test_the_answer_is_on_record_and_the_next_run_goes_on(kernel: Kernel, tmp_path: Path) -> None:
    asking, queued = kernel.send(ASK, cell="b"), kernel.send("print('queued')", cell="c")
    waiting, behind = kernel.wait(asking), kernel.wait(queued)

    drawn = answer(kernel, model_of(waiting), typed=True, reason=" fine ")

    wait = only_wait()
    assert (waiting.status, waiting.ename, behind.status) == ("error", "Suspended", "aborted")
    assert (wait.answer, wait.answered_by, wait.source, wait.reason) == (
        True,
        this_person(),
        "widget",
        "fine",
    )
    assert drawn["ended"]["head"] == "Approved"
    assert f"by {this_person()}" in drawn["ended"]["rest"]
    assert "Run the cell again" in drawn["ended"]["rest"]
    again = kernel.run(ASK, cell="b")
    assert again.stdout == "said True\n"
    assert kernel.run("log", cell="d").result == "['asked']", "what the cell did before it asked was undone"
    audit = finished(start(["-m", "kitaru_nb", "audit", "verify"], tmp_path))
    assert audit.code == 0, audit.stderr


def test_a_client_that_knows_widgets_and_nothing_of_us_has_a_form_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    sources = ("%load_ext kitaru_nb\nimport kitaru_nb as kt\nlog = []", ASK, "print('after', ok)")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in sources])
    where = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(
        notebook, kernel_name="python3", timeout=int(PATIENCE), allow_errors=True, resources=where
    )
    load, ask, after = notebook.cells

    with client.setup_kernel():
        for number, cell in enumerate((load, ask)):
            client.execute_cell(cell, number)  # as VS Code and Colab do: no cell's id goes along
        (model,) = [output.data[VIEW]["model_id"] for output in ask.outputs if VIEW in output.get("data", {})]
        known = client.widget_state
        content = {"kind": "answer", "typed": True}
        message = client.kc.session.msg(
            "comm_msg", {"comm_id": model, "data": {"method": "custom", "content": content}}
        )
        client.kc.shell_channel.send(message)
        client.execute_cell(ask, 1)
        client.execute_cell(after, 2)

    shown = known[model]  # all that a front end has of a widget, to draw it without asking anybody
    assert (shown["_model_module"], shown["_view_module"]) == ("anywidget", "anywidget")
    assert "export default" in shown["_esm"]
    assert shown["state"]["question"] == "Publish?"
    assert only_wait().answer is True
    assert only_wait().source == "widget"
    assert [output.text for output in (*ask.outputs, *after.outputs) if output.output_type == "stream"] == [
        "said True\n",
        "after True\n",
    ]


@pytest.mark.further
def test_the_line_below_the_form_is_there_without_it(kernel: Kernel) -> None:
    waiting = kernel.run(ASK, cell="b")
    updates = [
        each["content"]
        for each in tell(kernel, model_of(waiting), {"kind": "answer", "typed": False})
        if each["msg_type"] == "update_display_data"
    ]

    (shown, form, line) = waiting.outputs
    assert shown["data"]["text/plain"] == "a draft"
    assert form["data"]["text/plain"] == ""
    assert form["data"][WAIT_MIME] == {"address": only_wait().address}
    assert set(line["data"]) == {"text/plain", "text/html"}
    assert f"%kitaru approve {only_wait().address}, or reject" in line["data"]["text/plain"]
    (update,) = updates
    assert update["transient"] == line["transient"]
    assert "false, by " in update["data"]["text/plain"]
    assert "run this cell again to go on" in update["data"]["text/plain"]


FORM = """
from dataclasses import dataclass
from typing import Literal
@dataclass
class Refund:
    amount: int
    tags: list[str]
    tier: Literal['low', 'high'] = 'low'
"""


def test_what_is_no_answer_is_said_at_its_field_and_leaves_no_trace(kernel: Kernel) -> None:
    kernel.run(FORM, cell="f")
    ask = "got = kt.wait('Refund?', Refund, name='refund'); print(got)"
    model = model_of(kernel.run(ask, cell="b"))

    unread = answer(kernel, model, {"/amount": "x", "/tier": "0", "/tags": "a, b"})
    misfit = answer(kernel, model, {"/amount": "", "/tier": "1", "/tags": "[1]"})
    same = answer(kernel, model, {"/amount": "", "/tier": "1", "/tags": "[1]"})

    assert set(unread["errors"]) == {"/amount", "/tags"}
    assert unread["errors"]["/amount"] == "is not a number"
    assert misfit["errors"]["/amount"] == "is required"
    assert misfit["errors"]["/tags"].startswith("at `/0`: 1 is not of type 'string'")
    assert (same["errors"], same["turn"]) == (misfit["errors"], 3), "the form hears of it each time"
    assert only_wait().status is WaitStatus.PENDING
    assert answer(kernel, model, {"/amount": "25", "/tier": "1", "/tags": '["a"]'})["ended"]
    assert kernel.run(ask, cell="b").stdout == "Refund(amount=25, tags=['a'], tier='high')\n"


@pytest.mark.further
def test_what_nobody_sees_is_written_out_in_a_form(kernel: Kernel) -> None:
    schema = {
        "type": "object",
        "properties": {"to": {"title": "T\u202eo", "description": "b\u200by", "enum": ["ana\u2066"]}},
    }
    ask = f"got = kt.wait('Pay \\u202e001$?', {schema!r}, name='pay')"
    model = model_of(kernel.run(ask, cell="b"))

    drawn = state(kernel, model, {"kind": "look"})

    assert drawn["question"] == "Pay \\u202e001$?"
    (field,) = drawn["fields"]
    assert (field["label"], field["hint"], field["options"]) == (
        "T\\u202eo",
        "b\\u200by",
        ["ana\\u2066"],
    )


@pytest.mark.parametrize("kind", ["answer", further("look")])
def test_a_late_form_says_who_was_first(kernel: Kernel, tmp_path: Path, kind: str) -> None:
    model = model_of(kernel.run(ASK, cell="b"))
    done = finished(start(["-m", "kitaru_nb", "reject", "publish", "--reason", "too early"], tmp_path))

    drawn = state(kernel, model, {"kind": kind, "typed": True})

    assert done.code == 0, done.stderr
    assert drawn["ended"]["head"] == "Rejected"
    assert f"by {this_person()}" in drawn["ended"]["rest"]
    assert "(too early)" in drawn["ended"]["rest"]
    assert only_wait().answer is False


def test_a_form_never_answers_another_question_than_it_shows(kernel: Kernel) -> None:
    old = model_of(kernel.run("kt.wait('Publish?', show='one', name='publish')", cell="b"))
    new = model_of(kernel.run("kt.wait('Publish?', show='two', name='publish')", cell="b"))

    stale = tell(kernel, old, {"kind": "answer", "typed": True})

    assert only_wait().status is WaitStatus.PENDING
    assert not [each for each in stale if each["msg_type"] == "comm_msg"], "the old form is closed"
    assert answer(kernel, new, typed=False)["ended"]["status"] == "answered"


def test_messages_that_no_form_sends_change_nothing(kernel: Kernel) -> None:
    model = model_of(kernel.run(ASK, cell="b"))

    for content in (None, [], "approve", {}, {"kind": "answer"}, {"kind": "run", "typed": True}, 7):
        tell(kernel, model, content)
    for typed in (None, "true", 1, {}, [True], {"": True}):
        assert answer(kernel, model, typed)["ended"] is None
    forged = {
        "method": "update",
        "state": {"state": {"question": "Cake?", "ended": None}},
        "buffer_paths": [],
    }
    kernel.client.shell_channel.send(
        kernel.client.session.msg("comm_msg", {"comm_id": model, "data": forged})
    )

    assert only_wait().status is WaitStatus.PENDING
    assert state(kernel, model, {"kind": "look"})["question"] == "Publish?"


@pytest.mark.further
def test_a_form_outlives_the_execution_that_asked(kernel: Kernel) -> None:
    model = model_of(kernel.run(ASK, cell="b"))
    kernel.run("%kitaru new", cell="n")

    drawn = answer(kernel, model, typed=True)

    assert drawn["ended"]["head"] == "Approved"
    assert only_wait().answer is True
    assert kernel.run("1 + 1", cell="o").result == "2"


@pytest.mark.further
def test_a_checkpoint_that_waited_for_a_form_is_restored_later(kernel: Kernel, tmp_path: Path) -> None:
    ask = "%%checkpoint decided\nok = kt.wait('Publish?', name='publish')\nok"
    answer(kernel, model_of(kernel.run(ask, cell="b")), typed=True)

    first = kernel.run(ask, cell="b")
    kernel.kill()
    with Kernel(tmp_path / "home", notebook=tmp_path / "n.ipynb", cwd=tmp_path) as again:
        again.run("import kitaru_nb as kt\nlog = []", cell="a")
        restored = again.run(ask, cell="b")

    assert (first.result, restored.result) == ("True", "True")
    assert "restored" in restored.said


@pytest.mark.further
def test_holding_on_shows_no_form_since_a_busy_kernel_hears_none(kernel: Kernel) -> None:
    ran = kernel.run("kt.wait('Publish?', hold=0.2)", cell="b")

    assert ran.ename == "Suspended"
    assert not [output for output in ran.outputs if VIEW in output.get("data", {})]
    assert "%kitaru approve" in ran.said


@pytest.mark.further
def test_without_widgets_the_line_is_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "anywidget.py").write_text("raise ImportError('not installed here')")
    monkeypatch.setenv("PYTHONPATH", str(hidden))
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    with Kernel(tmp_path / "home", notebook=tmp_path / "n.ipynb") as kernel:
        kernel.run("import kitaru_nb as kt\nlog = []", cell="a")

        ran = kernel.run(ASK, cell="b")

    assert ran.ename == "Suspended"
    (_shown, line) = ran.outputs
    assert line["data"][WAIT_MIME] == {"address": only_wait().address}
    assert "then run this cell again" in line["data"]["text/plain"]
    assert json.loads(json.dumps(line["data"]["text/html"])).startswith("<div")


# The replay control

LOAD, FIT = "%%checkpoint load\nrows = [1, 2]", "%%checkpoint fit\ntotal = sum(rows)\nprint(total)"


def looked(kernel: Kernel, model: str) -> dict[str, Any]:
    """How the control is drawn once its replay has ended."""
    deadline = time.monotonic() + PATIENCE
    while True:
        drawn = state(kernel, model, {"kind": "look"})
        if not drawn["running"]:
            return drawn
        assert time.monotonic() < deadline, drawn
        time.sleep(0.2)  # polls, bounded by the deadline


def saved(folder: Path) -> None:
    cells_of_it = (
        (LOAD, "l"),
        (FIT, "f"),
        ("%replay", "r"),
    )  # a replay that runs the control's cell shows none
    cells = [nbformat.v4.new_code_cell(source, id=each) for source, each in cells_of_it]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "n.ipynb")


@pytest.mark.further
def test_the_control_replays_with_changed_inputs_and_compares(tmp_path: Path, kernel: Kernel) -> None:
    saved(tmp_path)
    kernel.run(LOAD, cell="l")
    kernel.run(FIT, cell="f")

    shown = kernel.run("%replay", cell="r")
    model = model_of(shown)
    begun = state(kernel, model, {"kind": "run", "from": "fit", "changes": "rows = [40, 2]\n"})
    ended = looked(kernel, model)
    compared = state(kernel, model, {"kind": "compare"})

    (output,) = shown.outputs
    assert "--from fit --set rows=…" in output["data"]["text/plain"]
    assert begun["running"]
    assert (ended["status"], ended["problem"]) == ("completed", "")
    with closing(open_engine(resolve(), read_only=True)) as engine:
        replay = engine.journal.execution(ended["replay"])
    assert "42" in Path(str(replay.identity.output)).read_text()
    assert "<script" not in compared["difference"]
    assert ended["replay"] in compared["difference"]


@pytest.mark.further
def test_a_replay_that_cannot_begin_says_why_in_the_control(tmp_path: Path, kernel: Kernel) -> None:
    saved(tmp_path)
    kernel.run(LOAD, cell="l")
    model = model_of(kernel.run("%replay", cell="r"))

    nowhere = state(kernel, model, {"kind": "run", "from": "nowhere", "changes": ""})
    unread = state(kernel, model, {"kind": "run", "from": "load", "changes": "rows"})
    state(kernel, model, {"kind": "run", "from": "load", "changes": "no_such_name = 1"})
    unknown = looked(kernel, model)

    assert nowhere["problem"] == "choose the checkpoint to begin at"
    assert unread["problem"] == "`rows` is not `name = value`"
    assert "no_such_name" in unknown["problem"]
    assert (unknown["replay"], unknown["running"]) == ("", False)
