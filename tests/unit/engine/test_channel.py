"""A mailbox between executions: each message is taken once, and is had again by whom took it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb import channel, log
from kitaru_nb.engine.context import inside
from kitaru_nb.engine.export import export_execution
from kitaru_nb.engine.importing import import_file
from kitaru_nb.engine.lease import Lease
from kitaru_nb.engine.scope import Book
from kitaru_nb.errors import TimedOutError
from kitaru_nb.model.execution import ExecutionStatus, Identity
from tests.unit.engine.test_calls import attempts
from tests.unit.engine.turns import Attempts

__all__ = ["attempts"]


def test_each_message_is_taken_once_and_given_again_in_order(attempts: Attempts) -> None:
    with attempts.attempt_at("tests:sender"):
        for text in ("same", "same", "other"):
            channel("box").send(text)

    def body() -> list[str]:
        return [channel("box").receive(timeout=0) for _ in range(3)]

    assert attempts.twice(body)[:2] == (["same", "same", "other"],) * 2
    with attempts.attempt_at("tests:third"), pytest.raises(TimedOutError):
        channel("box").receive(timeout=0)


def test_what_was_received_is_had_again_where_the_execution_is_imported(
    attempts: Attempts, tmp_path: Path
) -> None:
    with attempts.attempt_at("tests:sender"):
        channel("box").send("message")
    with attempts.attempt():
        channel("box").receive(timeout=0)
    received = attempts.execution.id
    export_execution(attempts.engine, received, tmp_path / "received.kitaru")

    elsewhere = Attempts(tmp_path / "elsewhere")
    with elsewhere.attempt_at("tests:another"):
        log(steps="are numbered otherwise there")
    import_file(elsewhere.engine, tmp_path / "received.kitaru")
    lease = Lease(elsewhere.engine, Identity(flow="tests:flow"))
    lease.take_named(received)
    book = Book(elsewhere.engine, lease.take)
    with inside(book.scope("flow")):
        assert channel("box").receive(timeout=0) == "message"
    book.close()
    lease.give_back(ExecutionStatus.INTERRUPTED)
