"""Many modules are loaded without a look for garbage, and afterwards everything is as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from kitaru_nb.stacks.loading import nothing_collected, rarely_collected


@pytest.fixture(autouse=True)
def _collecting() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def _ring() -> None:
    ring: list[object] = []
    ring.append(ring)


def test_what_came_meanwhile_counts_as_looked_through_and_is_collected_later() -> None:
    gc.collect()
    with nothing_collected():
        inside = gc.isenabled()
        for _ in range(2_000):
            _ring()

    assert (inside, gc.isenabled(), gc.get_freeze_count()) == (False, True, 0)
    assert gc.collect(1) < 2_000
    assert gc.collect() >= 2_000


def test_an_error_leaves_collecting_on() -> None:
    with pytest.raises(ImportError), nothing_collected():
        raise ImportError

    assert gc.isenabled()


def test_what_the_user_switched_off_or_froze_stays_so() -> None:
    gc.disable()
    with nothing_collected():
        pass
    off = gc.isenabled()
    gc.enable()
    gc.freeze()
    with nothing_collected():
        pass

    assert not off
    assert gc.get_freeze_count() > 0


def test_a_command_leaves_the_threshold_that_it_found() -> None:
    before = gc.get_threshold()
    with rarely_collected():
        inside = gc.get_threshold()

    assert inside[0] > before[0]
    assert gc.get_threshold() == before


def test_switched_off_by_its_threshold_it_stays_off() -> None:
    before = gc.get_threshold()
    gc.set_threshold(0)
    with rarely_collected():
        inside = gc.get_threshold()
    gc.set_threshold(*before)

    assert inside[0] == 0
