"""Why a step ran or was restored, told from its records."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb.engine.why import Explanation, explain, explain_step
from kitaru_nb.errors import NotFoundError
from tests.unit.engine.kernel import Kernel


@pytest.fixture
def kernel(tmp_path: Path):
    kernel = Kernel(tmp_path / "home")
    yield kernel
    kernel.stop()


def why(kernel: Kernel) -> Explanation:
    return explain(kernel.engine.journal, kernel.last)


def kinds(explanation: Explanation) -> list[tuple[str, str]]:
    return [(reason.kind, reason.what) for reason in explanation.reasons]


def test_the_first_run(kernel: Kernel) -> None:
    kernel.cell("%%checkpoint load\nx = 1", step="a")

    explanation = why(kernel)

    assert kinds(explanation) == [("first-run", "load")]
    assert str(explanation) == "`load` ran:\n  nothing was on record for it yet"


def test_a_restored_step(kernel: Kernel) -> None:
    kernel.cell("%%checkpoint load\nx = 1", step="a")
    ran = kernel.last
    kernel.cell("%%checkpoint load\nx = 1", step="a")

    explanation = why(kernel)

    assert kinds(explanation) == [("equal", ran.execution)]
    assert str(explanation).startswith("`load` was restored:\n  its code and everything it reads")
    assert f"{ran.draft.started_at:%H:%M:%S}" in str(explanation)


def test_changed_code_shows_the_line(kernel: Kernel) -> None:
    kernel.cell("%%checkpoint load\nx = 1\ny = 1", step="a")
    kernel.cell("%%checkpoint load\nx = 1\ny = 2", step="a")

    (reason,) = why(kernel).reasons

    assert (reason.kind, reason.what) == ("code", "load")
    assert reason.text == "its code changed: line 3: `y = 1` became `y = 2`"
    assert reason.old != reason.new


def test_a_changed_input_is_named(kernel: Kernel) -> None:
    kernel.plain("rows = [1]\nother = 1")
    kernel.cell("total = sum(rows)", step="a")
    kernel.plain("rows = [2]\nother = 2")
    kernel.cell("total = sum(rows)", step="a")

    (reason,) = why(kernel).reasons

    assert (reason.kind, reason.what) == ("input", "rows")
    assert "`rows` holds another value" in reason.text
    assert {reason.old, reason.new} == {
        step.draft.reads["rows"] for step in kernel.engine.journal.checkpoints(kernel.last.execution)
    }


def test_an_input_that_came_or_went_is_named(kernel: Kernel) -> None:
    source = "try:\n    x = y\nexcept NameError:\n    x = 0"
    kernel.cell(source, step="a")
    kernel.plain("y = 1")
    kernel.cell(source, step="a")
    came = why(kernel)
    kernel.plain("y = 2")
    kernel.cell(source, step="a")
    kernel.plain("del y\nx = [9]")
    kernel.cell(source + "\nx", step="a")

    assert "`y` was not there when it ran before" in str(came)
    assert "`y` was there when it ran before and is not now" in str(why(kernel))


def test_a_changed_file_is_named(kernel: Kernel, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    source = f"with open({str(file)!r}) as f:\n    n = f.read()"
    file.write_text("1")
    kernel.cell(source, step="a")
    file.write_text("22")
    kernel.cell(source, step="a")

    (reason,) = why(kernel).reasons

    assert (reason.kind, reason.what) == ("file", str(file))
    assert reason.text == f"file `{file}` has changed since"


def test_a_value_that_is_changed_in_place_is_named(kernel: Kernel) -> None:
    kernel.cell("rows = [1]", step="a")
    kernel.cell("rows.append(2)", step="b")
    kernel.cell("rows.append(2)", step="b")

    assert ("input", "rows") in kinds(why(kernel))


def test_a_run_on_purpose(kernel: Kernel) -> None:
    kernel.cell("%%checkpoint load\nx = 1", step="a")
    kernel.cell("%%checkpoint load --fresh\nx = 1", step="a")

    assert kinds(why(kernel)) == [("asked", "load")]


def test_a_failure_says_what_was_raised(kernel: Kernel) -> None:
    with pytest.raises(ZeroDivisionError):
        kernel.cell("%%checkpoint load\n1 / 0", step="a")

    text = explain_step(kernel.session, "load")

    assert text.splitlines()[:2] == ["`load` failed:", "  it raised ZeroDivisionError: division by zero"]


def test_a_failure_is_not_what_the_next_run_is_compared_with(kernel: Kernel) -> None:
    kernel.cell("%%checkpoint load\nx = 1", step="a")
    with pytest.raises(ZeroDivisionError):
        kernel.cell("%%checkpoint load\nx = 1 / 0", step="a")
    kernel.cell("%%checkpoint load\nx = 2", step="a")

    (reason,) = why(kernel).reasons

    assert reason.text == "its code changed: line 2: `x = 1` became `x = 2`"


def test_a_step_is_compared_with_its_own_record_in_an_earlier_execution(
    kernel: Kernel, tmp_path: Path
) -> None:
    kernel.cell("x = 1", step="a")
    kernel.cell("x = 5", step="b")
    kernel.session.close()
    later = Kernel(tmp_path / "home")
    later.cell("x = 2", step="a")

    (reason,) = why(later).reasons

    assert reason.text == "its code changed: line 1: `x = 1` became `x = 2`"
    later.stop()


def test_without_a_name_the_newest_step_is_meant(kernel: Kernel) -> None:
    kernel.cell("x = 1", step="a")
    kernel.cell("y = 1", step="b")

    assert explain_step(kernel.session, None).startswith("`y` ran:")
    assert explain_step(kernel.session, "x").startswith("`x` ran:")


@pytest.mark.parametrize("name", [None, "load"])
def test_nothing_on_record_says_so(kernel: Kernel, name: str | None) -> None:
    with pytest.raises(NotFoundError) as refused:
        explain_step(kernel.session, name)

    assert refused.value.kind == "unknown-checkpoint"
