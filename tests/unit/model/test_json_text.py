"""Compact JSON is what the standard library writes, character by character."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitaru_nb.model.json_text import json_writer

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"sort_keys": True},
    {"sort_keys": True, "ensure_ascii": False},
]
WRITERS = [(json_writer(**options), options) for options in OPTIONS]


@given(value=VALUES)
def test_the_text_is_that_of_the_standard_library(value: object) -> None:
    for write, options in WRITERS:
        assert write(value) == json.dumps(value, separators=(",", ":"), **options)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_in_json_is_refused_where_that_is_asked_for(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_writer(allow_nan=False)([value])


def test_what_is_no_json_is_refused_and_the_next_value_is_written() -> None:
    write = json_writer()

    with pytest.raises(TypeError):
        write({"a": [object()]})

    assert write({"a": [1]}) == '{"a":[1]}'


def test_another_json_module_is_written_with_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)

    assert json_writer(sort_keys=True)({"b": 1, "a": []}) == '{"a":[],"b":1}'
