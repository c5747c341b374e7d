"""What could not be put on record does not begin: nothing is paid for in vain, and it goes on when it can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb import checkpoint, once
from kitaru_nb.errors import ConflictError, KitaruError, StoreError
from kitaru_nb.model.execution import Identity, current_owner
from tests.unit.engine.test_meter import answer, asked, begun
from tests.unit.engine.turns import Attempts


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(tmp_path / "home")


def full(*_: object, **__: object) -> None:
    raise StoreError("the disk is full", kind="disk-full", hint="make room")


def _called(attempts: Attempts, number: int) -> int:
    @checkpoint
    def work(item: int) -> int:
        attempts.ran.append(item)
        return item

    return work(number)


def _called_async(attempts: Attempts, number: int) -> int:
    @checkpoint
    async def work(item: int) -> int:
        attempts.ran.append(item)
        return item

    return asyncio.run(work(number))


def _submitted(attempts: Attempts, number: int) -> int:
    @checkpoint
    def work(item: int) -> int:
        attempts.ran.append(item)
        return item

    return work.submit(number).result()


def _once(attempts: Attempts, number: int) -> int:
    def charge() -> int:
        attempts.ran.append(number)
        return number

    return once(f"charge {number}", charge)


def _once_async(attempts: Attempts, number: int) -> int:
    async def charge() -> int:
        attempts.ran.append(number)
        return number

    async def ask() -> int:
        return await once(f"charge {number}", charge)

    return asyncio.run(ask())


def _asked_a_model(attempts: Attempts, number: int) -> int:
    ticket = begun(asked(str(number)))
    attempts.ran.append(number)
    ticket.done(answer(str(number)))
    return number


WAYS = [_called, _called_async, _submitted, _once, _once_async, _asked_a_model]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_begins_where_there_is_no_room(
    attempts: Attempts, way: Callable[[Attempts, int], int]
) -> None:
    room = attempts.engine
    attempts.engine = replace(room, check=full)

    with attempts.attempt(), pytest.raises(StoreError, match="the disk is full"):
        way(attempts, 1)
    begun_in_vain = list(attempts.ran)
    attempts.engine = room
    with attempts.attempt():
        found = way(attempts, 1)

    assert begun_in_vain == []
    assert found == 1


@pytest.mark.parametrize("way", WAYS)
def test_after_a_write_that_failed_nothing_begins_until_one_works(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch, way: Callable[[Attempts, int], int]
) -> None:
    journal = attempts.engine.journal
    with attempts.attempt():
        way(attempts, 1)
        with monkeypatch.context() as patch:
            patch.setattr(journal, "commit", full)  # such as a disk that has room and cannot be synced
            patch.setattr(journal, "heartbeat", full)
            refused = [_refused(way, attempts, number) for number in (2, 3, 4)]
        found = [way(attempts, number) for number in (2, 3, 4)]

    assert refused == ["disk-full"] * 3
    assert attempts.ran == [1, 2, 2, 3, 4], "only what found out ran in vain"
    assert found == [2, 3, 4]


def test_code_that_goes_on_after_a_loss_has_no_result_while_nothing_can_be_recorded(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    @checkpoint
    def batch() -> list[str]:
        found = []
        for number in (1, 2):
            try:
                found.append(str(_called(attempts, number)))
            except StoreError as error:
                found.append(error.kind)
        return found

    journal, commit = attempts.engine.journal, attempts.engine.journal.commit

    def commit_until_it_ran(*args: Any, **options: Any) -> Any:
        return (full if attempts.ran else commit)(*args, **options)

    with attempts.attempt():
        with monkeypatch.context() as patch:
            patch.setattr(journal, "heartbeat", full)
            patch.setattr(journal, "commit", commit_until_it_ran)
            with pytest.raises(StoreError, match="the disk is full"):
                batch()
        found = batch()

    assert found == ["1", "2"]


def test_who_was_superseded_begins_nothing_more(attempts: Attempts) -> None:
    with attempts.attempt():
        _called(attempts, 1)
        attempts.engine.journal.start(Identity(flow="tests:flow"), owner=current_owner(), take_over=True)
        refused = [_refused(_called, attempts, number) for number in (2, 3, 4)]

    assert refused == ["superseded"] * 3
    assert attempts.ran == [1, 2]


def test_an_error_of_another_kind_makes_no_loss_forgotten(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter(
        [StoreError("the disk is full", kind="disk-full", hint="make room"), OSError("no such thing")]
    )

    def commit(*_: object, **__: object) -> None:
        raise next(said)

    journal = attempts.engine.journal
    with attempts.attempt(), monkeypatch.context() as patch:
        patch.setattr(journal, "commit", commit)
        refused = [_refused(_called, attempts, 1)]
        with pytest.raises(OSError, match="no such thing"):
            _called(attempts, 2)
        patch.setattr(journal, "heartbeat", full)
        refused.append(_refused(_called, attempts, 3))

    assert refused == ["disk-full"] * 2
    assert attempts.ran == [1, 2]


def _refused(way: Callable[[Attempts, int], Any], attempts: Attempts, number: int) -> str:
    with pytest.raises(KitaruError) as error:
        way(attempts, number)
    assert isinstance(error.value, (StoreError, ConflictError))
    return error.value.kind
