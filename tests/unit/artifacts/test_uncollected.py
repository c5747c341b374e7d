"""Inside a block garbage is not collected, whichever threads are in one, and afterwards as it was before."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import pytest

from kitaru_nb.artifacts.uncollected import is_collecting, uncollected


@pytest.fixture(autouse=True)
def _collecting() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


@pytest.mark.parametrize("first_out", ["first in", "second in"])
def test_of_two_threads_the_last_one_out_switches_it_on(first_out: str) -> None:
    blocks = [uncollected(), uncollected()]
    gates = [threading.Event(), threading.Event()]
    entered = [threading.Event(), threading.Event()]

    def stay(number: int) -> None:
        with blocks[number]:
            entered[number].set()
            assert gates[number].wait(30)

    threads = [threading.Thread(target=stay, args=(number,)) for number in (0, 1)]
    for number, thread in enumerate(threads):
        thread.start()
        assert entered[number].wait(30)
    order = (0, 1) if first_out == "first in" else (1, 0)
    seen = []
    for number in order:
        seen.append((gc.isenabled(), is_collecting()))
        gates[number].set()
        threads[number].join()
    seen.append((gc.isenabled(), is_collecting()))

    assert seen == [(False, True), (False, True), (True, True)]


def test_what_the_user_has_switched_off_stays_off() -> None:
    gc.disable()

    with uncollected(), uncollected():
        inside = is_collecting()

    assert not inside
    assert not gc.isenabled()


def test_an_error_inside_switches_it_on() -> None:
    with pytest.raises(ValueError, match="inside"), uncollected():
        raise ValueError("inside")

    assert gc.isenabled()


def test_a_finalizer_that_looks_at_objects_itself_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def enable() -> None:  # garbage may be collected as soon as that is on
        with uncollected():
            seen.append(is_collecting())

    def leave() -> None:
        with monkeypatch.context() as patch, uncollected():
            patch.setattr(gc, "enable", enable)

    thread = threading.Thread(target=leave, daemon=True)
    thread.start()
    thread.join(30)

    assert not thread.is_alive()
    assert len(seen) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("forks", ["the thread inside", "another thread"])
def test_a_forked_child_waits_for_no_thread_of_its_parent(forks: str) -> None:
    inside, done = threading.Event(), threading.Event()

    def stay() -> None:
        with uncollected():
            inside.set()
            assert done.wait(30)

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(30)
    held = uncollected()
    if forks == "the thread inside":
        held.__enter__()
    child = os.fork()
    if child == 0:
        before = gc.isenabled()
        if forks == "the thread inside":
            held.__exit__()
        os._exit(0 if (before, gc.isenabled()) == (forks == "another thread", True) else 1)
    _, status = os.waitpid(child, 0)
    if forks == "the thread inside":
        held.__exit__()
    done.set()
    thread.join()

    assert os.waitstatus_to_exitcode(status) == 0
    assert gc.isenabled()
