"""Values that `gc` removed: what is said of them, and that nothing is paid twice or lost because of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

import kitaru_nb
from kitaru_nb.artifacts import extent_store, pack
from kitaru_nb.engine.describe import show_json
from kitaru_nb.engine.gc import Collected, Policy, collect
from kitaru_nb.engine.why import explain
from kitaru_nb.errors import CorruptError, DivergenceError, StoreError
from kitaru_nb.journal import sql_journal
from kitaru_nb.model.artifact import Digest, Location
from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.model.settings import RerunLimit, Settings
from kitaru_nb.stacks.open import open_engine
from tests.unit.engine.kernel import RAN, RESTORED, Kernel, Start

LARGE = "%%checkpoint big\nbig = bytes(range(256)) * 800"
LOST = "removed by gc on "


def sweep(home: Path, policy: Policy | None = None) -> Collected:
    """Collect as another process does."""
    with closing(open_engine(Settings(home=home))) as engine:
        return collect(engine.journal, engine.store, policy or Policy(keep_days=0), grace=-60)


def packs(home: Path) -> list[Path]:
    return list((home / "store" / "packs").rglob("*.pack"))


def test_a_short_step_whose_values_are_gone_runs_again_and_why_says_so(start: Start) -> None:
    kernel = start()
    kernel.cell(LARGE)
    kernel.stop()
    sweep(kernel.home)

    again = start()

    assert again.cell(LARGE) == RAN
    explained = explain(again.engine.journal, again.last)
    assert [reason.kind for reason in explained.reasons] == ["removed"]
    assert LOST in str(explained)


def test_a_long_step_whose_values_are_gone_is_not_run_again_unasked(start: Start) -> None:
    kernel = start()
    kernel.cell(LARGE)
    kernel.stop()
    sweep(kernel.home)
    again = start(settings={"confirm_rerun": RerunLimit(0.0, None)})

    with pytest.raises(DivergenceError) as refused:
        again.cell(LARGE)

    assert refused.value.kind == "values-removed"
    assert LOST in refused.value.message
    assert "under the policy `keep_days=0`" in refused.value.message
    assert again.ran == []
    assert again.cell(LARGE.replace("big\n", "big --fresh\n", 1)) == RAN
    assert again.cell(LARGE) == RESTORED


def test_an_older_record_that_has_its_values_counts_when_the_newest_has_not(start: Start) -> None:
    kernel = start()
    kernel.cell(LARGE)
    kernel.session.close()
    kernel.engine.journal.pin(kernel.last.execution)
    kernel.stop()
    sweep(kernel.home)

    assert start().cell(LARGE) == RESTORED


def test_show_load_resume_and_why_say_that_values_are_gone(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = start()
    kernel.cell(LARGE)
    kernel.cell("%%checkpoint small\nsmall = [1]\nsmall")
    execution = kernel.last.execution
    kernel.stop()
    sweep(kernel.home)
    monkeypatch.setenv("KITARU_NB_HOME", str(kernel.home))
    journal = kernel.engine.journal

    shown = show_json(journal, journal.execution(execution))["checkpoints"]
    assert [step["name"] for step in shown] == ["big", "small"]
    artifact = shown[0]["artifacts"][0]
    assert artifact["removed"]["policy"] == "keep_days=0"
    assert artifact["bytes"] >= 204_800
    with pytest.raises(StoreError) as by_name:
        kitaru_nb.load("big", execution=execution)
    with pytest.raises(StoreError) as by_digest:
        kitaru_nb.load(artifact["digest"])
    assert by_name.value.kind == by_digest.value.kind == "values-removed"
    assert not isinstance(by_name.value, CorruptError)
    assert LOST in str(explain(journal, kernel.last))
    with pytest.raises(StoreError, match=LOST) as resumed:
        start().session.resume(execution)
    assert resumed.value.kind == "values-removed"


def test_files_of_a_step_go_with_its_values_and_are_not_missed(start: Start, tmp_path: Path) -> None:
    kernel = start()
    kernel.cell("%%checkpoint write\nwith open('out.txt', 'w') as file:\n    file.write('x' * 5000)")
    kernel.stop()
    sweep(kernel.home)
    (tmp_path / "out.txt").unlink()

    again = start()

    assert (
        again.cell("%%checkpoint write\nwith open('out.txt', 'w') as file:\n    file.write('x' * 5000)")
        == RAN
    )
    assert (tmp_path / "out.txt").read_text() == "x" * 5000


def test_definitions_that_kept_values_refer_to_stay(start: Start) -> None:
    """A class stored in a finished execution, an instance of it in one that failed."""
    kernel = start()
    kernel.cell("%%checkpoint kind\nclass Kind:\n    def __init__(self, n):\n        self.n = n")
    kernel.cell("%%checkpoint one\none = [Kind(7)]")
    kernel.stop()
    again = start()
    assert (
        again.cell("%%checkpoint kind\nclass Kind:\n    def __init__(self, n):\n        self.n = n")
        == RESTORED
    )
    again.cell("%%checkpoint two\ntwo = [Kind(8)]")
    with pytest.raises(ZeroDivisionError):
        again.cell("%%checkpoint bad\n1 / 0")
    execution = again.last.execution
    again.stop()
    found = sweep(kernel.home)

    assert found.artifacts
    resumed = start()
    assert resumed.session.resume(execution).restored.damaged == {}
    assert resumed["two"][0].n == 8
    assert type(resumed["two"][0]) is resumed["Kind"]


def interleaved(monkeypatch: pytest.MonkeyPatch, point: str, action: Callable[[], object]) -> list[str]:
    """Do `action` once, at the instant called `point` of the next save."""
    met: list[str] = []

    def at(name: str) -> None:
        if name == point and not met:
            met.append(name)
            action()

    for module in (sql_journal, extent_store, pack):
        monkeypatch.setattr(module, "crash_point", at)
    return met


@pytest.mark.parametrize(
    "point", ["before-extent-write", "after-extent-write", "before-flush", "after-flush", "before-commit"]
)
def test_a_save_whose_new_bytes_gc_takes_for_waste_writes_them_again(
    start: Start, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Only where its grace has run out: an hour without a write."""
    kernel = start()
    kernel.cell("%%checkpoint first\nfirst = 1")
    met = interleaved(monkeypatch, point, lambda: sweep(kernel.home))

    kernel.cell(LARGE)

    execution = kernel.last.execution
    kernel.stop()
    monkeypatch.setenv("KITARU_NB_HOME", str(kernel.home))
    assert met == [point]
    assert kitaru_nb.load("big", execution=execution) == bytes(range(256)) * 800


def test_a_save_whose_pack_is_given_up_and_not_removed_yet_goes_to_another(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = start()
    kernel.cell("%%checkpoint first\nfirst = 1")

    def sweep_slowly() -> None:
        with closing(open_engine(Settings(home=kernel.home))) as engine, monkeypatch.context() as patch:
            patch.setattr(engine.store, "remove", lambda _name: None)
            collect(engine.journal, engine.store, Policy(keep_days=0), grace=-60)

    met = interleaved(monkeypatch, "before-commit", sweep_slowly)

    kernel.cell(LARGE)

    execution = kernel.last.execution
    kernel.stop()
    sweep(kernel.home, Policy())
    monkeypatch.setenv("KITARU_NB_HOME", str(kernel.home))
    assert met == ["before-commit"]
    assert kitaru_nb.load("big", execution=execution) == bytes(range(256)) * 800
    assert len(packs(kernel.home)) == 1


def test_a_commit_that_shares_what_gc_removes_meanwhile_writes_it_again(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = start(notebook=tmp_path / "old.ipynb")
    old.cell(LARGE)
    old.stop()
    (before,) = packs(old.home)
    kernel = Kernel(old.home)
    met = interleaved(monkeypatch, "before-commit", lambda: sweep(old.home))

    kernel.cell("%%checkpoint same\nsame = bytes(range(256)) * 800")

    (after,) = packs(old.home)
    assert (met, after != before) == (["before-commit"], True)
    kernel.session.engine.journal.finish(kernel.session.open(), ExecutionStatus.FAILED)
    sweep(old.home)
    execution = kernel.last.execution
    kernel.stop()
    monkeypatch.setenv("KITARU_NB_HOME", str(old.home))
    assert kitaru_nb.load("same", execution=execution) == bytes(range(256)) * 800


def test_a_step_restored_while_gc_removes_it_is_stored_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = start()
    old.cell(LARGE + "\nbig[:3]")
    old.stop()
    kernel = start()
    plan = kernel.plan(LARGE + "\nbig[:3]")
    load = kernel.session._record_restored
    monkeypatch.setattr(kernel.session, "_record_restored", lambda *args: (sweep(old.home), load(*args))[1])

    kernel.session.restore(plan)

    execution = kernel.last.execution
    assert kernel.engine.journal.removed(plan.checkpoint.draft.stored)
    kernel.session.engine.journal.finish(kernel.session.open(), ExecutionStatus.FAILED)
    kernel.stop()
    assert sweep(old.home).executions == {}
    monkeypatch.setenv("KITARU_NB_HOME", str(old.home))
    assert kitaru_nb.load("big", execution=execution) == bytes(range(256)) * 800


def test_a_value_is_read_at_its_new_place_when_its_pack_is_rewritten_meanwhile(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = start(notebook=tmp_path / "a.ipynb")
    kernel.cell("%%checkpoint many\nmany = [bytes([n]) * 90_000 for n in range(9)]")
    kernel.cell("%%checkpoint one\none = bytes([3]) * 90_000")
    kernel.stop()
    other = Kernel(kernel.home, notebook=tmp_path / "c.ipynb")
    other.cell("%%checkpoint one\none = bytes([3]) * 90_000")
    monkeypatch.setenv("KITARU_NB_HOME", str(kernel.home))
    place = sql_journal.SqlJournal.locate
    met: list[Collected] = []

    def locate(journal: sql_journal.SqlJournal, digests: Iterable[Digest]) -> Mapping[Digest, Location]:
        found = place(journal, digests)
        if not met:
            met.append(Collected(Policy(), dry_run=True))  # what collects asks, too
            met[0] = sweep(kernel.home)
        return found

    monkeypatch.setattr(sql_journal.SqlJournal, "locate", locate)
    value = kitaru_nb.load("one", execution=other.last.execution)
    other.stop()

    assert met[0].rewritten == 1
    assert value == bytes([3]) * 90_000
