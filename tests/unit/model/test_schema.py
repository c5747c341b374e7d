from __future__ import annotations

from typing import Any

import pytest

from kitaru_nb.model.schema import misfit, misfits, schema_fault, wanted

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
}
TREE: dict[str, Any] = {
    "$ref": "#/$defs/Node",
    "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
}


@pytest.mark.parametrize(
    ("answer", "schema"),
    [
        (True, {"type": "boolean"}),
        ("a", {"enum": ["a", "b"]}),
        ({"name": "Ana"}, PERSON),
        ({"next": {"next": {}}}, TREE),
        (None, {"type": "null"}),
    ],
)
def test_what_a_schema_takes_fits(answer: Any, schema: dict[str, Any]) -> None:
    assert misfit(answer, schema) is None


@pytest.mark.parametrize(
    ("answer", "schema", "told"),
    [
        (1, {"type": "boolean"}, "1 is not of type 'boolean'"),
        ("c", {"enum": ["a", "b"]}, "'c' is not one of"),
        ({}, PERSON, "'name' is a required property"),
        ({"name": "Ana", "age": "old"}, PERSON, "at `age`: 'old' is not of type"),
        ("2024-13-40", {"type": "string", "format": "date"}, "is not a 'date'"),
    ],
)
def test_what_a_schema_does_not_take_is_told_with_its_place(
    answer: Any, schema: dict[str, Any], told: str
) -> None:
    assert told in str(misfit(answer, schema))


def test_nothing_is_fetched_for_a_reference_to_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[object] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda request, *_, **__: fetched.append(request))

    told = misfit(1, {"$ref": "http://127.0.0.1:9/schema.json"})

    assert told == "its schema refers to `http://127.0.0.1:9/schema.json`, which is nowhere in it"
    assert fetched == []


def test_a_schema_that_is_none_is_told() -> None:
    assert schema_fault(PERSON) is None
    assert "is not valid under any of the given schemas" in str(schema_fault({"type": "truth"}))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (None, "JSON"),
        ({}, "JSON"),
        ({"type": "boolean"}, "true or false"),
        ({"type": ["string", "null"]}, "a string or null"),
        ({"const": 3}, "3"),
        ({"enum": ["a", 1]}, 'one of "a", 1'),
        ({"enum": list(range(20))}, "one of 0, 1, 2, 3, 4, 5, 6, 7 …"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "a number or null"),
        ({"type": "array"}, "a list"),
        ({"type": "array", "items": {"type": "integer"}}, "a list, each a whole number"),
        ({"type": "object"}, "an object"),
        (PERSON, 'an object with "name" (a string), "age" (a whole number, if at all)'),
        ({"$ref": "#/$defs/Name", "$defs": {"Name": {"type": "string"}}}, "a string"),
        ({"$ref": "elsewhere"}, "JSON"),
        ({"type": "array", "items": True}, "a list, each JSON"),
        (TREE, 'an object with "next" (JSON, if at all)'),
    ],
)
def test_what_is_wanted_is_said_in_words(schema: Any, words: str) -> None:
    assert wanted(schema) == words


def test_a_schema_that_is_very_deep_is_said_in_few_words() -> None:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(400):
        schema = {"type": "array", "items": schema}

    assert wanted(schema).endswith("each JSON")


@pytest.mark.parametrize(
    ("answer", "schema", "said"),
    [
        (None, {"type": "integer"}, "is required"),
        (None, {"enum": ["a"]}, "is required"),
        ("x", {"minLength": 2}, "needs at least 2 characters"),
        ("xx", {"maxLength": 1}, "may have at most 1 character"),
        ([], {"minItems": 1}, "needs at least 1 of them"),
        ([1, 2], {"maxItems": 1}, "may have at most 1 of them"),
        ("ab", {"pattern": "^[A-Z]+$"}, "does not have the form ^[A-Z]+$"),
        ("no", {"format": "email"}, "is not a valid email"),
        (2.5, {"type": "integer"}, "2.5 is not of type 'integer'"),
    ],
)
def test_what_is_wrong_at_a_field_is_said_to_whoever_filled_it_in(
    answer: Any, schema: dict[str, Any], said: str
) -> None:
    assert misfits(answer, schema) == {"": said}
