"""Points of one grid: two sessions on one journal, each in an execution of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kitaru_nb.engine import sharing
from kitaru_nb.engine.logs import log_of
from kitaru_nb.engine.session import Outcome
from kitaru_nb.engine.sharing import AWAITED, grid_of
from kitaru_nb.errors import KitaruError, StoreError
from kitaru_nb.journal.claims import CLAIMED
from kitaru_nb.model.execution import Attempt, ExecutionStatus, Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from tests.unit.engine.kernel import RAN, RESTORED, Kernel

Point = Callable[..., Kernel]


@pytest.fixture
def point(tmp_path: Path) -> Iterator[Point]:
    """Begins a point of a grid, as the worker and its kernel do."""
    begun: list[tuple[Kernel, Attempt]] = []

    def begin(x: int, grid: str | None = "grid:g", **identity: Any) -> Kernel:
        home = tmp_path / "home"
        what = {"notebook": str(tmp_path / "train.ipynb"), "output": f"{x}.ipynb", "parameters": {"x": x}}
        with_engine = open_engine(Settings(home=home))
        tags = [grid] if grid else []
        attempt, _ = with_engine.journal.start(
            Identity(**(what | identity)), owner=current_owner(), tags=tags, new=True
        )
        kernel = Kernel(
            home,
            notebook=Path(str(what["notebook"])),
            attempt=attempt,
            marked_only=False,
            grid=grid_of(with_engine.journal.execution(attempt.execution).tags),
        )
        with_engine.close()
        begun.append((kernel, attempt))
        return kernel

    yield begin
    for kernel, _ in begun:
        kernel.stop()


def _finish(kernel: Kernel, status: ExecutionStatus) -> None:
    attempt = kernel.session.attempt
    assert attempt is not None
    kernel.engine.journal.finish(attempt, status)


def _events(kernel: Kernel, kind: str) -> list[Any]:
    attempt = kernel.session.attempt
    assert attempt is not None
    return [event for event in kernel.engine.journal.events(attempt.execution) if event.kind == kind]


def test_a_cell_that_reads_no_parameter_is_restored_from_another_point(point: Point) -> None:
    first, second = point(1), point(2)
    for kernel, x in ((first, 1), (second, 2)):
        assert kernel.cell("base = 10", step="base") == (RAN if x == 1 else RESTORED)
        assert kernel.cell(f"x = {x}", step="injected") == RAN

        assert kernel.cell("data = base + 1", step="data") == (RAN if x == 1 else RESTORED)
        assert kernel.cell("y = data * x", step="y") == RAN
        assert kernel.cell("z = data + 1", step="z") == (RAN if x == 1 else RESTORED)

    assert (first["y"], second["y"]) == (11, 22)
    assert second["z"] == 12
    assert second.last.draft.origin == first.last.seq


def test_what_only_seems_to_read_no_parameter_runs(point: Point) -> None:
    first, second = point(1), point(2)
    for kernel, x in ((first, 1), (second, 2)):
        kernel.cell(f"x = {x}", step="injected")
        kernel.cell("def scaled(v):\n    return v * x", step="def")

        assert kernel.cell("seen = globals()['x']", step="dynamic") == RAN
        assert kernel.cell("through = scaled(10)", step="call") == RAN

    assert (second["seen"], second["through"]) == (2, 20)


@pytest.mark.parametrize(
    ("grid", "identity"),
    [
        (None, {}),
        ("grid:another", {}),
        ("nightly", {}),
        ("grid:g", {"notebook": "/elsewhere/train.ipynb"}),
        ("grid:g", {"replay": "a mark"}),
    ],
    ids=["no grid", "another grid", "another tag", "another notebook", "a replay"],
)
def test_nothing_is_shared_with_what_is_no_point_of_the_same_grid(
    grid: str | None, identity: dict[str, Any], point: Point
) -> None:
    other, mine = point(1, grid, **identity), point(2)
    other.cell("base = 10", step="base")

    assert mine.cell("base = 10", step="base") == RAN


def test_without_a_grid_nothing_is_claimed(point: Point) -> None:
    alone = point(1, None)

    alone.cell("base = 10", step="base")

    assert _events(alone, CLAIMED) == []


def test_a_cell_that_the_point_before_has_run_is_not_claimed(point: Point) -> None:
    first, second = point(1), point(2)
    first.cell("base = 10", step="base")

    second.cell("base = 10", step="base")

    assert [event.data["checkpoint"] for event in _events(first, CLAIMED)] == ["base"]
    assert _events(second, CLAIMED) == []


def test_what_started_a_process_is_shared_in_a_grid(point: Point) -> None:
    first, second, alone = point(1), point(2), point(3, None)
    fetch = "import subprocess\nsubprocess.run(['true'], check=True)\npage = 1"
    marked = "%%checkpoint page\n" + fetch

    assert first.cell(marked, step="page") == RAN
    assert "process" in first.last.draft.outside
    assert second.cell(marked, step="page") == RESTORED
    assert alone.cell(marked, step="page") == RAN


@pytest.mark.parametrize("below", [True, False], ids=["beside the notebook", "elsewhere"])
def test_what_one_point_did_to_a_file_afterwards_is_not_found_there_by_another(
    below: bool, point: Point, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each point ends as if it had run alone: what the next one restores is the file, too, or it runs."""
    file = (tmp_path if below else tmp_path_factory.mktemp("elsewhere")) / "rows.txt"
    write = f"from pathlib import Path\nfile = Path({str(file)!r})\n_ = file.write_text('10')"
    left = []
    for x in (1, 2, 3):
        kernel = point(x)
        kernel.cell(write, step="write")
        kernel.cell(f"x = {x}", step="injected")
        kernel.cell("v = int(file.read_text()) + x\n_ = file.write_text(str(v))", step="v")
        left.append((kernel["v"], file.read_text()))
        _finish(kernel, ExecutionStatus.COMPLETED)

    assert left == [(11, "11"), (12, "12"), (13, "13")]


def test_a_file_that_is_as_the_cell_left_it_or_missing_is_shared(point: Point, tmp_path: Path) -> None:
    file = tmp_path / "rows.txt"
    write = f"from pathlib import Path\n_ = Path({str(file)!r}).write_text('10')"
    point(1).cell(write, step="write")

    second = point(2).cell(write, step="write")
    file.unlink()
    third = point(3).cell(write, step="write")

    assert (second, third) == (RESTORED, RESTORED)
    assert file.read_text() == "10"


@pytest.mark.parametrize("below", [True, False])
def test_a_file_that_all_points_add_to_keeps_no_cell_from_being_shared(
    below: bool, point: Point, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = (tmp_path if below else tmp_path_factory.mktemp("elsewhere")) / "log.txt"
    log = f"with open({str(file)!r}, 'a') as log:\n    _ = log.write('base ')"
    fates = []
    for x in (1, 2):
        kernel = point(x)
        fates.append(kernel.cell(log, step="base"))
        kernel.cell(f"x = {x}", step="injected")
        kernel.cell(log.replace("'base '", "str(x)"), step="x")

    file.write_text("emptied")
    fates.append(point(3).cell(log, step="base"))

    assert fates == [RAN, RESTORED, RAN]
    assert file.read_text() == "emptiedbase "


def test_a_file_elsewhere_that_nobody_touched_is_shared(
    point: Point, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("cache") / "model.bin"
    write = f"from pathlib import Path\n_ = Path({str(file)!r}).write_text('10')"
    point(1).cell(write, step="write")

    second = point(2).cell(write, step="write")
    file.unlink()
    third = point(3).cell(write, step="write")

    assert (second, third) == (RESTORED, RAN)


def test_a_file_elsewhere_that_a_cell_did_not_only_add_to_may_not_have_grown(
    point: Point, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("elsewhere") / "log.txt"
    write = f"with open({str(file)!r}, 'w') as log:\n    _ = log.write('base ')"
    add = write.replace("'w'", "'a'")
    first = point(1)
    first.cell(f"{write}\n{add}", step="base")
    first.cell("x = 1", step="injected")
    first.cell(add, step="x")

    assert point(2).cell(f"{write}\n{add}", step="base") == RAN


def test_what_a_point_read_before_it_changed_it_is_not_taken_for_what_is_there(
    point: Point, tmp_path: Path
) -> None:
    file = tmp_path / "counter.txt"
    file.write_text("0")
    read = f"from pathlib import Path\nseen = Path({str(file)!r}).read_text()"
    first = point(1)
    first.cell(read, step="read")
    first.cell("x = 1", step="injected")
    first.cell(f"_ = Path({str(file)!r}).write_text(str(x))", step="count")

    second = point(2)
    assert second.cell(read, step="read") == RAN

    assert second["seen"] == "1"


def test_a_fresh_cell_runs_in_every_point(point: Point) -> None:
    first, second = point(1), point(2)
    first.cell("%%checkpoint base --fresh\nbase = 10", step="base")

    assert second.cell("%%checkpoint base --fresh\nbase = 10", step="base") == RAN
    assert _events(second, CLAIMED) == []


class _Running:
    """A point that has begun a cell: `end` records it."""

    def __init__(self, kernel: Kernel, source: str, step: str) -> None:
        self.kernel = kernel
        self.plan = kernel.plan(source, step=step)
        kernel.session.begin(self.plan)

    def end(self) -> None:
        self.kernel.live["base"] = 10
        self.kernel.session.commit(self.plan, _outcome())

    def fail(self) -> None:
        self.kernel.session.fail(self.plan, ValueError("no"), _outcome())


def _outcome() -> Any:
    return Outcome([])


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Does something while a point waits, between its first two looks at the record."""

    def do(what: Callable[[], object]) -> None:
        left = [what]

        def pause(_seconds: float) -> None:
            assert left, "it waits for what has ended"
            left.pop()()

        monkeypatch.setattr(sharing, "time", SimpleNamespace(sleep=pause))

    return do


def test_a_point_waits_for_the_one_that_runs_the_cell(
    point: Point, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    first, second = point(1), point(2)
    running = _Running(first, "base = 10", "base")
    meanwhile(running.end)

    assert second.cell("base = 10", step="base") == RESTORED

    assert second["base"] == 10
    assert second.session.attempt is not None
    log = log_of(second.engine.journal, second.session.attempt.execution)
    (waited,) = [line for line in log.lines if line.event.kind == AWAITED]
    assert waited.text == f"waits for base, which {first.session.attempt.execution} runs"  # type: ignore[union-attr]
    assert waited.checkpoint == "base"


def test_a_record_that_cannot_be_read_for_a_while_ends_no_waiting(
    point: Point, meanwhile: Callable[[Callable[[], object]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = point(1), point(2)
    running = _Running(first, "base = 10", "base")
    look, faults = second.engine.journal.claimed_by, [StoreError("busy", kind="journal-unreadable")]

    def claimed_by(name: str) -> Any:
        if faults:
            raise faults.pop()
        return look(name)

    monkeypatch.setattr(second.engine.journal, "claimed_by", claimed_by)
    meanwhile(running.end)

    assert second.cell("base = 10", step="base") == RESTORED
    assert not faults


def test_a_record_that_cannot_be_read_at_all_is_an_error(
    point: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = point(1), point(2)
    _Running(first, "base = 10", "base")

    def claimed_by(_name: str) -> Any:
        raise StoreError("gone", kind="journal-unreadable")

    monkeypatch.setattr(second.engine.journal, "claimed_by", claimed_by)
    monkeypatch.setattr(sharing, "time", SimpleNamespace(sleep=lambda _seconds: None))

    with pytest.raises(StoreError, match="gone"):
        second.cell("base = 10", step="base")


def test_where_the_cell_fails_the_other_runs_it_and_makes_nobody_wait(
    point: Point, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    first, second, third = point(1), point(2), point(3)
    running = _Running(first, "base = 10", "base")
    meanwhile(running.fail)

    assert isinstance(second.plan("base = 10", step="base"), sharing.Run)
    assert _events(second, CLAIMED) == []
    assert isinstance(third.plan("base = 10", step="base"), sharing.Run)


@pytest.mark.parametrize("status", [ExecutionStatus.WAITING, ExecutionStatus.INTERRUPTED])
def test_where_a_point_ends_inside_the_cell_one_of_the_others_takes_it(
    status: ExecutionStatus, point: Point, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    first, second = point(1), point(2)
    _Running(first, "base = 10", "base")
    meanwhile(lambda: _finish(first, status))

    assert second.cell("base = 10", step="base") == RAN

    assert [event.data["checkpoint"] for event in _events(second, CLAIMED)] == ["base"]


def test_a_point_that_holds_on_for_an_answer_lets_the_others_go_on(
    point: Point, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    first, second = point(1), point(2)
    _Running(first, "base = 10", "base")
    meanwhile(first.session.book.on_hold)

    assert second.cell("base = 10", step="base") == RAN


def test_a_record_that_does_not_hold_keeps_nobody_waiting(point: Point, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("1")
    read = f"import pathlib\nbase = pathlib.Path({str(tmp_path / 'in.txt')!r}).read_text()"
    first, second, third = point(1), point(2), point(3)
    first.cell(read, step="base")
    (tmp_path / "in.txt").write_text("2")
    _Running(second, read, "base")

    assert third.cell(read, step="base") == RAN

    assert third["base"] == "2"
    assert _events(second, CLAIMED) == _events(third, CLAIMED) == []


def test_a_point_that_waits_has_no_claim_itself(
    point: Point, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    """So no two points wait for each other, also where a claimed cell was stopped before it ran."""
    first, second = point(1), point(2)
    first.plan("one = 1", step="one")  # claimed, and never run
    second.plan("two = 2", step="two")
    held: list[bool] = []

    def look() -> None:
        held.append(isinstance(second.plan("one = 1", step="one"), sharing.Run))
        second.session.begin(plan := second.plan("two = 2", step="two"))
        second.live["two"] = 2
        second.session.commit(plan, _outcome())

    meanwhile(look)

    assert first.cell("two = 2", step="two") == RESTORED
    assert held == [True]


def test_an_unsigned_record_of_another_point_is_not_taken(
    point: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = point(1), point(2)
    first.cell("base = 10", step="base")
    monkeypatch.setattr(type(second.engine.trust), "standing", lambda *_: None)

    with pytest.raises(KitaruError):
        second.cell("base = 10", step="base")
