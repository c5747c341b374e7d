"""Which steps of a line saw another environment, told from their records."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from kitaru_nb.engine.variables_seen import seen_otherwise, value_digest
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.testing import a_draft


def line(*saw: dict[str, str]) -> list[Checkpoint]:
    """Commits, each with the variables that it named and the digests that these may have."""
    drafts = [a_draft(conditions={f"env:{name}": digests for name, digests in step.items()}) for step in saw]
    return [Checkpoint(place, ExecutionId("ex_1"), 1, place, draft) for place, draft in enumerate(drafts, 1)]


def look(steps: list[Checkpoint], *, sets: dict[int, Collection[str] | None] | None = None) -> dict[int, str]:
    """What is found where every variable has the digest `now`; `sets` by `seq`."""
    set_by = (sets or {}).get
    return seen_otherwise(
        steps, now=lambda _name: "now", set_by=lambda checkpoint: set_by(checkpoint.seq, ())
    )


def test_a_step_that_saw_another_value_is_named_with_the_variable() -> None:
    assert look(line({}, {"REGION": "now"}, {"REGION": "then", "ZONE": "now"})) == {2: "REGION"}


def test_what_a_step_has_set_is_no_difference_for_those_after_it() -> None:
    assert look(line({"REGION": "now|set"}, {"REGION": "set"})) == {}


def test_a_variable_that_was_set_where_no_word_names_it_counts_from_there_on() -> None:
    steps = line({}, {"REGION": "set"}, {"REGION": "set", "ZONE": "then"})

    assert look(steps, sets={1: ["REGION"]}) == {2: "ZONE"}


def test_where_it_cannot_be_told_what_was_set_nothing_after_that_is_named() -> None:
    assert look(line({"ZONE": "then"}, {}, {"REGION": "then"}), sets={2: None}) == {0: "ZONE"}


@pytest.mark.parametrize("name", ["SLURM_JOB_ID", "KUBERNETES_PORT", "PATH", "HOSTNAME"])
def test_what_tells_who_runs_it_and_where_does_not_count(name: str) -> None:
    assert look(line({name: "then"})) == {}


def test_a_variable_that_is_not_set_now_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGION", "")
    assert seen_otherwise(line({"REGION": "then"}), now=value_digest, set_by=lambda _: ()) == {0: "REGION"}
    monkeypatch.delenv("REGION")

    assert seen_otherwise(line({"REGION": "then"}), now=value_digest, set_by=lambda _: ()) == {}
