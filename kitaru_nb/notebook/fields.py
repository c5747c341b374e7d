"""The fields of a form for an answer, and the answer that what was typed into them gives. Pure.

A form is flat: one field for each scalar, an object inside the answer by its own fields. What no
single field can hold, such as a list, is typed as JSON. What is an answer is decided by the
question's JSON schema and by nothing here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from kitaru_nb.engine.markup import seen

__all__ = ["Field", "Kind", "answer_of", "fields_of", "is_yes_or_no", "problems_at"]

_DEEPEST = 4  # objects inside objects that are drawn as fields; deeper ones are typed as JSON
_LONG = 200  # characters that may be typed; above that a text has an area
_MISSING: Any = object()


class Kind(StrEnum):
    """How a field is drawn, and how what is typed there is read."""

    BOX = "box"
    TEXT = "text"
    AREA = "area"
    NUMBER = "number"
    CHOICE = "choice"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Field:
    """One place of an answer.

    Attributes:
        path: Where in the answer; empty for an answer that is one value.
        kind: How it is drawn.
        label: What it is called.
        hint: What its schema says about it.
        required: Whether an answer without it is none.
        nullable: Whether nothing typed is null; else it is left out.
        options: What there is to choose from, as JSON.
        typed: What stands there at first: a text, a number of an option or a truth value.
    """

    path: tuple[str, ...]
    kind: Kind
    label: str
    hint: str = ""
    required: bool = True
    nullable: bool = False
    options: tuple[Any, ...] = ()
    typed: str | bool = ""

    @property
    def pointer(self) -> str:
        """Its place as a JSON pointer, as `model.schema.misfits` names places."""
        return _pointer(self.path)

    def drawn(self) -> dict[str, Any]:
        """What a front end needs to draw it."""
        return {
            "pointer": self.pointer,
            "kind": self.kind.value,
            "label": seen(self.label),
            "hint": seen(self.hint),
            "required": self.required,
            "options": [seen(each) if isinstance(each, str) else _json(each) for each in self.options],
            "typed": self.typed,
        }


def is_yes_or_no(schema: Mapping[str, Any] | None) -> bool:
    """Whether yes and no are the answers: then two buttons are the form."""
    return schema is not None and schema.get("type") == "boolean" and "enum" not in schema


def fields_of(schema: Mapping[str, Any]) -> tuple[Field, ...]:
    """One field for each value of an answer, in the order of the schema."""
    return _fields(schema, schema, (), required=True)


def answer_of(fields: Sequence[Field], typed: Mapping[str, Any]) -> tuple[Any, dict[str, str]]:
    """The answer that `typed` gives, and what is wrong with it, both by JSON pointer.

    Where something is wrong there is no answer. Whether it fits the schema is not looked at.
    """
    problems: dict[str, str] = {}
    answer: Any = {} if any(field.path for field in fields) or not fields else _MISSING
    for field in fields:
        try:
            value = _read(field, typed.get(field.pointer, ""))
        except ValueError as error:
            problems[field.pointer] = str(error)
            continue
        if not field.path:
            answer = value
        elif value is not _MISSING:
            _put(answer, field.path, value)
        else:
            _inside(answer, field.path)
    if answer is _MISSING and not problems:
        problems[""] = "is required"
    return (None, problems) if problems else (answer, {})


def problems_at(fields: Sequence[Field], misfits: Mapping[str, str]) -> dict[str, str]:
    """Each message at the field that it is about; under the empty pointer what is about none."""
    known = {field.pointer for field in fields}
    found: dict[str, str] = {}
    for pointer, message in misfits.items():
        place = pointer
        while place not in known and place:
            place = place.rpartition("/")[0]
        told = message if place == pointer else f"at `{pointer.removeprefix(place)}`: {message}"
        found[place] = f"{found[place]}; {told}" if place in found else told
    return found


def _fields(
    schema: Any, root: Mapping[str, Any], path: tuple[str, ...], *, required: bool
) -> tuple[Field, ...]:
    found, nullable = _plain(schema, root)
    if _is_object(found) and not nullable and required and len(path) < _DEEPEST:
        needed = set(found.get("required") or ())
        return tuple(
            field
            for name, each in found["properties"].items()
            for field in _fields(each, root, (*path, name), required=name in needed)
        )
    return (_field(found, path, required=required, nullable=nullable),)


def _field(schema: Mapping[str, Any], path: tuple[str, ...], *, required: bool, nullable: bool) -> Field:
    kind, options = _kind(schema, nullable=nullable)
    preset = schema.get("default", _MISSING)
    outer = ": ".join(path[:-1])
    label = _text(schema.get("title")) or (path[-1] if path else "Answer")
    field = Field(
        path=path,
        kind=kind,
        label=f"{outer}: {label}" if outer else label,
        hint=_text(schema.get("description")),
        required=required and preset is _MISSING,
        nullable=nullable,
        options=options,
        typed=False if kind is Kind.BOX else "",
    )
    return field if preset is _MISSING or preset is None else replace(field, typed=_typed(field, preset))


def _kind(schema: Mapping[str, Any], *, nullable: bool) -> tuple[Kind, tuple[Any, ...]]:
    if "const" in schema:
        return Kind.CHOICE, (schema["const"],)
    if isinstance(schema.get("enum"), list):
        return Kind.CHOICE, tuple(schema["enum"])
    match schema.get("type"):
        case "boolean":
            return (Kind.CHOICE, (True, False)) if nullable else (Kind.BOX, ())
        case "string":
            most = schema.get("maxLength")
            long = schema.get("format") == "multiline" or (isinstance(most, int) and most > _LONG)
            return (Kind.AREA if long else Kind.TEXT), ()
        case "integer" | "number":
            return Kind.NUMBER, ()
    return Kind.JSON, ()


def _typed(field: Field, value: Any) -> str | bool:
    """What stands in the field for `value`."""
    match field.kind:
        case Kind.BOX:
            return value is True
        case Kind.CHOICE:
            places = [number for number, each in enumerate(field.options) if _json(each) == _json(value)]
            return str(places[0]) if places else ""
        case Kind.TEXT | Kind.AREA:
            return value if isinstance(value, str) else ""
    return _json(value)


def _read(field: Field, typed: Any) -> Any:
    """The value that `typed` stands for.

    Raises:
        ValueError: for none; the message is for whoever has typed it.
    """
    if field.kind is Kind.BOX:
        return typed is True
    text = typed if isinstance(typed, str) else ""
    if not text.strip():
        if field.kind in (Kind.TEXT, Kind.AREA) and not field.path and not field.nullable:
            return text  # the whole answer: nothing typed is an empty text
        return None if field.nullable else _MISSING
    match field.kind:
        case Kind.CHOICE:
            return _chosen(field, text)
        case Kind.NUMBER:
            return _number(text)
        case Kind.JSON:
            return _parsed(text)
    return text


def _chosen(field: Field, text: str) -> Any:
    for number, option in enumerate(field.options):
        if text == str(number):
            return option
    raise ValueError("is none of these")


def _number(text: str) -> int | float:
    try:
        found = json.loads(text.strip(), parse_constant=_refused)
    except (ValueError, RecursionError):
        found = None
    if type(found) is int or (type(found) is float and math.isfinite(found)):
        return found
    raise ValueError("is not a number")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else "it cannot be read"
        raise ValueError(f'is not JSON ({why}), such as ["a", "b"] with quotes around text') from None


def _refused(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are no JSON


def _put(answer: dict[str, Any], path: Sequence[str], value: Any) -> None:
    _inside(answer, path)[path[-1]] = value


def _inside(answer: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """The object that `path` ends in, made where it is not there yet."""
    for name in path[:-1]:
        answer = answer.setdefault(name, {})
    return answer


def _plain(schema: Any, root: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """`schema` with references followed, and whether it also takes null."""
    nullable = False
    around: dict[str, Any] = {}
    for _ in range(_DEEPEST * 2):  # a reference may lead to itself
        if not isinstance(schema, Mapping):
            return around, nullable
        ref, several = schema.get("$ref"), schema.get("anyOf")
        around = {**{key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}, **around}
        if isinstance(ref, str):
            schema = _referred(ref, root)
        elif isinstance(several, list):
            rest = [
                each for each in several if not (isinstance(each, Mapping) and each.get("type") == "null")
            ]
            if len(rest) != 1 or len(several) != len(rest) + 1:
                return around, nullable
            nullable, schema = True, rest[0]
        else:
            return _single(around, nullable=nullable)
    return {}, nullable


def _single(schema: Mapping[str, Any], *, nullable: bool) -> tuple[Mapping[str, Any], bool]:
    """The same with one type, where null is the only other one."""
    kinds = schema.get("type")
    if isinstance(kinds, list) and len(kinds) == 2 and "null" in kinds:
        return {**schema, "type": next(kind for kind in kinds if kind != "null")}, True
    return schema, nullable


def _referred(ref: str, root: Mapping[str, Any]) -> Any:
    found: Any = root
    for part in ref.removeprefix("#").removeprefix("/").split("/") if ref != "#" else ():
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _is_object(schema: Mapping[str, Any]) -> bool:
    properties = schema.get("properties")
    return isinstance(properties, Mapping) and bool(properties) and schema.get("type", "object") == "object"


def _pointer(path: Sequence[str]) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
