"""Whether a call has moved a random generator."""

# ruff: noqa: NPY002 - numpy's global generator is what is looked at

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from kitaru_nb.engine import generators, parts


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    state = np.random.get_state()
    yield
    np.random.set_state(state)


@pytest.fixture(params=["its memory is looked at", "its state is read"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a numpy whose memory says nothing, the state is read."""
    monkeypatch.setattr(parts, "SAME", {})
    if request.param == "its state is read":
        monkeypatch.setattr(parts, "_shows_numpy", lambda _module: False)


@pytest.mark.usefixtures("_way")
def test_a_generator_that_was_drawn_from_has_moved() -> None:
    before = generators.marks()
    np.random.random()

    moved = generators.moved(before)

    assert "numpy" in moved
    expected = np.random.random()
    generators.put(moved)
    assert np.random.random() == expected


@pytest.mark.usefixtures("_way")
def test_a_generator_that_was_not_drawn_from_has_not_moved() -> None:
    assert generators.moved(generators.marks()) == {}
