from __future__ import annotations

import os
import signal
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from kitaru_nb.errors import ConflictError, StoreError
from kitaru_nb.model.execution import Attempt, ExecutionId, current_owner
from kitaru_nb.stacks.watch import RunTimedOut, Signals, Stopped, Superseded, Watch

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ATTEMPT = Attempt(ExecutionId("ex_1"), 1, current_owner(), NOW, NOW)


class Beats:
    """A journal of which only the heartbeat is used; it answers with the given errors, then well."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.enough = threading.Event()

    def heartbeat(self, _attempt: Attempt) -> None:
        answer = self.answers.pop(0) if self.answers else None
        if not self.answers:
            self.enough.set()
        if answer is not None:
            raise answer


def watch(
    *answers: Exception | None,
    every: float = 1000.0,
    timeout: float | None = None,
    signals: Signals | None = None,
) -> Any:
    journal: Any = Beats(*answers)
    return Watch(
        ATTEMPT, journal=journal, every=every, signals=signals or Signals(), timeout=timeout
    ), journal


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_takes_effect_at_the_next_check_alone(signum: signal.Signals) -> None:
    signals = Signals()
    guard, _ = watch(signals=signals)
    before = signal.getsignal(signum)

    with signals, guard:
        guard.check()
        os.kill(os.getpid(), signum)
        with pytest.raises(Stopped) as caught:
            guard.check()

    assert caught.value.signum == signum
    assert signal.getsignal(signum) is before


def test_a_signal_from_before_the_attempt_began_counts() -> None:
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        guard, _ = watch(signals=signals)

        with guard, pytest.raises(Stopped):
            guard.check()


def test_a_signal_between_two_parts_of_a_process_is_noted_by_both() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as whole:
        os.kill(os.getpid(), signal.SIGTERM)
        with Signals() as later:
            early = later.noted
            os.kill(os.getpid(), signal.SIGINT)
        still_noting = signal.getsignal(signal.SIGTERM)

    assert early == signal.SIGTERM
    assert (later.noted, whole.noted) == (signal.SIGINT, signal.SIGINT)
    assert still_noting is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_handler_of_the_host_application_is_left_alone() -> None:
    def own(_signum: int, _frame: object) -> None:
        """Stand for the host's."""

    before = signal.signal(signal.SIGTERM, own)

    try:
        with Signals():
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_lost_lease_ends_the_run_and_a_bad_disk_does_not() -> None:
    guard, journal = watch(StoreError("full"), ConflictError("gone", kind="superseded"), every=0.001)

    with guard:
        assert journal.enough.wait(30)
        guard._thread.join(30)
        with pytest.raises(Superseded):
            guard.check()


def test_a_run_without_time_left_ends() -> None:
    guard, _ = watch(timeout=-1.0)

    with guard, pytest.raises(RunTimedOut):
        guard.check()
