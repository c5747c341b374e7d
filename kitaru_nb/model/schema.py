"""JSON schemas of answers: whether one can be used, whether an answer fits, what it wants in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, time
from functools import cache, partial
from itertools import islice
from typing import Any

__all__ = ["misfit", "misfits", "schema_fault", "wanted"]

_SHOWN = 60  # characters of a value in a message
_KINDS = {
    "boolean": "true or false",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "null": "null",
}
_FEW = 8
_DEEP = 6


def schema_fault(schema: Mapping[str, Any]) -> str | None:
    """Why `schema` is no JSON schema, or None."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - only where a question has one of its own
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415 - as above

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return _placed(error.absolute_path, error.message)
    return None


def misfit(answer: Any, schema: Mapping[str, Any]) -> str | None:
    """Why `answer` is none that `schema` takes, or None. Nothing is fetched: a `$ref` stays inside."""
    from jsonschema.exceptions import best_match  # noqa: PLC0415 - only where something is answered
    from referencing.exceptions import Unresolvable  # noqa: PLC0415 - as above

    try:
        error = best_match(_faults(answer, schema))
    except Unresolvable as unknown:
        return f"its schema refers to `{unknown.ref}`, which is nowhere in it"
    return None if error is None else _placed(error.absolute_path, error.message)


def misfits(answer: Any, schema: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong at each place of `answer`: a JSON pointer to a message; the first few.

    What is missing is told at the place where it would be.
    """
    from referencing.exceptions import Unresolvable  # noqa: PLC0415 - as above

    found: dict[str, str] = {}
    try:
        for error in islice(_faults(answer, schema), _FEW):
            path = "".join(f"/{_in_pointer(part)}" for part in error.absolute_path)
            if error.validator == "required" and isinstance(error.instance, Mapping):
                missing = (name for name in error.validator_value if name not in error.instance)
                found |= {f"{path}/{_in_pointer(name)}": "is required" for name in missing}
            else:
                found.setdefault(path, _of_field(error))
    except Unresolvable as unknown:
        found[""] = f"its schema refers to `{unknown.ref}`, which is nowhere in it"
    return found


def _of_field(error: Any) -> str:
    """What is wrong, for whoever filled in that field: nothing there comes as null."""
    if error.instance is None and error.validator in ("type", "enum"):
        return "is required"
    limit = error.validator_value
    match error.validator:
        case "minLength":
            return f"needs at least {limit} {'character' if limit == 1 else 'characters'}"
        case "maxLength":
            return f"may have at most {limit} {'character' if limit == 1 else 'characters'}"
        case "minItems":
            return f"needs at least {limit} of them"
        case "maxItems":
            return f"may have at most {limit} of them"
        case "pattern":
            return f"does not have the form {limit}"
        case "format":
            return f"is not a valid {limit}"
    return str(error.message)


def _faults(answer: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - as above
    from referencing import Registry  # noqa: PLC0415 - as above

    validator = Draft202012Validator(schema, registry=Registry(), format_checker=_format_checker())
    yield from validator.iter_errors(answer)


@cache
def _format_checker() -> Any:
    """What tells whether text is of a format; a time of day or a moment needs no zone, as in Python."""
    from jsonschema import Draft202012Validator, FormatChecker  # noqa: PLC0415 - as above

    checker = FormatChecker()
    checker.checkers = dict(Draft202012Validator.FORMAT_CHECKER.checkers)
    for name, read in (("date-time", datetime.fromisoformat), ("time", time.fromisoformat)):
        checker.checks(name, raises=ValueError)(partial(_reads, read))
    return checker


def _reads(read: Callable[[str], object], value: object) -> bool:
    return not isinstance(value, str) or read(value) is not None


def _in_pointer(part: object) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def wanted(schema: Mapping[str, Any] | None) -> str:
    """What an answer has to be, in words: ``true or false``, ``one of "a", "b"``, ``an object with …``."""
    return _words(schema or {}, 0)


def _words(schema: Any, depth: int) -> str:
    if not isinstance(schema, Mapping) or depth > _DEEP:
        return "JSON"
    if "const" in schema:
        return _short(schema["const"])
    if "enum" in schema:
        listed = ", ".join(_short(each) for each in schema["enum"][:_FEW])
        return f"one of {listed}{' …' if len(schema['enum']) > _FEW else ''}"
    if "$ref" in schema:
        return _words(_referred(schema, schema["$ref"]), depth + 1)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(_words(_inside(schema, each), depth + 1) for each in schema[several][:_FEW])
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return _object(schema, depth)
    if kind == "array":
        items = schema.get("items")
        return f"a list, each {_words(_inside(schema, items), depth + 1)}" if items else "a list"
    if isinstance(kind, list):
        return " or ".join(_KINDS.get(each, str(each)) for each in kind)
    return _KINDS.get(str(kind), "JSON")


def _object(schema: Mapping[str, Any], depth: int) -> str:
    fields = schema.get("properties") or {}
    needed = set(schema.get("required") or ())
    if not fields:
        return "an object"
    parts = [
        f'"{name}" ({_words(_inside(schema, field), depth + 1)}{"" if name in needed else ", if at all"})'
        for name, field in list(fields.items())[:_FEW]
    ]
    return f"an object with {', '.join(parts)}{' …' if len(fields) > _FEW else ''}"


def _inside(schema: Mapping[str, Any], part: Any) -> Any:
    """A part of a schema, which may refer to what the whole defines."""
    if not isinstance(part, Mapping):
        return part is not False
    definitions = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    return {**definitions, **part}


def _referred(schema: Mapping[str, Any], ref: str) -> Mapping[str, Any]:
    """What a reference inside the schema leads to, without its own definitions: it may refer to itself."""
    found: Any = schema
    for part in ref.removeprefix("#/").split("/"):
        found = found.get(part, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _placed(path: Sequence[Any] | Any, message: str) -> str:
    where = ".".join(map(str, path))
    return f"at `{where}`: {message}" if where else message


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
