"""What an execution may cost: what was asked for, said in an earlier attempt, or set."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import BudgetWarning
from kitaru_nb.llm.budget import Budget
from kitaru_nb.model.execution import ExecutionId

__all__ = ["SET", "Allowance"]

SET = "budget.set"
"""The kind of event that says what an execution may cost from then on."""

_SETTING = "setting"


class Allowance:
    """The limit of one execution, on record where somebody gave it.

    What this attempt asked for counts before what an earlier one was told, and that before the
    setting. Its book decides when a thread may call.

    Args:
        engine: Journal and settings.
        execution: Gives the execution, taking the lease if need be.
        asked: What this attempt asked for, in US dollars.
        is_empty: Whether no result is on record.
        called: Another execution calls this one, and the setting limits the two together, there.

    Attributes:
        budget: What is left of it; None without a limit, and before `set_for`.
        joined: Another process of the attempt has set it already.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        execution: Callable[[], ExecutionId],
        asked: float | None,
        is_empty: Callable[[], bool],
        called: bool = False,
    ) -> None:
        self.budget: Budget | None = None
        self.joined = False
        self._engine = engine
        self._execution = execution
        self._asked = asked
        self._is_empty = is_empty
        self._called = called

    def ask(self, dollars: float) -> None:
        """This attempt asks for another limit; `set_for` puts it in force."""
        self._asked = dollars

    def set_for(self, execution: ExecutionId) -> None:
        """Make the execution's budget, with what it has cost so far."""
        limit = self._limit(execution, self._engine.settings.budget)
        if limit is None:
            self.budget = None
            return
        if self._asked is not None and self._said(execution)[0] != limit:
            self._engine.journal.record_event(execution, SET, {"limit": limit})
        self.budget = Budget(
            limit,
            spent=self._engine.journal.execution(execution).cost or 0.0,
            name="the budget of the execution",
            raised=f"kitaru-nb resume {execution} --budget {{}}".format,
            warn=self.warn,
        )

    def raised(self, setting: float | None) -> None:
        """Take in that somebody has raised the limit while this ran; `setting` is what the setting is now."""
        limit = None if self.budget is None else self._limit(self._execution(), setting)
        if self.budget is not None and limit is not None:
            self.budget.raise_to(limit)

    def _limit(self, execution: ExecutionId, setting: float | None) -> float | None:
        said, by_setting = self._said(execution)
        if self._called:
            said, setting = None if by_setting else said, None
        if self._asked is not None:
            return self._asked
        return setting if said is None or (by_setting and setting is not None) else said

    def keep(self, execution: ExecutionId) -> None:
        """Later attempts have this limit, too, unless told another.

        One that only a setting gave would be gone with the shell it was set in.
        """
        if self.budget is None or self._asked is not None:
            return
        if self._said(execution)[0] != self.budget.limit:
            data = {"limit": self.budget.limit, "by": _SETTING}
            self._engine.journal.record_event(execution, SET, data)

    def warn(self, sentence: str) -> None:
        """A limit is nearly spent: on record, and said where the code runs."""
        self._engine.journal.record_event(self._execution(), "budget.warning", {"message": sentence})
        warnings.warn(f"kitaru: {sentence}", BudgetWarning, stacklevel=2)

    def _said(self, execution: ExecutionId) -> tuple[float | None, bool]:
        """What an earlier attempt was told, and whether only by a setting."""
        journal = self._engine.journal
        if (
            self._is_empty()
            and not self.joined
            and self._asked is None
            and journal.suspended(execution) is None
        ):
            return None, False  # nothing was called yet, so no budget was looked at
        said = [event.data for event in journal.events(execution) if event.kind == SET]
        return (float(said[-1]["limit"]), said[-1].get("by") == _SETTING) if said else (None, False)
