"""What the replay control takes, and what it says where there are no widgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.settings import Settings
from kitaru_nb.notebook import replay_control
from kitaru_nb.notebook.replay_control import ReplayControl, Step, changes_of, what_to_type


def test_changes_are_lines_of_names_and_values() -> None:
    assert changes_of("") == {}
    assert changes_of(" rate = 0.1 \n\nwait.ok=true\ntext = a = b\n") == {
        "rate": 0.1,
        "wait.ok": True,
        "text": "a = b",
    }


@pytest.mark.parametrize("text", ["rate", "= 1", "a = 1\nb"])
def test_a_line_that_gives_no_name_a_value_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not `name = value`"):
        changes_of(text)


def test_a_name_with_two_values_has_none() -> None:
    with pytest.raises(ValueError, match="`a` is set twice"):
        changes_of("a = 1\na = 2")


def test_what_was_typed_is_begun_or_said_to_be_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[object, ...]] = []
    monkeypatch.setattr(replay_control, "begin_elsewhere", lambda *asked, folder: begun.append(asked))
    settings = Settings(home=tmp_path)
    control = ReplayControl(settings, ExecutionId("ex_1"), [Step("fit", ())])

    control.run("fit", "rate = 0.1")
    control.run("other", "")
    unknown = control.problem
    control.run("fit", "rate")

    assert begun == [(settings, "ex_1", "fit", {"rate": 0.1})]
    assert (unknown, control.problem) == (
        "choose the checkpoint to begin at",
        "`rate` is not `name = value`",
    )


def test_without_widgets_the_line_to_type_is_said() -> None:
    steps = [Step("load", ()), Step("fit", ("rows",)), Step("fit#2", ())]

    said = what_to_type("ex_1", steps)

    assert said.splitlines() == [
        "kitaru: replay `ex_1` from one of its checkpoints:",
        "  load",
        "  fit  reads rows",
        "  fit#2",
        "  %replay ex_1 --from 'fit#2' --set rows=…",
    ]
    assert "nothing to replay" in what_to_type("ex_1", [])
