"""The stop button during a commit."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from kitaru_nb.notebook.interrupts import Shield


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_press_is_noted_and_the_block_goes_on() -> None:
    with Shield() as shield:
        press()
        reached = True

    assert (reached, shield.pressed) == (True, True)


def test_without_a_press_nothing_is_noted() -> None:
    with Shield() as shield:
        pass

    assert not shield.pressed


def test_the_handler_is_put_back_also_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)

    with pytest.raises(ValueError, match="no"), Shield():
        raise ValueError("no")

    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        press()


def test_shields_nest() -> None:
    with Shield() as outer:
        with Shield() as inner:
            press()
        assert inner.pressed
        assert not outer.pressed
        press()

    assert outer.pressed


def test_in_another_thread_the_block_runs_unshielded() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with Shield():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [before]
    assert signal.getsignal(signal.SIGINT) is before
