"""Answers from a form: recorded, told back, and never for another question."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.person import this_person
from kitaru_nb.model.execution import Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.wait import DEADLINE, Question, Wait, WaitStatus, binding_of
from kitaru_nb.notebook.answering import Answering, told
from kitaru_nb.stacks.open import open_engine

YES_OR_NO = {"type": "boolean"}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with closing(open_engine(Settings(home=tmp_path / "home"))) as found:
        yield found


def ask(engine: Engine, text: str = "Publish?", schema: dict[str, object] | None = None) -> Wait:
    schema = schema or YES_OR_NO
    attempt, _ = engine.journal.start(Identity(notebook="n.ipynb"), owner=current_owner())
    question = Question("publish", "cell:a", 0, text, schema, binding_of(text, schema, None))
    return engine.journal.ask(attempt, question)[0]


def test_an_answer_is_recorded_under_the_name_of_this_user(engine: Engine) -> None:
    wait = ask(engine)

    reply = Answering(engine.settings, wait).give(True, reason="  looks right ")

    found = engine.journal.wait(wait.address)
    assert reply.wait == found
    assert (found.answer, found.answered_by, found.source) == (True, this_person(), "widget")
    assert found.reason == "looks right"


@pytest.mark.parametrize("typed", [None, "true", 1, {}, {"": True}, [True]])
def test_what_is_neither_yes_nor_no_is_refused(engine: Engine, typed: object) -> None:
    wait = ask(engine)

    reply = Answering(engine.settings, wait).give(typed)

    assert reply.errors
    assert engine.journal.wait(wait.address).status is WaitStatus.PENDING


def test_who_was_first_is_told_whether_or_not_the_answer_is_the_same(engine: Engine) -> None:
    wait = ask(engine)
    engine.journal.answer_wait(wait.address, answer=False, by="ana@lab", source="cli", reason="no")

    for typed in (True, False):
        reply = Answering(engine.settings, wait).give(typed)
        assert reply.wait is not None
        shown = told(reply.wait, wait.binding)
        assert shown is not None
        assert shown["head"] == "Rejected"
        assert "by ana@lab" in shown["rest"]


def test_a_question_that_has_changed_since_is_not_answered(engine: Engine) -> None:
    wait = ask(engine)
    attempt = engine.journal.resume(wait.execution, owner=current_owner(), take_over=True)
    new = Question("publish", "cell:a", 0, "Delete?", YES_OR_NO, binding_of("Delete?", YES_OR_NO, None))
    engine.journal.ask(attempt, new)

    reply = Answering(engine.settings, wait).give(True)

    assert engine.journal.wait(wait.address).status is WaitStatus.PENDING
    assert reply.wait is not None
    assert (told(reply.wait, wait.binding) or {})["status"] == "superseded"


def test_an_answer_to_the_changed_question_is_not_taken_for_one_to_the_old(engine: Engine) -> None:
    wait = ask(engine)
    attempt = engine.journal.resume(wait.execution, owner=current_owner(), take_over=True)
    new = Question("publish", "cell:a", 0, "Delete?", YES_OR_NO, binding_of("Delete?", YES_OR_NO, None))
    engine.journal.ask(attempt, new)
    engine.journal.answer_wait(wait.address, answer=True, by="ana@lab", source="cli")

    reply = Answering(engine.settings, wait).give(True)

    assert reply.wait is not None
    shown = told(reply.wait, wait.binding) or {}
    assert shown["status"] == "superseded"
    assert "Approved by ana@lab" in shown["rest"]


def test_a_record_that_cannot_be_read_is_a_problem_that_the_form_shows(
    engine: Engine, tmp_path: Path
) -> None:
    wait = ask(engine)
    elsewhere = Settings(home=tmp_path / "nothing")

    for reply in (Answering(elsewhere, wait).look(), Answering(elsewhere, wait).give(True)):
        assert reply.problem
        assert reply.wait is None


def test_what_is_over_is_said_in_words() -> None:
    wait = Wait("ex/a", "ex", "a", 1, WaitStatus.PENDING, schema=YES_OR_NO, binding="b")  # type: ignore[arg-type]
    when = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
    answered = replace(
        wait, status=WaitStatus.ANSWERED, schema={"type": "object"}, answer={"é": 1}, answered_at=when
    )

    assert told(wait, "b") is None
    assert told(replace(wait, status=WaitStatus.EXPIRED), "b") == {
        "status": "expired",
        "head": "Nobody answered in time.",
        "rest": "Run the cell again.",
    }
    assert told(replace(answered, answered_by="ana"), "b") == {
        "status": "answered",
        "head": '{"é": 1}',
        "rest": "by ana, 2026-03-01 12:05 UTC. Run the cell again to go on.",
    }
    default = told(replace(answered, answered_by=DEADLINE), "b") or {}
    assert default["rest"].startswith("by default, since nobody answered in time")
