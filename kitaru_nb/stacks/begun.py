"""Who vouches for a run: what may go on with nobody having named it.

To go on with a run is to run its notebook. Of a run that has steps on record their signatures say whose
it is. One that died in its first cell has none, and any row in a store that somebody else wrote can say
that there was such a run, of whatever notebook: so its beginning is signed, too.
"""

from __future__ import annotations

from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.suspensions import is_trusted_stop
from kitaru_nb.engine.trust import Standing
from kitaru_nb.engine.vouching import signed_record, signer_of
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus
from kitaru_nb.stacks.submissions import QUEUED

__all__ = ["is_vouched_for", "note_begun"]

BEGUN = "execution.begun"


def note_begun(engine: Engine, execution: ExecutionId) -> None:
    """Put on record, signed, that whoever works here has begun a run, or goes on with it by name."""
    found = engine.journal.execution(execution)
    if not _is_begun_by_trusted(engine, found):
        told = signed_record(BEGUN, {}, found, engine.trust.keys)
        engine.journal.record_event(execution, BEGUN, told)


def is_vouched_for(engine: Engine, execution: Execution) -> bool:
    """Whether somebody who is trusted here has begun a run, or taken it as far as it is.

    Of one that waits, whether somebody who is trusted suspended it.
    """
    if execution.status is ExecutionStatus.WAITING:
        return is_trusted_stop(engine.journal, execution, engine.trust.keys)
    if _is_begun_by_trusted(engine, execution):
        return True
    journal = engine.journal
    recorded = [*journal.checkpoints(execution.id), *journal.steps_within(execution.id)]
    newest = max(recorded, key=lambda step: step.seq, default=None)
    return newest is not None and engine.trust.standing(newest) is Standing.TRUSTED


def _is_begun_by_trusted(engine: Engine, execution: Execution) -> bool:
    keys = engine.trust.keys
    signers = (
        signer_of(event.kind, event, execution, keys)
        for event in engine.journal.events(execution.id)
        if event.kind in (BEGUN, QUEUED)
    )
    return any(key is not None and keys.trusts(key) for key in signers)
