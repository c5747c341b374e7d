"""What the replay control takes, and what it says where there are no widgets."""

from __future__ import annotations

import pytest

from kitaru_nb.notebook.replay_control import Step, changes_of, what_to_type


def test_changes_are_lines_of_names_and_values() -> None:
    assert changes_of("") == []
    assert changes_of(" rate = 0.1 \n\nwait.ok=true\ntext = a = b\n") == [
        "rate=0.1",
        "wait.ok=true",
        "text=a = b",
    ]


@pytest.mark.parametrize("text", ["rate", "= 1", "a = 1\nb"])
def test_a_line_that_gives_no_name_a_value_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not `name = value`"):
        changes_of(text)


def test_without_widgets_the_line_to_type_is_said() -> None:
    steps = [Step("load", ()), Step("fit", ("rows",)), Step("fit#2", ())]

    said = what_to_type("ex_1", steps)

    assert said.splitlines() == [
        "kitaru: replay `ex_1` from one of its checkpoints:",
        "  load",
        "  fit  reads rows",
        "  fit#2",
        "  %replay ex_1 --from fit#2 --set rows=…",
    ]
    assert "nothing to replay" in what_to_type("ex_1", [])
