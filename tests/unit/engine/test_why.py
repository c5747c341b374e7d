"""Why a step ran or was restored, told from its records."""

from __future__ import annotations

import decimal
import gc
from pathlib import Path

import pytest

from kitaru_nb.engine.why import Explanation, explain, explain_step
from kitaru_nb.errors import NotFoundError
from kitaru_nb.model.checkpoint import error_line
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
    assert reason.text.startswith(f"file `{file}` has changed since")


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


# Conditions


def reason(kernel: Kernel) -> str:
    return "\n".join(found.text for found in why(kernel).reasons)


def test_a_changed_file_is_named_with_size_time_and_hash(kernel: Kernel, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("1")
    source = f"x = open({str(data)!r}).close()"
    kernel.cell(source, step="a")
    data.write_text("22")
    kernel.cell(source, step="a")

    said = reason(kernel)

    assert said.startswith(f"file `{data}` has changed since (1 bytes, written 2")
    assert "hash" in said.partition("before")[0]
    assert ", 2 bytes, written" in said or "before, 2 bytes" in said


def test_a_file_that_came_is_named(kernel: Kernel, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    source = f"import os\nx = os.path.exists({str(data)!r})"
    kernel.cell(source, step="a")
    data.write_text("1")
    assert kernel.cell(source, step="a") == "completed"
    assert reason(kernel) == f"file `{data}` is there, and was not when it ran before"


def test_a_folder_with_new_files_is_named(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    source = f"import glob\nx = glob.glob({str(tmp_path / 'data')!r} + '/*.csv')"
    kernel.cell(source, step="a")
    (tmp_path / "data/a.csv").touch()

    kernel.cell(source, step="a")

    assert reason(kernel).startswith(f"what is in the folder `{tmp_path / 'data/*.csv'}` has changed since")


def test_an_environment_variable_and_an_option_are_named(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import decimal, os\nx = os.environ.get('RATE_OF_TEST'), decimal.Decimal(1) / 3"
    with decimal.localcontext():
        kernel.cell(source, step="a")
        monkeypatch.setenv("RATE_OF_TEST", "2")
        decimal.getcontext().prec = 5

        kernel.cell(source, step="a")

    assert "environment variable `RATE_OF_TEST` had another value" in reason(kernel)
    assert "settings of `decimal` that change what it computes were different" in reason(kernel)


def test_an_effect_that_lives_in_one_process_is_named(tmp_path: Path) -> None:
    source = "import gc\ndef seen(*a): pass\ngc.callbacks.append(seen)"
    first = Kernel(tmp_path / "home")
    first.cell(source, step="a")
    again = Kernel(tmp_path / "home").take_over()
    try:
        again.cell(source, step="a")
    finally:
        gc.callbacks.remove(first["seen"])
        gc.callbacks.remove(again["seen"])

    assert reason(again) == (
        "it registered code of the notebook with `gc.callbacks`, which cannot be stored, "
        "so it runs again in each kernel"
    )


def test_an_error_without_a_text_is_named_without_a_colon() -> None:
    assert error_line("KeyboardInterrupt", "") == "KeyboardInterrupt"
    assert error_line("ValueError", "no") == "ValueError: no"


def test_a_declared_file_that_changed_is_named(kernel: Kernel, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("1")
    source = f"%%checkpoint load --depends '{file}'\nx = 1"
    kernel.cell(source, step="a")
    file.write_text("2")
    kernel.cell(source, step="a")

    assert kinds(why(kernel)) == [("file", str(file))]
