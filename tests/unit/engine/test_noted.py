"""What was noted inside a block that failed is forgotten, in the order that undoes it."""

from __future__ import annotations

import threading

import pytest

from kitaru_nb.engine.noted import Noted


def test_nothing_is_forgotten_where_the_block_came_to_its_end() -> None:
    noted, forgotten = Noted(), list[str]()

    with noted.together():
        noted.add(lambda: forgotten.append("inside"))
    noted.add(lambda: forgotten.append("outside"))

    def fails() -> None:
        with noted.together():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert forgotten == []


def test_what_a_failed_block_noted_is_forgotten_the_last_first() -> None:
    noted, forgotten = Noted(), list[str]()

    def fails() -> None:
        with noted.together():
            noted.add(lambda: forgotten.append("first"))
            with noted.together():
                noted.add(lambda: forgotten.append("inner"))
            assert forgotten == []
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert forgotten == ["inner", "first"]


def test_what_another_thread_notes_meanwhile_is_its_own() -> None:
    noted, forgotten = Noted(), list[str]()

    def fails() -> None:
        with noted.together():
            other = threading.Thread(target=lambda: noted.add(lambda: forgotten.append("theirs")))
            other.start()
            other.join()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert forgotten == []
