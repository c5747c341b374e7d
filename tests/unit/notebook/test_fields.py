"""Fields for a schema, and the answer that was typed into them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import pytest

from kitaru_nb.engine.form import form_of
from kitaru_nb.model.schema import misfit, misfits
from kitaru_nb.notebook.fields import Kind, answer_of, fields_of, is_yes_or_no, problems_at


class Colour(Enum):
    RED = "red"
    TWO = 2


@dataclass
class Address:
    street: str
    number: int = 1


@dataclass
class Order:
    amount: int
    to: Address
    price: float = 1.5
    tier: Literal["low", "high"] = "low"
    colour: Colour = Colour.RED
    note: str | None = None
    gift: bool = False
    tags: list[str] | None = None
    back: Address | None = None


def kinds(schema: object) -> dict[str, Kind]:
    return {field.pointer: field.kind for field in fields_of(form_of(schema).schema)}


def given(schema: object, **typed: Any) -> tuple[Any, dict[str, str]]:
    return answer_of(fields_of(form_of(schema).schema), {f"/{name}": each for name, each in typed.items()})


def test_each_value_of_an_answer_has_a_field_of_its_kind() -> None:
    assert kinds(Order) == {
        "/amount": Kind.NUMBER,
        "/to/street": Kind.TEXT,
        "/to/number": Kind.NUMBER,
        "/price": Kind.NUMBER,
        "/tier": Kind.CHOICE,
        "/colour": Kind.CHOICE,
        "/note": Kind.TEXT,
        "/gift": Kind.BOX,
        "/tags": Kind.JSON,
        "/back": Kind.JSON,
    }


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        (str, Kind.TEXT),
        (int, Kind.NUMBER),
        (float, Kind.NUMBER),
        (Literal["a", "b"], Kind.CHOICE),
        (Literal["a"], Kind.CHOICE),
        (Colour, Kind.CHOICE),
        (list[int], Kind.JSON),
        (dict[str, int], Kind.JSON),
        (int | None, Kind.NUMBER),
        (bool | None, Kind.CHOICE),
        (int | str, Kind.JSON),
        ({"type": ["string", "null"]}, Kind.TEXT),
        ({"type": "string", "maxLength": 5000}, Kind.AREA),
        ({}, Kind.JSON),
        ({"$ref": "#"}, Kind.JSON),
        ({"$ref": "#/nowhere"}, Kind.JSON),
    ],
)
def test_an_answer_that_is_one_value_has_one_field(schema: object, kind: Kind) -> None:
    assert kinds(schema) == {"": kind}


def test_yes_or_no_needs_no_field() -> None:
    assert is_yes_or_no(form_of(bool).schema)
    assert not is_yes_or_no(form_of(str).schema)
    assert not is_yes_or_no({"type": "boolean", "enum": [True]})
    assert not is_yes_or_no(None)


def test_what_is_typed_becomes_an_answer_of_the_right_types() -> None:
    form = form_of(Order)
    typed = {
        "/amount": " 25 ",
        "/to/street": "Long Lane",
        "/to/number": "3",
        "/price": "2.50",
        "/tier": "1",
        "/colour": "1",
        "/note": "",
        "/gift": True,
        "/tags": '["a"]',
        "/back": "",
    }

    answer, problems = answer_of(fields_of(form.schema), typed)

    assert problems == {}
    assert misfit(answer, form.schema) is None
    assert form.build(answer) == Order(
        25, Address("Long Lane", 3), 2.5, "high", Colour.TWO, gift=True, tags=["a"]
    )


def test_a_form_that_nobody_touched_gives_the_defaults() -> None:
    fields = fields_of(form_of(Order).schema)

    drawn = [field.drawn() for field in fields]
    answer, _ = answer_of(fields, {each["pointer"]: each["typed"] for each in drawn})

    assert answer == {
        "to": {"number": 1},
        "price": 1.5,
        "tier": "low",
        "colour": "red",
        "gift": False,
        "note": None,
        "tags": None,
        "back": None,
    }
    assert [each["pointer"] for each in drawn if each["required"]] == ["/amount", "/to/street"]


@pytest.mark.parametrize(
    ("schema", "typed", "problem"),
    [
        (int, "many", "is not a number"),
        (int, "NaN", "is not a number"),
        (float, "1e999", "is not a number"),
        (int, "true", "is not a number"),
        (int, "9" * 10_000, "is not a number"),
        (int, "", "is required"),
        (Colour, "", "is required"),
        (Colour, "2", "is none of these"),
        (Colour, "-1", "is none of these"),
        (Colour, "red", "is none of these"),
        (list[int], "1, 2", "is not JSON"),
        (list[int], "[NaN]", "is not JSON"),
        (list[int], "[" * 100_000, "is not JSON"),
        (int, {"a": 1}, "is required"),
        (int, 7, "is required"),
    ],
)
def test_what_cannot_be_read_is_no_answer(schema: object, typed: Any, problem: str) -> None:
    answer, problems = answer_of(fields_of(form_of(schema).schema), {"": typed})

    assert answer is None
    assert problems[""].startswith(problem)


def test_nothing_typed_is_an_empty_text_or_null_as_the_schema_has_it() -> None:
    assert answer_of(fields_of({"type": "string"}), {"": ""}) == ("", {})
    assert answer_of(fields_of(form_of(str | None).schema), {"": ""}) == (None, {})
    assert given(Address, street="", number="") == ({}, {})


def test_a_message_stands_at_the_field_that_it_is_about() -> None:
    schema = form_of(Order).schema
    fields = fields_of(schema)
    answer = {"to": {"number": "x"}, "tags": ["a"], "gift": 1}

    found = problems_at(fields, misfits(answer, schema))

    assert found["/amount"] == "is required"
    assert found["/to/street"] == "is required"
    assert "is not of type 'integer'" in found["/to/number"]
    assert "boolean" in found["/gift"]


def test_a_message_about_no_field_is_kept() -> None:
    fields = fields_of(form_of(list[int]).schema)

    assert problems_at(fields, {"/3": "no", "/4": "neither"}) == {"": "at `/3`: no; at `/4`: neither"}
    assert problems_at(fields_of(form_of(Address).schema), {"": "one of both"}) == {"": "one of both"}


def test_names_of_any_kind_find_their_way_there_and_back() -> None:
    names = ["a/b", "~", "", "__proto__", "a b", "<b>"]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    fields = fields_of(schema)

    answer, problems = answer_of(fields, {field.pointer: field.path[-1] or "none" for field in fields})

    assert problems == {}
    assert answer == {name: name or "none" for name in names}
    assert len({field.pointer for field in fields}) == len(names)
