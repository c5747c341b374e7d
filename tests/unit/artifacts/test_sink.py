"""Memory that a pickler writes to."""

from __future__ import annotations

import errno
import os
import pickle
from typing import Any

import pytest

from kitaru_nb.artifacts import sink
from kitaru_nb.artifacts.pickle_codec import PickleCodec
from kitaru_nb.artifacts.sink import Sink
from kitaru_nb.errors import UnstorableError


@pytest.fixture(params=["large pages", "none"])
def pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system that has large pages for who asks, and on one that has none."""
    if request.param == "none":
        monkeypatch.setattr(sink, "_LARGE_PAGES", None)
    elif sink._LARGE_PAGES is None:
        pytest.skip("this system has no large pages for who asks")


@pytest.mark.parametrize(
    "sizes", [[], [10], [1 << 20, 1], [3 << 20] * 7, [1000] * 6000, [100, 20 << 20, 100]]
)
def test_what_was_written_stands_there_in_order(sizes: list[int]) -> None:
    pieces = [os.urandom(size) for size in sizes]
    file = Sink()

    told = [(file.write(piece), file.tell()) for piece in pieces]

    assert told == [(size, sum(sizes[: number + 1])) for number, size in enumerate(sizes)]
    assert bytes(file.view) == b"".join(pieces)


@pytest.mark.usefixtures("pages")
def test_a_pickler_writes_what_it_writes_elsewhere() -> None:
    value = [{"text": "abc" * number, "raw": os.urandom(number), "number": number} for number in range(3000)]
    value.append({"large": os.urandom(5 << 20)})
    file = Sink()

    pickle.Pickler(file, 5).dump(value)

    assert bytes(file.view) == pickle.dumps(value, 5)


def test_no_room_for_it_is_told_like_any_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_rest: Any) -> Any:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(sink, "_LARGE_PAGES", 14)
    monkeypatch.setattr(sink, "Room", refuse)

    with pytest.raises(UnstorableError, match="not enough memory") as told:
        PickleCodec().encode({"x": ["a" * 100_000] + [str(n) * 9 for n in range(300_000)]}, namespace={})

    assert told.value.kind == "out-of-memory"
