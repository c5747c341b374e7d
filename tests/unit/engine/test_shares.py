"""What the processes of one attempt share: each result goes to one of them in each run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kitaru_nb.engine.shares import Shares

pytest.importorskip("fcntl")


@pytest.fixture
def shares() -> Shares:
    """Those of two processes that are one, as far as their books know."""
    found = Shares()
    found.begin()
    return found


@pytest.fixture
def others(shares: Shares) -> Shares:
    found = Shares()
    handle = shares.handle
    assert handle is not None
    found.join(handle)
    return found


def test_a_result_that_one_has_taken_is_not_given_to_the_other_in_this_run(
    shares: Shares, others: Shares
) -> None:
    assert shares.take(7, 1)

    assert not others.take(7, 1)
    assert others.take(7, 2)


def test_a_result_that_was_recorded_in_a_run_is_taken_in_it(shares: Shares, others: Shares) -> None:
    shares.mark([3, 9], 1)

    assert [others.is_taken(number, 1) for number in (3, 4, 9)] == [True, False, True]
    assert not others.take(3, 1)


def test_another_file_in_that_place_is_not_written_to(shares: Shares) -> None:
    handle = shares.handle
    assert handle is not None

    with pytest.raises(FileNotFoundError):
        Shares().join(replace(handle, number=handle.number + 1))


def test_nothing_is_joined_after_the_end(shares: Shares) -> None:
    handle = shares.handle
    assert handle is not None
    shares.end()

    with pytest.raises(FileNotFoundError):
        Shares().join(handle)


def test_without_another_process_nothing_is_shared() -> None:
    shares = Shares()

    assert (shares.take(1, 1), shares.take(1, 1), shares.is_taken(1, 1)) == (True, True, False)
    assert (shares.are_shared, shares.handle) == (False, None)
