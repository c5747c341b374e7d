"""A checkpoint's record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kitaru_nb.testing import a_draft


def test_a_draft_with_other_values_is_what_the_standard_library_gives() -> None:
    draft = a_draft("load", outputs=({"a": 1},), cost=0.5)

    changed = draft.having(name="train", signature={"key": "k", "sig": "s"})

    assert changed == replace(draft, name="train", signature={"key": "k", "sig": "s"})
    assert draft == a_draft("load", outputs=({"a": 1},), cost=0.5, started_at=draft.started_at)


def test_a_field_that_a_draft_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError):
        a_draft("load").having(title="train")
