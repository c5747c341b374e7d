"""Python types as questions, and answers as those types."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pydantic
import pytest

from kitaru_nb.engine.form import form_of
from kitaru_nb.errors import UsageError
from kitaru_nb.model.schema import misfit, schema_fault


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Shift(enum.Enum):
    EARLY = dt.time(6)
    LATE = dt.time(14)


class Corner(enum.Enum):
    TOP = (0, 1)
    BOTTOM = (0, -1)


@dataclass
class Edit:
    title: str
    lines: list[int]
    when: dt.date | None = None


class Order(pydantic.BaseModel):
    colour: Colour
    count: Annotated[int, pydantic.Field(gt=0)] = 1


@pytest.mark.parametrize(
    ("schema", "answer", "value"),
    [
        (bool, True, True),
        (str, "a", "a"),
        (int, 3, 3),
        (int, 3.0, 3),
        (float, 3, 3.0),
        (Literal["a", "b"], "b", "b"),
        (Colour, "red", Colour.RED),
        (list[Colour], ["red"], [Colour.RED]),
        (str | None, None, None),
        (dt.date, "2026-02-01", dt.date(2026, 2, 1)),
        (
            Edit,
            {"title": "t", "lines": [1], "when": "2026-02-01"},
            Edit("t", [1], dt.date(2026, 2, 1)),
        ),
        (Order, {"colour": "blue", "count": 2}, Order(colour=Colour.BLUE, count=2)),
        ({"type": "object"}, {"a": [1]}, {"a": [1]}),
        (Shift, "14:00:00", Shift.LATE),
        (Corner, [0, -1], Corner.BOTTOM),
        (dt.datetime, "2026-02-01T08:30", dt.datetime.fromisoformat("2026-02-01T08:30")),
        (dt.time, "08:30", dt.time(8, 30)),
    ],
)
def test_an_answer_comes_back_as_what_was_asked_for(schema: Any, answer: Any, value: Any) -> None:
    form = form_of(schema)

    assert misfit(answer, form.schema) is None
    built = form.build(answer)

    assert built == value
    assert type(built) is type(value)


@pytest.mark.parametrize(
    ("schema", "default", "answer"),
    [
        (bool, False, False),
        (float, 2, 2),
        (Colour, Colour.BLUE, "blue"),
        (Edit, Edit("t", []), {"title": "t", "lines": [], "when": None}),
        (str | None, None, None),
        ({"type": "integer"}, 3, 3),
        (Corner, Corner.TOP, [0, 1]),
        (dt.datetime, dt.datetime.fromisoformat("2026-02-01T08:30"), "2026-02-01T08:30:00"),
        (dt.time, dt.time(8, 30), "08:30:00"),
    ],
)
def test_a_default_is_kept_as_json(schema: Any, default: Any, answer: Any) -> None:
    assert form_of(schema).default(default) == answer


@pytest.mark.parametrize(
    ("schema", "default"),
    [(bool, "yes"), (bool, 1), (int, True), (str, None), (Order, {"colour": "pink"}), ({"type": "null"}, 1)],
)
def test_a_default_that_is_no_answer_is_refused(schema: Any, default: Any) -> None:
    with pytest.raises(UsageError) as refused:
        form_of(schema).default(default)

    assert refused.value.kind == "bad-default"


def test_an_enum_that_no_answer_could_name_inside_of_something_is_refused() -> None:
    """It would be asked again whatever was answered."""
    with pytest.raises(UsageError, match="the values of `Corner` inside of it are no JSON") as refused:
        form_of(list[Corner])

    assert refused.value.kind == "bad-schema"


@pytest.mark.parametrize("schema", [lambda: 1, {"type": "truth"}, {"default": {1}}, 3, print])
def test_what_no_answer_can_be_is_refused(schema: Any) -> None:
    with pytest.raises(UsageError) as refused:
        form_of(schema)

    assert refused.value.kind == "bad-schema"


@pytest.mark.parametrize(
    "schema", [["yes", "no"], {"yes", "no"}, 3, object()], ids=["list", "set", "int", "object"]
)
def test_what_is_no_type_is_refused_in_our_words(schema: Any) -> None:
    with pytest.raises(UsageError) as refused:
        form_of(schema)

    assert refused.value.message.endswith("it is no type that an answer can be checked against")
    assert 'Literal["a", "b"]' in refused.value.hint


def test_a_type_may_take_less_than_its_schema_says() -> None:
    class Even(pydantic.RootModel[int]):
        @pydantic.field_validator("root")
        @classmethod
        def _even(cls, value: int) -> int:
            if value % 2:
                raise ValueError("it has to be even")
            return value

    form = form_of(Even)

    assert misfit(3, form.schema) is None
    with pytest.raises(ValueError, match="it has to be even"):
        form.build(3)


@dataclass
class Line:
    number: int
    shown: str = field(init=False, default="")


@dataclass
class Page:
    title: str
    lines: list[Line]
    first: Line | None = None
    words: int = field(init=False, default=3)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ({"title": "t", "lines": [], "nme": 2}, "nme"),
        ({"title": "t", "lines": [{"number": 1, "nr": 2}]}, "nr"),
        ({"title": "t", "lines": [], "first": {"number": 1, "more": 2}}, "first"),
        ({"title": "t", "lines": [], "words": 4}, "words"),
    ],
)
def test_a_dataclass_takes_its_arguments_and_nothing_else(answer: Any, named: str) -> None:
    refused = misfit(answer, form_of(Page).schema)

    assert refused is not None
    assert named in refused
    assert misfit([answer], form_of(list[Page]).schema) is not None


def test_a_default_leaves_out_what_a_dataclass_makes_by_itself() -> None:
    form = form_of(Page)

    assert form.default(Page("t", [Line(1)])) == {"title": "t", "lines": [{"number": 1}], "first": None}
    assert schema_fault(form.schema) is None
    assert "words" not in form.schema["properties"]
    assert form.build({"title": "t", "lines": [{"number": 1}]}) == Page("t", [Line(1)])


def test_a_question_goes_by_the_schema_that_earlier_releases_asked_with() -> None:
    form = form_of(Edit)

    assert "additionalProperties" in form.schema
    assert form.identity == pydantic.TypeAdapter(Edit).json_schema()
    assert form.build({"title": "t", "lines": [], "more": 1}) == Edit("t", [])


class Closed(pydantic.BaseModel, extra="forbid"):
    n: int


@pydantic.dataclasses.dataclass
class Theirs:
    n: int


@pydantic.with_config(pydantic.ConfigDict(extra="ignore"))
@dataclass
class Ruled:
    n: int


@pytest.mark.parametrize(
    ("schema", "closed"), [(Order, False), (Closed, True), (Theirs, False), (Ruled, False)]
)
def test_what_has_a_rule_of_its_own_for_what_else_is_given_keeps_it(schema: Any, closed: bool) -> None:
    found = form_of(schema).schema

    assert (found.get("additionalProperties") is False) is closed
