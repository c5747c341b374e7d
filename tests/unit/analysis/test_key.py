"""The key of a checkpoint."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.analysis.key import checkpoint_key
from kitaru_nb.model.artifact import Digest


def key(code: str = "c", reads: Any = None, modules: Any = None, options: Any = None) -> str:
    return checkpoint_key(code=Digest(code), reads=reads or {}, modules=modules or {}, options=options or {})


def test_order_does_not_matter() -> None:
    one = key(reads={"a": "1", "b": "2"}, options={"x": {"p": 1, "q": [1, 2]}, "y": None})
    other = key(reads={"b": "2", "a": "1"}, options={"y": None, "x": {"q": (1, 2), "p": 1}})

    assert one == other
    assert len(one) == 64


def test_different_content_has_different_keys() -> None:
    keys = [
        key(),
        key("d"),
        key(reads={"a": "1"}),
        key(modules={"a": "1"}),
        key(options={"a": "1"}),
        key(reads={"a": "1", "b": "2"}),
        key(reads={"a": "2", "b": "1"}),
        key(reads={"a1": "", "b": "2"}),
        key(reads={"a": "1b2"}),
        *(
            key(options={"a": value})
            for value in (1, 1.0, True, False, 0, -1, None, [], {}, [[]], [1, 2], [[1], 2], [12])
        ),
        *(
            key(options={"a": value})
            for value in ("", "N", "1;", 10**40, 1e300, float("nan"), float("inf"), -0.0, 0.0, "\ud800")
        ),
    ]

    assert all(one != other for one, other in itertools.combinations(keys, 2))


@pytest.mark.parametrize("options", [{"a": Path()}, {"a": {1}}, {"a": {1: 2}}, {"a": b""}])
def test_other_than_json_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        key(options=options)
