"""Cells through IPython's hooks, without a kernel: run, restored, refused, committed."""

from __future__ import annotations

import ast
import os
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import NoReturn

import pytest
from IPython.core.error import InputRejected

from kitaru_nb.errors import KitaruError, StoreError, UsageError
from kitaru_nb.notebook.hooks import Hooks
from kitaru_nb.notebook.refusal import refused
from tests.unit.notebook.shell import Start


def test_a_marked_cell_runs_shows_its_result_and_is_committed(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = start()

    result = shell.run("%%checkpoint load\nrows = [1, 2]\nprint('working')\nrows")

    shown = capsys.readouterr().out
    assert result.success
    assert result.result == [1, 2]
    assert shown.index("working") < shown.index("[1, 2]") < shown.index("kitaru: `load` saved")
    assert shell.hooks.last_status["status"] == "completed"


def test_it_is_restored_in_the_next_kernel_with_what_it_showed(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "%%checkpoint load\nrows = [1, 2]\nprint('working')\nrows"
    start().run(source)
    capsys.readouterr()
    shell = start()

    result = shell.run(source)

    shown = capsys.readouterr().out
    assert result.success
    assert shell["rows"] == [1, 2]
    assert shell["_"] is shell["rows"]
    assert shown.count("working") == 1
    assert "kitaru: `load` restored" in shown
    assert shell.hooks.last_status["status"] == "restored"


def test_a_plain_cell_is_left_alone(start: Start) -> None:
    shell = start()

    shell.run("x = 1")

    assert shell["x"] == 1
    assert shell.hooks.session is None
    assert shell.hooks.last_status == {"seq": None, "status": None}
    assert shell.ip.ast_transformers == []


def test_the_transformer_is_in_place_only_while_a_marked_cell_runs(start: Start) -> None:
    shell = start()

    shell.run("%%checkpoint load\nn = len(get_ipython().ast_transformers)")
    shell.error("%%checkpoint load2\n1 / 0")
    shell.error("%%checkpoint load3\n1 +")

    assert shell["n"] == 0
    assert shell.ip.ast_transformers == []


def test_the_gate_stands_exactly_while_something_is_sealed(start: Start) -> None:
    shell = start()
    shell.run("%%checkpoint load\nx = 1")
    kinds = "[type(each).__name__ for each in get_ipython().ast_transformers]"
    seals = shell.hooks.session.namespace.seals

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(seals), "__bool__", lambda _: True)
        patch.setattr(shell.hooks.session, "opens", lambda _tree: None)
        shell.run(f"sealed = {kinds}")
        shell.ip.run_cell(f"silent = {kinds}", silent=True)
    shell.run(f"opened = {kinds}")

    assert (shell["sealed"], shell["silent"], shell["opened"]) == (["Gate"], ["Gate"], [])


def test_another_transformer_keeps_its_place(start: Start) -> None:
    shell = start()
    other = ast.NodeTransformer()
    shell.ip.ast_transformers.append(other)

    shell.run("%%checkpoint load\nx = 1")

    assert shell["x"] == 1
    assert shell.ip.ast_transformers == [other]


def test_a_failing_cell_keeps_its_error_and_line_and_is_no_commit(start: Start) -> None:
    shell = start()

    error = shell.error("%%checkpoint load\nx = 1\n1 / 0")

    assert isinstance(error, ZeroDivisionError)
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_next is not None
    assert error.__traceback__.tb_next.tb_lineno == 3
    assert shell.hooks.last_status["seq"] is None


def test_a_refused_cell_does_not_run_and_says_why(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    shell = start()

    error = shell.error("%%checkpoint load --nothing\nx = 1")

    assert isinstance(error, UsageError)
    assert error.kind == "unknown-option"
    assert "x" not in shell
    assert "UsageError: %%checkpoint has no option `--nothing`" in capsys.readouterr().out


def test_an_error_of_our_own_is_never_a_cell_that_ran_as_if_nothing_had_been_said(start: Start) -> None:
    shell = start()
    shell.run("%%checkpoint load\nx = 1")
    shell.hooks.session.plan = lambda *_args, **_options: 1 / 0

    error = shell.error("%%checkpoint other\ny = 1")

    assert isinstance(error, KitaruError)
    assert error.kind == "internal"
    assert "y" not in shell


def test_a_commit_that_fails_is_the_cells_error(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    shell = start()

    result = shell.run("%%checkpoint load --strict\ngen = (i for i in range(3))")

    assert not result.success
    assert getattr(result.error_in_exec, "kind", None) == "unstorable-value"
    assert "`gen`" in capsys.readouterr().out
    assert shell.ip.last_execution_succeeded is False


def test_quiet_says_nothing(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    shell = start()
    shell.hooks.quiet = True

    shell.run("%%checkpoint load\nx = 1")
    shell.run("%%checkpoint load\nx = 1")

    assert capsys.readouterr().out == ""
    assert shell.hooks.last_status["status"] == "restored"


def test_every_cell_is_a_step_where_that_is_asked(start: Start) -> None:
    shell = start()
    shell.hooks.every_cell = True

    shell.run("x = 1")

    assert shell.hooks.last_status["status"] == "completed"


def test_timeit_above_a_checkpoint_is_refused(start: Start) -> None:
    error = start().error("%%timeit\n%%checkpoint load\nx = 1")

    assert getattr(error, "kind", None) in ("repeated-checkpoint", "misplaced-checkpoint")


def test_time_above_a_checkpoint_commits_once(start: Start) -> None:
    shell = start()

    assert shell.run("%%time\n%%checkpoint load\nx = 1").success

    recorded = shell.hooks.session.engine.journal.checkpoints(shell.hooks.session.attempt.execution)
    assert [checkpoint.draft.name for checkpoint in recorded] == ["load"]
    assert shell["x"] == 1


def test_a_checkpoint_above_time_works_as_well(start: Start) -> None:
    shell = start()

    assert shell.run("%%checkpoint load\n%%time\nx = 1").success
    assert shell["x"] == 1


def test_await_works_at_the_top_of_a_marked_cell(start: Start) -> None:
    shell = start()

    assert shell.run("%%checkpoint load\nimport asyncio\nx = await asyncio.sleep(0, 7)").success
    assert shell["x"] == 7


def test_a_semicolon_keeps_the_result_unseen(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start().run("%%checkpoint load\n[1234];")

    assert "1234" not in capsys.readouterr().out


def test_a_cell_id_makes_the_step(start: Start) -> None:
    shell = start()

    shell.run("%%checkpoint\nx = 1", cell_id="abc")

    assert shell.hooks.session.last.draft.step == "cell:abc"


def test_where_ipython_tells_no_id_of_a_cell_its_message_does(start: Start) -> None:
    shell = start()
    shell.ip.kernel = SimpleNamespace(get_parent=lambda _channel: {"metadata": {"cellId": "abc"}})
    cell, within = (SimpleNamespace(info=SimpleNamespace(raw_cell=source)) for source in ("x = 1", "y = 2"))
    shell.hooks._frames = [cell]  # type: ignore[list-item] # as far as it is looked at

    assert shell.hooks.place_of(cell) == "cell:abc"
    assert shell.hooks.place_of(within).startswith("code:")
    shell.hooks._frames = []


def test_what_was_seen_before_the_first_step_counts(start: Start) -> None:
    seed = "import random\nrandom.seed({})"
    first = start()
    first.run(seed.format(3))
    first.run("%%checkpoint draw\nx = random.random()")
    shell = start()
    shell.run(seed.format(4))

    shell.run("%%checkpoint draw\nx = random.random()")

    assert shell.hooks.last_status["status"] == "completed"


class Queue:
    """The part of a kernel that drops the cells behind an error."""

    def __init__(self) -> None:
        self.dropped = 0

    def get_parent(self, _channel: str) -> dict[str, object]:
        return {}

    def _abort_queues(self, _subshell: object) -> None:
        self.dropped += 1


def test_an_interrupt_during_the_commit_stops_the_queue_and_not_the_cell(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = start()
    shell.run("%%checkpoint warm\nw = 1")
    session = shell.hooks.session
    commit = session.commit
    queue = shell.ip.kernel = Queue()

    def pressed(*args, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return commit(*args, **options)

    session.commit = pressed

    result = shell.run("%%checkpoint load\nx = 1")

    assert result.success
    assert session.last.draft.name == "load"
    assert queue.dropped == 1
    assert "`load` was done when you stopped it" in capsys.readouterr().err


def test_an_interrupt_while_a_cell_is_decided_on_stops_it_before_it_runs(start: Start) -> None:
    shell = start()
    shell.run("%%checkpoint warm\nw = 1")
    session = shell.hooks.session
    plan = session.plan

    def pressed(*args, **options):
        decided = plan(*args, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return decided

    session.plan = pressed
    stopped = shell.error("%%checkpoint load\nx = 1")
    session.plan = plan

    assert stopped.kind == "interrupted"
    assert "x" not in shell
    assert shell.run("%%checkpoint load\nx = 1").success
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_forked_child_has_no_turn(start: Start) -> None:
    shell = start()
    shell.run("%%checkpoint load\nx = 1")
    shell.hooks._pid = -1

    shell.run("%%checkpoint other\ny = 1")
    shell.hooks.close()

    assert shell.hooks.session is not None
    assert shell.hooks.session.last.draft.name == "load"
    shell.hooks._pid = os.getpid()


def test_a_child_forked_by_a_cell_does_not_commit_it(start: Start) -> None:
    shell = start()
    become = "from kitaru_nb.notebook.extension import hooks\nhooks()._pid = -1"

    shell.run(f"%%checkpoint load\n{become}")

    assert shell.hooks.session.last is None
    shell.hooks._pid = os.getpid()


def test_an_error_stops_a_cell_and_stays_what_it_is() -> None:
    error = UsageError("no `x`", kind="some-kind", hint="do y")

    stopped = refused(error)

    assert isinstance(stopped, InputRejected)
    assert isinstance(stopped, UsageError)
    assert (type(stopped).__name__, str(stopped)) == ("UsageError", str(error))
    assert (stopped.kind, stopped.hint, stopped.message) == ("some-kind", "do y", "no `x`")


def test_a_cell_that_was_given_another_name_is_said_to_be_restored_under_that(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = start()
    shell.run("%%checkpoint old\nx = 1", "a")
    capsys.readouterr()

    shell.run("%%checkpoint new\nx = 1", "a")

    assert "`new` restored" in capsys.readouterr().out
    assert shell.hooks.session.last.draft.name == "new"


def test_where_no_ids_are_sent_a_cell_run_again_keeps_the_name_that_was_made_up(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = start()
    for source in ("x = 1", "x = 1", "x = 2"):
        shell.run(f"%%checkpoint\n{source}")

    said = capsys.readouterr().out
    assert said.count("`x` saved") == said.count("`x` restored") == said.count("`x-2` saved") == 1


def test_a_plain_cell_whose_effects_are_back_says_so_once(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    first = start()
    first.run("rows = []")
    first.run("rows.append(1)")
    first.run("%%checkpoint fit\ntotal = sum(rows)")
    shell = start()
    for source in ("%resume", "rows.append(1)", "rows.append(1)", "%resume"):
        shell.run(source)

    said = capsys.readouterr().out
    assert said.count("this cell ran before `fit`") == 1


def at_the_disk_limit(*_: object, **__: object) -> NoReturn:
    full = StoreError("this does not fit", kind="disk-limit", hint="kitaru-nb gc")
    full.lacking = 7
    raise full


def without_a_session(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "open_session", at_the_disk_limit)
    hooks.session = None


def before_it_runs(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks.session, "plan", at_the_disk_limit)
    cannot_suspend(hooks, monkeypatch)


def cannot_suspend(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> NoReturn:
        message = "no such table"
        raise ValueError(message)

    monkeypatch.setattr(hooks.session, "suspend", broken)


@pytest.mark.parametrize("met", [without_a_session, before_it_runs])
def test_a_cell_that_meets_the_disk_limit_does_not_run_where_that_cannot_be_put_on_record(
    start: Start, monkeypatch: pytest.MonkeyPatch, met: Callable[[Hooks, pytest.MonkeyPatch], None]
) -> None:
    shell = start()
    shell.hooks.every_cell = True
    shell.run("x = 1")
    met(shell.hooks, monkeypatch)

    error = shell.error("x = 2")

    assert isinstance(error, InputRejected)
    assert shell["x"] == 1
    monkeypatch.undo()


def test_a_result_at_the_disk_limit_is_the_error_where_that_cannot_be_put_on_record(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = start()
    shell.hooks.every_cell = True
    shell.run("x = 1")
    cannot_suspend(shell.hooks, monkeypatch)
    monkeypatch.setattr(shell.hooks, "_leave", at_the_disk_limit)

    error = shell.error("x = 2")

    assert (type(error), getattr(error, "kind", None)) == (StoreError, "disk-limit")
    monkeypatch.undo()


def test_a_cell_that_is_marked_no_more_leaves_its_name_to_another(start: Start) -> None:
    shell = start()
    shell.run("%%checkpoint load\nx = 1", "one")

    shell.run("x = 1", "one")

    assert shell.run("%%checkpoint load\ny = 1", "other").success


@pytest.mark.parametrize("reads", ["In[1]", "_i", "_ih[1]", "_i1"])
def test_a_cell_that_reads_what_was_typed_is_restored_only_where_that_is_the_same(
    start: Start, reads: str
) -> None:
    cell = f"%%checkpoint z\nz = {reads}"
    became = []

    for typed in ("5", "5", "7"):
        shell = start()
        shell.run(typed)
        shell.run(cell)
        became.append((shell.hooks.last_status["status"], shell["z"]))

    assert became == [("completed", "5"), ("restored", "5"), ("completed", "7")]
