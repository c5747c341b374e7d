"""What people type to name a thing on record, on a real journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru_nb.engine.refs import (
    Ref,
    checkpoint_names,
    find_artifact,
    find_execution,
    find_step,
    parse_ref,
    steps,
)
from kitaru_nb.errors import NotFoundError, UsageError
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.checkpoint import CheckpointStatus, Group
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.testing import a_draft, a_stored_value

NOTEBOOK = Identity(notebook="/home/ana/train.ipynb")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal.db")
    yield journal
    journal.close()


def start(journal, notebook="/home/ana/train.ipynb", **options):
    return journal.start(Identity(notebook=notebook), owner=current_owner(), **options)[0]


def commit_value(journal, attempt, name="train", names=("model",), content=b"value", **changes):
    artifact, location = a_stored_value(content)
    draft = a_draft(name, groups=(Group(tuple(names), artifact.digest, artifact.digest),), **changes)
    return journal.commit(attempt, draft, artifacts=[artifact], locations=[location]), artifact


def test_a_ref_is_read_back_as_it_is_written() -> None:
    ref = parse_ref("latest/train#2/model")

    assert ref == Ref("latest", "train#2", "model")
    assert str(ref) == "latest/train#2/model"


def test_a_digest_is_a_ref_in_either_case() -> None:
    assert parse_ref("AB" * 32) == "ab" * 32


@pytest.mark.parametrize(
    "text", ["", "train", "latest/train", "latest//model", "/train/model", "latest/train/"]
)
def test_what_has_neither_form_says_which_forms_there_are(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_ref(text)

    assert caught.value.kind == "bad-ref"
    assert "EXECUTION/CHECKPOINT/NAME" in caught.value.hint


def test_an_execution_is_named_by_its_id_the_start_of_it_or_latest(journal: SqliteJournal) -> None:
    attempt = start(journal)
    journal.finish(attempt, ExecutionStatus.COMPLETED)
    whole = attempt.execution

    for text in (whole, whole[:12], whole.removeprefix("ex_")[:12], whole.upper(), "latest"):
        assert find_execution(journal, text).id == whole


def test_a_start_that_several_ids_share_is_refused_with_a_longer_one(journal: SqliteJournal) -> None:
    ids = [start(journal, f"/{n}.ipynb").execution for n in range(3)]

    with pytest.raises(UsageError) as caught:
        find_execution(journal, "ex_0")

    assert caught.value.kind == "ambiguous-execution"
    suggested = caught.value.hint.rpartition(" ")[2]
    assert sum(text.startswith(suggested) for text in ids) == 1


def test_an_unknown_execution_is_not_guessed(journal: SqliteJournal) -> None:
    start(journal)

    for text in ("ex_zzzz", "", "best"):
        with pytest.raises(NotFoundError) as caught:
            find_execution(journal, text)
        assert caught.value.kind == "unknown-execution"


def test_a_tag_is_no_execution_and_says_how_to_go_on_with_those_that_have_it(journal: SqliteJournal) -> None:
    for number in (1, 2):
        journal.start(Identity(notebook=f"/{number}.ipynb"), owner=current_owner(), tags=["grid:ab"])

    with pytest.raises(NotFoundError, match="the tag of 2") as caught:
        find_execution(journal, "grid:ab")

    assert caught.value.kind == "unknown-execution"
    assert "kitaru-nb resume --all --tag grid:ab" in caught.value.hint


def test_the_latest_is_the_newest_that_no_other_calls(journal: SqliteJournal) -> None:
    start(journal)
    begun = start(journal, notebook="/home/ana/second.ipynb").execution
    child = Identity(flow="agent:child", within=f"{begun}/flow")
    journal.start(child, owner=current_owner(), parent=begun)

    assert find_execution(journal, "latest").id == begun


def test_in_an_empty_journal_latest_says_how_to_begin(journal: SqliteJournal) -> None:
    with pytest.raises(NotFoundError, match="nothing has been recorded yet"):
        find_execution(journal, "latest")


def test_a_step_that_ran_again_is_listed_once_with_its_latest_record(journal: SqliteJournal) -> None:
    attempt = start(journal)
    load = journal.commit(attempt, a_draft("load", step="cell:a"))
    first = journal.commit(attempt, a_draft("train", step="cell:b", parent=load.seq))
    again = journal.commit(attempt, a_draft("train", step="cell:b", parent=first.seq, duration=9.0))

    found = steps(journal, attempt.execution)

    assert [step.seq for step in found] == [load.seq, again.seq]


def test_only_the_line_of_the_newest_attempt_stands(journal: SqliteJournal) -> None:
    attempt = start(journal)
    load = journal.commit(attempt, a_draft("load", step="cell:a"))
    journal.commit(attempt, a_draft("old", step="cell:gone", parent=load.seq))
    failed = a_draft("train", step="cell:b", parent=load.seq, status=CheckpointStatus.FAILED)
    journal.commit(attempt, failed)
    journal.finish(attempt, ExecutionStatus.INTERRUPTED)
    attempt = start(journal)
    journal.commit_restored(
        attempt, [a_draft("load", step="cell:a", status=CheckpointStatus.RESTORED, origin=load.seq)]
    )

    found = steps(journal, attempt.execution)

    assert [(step.draft.name, step.draft.status) for step in found] == [("load", CheckpointStatus.RESTORED)]


def test_a_line_that_began_in_another_execution_lists_only_its_own_steps(journal: SqliteJournal) -> None:
    earlier = start(journal)
    load = journal.commit(earlier, a_draft("load", step="cell:a"))
    journal.finish(earlier, ExecutionStatus.COMPLETED)
    attempt = start(journal)
    train = journal.commit(attempt, a_draft("train", step="cell:b", parent=load.seq))

    found = steps(journal, attempt.execution)

    assert [step.seq for step in found] == [train.seq]


def test_a_failure_stands_until_the_step_is_made_good(journal: SqliteJournal) -> None:
    attempt = start(journal)
    load = journal.commit(attempt, a_draft("load", step="cell:a"))
    failed = a_draft("train", step="cell:b", parent=load.seq, status=CheckpointStatus.FAILED)
    journal.commit(attempt, failed)
    journal.commit(attempt, a_draft("plot", step="cell:c", parent=load.seq))

    before = [step.draft.status.value for step in steps(journal, attempt.execution)]
    journal.commit(attempt, a_draft("train", step="cell:b", parent=load.seq))
    after = {step.draft.name: step.draft.status.value for step in steps(journal, attempt.execution)}

    assert "failed" in before
    assert after["train"] == "completed"


def test_steps_with_one_name_are_told_apart_by_number(journal: SqliteJournal) -> None:
    attempt = start(journal)
    one = journal.commit(attempt, a_draft("fit", step="cell:a"))
    two = journal.commit(attempt, a_draft("fit", step="cell:b", parent=one.seq))
    execution = find_execution(journal, "latest")

    assert checkpoint_names([one, two]) == ["fit", "fit#2"]
    assert find_step(journal, execution, "fit").seq == one.seq
    assert find_step(journal, execution, "fit#1").seq == one.seq
    assert find_step(journal, execution, "fit#2").seq == two.seq


def test_an_unknown_checkpoint_lists_the_ones_there_are_and_the_closest(journal: SqliteJournal) -> None:
    attempt = start(journal)
    journal.commit(attempt, a_draft("train"))

    with pytest.raises(NotFoundError, match="it has `train`") as caught:
        find_step(journal, find_execution(journal, "latest"), "trian")

    assert (caught.value.kind, caught.value.hint) == ("unknown-checkpoint", "train")


def test_a_value_is_found_by_ref_by_bare_name_and_by_digest(journal: SqliteJournal) -> None:
    _, artifact = commit_value(journal, start(journal), names=("model", "weights"))

    by_ref = find_artifact(journal, "latest/train/weights")
    by_name = find_artifact(journal, "model")
    by_digest = find_artifact(journal, artifact.digest)

    assert by_ref.artifact == by_name.artifact == by_digest.artifact == artifact
    assert (by_ref.name, by_ref.names) == ("weights", ("model", "weights"))
    assert by_digest.pick({"model": 1, "weights": 2}) == {"model": 1, "weights": 2}
    assert by_ref.pick({"model": 1, "weights": 2}) == 2


def test_a_bare_name_is_its_newest_value(journal: SqliteJournal) -> None:
    attempt = start(journal)
    first, _ = commit_value(journal, attempt, "load", content=b"old")
    _, newest = commit_value(journal, attempt, "train", content=b"new", parent=first.seq)

    assert find_artifact(journal, "model").artifact == newest


def test_a_value_that_another_checkpoint_stored_is_pointed_to(journal: SqliteJournal) -> None:
    attempt = start(journal)
    load, _ = commit_value(journal, attempt, "load", names=("rows",), step="cell:a")
    journal.commit(attempt, a_draft("train", parent=load.seq, step="cell:b"))

    with pytest.raises(NotFoundError, match="checkpoint `load` did") as caught:
        find_artifact(journal, "latest/train/rows")

    assert caught.value.hint == "latest/load/rows"


def test_a_misspelt_value_suggests_the_closest(journal: SqliteJournal) -> None:
    commit_value(journal, start(journal))

    with pytest.raises(NotFoundError) as caught:
        find_artifact(journal, "modle")

    assert (caught.value.kind, caught.value.hint) == ("unknown-value", "model")


def test_an_unknown_digest_is_no_error_of_the_disk(journal: SqliteJournal) -> None:
    with pytest.raises(NotFoundError) as caught:
        find_artifact(journal, "0" * 64)

    assert caught.value.kind == "unknown-artifact"
