from __future__ import annotations

import pytest

from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.wait import Address, binding_of, is_same_json

EX = ExecutionId("ex_1")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ex_1/publish", Address(EX, "publish")),
        ("ex_1/publish#1", Address(EX, "publish")),
        ("ex_1/publish#12", Address(EX, "publish", 12)),
        ("ex_1/vér y", Address(EX, "vér y")),
        ("latest/a", Address(ExecutionId("latest"), "a")),
    ],
)
def test_an_address_is_read_as_it_is_written(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("text", ["", "publish", "/publish", "ex_1/", "ex_1/a/b", "ex_1/a#0", "ex_1/#2"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert Address.parse(text) is None


def test_an_answer_holds_for_question_schema_and_what_was_shown() -> None:
    bindings = [
        binding_of("Publish?", {"type": "boolean"}, None),
        binding_of("Publish!", {"type": "boolean"}, None),
        binding_of("Publish?", {"type": "string"}, None),
        binding_of("Publish?", {"type": "boolean"}, "digest"),
    ]

    assert len(set(bindings)) == len(bindings)
    assert binding_of("a", {"x": 1, "y": 2}, None) == binding_of("a", {"y": 2, "x": 1}, None)


def test_json_values_are_compared_as_json() -> None:
    assert is_same_json({"a": [1, None]}, {"a": [1, None]})
    assert not is_same_json(True, 1)
    assert not is_same_json(1, 1.0)
