"""Answers from a form in a cell's output: recorded like any other, and told back. No widgets here.

The kernel is idle while somebody looks at the form. It may be gone by the time of the answer, or
have begun another execution: so the record is opened for each answer, as the command line does it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from kitaru_nb.engine.answer import give_answer
from kitaru_nb.engine.person import this_person
from kitaru_nb.errors import ConflictError, KitaruError, UsageError
from kitaru_nb.model.schema import misfits
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.wait import DEADLINE, Wait, WaitStatus
from kitaru_nb.notebook.fields import Field, answer_of, fields_of, is_yes_or_no, problems_at
from kitaru_nb.stacks.open import open_engine

__all__ = ["SOURCE", "Answering", "Reply", "told"]

SOURCE = "widget"
_GO_ON = "Run the cell again to go on."


@dataclass(frozen=True, slots=True)
class Reply:
    """What a form is told.

    Attributes:
        wait: As it stands now; None where the record could not be read.
        errors: What is wrong at each field, by JSON pointer.
        problem: What else went wrong.
    """

    wait: Wait | None = None
    errors: Mapping[str, str] | None = None
    problem: str = ""


class Answering:
    """One question as it was asked, and how it is answered.

    What it is about never comes from the front end: an answer can be meant for this question alone.

    Args:
        settings: Where it is on record.
        wait: The question.
    """

    def __init__(self, settings: Settings, wait: Wait) -> None:
        self._settings = settings
        self.wait = wait
        self.fields: tuple[Field, ...] = () if is_yes_or_no(wait.schema) else fields_of(wait.schema or {})

    def look(self) -> Reply:
        """How the wait stands now."""
        try:
            with closing(open_engine(self._settings, read_only=True)) as engine:
                return Reply(engine.journal.wait(self.wait.address))
        except KitaruError as error:
            return Reply(problem=str(error))

    def give(self, typed: Any, *, reason: Any = None) -> Reply:
        """Record the answer that was typed, under the name of this kernel's user.

        Whoever was first has answered: the reply tells who, and what.

        Args:
            typed: Yes or no, or by JSON pointer what stands in each field.
            reason: What goes on record with it; blank for nothing.
        """
        if self.fields:
            answer, errors = answer_of(self.fields, typed if isinstance(typed, Mapping) else {})
            if errors:
                return Reply(self.wait, errors)
        else:
            answer = typed
        said = reason.strip() if isinstance(reason, str) else ""
        try:
            with closing(open_engine(self._settings)) as engine:
                return Reply(
                    give_answer(
                        engine.journal,
                        self.wait.address,
                        answer,
                        by=this_person(),
                        source=SOURCE,
                        binding=self.wait.binding,
                        reason=said or None,
                    )
                )
        except UsageError as error:
            if error.kind != "invalid-answer":
                return Reply(problem=str(error))
            return Reply(self.wait, problems_at(self.fields, misfits(answer, self.wait.schema or {})))
        except ConflictError as error:
            found = self.look()
            is_told = found.wait is not None and told(found.wait, self.wait.binding) is not None
            return found if is_told else Reply(found.wait, problem=str(error))
        except KitaruError as error:
            return Reply(problem=str(error))


def told(wait: Wait, binding: str | None) -> dict[str, str] | None:
    """What a form says in place of its fields once there is nothing to answer; None while there is.

    Args:
        wait: As it stands now.
        binding: Of the question that the form asks.
    """
    if wait.binding != binding:
        said = f"It was answered: {_answer(wait)}. " if wait.status is WaitStatus.ANSWERED else ""
        return {
            "status": "superseded",
            "head": "This question has changed since it was shown here.",
            "rest": f"{said}Run the cell again to see it.",
        }
    match wait.status:
        case WaitStatus.PENDING:
            return None
        case WaitStatus.EXPIRED:
            return {"status": "expired", "head": "Nobody answered in time.", "rest": "Run the cell again."}
        case WaitStatus.ANSWERED:
            return {"status": "answered", "head": _head(wait), "rest": f"{_who(wait)}. {_GO_ON}"}


def _answer(wait: Wait) -> str:
    return f"{_head(wait)} {_who(wait)}"


def _head(wait: Wait) -> str:
    if is_yes_or_no(wait.schema):
        return "Approved" if wait.answer is True else "Rejected"
    return wait.answer if isinstance(wait.answer, str) else json.dumps(wait.answer, ensure_ascii=False)


def _who(wait: Wait) -> str:
    by = (
        "by default, since nobody answered in time"
        if wait.answered_by == DEADLINE
        else f"by {wait.answered_by}"
    )
    when = "" if wait.answered_at is None else f", {wait.answered_at:%Y-%m-%d %H:%M} UTC"
    reason = f" ({wait.reason})" if wait.reason else ""
    return f"{by}{reason}{when}"
