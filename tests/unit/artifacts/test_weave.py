"""Large texts are taken out of a stream and put back, and are stored once wherever they are."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.artifacts.local_store import LocalStore
from kitaru_nb.artifacts.values import Stored, load_values, manifest_digest, store_values
from kitaru_nb.artifacts.weave import TEXT_LEAST, unwoven, woven
from kitaru_nb.errors import StoreError
from kitaru_nb.testing import MemoryIndex


def text(seed: int, length: int = 3_000) -> str:
    return random.Random(seed).randbytes(length // 2).hex()


def together(stream: bytes) -> bytes | None:
    """`stream` taken apart and put together again; None where it stays as it is."""
    apart = unwoven(memoryview(stream))
    if apart is None:
        return None
    joined = apart.skeleton + b"".join(apart.texts)
    assert len(joined) == len(stream)
    return bytes(woven(memoryview(joined), *apart.meta["woven"]))


HISTORIES: list[Any] = [
    [{"role": "user", "content": text(n)} for n in range(40)],
    [text(n).encode() for n in range(5)],
    [text(1, 60_000), b"\0" * 5_000, "\0" * 5_000, text(2)],
    {"a": [text(3)], "zeros": [0.0, 1.0, 2.0, 65_536, 131_072], "b": text(4, 1_024)},
    [text(n, 1_500) for n in range(60)] + [text(n, 9_000) for n in range(100)],
    "".join(chr(n) for n in range(1, 3_000)),
]


@pytest.mark.parametrize("value", HISTORIES)
def test_a_stream_is_put_together_as_it_was(value: Any) -> None:
    stream = pickle.dumps(value, 5)

    assert together(stream) == stream


@pytest.mark.parametrize("seed", range(200))
def test_any_bytes_are_put_together_as_they_were(seed: int) -> None:
    chosen = random.Random(seed)
    pieces = []
    for _ in range(chosen.randrange(1, 30)):
        length = chosen.choice([3, 300, 1_024, 1_500, 40_000])
        told = length + chosen.choice([0, 0, 0, 1, -1, 5_000])
        pieces += [
            chosen.choice([b"X", b"B", b"\0", b"", b"XX\0"]),
            max(told, 0).to_bytes(4, "little"),
            chosen.choice([bytes(length), chosen.randbytes(length)]),
        ]
    stream = b"".join(pieces)

    assert together(stream) in (stream, None)


def test_what_is_left_of_a_history_is_small() -> None:
    apart = unwoven(memoryview(pickle.dumps(HISTORIES[0], 5)))

    assert apart is not None
    assert len(apart.texts) == 40
    assert len(apart.skeleton) < 40 * 40


@pytest.mark.parametrize(
    "value",
    [
        [text(n, 500) for n in range(100)],  # none is large
        [text(n, 20_000) for n in range(150)],  # too many
        [text(1), *range(1 << 20, (1 << 20) + 30_000)],  # too much besides
        [float(n) for n in range(5_000)] + [text(1)],  # too much to look through
        ["x" * (5 << 20)],  # too large to look at
    ],
    ids=["small", "many", "besides", "numbers", "large"],
)
def test_a_stream_where_it_does_not_pay_stays_as_it_is(value: Any) -> None:
    assert unwoven(memoryview(pickle.dumps(value, 5))) is None


@pytest.mark.parametrize("data", [b"", b"abc", b"X\0\4\0\0" * 3, bytes(5_000)])
def test_what_cannot_have_been_taken_apart_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="text"):
        woven(memoryview(data), 4, TEXT_LEAST)


class Bench:
    """What a session keeps, with nothing but the parts."""

    def __init__(self, folder: Path) -> None:
        self.store, self.index = LocalStore(folder), MemoryIndex()
        self.kept: dict[str, int] = {}

    def save(self, last: Stored | None = None, /, **values: object) -> Stored:
        """As a commit does."""
        stored = store_values(
            values,
            namespace={},
            store=self.store,
            index=self.index,
            before=last.artifact.digest if last else None,
            known=lambda _digest: last.artifact if last else None,
        )
        self.index.commit(stored.locations)
        self.kept |= {place.extent.digest: place.extent.length for place in stored.locations}
        return stored

    def load(self, stored: Stored) -> dict[str, Any]:
        """As a restore does."""
        return load_values(stored.artifact, store=self.store, index=self.index, namespace={})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_text_in_a_history_and_under_a_name_is_stored_once(bench: Bench) -> None:
    history: list[Any] = []
    stored: list[tuple[Stored, Stored]] = []
    for n in range(30):
        said = text(n, 5_000)
        history.append({"role": "assistant", "content": said, "step": n})
        last = stored[-1][0] if stored else None
        stored.append((bench.save(last, history=history), bench.save(said=said)))

    assert sum(bench.kept.values()) < 1.25 * 30 * 5_000
    for n, (whole, alone) in enumerate(stored):
        assert bench.load(whole) == {"history": history[: n + 1]}
        assert bench.load(alone) == {"said": text(n, 5_000)}


def test_a_step_hands_over_only_the_text_that_is_new(bench: Bench) -> None:
    history = [text(n) for n in range(10)]
    first = bench.save(history=history)

    second = bench.save(first, history=[*history, text(99)])

    assert sum(place.extent.length for place in second.locations) < 3_000 + 1_000
    assert second.needs == {first.artifact.digest}


@pytest.mark.parametrize(
    ("value", "codec"),
    [
        ("ä" * 2_000, "scalar"),
        ("x" * TEXT_LEAST, "scalar"),
        ("x" * (3 << 20), "scalar"),
        ("\ud800" * 1_024, "pickle5"),
    ],
)
def test_a_large_text_comes_back_as_it_was(bench: Bench, value: str, codec: str) -> None:
    stored = bench.save(value=value)

    assert stored.artifact.codec == codec
    assert bench.load(stored) == {"value": value}


def test_a_manifest_that_lies_about_its_texts_is_an_error(bench: Bench) -> None:
    stored = bench.save(history=[text(n) for n in range(10)])
    manifest = {**stored.artifact.manifest}
    manifest["meta"] = {**manifest["meta"], "woven": [11, TEXT_LEAST]}
    lying = replace(stored.artifact, manifest=manifest, digest=manifest_digest(manifest))

    with pytest.raises(StoreError, match="cannot be made again"):
        load_values(lying, store=bench.store, index=bench.index, namespace={})
