"""Which calls ran at the same time, and what the others were seen to write."""

from __future__ import annotations

import sys
import threading

import pytest

from kitaru_nb.engine.beside import Beside


def test_a_call_inside_another_one_does_not_run_beside_it() -> None:
    running: set[Beside] = set()
    outer, inner = (Beside(path, running, set) for path in ("flow/f:a:0", "flow/f:a:0/g:b:0"))

    with outer.among_them(), inner.among_them():
        pass

    assert (outer.any, inner.any, running) == (False, False, set())


def test_a_call_whose_path_only_begins_alike_runs_beside_the_other() -> None:
    running: set[Beside] = set()
    one, other = (Beside(path, running, set) for path in ("flow/f:a:1", "flow/f:a:10"))

    with one.among_them(), other.among_them():
        pass

    assert (one.any, other.any) == (True, True)


def test_what_others_were_seen_to_write_is_known_while_they_run_and_after_that() -> None:
    running: set[Beside] = set()
    one = Beside("flow/f:a:0", running, set)
    other = Beside("flow/g:b:0", running, lambda: {"b.txt"})
    before = Beside("flow/h:c:0", running, lambda: {"c.txt"})

    with before.among_them():
        pass
    with one.among_them():
        with other.among_them():
            during = one.written_by_others()
        after = one.written_by_others()

    assert during == after == {"b.txt"}


def test_a_call_that_fails_does_not_go_on_running() -> None:
    running: set[Beside] = set()

    with pytest.raises(KeyboardInterrupt), Beside("flow/f:a:0", running, set).among_them():
        raise KeyboardInterrupt

    assert running == set()


def test_calls_of_many_threads_come_and_go_meanwhile() -> None:
    running: set[Beside] = set()
    errors: list[BaseException] = []

    def many(thread: int) -> None:
        try:
            for number in range(2000):
                with Beside(f"flow/f:{thread}:{number}", running, set).among_them():
                    pass
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=many, args=(number,)) for number in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)

    assert (errors, running) == ([], set())
