"""What running a notebook would do, told without running it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kitaru_nb.engine.plan import CellPlan, Fate, PlannedCell, foresee, totals
from kitaru_nb.model.artifact import Tombstone
from tests.unit.engine.kernel import Kernel

LOAD = "%%checkpoint load\nrows = [1, 2, 3]"
FIT = "%%checkpoint fit\ntotal = sum(rows)"
SHOW = "%%checkpoint show\ntext = str(total)"
PLAIN = "scale = 2"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    monkeypatch.chdir(tmp_path)
    kernel = Kernel(tmp_path / "home")
    yield kernel
    kernel.stop()


def run(kernel: Kernel, *sources: str) -> None:
    for place, source in enumerate(sources):
        if source.startswith("%%"):
            kernel.cell(source, step=f"c{place}")
        else:
            kernel.plain(source)


def look(kernel: Kernel, *sources: str, changed: str = "") -> list[CellPlan]:
    cells = [
        PlannedCell(place + 1, f"cell:c{place}", source, source.startswith("%%"))
        for place, source in enumerate(sources)
    ]
    recorded = kernel.engine.journal.checkpoints(kernel.session.open().execution)
    return foresee(cells, recorded, holds=lambda what, _digest: what != f"file:{changed}")


def fates(plans: Sequence[CellPlan]) -> list[str]:
    return [plan.fate.value for plan in plans]


def test_what_is_on_record_as_it_was_is_restored(kernel: Kernel) -> None:
    run(kernel, LOAD, FIT)

    assert fates(look(kernel, LOAD, FIT)) == ["restored", "restored"]


def test_a_new_cell_runs_and_its_time_is_not_known(kernel: Kernel) -> None:
    run(kernel, LOAD)

    plans = look(kernel, LOAD, FIT)

    assert fates(plans) == ["restored", "run"]
    assert plans[1].reason == "nothing is on record for it"
    assert totals(plans)[Fate.RUN].unknown == 1


def test_below_an_edited_cell_a_cell_may_run_and_it_is_said_because_of_what(kernel: Kernel) -> None:
    run(kernel, LOAD, FIT, SHOW)

    plans = look(kernel, LOAD.replace("3]", "4]"), FIT, SHOW)

    assert fates(plans) == ["run", "maybe", "maybe"]
    assert "`rows = [1, 2, 3]` became `rows = [1, 2, 4]`" in plans[0].reason
    assert plans[1].reason == "runs if `rows` changes (cell 1 runs)"
    assert "`total`" in plans[2].reason


def test_what_does_not_hang_on_the_edit_is_restored(kernel: Kernel) -> None:
    other = "%%checkpoint other\nx = 1"
    run(kernel, LOAD, other)

    assert fates(look(kernel, LOAD.replace("3]", "4]"), other)) == ["run", "restored"]


def test_a_changed_file_makes_its_cell_run(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("1")
    read = f"%%checkpoint read\nwith open({str(path)!r}) as file:\n    rows = file.read()"
    run(kernel, read)

    plans = look(kernel, read, changed=str(path))

    assert fates(plans) == ["run"]
    assert "rows.csv` has changed" in plans[0].reason


def test_a_cell_that_failed_runs_and_it_is_said(kernel: Kernel) -> None:
    with pytest.raises(ZeroDivisionError):
        kernel.cell("%%checkpoint a\n1 / 0", step="c0")

    plans = look(kernel, "%%checkpoint a\n1 / 0")

    assert plans[0].reason == "it failed last time (ZeroDivisionError)"


def test_an_edited_plain_cell_makes_what_reads_it_uncertain(kernel: Kernel) -> None:
    scaled = "%%checkpoint scaled\ny = scale * 2"
    run(kernel, PLAIN, scaled)

    same, edited = look(kernel, PLAIN, scaled), look(kernel, "scale = 3", scaled)

    assert fates(same) == ["plain", "restored"]
    assert same[1].reason == "as long as plain cell 1 gives `scale` the value it had"
    assert fates(edited) == ["plain", "maybe"]


def test_an_edited_function_makes_its_callers_uncertain(kernel: Kernel) -> None:
    define, call = "%%checkpoint f\ndef f():\n    return 1", "%%checkpoint g\ny = f()"
    run(kernel, define, call)

    assert fates(look(kernel, define.replace("1", "2"), call)) == ["run", "maybe"]


def test_fresh_runs_each_time(kernel: Kernel) -> None:
    run(kernel, LOAD)

    plans = look(kernel, LOAD.replace("load", "load --fresh"))

    assert fates(plans) == ["run"]
    assert "--fresh" in plans[0].reason


def test_a_step_whose_values_were_removed_would_run_and_it_is_said_when_they_went(kernel: Kernel) -> None:
    run(kernel, LOAD, FIT)
    steps = kernel.engine.journal.checkpoints(kernel.session.open().execution)
    (digest,) = {group.artifact for group in steps[1].draft.groups if group.written}
    stone = Tombstone(digest, "pickle5", 1, datetime(2026, 3, 1, tzinfo=UTC), "keep_days=30")
    cells = [PlannedCell(n + 1, f"cell:c{n}", source, True) for n, source in enumerate((LOAD, FIT))]

    plans = foresee(cells, steps, holds=lambda _what, _digest: True, removed={digest: stone})

    assert fates(plans) == ["restored", "run"]
    assert plans[1].reason == "its values were removed by gc on 2026-03-01 under the policy `keep_days=30`"


def test_a_marked_cell_of_a_new_headless_run_is_restored_from_earlier_ones(kernel: Kernel) -> None:
    outside = "%%checkpoint touch\nimport subprocess\nsubprocess.run(['true'])"
    sources = [LOAD, FIT, outside]
    run(kernel, *sources)
    cells = [
        PlannedCell(place, f"cell:c{place}", each, True, shares=True) for place, each in enumerate(sources)
    ]
    known = kernel.engine.journal.checkpoints(kernel.session.open().execution)

    plans = foresee(cells, (), holds=lambda *_: True, known=known)
    asked = foresee(cells, (), holds=lambda *_: True, known=known, reuse=True)

    assert fates(plans) == ["restored", "restored", "run"]
    assert "touched process" in plans[2].reason
    assert fates(asked) == ["restored"] * 3


def test_an_unmarked_cell_of_a_new_headless_run_runs(kernel: Kernel) -> None:
    run(kernel, LOAD, FIT)
    cells = [PlannedCell(0, "cell:c0", LOAD, True), PlannedCell(1, "cell:c1", FIT, True, shares=True)]
    known = kernel.engine.journal.checkpoints(kernel.session.open().execution)

    plans = foresee(cells, (), holds=lambda *_: True, known=known)

    assert fates(plans) == ["run", "maybe"]
    assert plans[1].reason == "runs if `rows` changes (cell 0 runs)"
