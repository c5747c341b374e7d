"""A marker can be looked at and stored, and never passes for the value it replaces."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter

from kitaru_nb.artifacts.marker import Marker, is_marker, marker_details, marker_in
from kitaru_nb.errors import UnstorableError


@pytest.fixture
def marker() -> Marker:
    return Marker("conn", "sqlite3.Connection", "it lives in its own process")


USES: dict[str, Callable[[Any], object]] = {
    "attribute": lambda m: m.execute,
    "set attribute": lambda m: setattr(m, "x", 1),
    "call": lambda m: m(),
    "item": operator.itemgetter(0),
    "set item": lambda m: operator.setitem(m, 0, 1),
    "iteration": list,
    "truth": bool,
    "length": len,
    "equality": lambda m: m == 1,
    "inequality": lambda m: m != 1,
    "order": lambda m: m < 1,
    "membership": lambda m: 1 in m,
    "in a list": lambda m: [m].index(1),
    "sum": lambda m: m + 1,
    "reflected sum": lambda m: 1 + m,
    "product": lambda m: m * 2,
    "negation": operator.neg,
    "number": float,
    "index": operator.index,
    "with": lambda m: m.__enter__(),
    "array": np.asarray,
}


@pytest.mark.parametrize("use", USES)
def test_using_a_marker_names_the_value_and_the_ways_on(marker: Marker, use: str) -> None:
    with pytest.raises(UnstorableError) as caught:
        USES[use](marker)

    assert "`conn` was a sqlite3.Connection" in caught.value.message
    assert "it lives in its own process" in caught.value.message
    assert "makes `conn` again" in caught.value.hint
    assert caught.value.kind == "unstorable-value"


def test_looking_at_a_marker_is_safe(marker: Marker) -> None:
    shown = repr(marker), str(marker), f"{marker}"

    assert set(shown) == {"<conn: sqlite3.Connection could not be stored>"}
    assert type(marker) is Marker
    assert isinstance(marker, Marker)
    assert not isinstance(marker, list)
    assert {marker: 1}[marker] == 1


def test_a_display_shows_the_repr_of_a_marker(marker: Marker) -> None:
    data, _ = DisplayFormatter().format(marker)

    assert data == {"text/plain": "<conn: sqlite3.Connection could not be stored>"}


def test_probes_find_nothing(marker: Marker) -> None:
    assert not any(hasattr(marker, name) for name in ("_repr_html_", "_ipython_display_", "__wrapped__"))


@pytest.mark.parametrize("give", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_marker_stays_a_marker_when_copied_or_stored(marker: Marker, give: Callable[[Any], Any]) -> None:
    back = give(marker)

    assert is_marker(back)
    assert marker_details(back) == marker_details(marker)


def test_a_marker_is_not_searched_for_in_what_a_kept_exception_has_seen() -> None:
    marker = Marker("conn", "generator", "it is running")
    try:
        1 / 0  # noqa: B018 - its frame holds the marker
    except ZeroDivisionError as error:
        kept = error

    assert marker_in([kept]) is None
    assert marker_in([{"part": marker}]) is marker
