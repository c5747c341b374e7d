"""What every journal must do with claims on steps."""

from __future__ import annotations

import pytest

from kitaru_nb.errors import ConflictError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import CheckpointStatus
from kitaru_nb.model.execution import Attempt, ExecutionStatus, Identity, Owner, current_owner
from kitaru_nb.testing.examples import a_draft, dead_owner, unseen_owner

__all__ = ["ClaimPromises"]

_STEP = "grid:1:load"


class ClaimPromises:
    """The promises of `Journal.claim_step` and its like, each a test."""

    def test_a_step_is_claimed_by_one_of_two(self, journal: Journal, other: Journal) -> None:
        first, second = _point(journal, 1), _point(other, 2)

        assert journal.claim_step(first, _STEP, {}) is None
        assert other.claim_step(second, _STEP, {}) == first.execution
        assert other.claim_step(second, "grid:1:another", {}) is None
        assert journal.claim_step(first, _STEP, {}) is None  # asked once more it still has it
        assert other.claimed_by(_STEP) == first.execution
        assert journal.claimed_by("grid:1:nobodys") is None

    @pytest.mark.parametrize("status", [CheckpointStatus.COMPLETED, CheckpointStatus.FAILED])
    def test_a_claim_ends_with_the_next_cell(
        self, journal: Journal, other: Journal, status: CheckpointStatus
    ) -> None:
        first, second = _point(journal, 1), _point(other, 2)
        journal.claim_step(first, _STEP, {})
        error = {"ename": "E", "evalue": "v"} if status is CheckpointStatus.FAILED else None

        journal.commit(first, a_draft(status=status, error=error))

        assert other.claimed_by(_STEP) is None
        assert other.claim_step(second, _STEP, {}) is None
        assert journal.claim_step(first, _STEP, {}) == second.execution

    def test_a_claim_ends_with_its_attempt(self, journal: Journal, other: Journal) -> None:
        first, second = _point(journal, 1), _point(other, 2)
        journal.claim_step(first, _STEP, {})

        journal.finish(first, ExecutionStatus.WAITING)
        went_on, _ = journal.start(_identity(1), owner=current_owner())

        assert went_on.execution == first.execution
        assert other.claimed_by(_STEP) is None
        assert other.claim_step(second, _STEP, {}) is None

    def test_the_claim_of_a_process_that_died_stands_in_nobodys_way(self, journal: Journal) -> None:
        dead, living = _point(journal, 1, owner=dead_owner()), _point(journal, 2)

        journal.claim_step(dead, _STEP, {})

        assert journal.claimed_by(_STEP) is None
        assert journal.claim_step(living, _STEP, {}) is None

    def test_a_claim_from_another_host_stands_while_its_lease_runs(self, journal: Journal) -> None:
        elsewhere, here = _point(journal, 1, owner=unseen_owner()), _point(journal, 2)

        journal.claim_step(elsewhere, _STEP, {})

        assert journal.claim_step(here, _STEP, {}) == elsewhere.execution

    def test_only_who_has_a_claim_gives_it_back(self, journal: Journal, other: Journal) -> None:
        first, second = _point(journal, 1), _point(other, 2)
        journal.claim_step(first, _STEP, {})

        other.unclaim_step(second, _STEP)
        kept = other.claimed_by(_STEP)
        journal.unclaim_step(first, _STEP)
        journal.unclaim_step(first, _STEP)

        assert kept == first.execution
        assert journal.claimed_by(_STEP) is None
        assert other.claim_step(second, _STEP, {}) is None

    def test_who_was_superseded_claims_nothing(self, journal: Journal) -> None:
        first = _point(journal, 1)
        journal.start(_identity(1), owner=current_owner(), take_over=True)

        with pytest.raises(ConflictError) as refused:
            journal.claim_step(first, _STEP, {})

        assert refused.value.kind == "superseded"
        assert journal.claimed_by(_STEP) is None

    def test_a_claim_is_on_record_with_what_was_told(self, journal: Journal) -> None:
        first = _point(journal, 1)

        journal.claim_step(first, _STEP, {"checkpoint": "load", "grid": "grid:1"})

        event = journal.events(first.execution)[-1]
        assert event.kind == "step.claimed"
        assert (event.data["checkpoint"], event.data["grid"]) == ("load", "grid:1")

    def test_steps_are_found_among_executions_with_a_tag(self, journal: Journal) -> None:
        tagged, untagged = _point(journal, 1, tags=["nightly", "grid:1"]), _point(journal, 2)
        elsewhere, _ = journal.start(Identity(notebook="/b.ipynb"), owner=current_owner(), tags=["grid:1"])
        found = journal.commit(tagged, a_draft())
        for attempt in (untagged, elsewhere):
            journal.commit(attempt, a_draft())
        key, notebook = found.draft.key, _identity(1).notebook

        assert journal.find(key, notebook=notebook, tag="grid:1") == [found]
        assert journal.find(key, notebook=notebook, tag="grid:2") == []
        assert len(journal.find(key, notebook=notebook)) == 2


def _identity(point: int) -> Identity:
    return Identity(notebook="/home/ana/train.ipynb", output=f"{point}.ipynb", parameters={"point": point})


def _point(
    journal: Journal, point: int, *, owner: Owner | None = None, tags: list[str] | None = None
) -> Attempt:
    attempt, _ = journal.start(_identity(point), owner=owner or current_owner(), tags=tags or [])
    return attempt
