"""A saved value is called what whoever reads the whole record calls it, at a cost that stays the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest

from kitaru_nb import checkpoint, load, once, save
from kitaru_nb.engine.context import inside
from kitaru_nb.engine.labels import Labels
from kitaru_nb.engine.primitives import last_saved
from kitaru_nb.engine.refs import checkpoint_names, named_steps
from kitaru_nb.model.checkpoint import CheckpointStatus, Group, StepKind
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.testing import a_draft, a_stored_value
from tests.unit.engine.test_calls import attempts
from tests.unit.engine.turns import Attempts

__all__ = ["attempts"]

NAMES = ("a", "b")


@pytest.mark.parametrize("seed", range(12))
def test_labels_are_those_of_a_look_at_the_whole_record(attempts: Attempts, seed: int) -> None:
    """Cells, calls that fail and are made good, results, and attempts, in any order."""
    chance, journal = random.Random(seed), attempts.engine.journal
    identity = Identity(notebook="/n.ipynb")
    attempt, _ = journal.start(identity, owner=current_owner())
    artifact, location = a_stored_value()
    labels, parent = Labels(journal), None

    for number in range(60):
        name, what = chance.choice(NAMES), chance.choice(["cell", "call", "failed", "saved", "note", "again"])
        fields: dict[str, Any] = {"groups": (Group((name,), artifact.digest, artifact.digest),)}
        if what == "again":
            journal.finish(attempt, ExecutionStatus.INTERRUPTED)
            attempt = journal.resume(attempt.execution, owner=current_owner())
            continue
        if what == "cell":
            status = chance.choice([CheckpointStatus.COMPLETED, CheckpointStatus.FAILED])
            parent = chance.choice([None, parent])
            fields |= {"parent": parent, "step": f"cell:{chance.randrange(4)}", "status": status}
        elif what in ("call", "failed"):
            status = CheckpointStatus.FAILED if what == "failed" else CheckpointStatus.COMPLETED
            fields |= {"kind": StepKind.CALL, "scope": f"flow/{chance.randrange(3)}", "status": status}
        elif what == "saved":
            fields |= {"kind": chance.choice([StepKind.VALUE, StepKind.ONCE, StepKind.RESULT])}
        else:
            fields = {"kind": StepKind.VALUE}
        step = journal.commit(attempt, a_draft(name, **fields), artifacts=[artifact], locations=[location])
        if what == "cell" and step.draft.status is CheckpointStatus.COMPLETED:
            parent = step.seq
        if number % 3 == 0:
            steps = named_steps(journal, attempt.execution)
            expected = dict(zip((each.seq for each in steps), checkpoint_names(steps), strict=True))
            assert {each.seq: labels.label(each) for each in steps} == expected


def test_another_execution_is_numbered_by_itself(attempts: Attempts) -> None:
    with attempts.attempt_at("tests:one") as scope:
        save("a", 1), save("a", 2)
        labels, one = scope.book.labels, scope.book.results()
    with attempts.attempt_at("tests:two") as scope:
        save("a", 3)
        two = scope.book.results()

    assert [labels.label(each) for each in (*one, *two, *one)] == ["a", "a#2", "a", "a", "a#2"]


def test_each_save_reads_only_what_was_added_since_the_last(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, read = attempts.engine.journal, list[int]()

    def counted(method: Any) -> Any:
        def call(*args: Any, **options: Any) -> Sequence[Any]:
            found: Sequence[Any] = method(*args, **options)
            read.append(len(found))
            return found

        return call

    with attempts.attempt():
        save("draft", "first")
        for method in ("steps_within", "checkpoints", "events", "executions"):
            monkeypatch.setattr(journal, method, counted(getattr(journal, method)))
        for number in range(50):
            save("draft", f"text {number}")
            assert last_saved("draft") is not None

    assert sum(read) <= 4 * 50


def test_a_value_saved_again_in_a_later_attempt_has_the_reference_it_had(attempts: Attempts) -> None:
    def body() -> list[str]:
        once("other", lambda: 1)
        return [save("draft", text) for text in ("x", "y", "x")]

    first, second, _ = attempts.twice(body)

    assert first == second
    assert [ref.split("/")[1] for ref in first] == ["draft", "draft#2", "draft#3"]


def test_what_was_saved_last_is_told_up_to_where_the_attempt_is(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARU_NB_HOME", str(attempts.engine.settings.home))

    @checkpoint
    def inner(text: str) -> str:
        return save("draft", text)

    def body() -> list[str | None]:
        found = [last_saved("draft")]
        for text in ("x", "y"):
            inner(text)
            found.append(last_saved("draft"))
        return [*found, save("draft", "z"), last_saved("draft")]

    first, second, _ = attempts.twice(body)

    assert first == second
    assert [ref and ref.split("/")[1] for ref in first] == [None, "draft", "draft#2", "draft#3", "draft#3"]
    with attempts.attempt():
        inner("x")
        assert load(str(last_saved("draft"))) == "x"


def test_a_value_whose_commit_was_undone_is_not_the_last_one(attempts: Attempts) -> None:
    """What another process recorded meanwhile has the number that the undone one had."""
    with attempts.attempt() as scope:
        book = scope.book

        def half() -> None:
            with book.holding():
                save("draft", "undone")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            half()
        with inside(book.scope("cell:other")):
            assert last_saved("draft") is None
        with closing(open_engine(attempts.engine.settings)) as other:
            beside = a_draft("other", kind=StepKind.CALL, scope="flow")
            other.journal.commit(book.attempt, other.trust.signed(beside, book.execution))
        assert save("draft", "stored").split("/")[1] == "draft"
