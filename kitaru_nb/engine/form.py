"""What an answer may be: a Python type as a JSON schema, and answers from JSON to that type and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from kitaru_nb.artifacts.kinds import kind_name
from kitaru_nb.errors import UsageError
from kitaru_nb.model.schema import misfit, schema_fault, wanted
from kitaru_nb.model.wait import is_same_json

__all__ = ["Form", "form_of"]

_HINT = (
    'schema=bool, str, int, float, Literal["a", "b"], an Enum, a dataclass, a pydantic model or a JSON schema'
)


@dataclass(frozen=True, slots=True)
class Form:
    """The answers that a question takes.

    Attributes:
        schema: As JSON schema.
        build: Gives the typed answer for one in JSON. Raises ValueError where the type takes less
            than its schema says, as with a validator of its own.
        dump: Gives the JSON of a typed answer.
        known_by: The schema that the question goes by on record, where that is another one: what
            earlier releases asked with, so that their answers hold.
    """

    schema: Mapping[str, Any]
    build: Callable[[Any], Any]
    dump: Callable[[Any], Any]
    known_by: Mapping[str, Any] | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        """The schema that tells this question from others."""
        return self.schema if self.known_by is None else self.known_by

    def default(self, value: object) -> Any:
        """A default answer as JSON.

        Raises:
            UsageError: kind ``bad-default``: it would be no answer.
        """
        try:
            answer = _as_json(self.dump(value))
            problem = misfit(answer, self.schema)
            if problem is None:
                self.build(answer)
        except (TypeError, ValueError) as error:
            problem = _in_one_line(error)
        if problem is not None:
            message = f"the default `{value!r}` is no answer to a question that wants {wanted(self.schema)}"
            raise UsageError(f"{message}: {problem}", kind="bad-default", hint="a default that is an answer")
        return answer


def form_of(schema: object) -> Form:
    """The form for a type, an Enum, a Literal, a dataclass, a pydantic model or a JSON schema.

    Raises:
        UsageError: kind ``bad-schema``.
    """
    known = _SIMPLE.get(schema) if isinstance(schema, type) else None
    if known is not None:
        return known
    if isinstance(schema, Mapping):
        return _of_json_schema(schema)
    return _of_type(schema)


def _of_json_schema(schema: Mapping[str, Any]) -> Form:
    try:
        plain = _as_json(dict(schema))
        fault = schema_fault(plain)
    except (TypeError, ValueError) as error:
        fault = _in_one_line(error)
    if fault is not None:
        raise UsageError(f"the schema of a wait is no JSON schema: {fault}", kind="bad-schema", hint=_HINT)
    return Form(plain, _same, _same)


def _of_type(kind: Any) -> Form:
    from pydantic import PydanticUserError, TypeAdapter  # noqa: PLC0415 - bool and text go without

    from kitaru_nb.engine.form_schema import closed_schema, comes_back, serializer_of  # noqa: PLC0415 - as above

    try:
        if isinstance(kind, FunctionType | BuiltinFunctionType | MethodType):
            raise TypeError("a function is no type")
        adapter = TypeAdapter(kind)
        known_by = _as_json(adapter.json_schema())
        if isinstance(kind, type) and issubclass(kind, Enum) and not all(comes_back(m.value) for m in kind):
            return _of_members(kind, known_by, adapter)
        schema = _as_json(closed_schema(adapter))
        serializer = serializer_of(adapter)
    except (PydanticUserError, TypeError, ValueError, NameError) as error:
        message = f"`{getattr(kind, '__name__', kind_name(kind))}` cannot be the schema of a wait"
        raise UsageError(f"{message}: {_why(error)}", kind="bad-schema", hint=_HINT) from error

    def dump(value: object) -> Any:
        return serializer.to_python(adapter.validate_python(value), mode="json")

    return Form(schema, lambda answer: adapter.validate_json(json.dumps(answer)), dump, known_by)


def _of_members(kind: type[Enum], schema: Mapping[str, Any], adapter: Any) -> Form:
    """The form for an Enum whose values JSON has other things for, such as dates and tuples."""
    told = [(_as_json(adapter.dump_python(member, mode="json")), member) for member in kind]

    def build(answer: Any) -> Any:
        found = next((member for each, member in told if is_same_json(each, answer)), None)
        if found is None:
            raise ValueError(f"`{answer!r}` is no value of `{kind.__name__}`")
        return found

    def dump(value: object) -> Any:
        return next((each for each, member in told if value is member or value == member.value), value)

    return Form(schema, build, dump)


def _as_json(value: Any) -> Any:
    """`value` as it comes back from JSON.

    Raises:
        TypeError: JSON cannot hold it.
        ValueError: as above: it is not a number, or refers to itself.
    """
    return json.loads(json.dumps(value, allow_nan=False))


def _same(value: Any) -> Any:
    return value


def _exactly(kind: type) -> Callable[[Any], Any]:
    def dump(value: Any) -> Any:
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise TypeError(f"it is {kind_name(value)}")
        return value

    return dump


def _why(error: BaseException) -> str:
    # Pydantic's words for it are for who writes models.
    if getattr(error, "code", None) == "schema-for-unknown-type":
        return "it is no type that an answer can be checked against"
    return _in_one_line(error)


def _in_one_line(error: BaseException) -> str:
    text = str(error).strip()
    return " ".join(text.split()) if text else type(error).__name__


_SIMPLE = {
    bool: Form({"type": "boolean"}, bool, _exactly(bool)),
    str: Form({"type": "string"}, str, _exactly(str)),
    int: Form({"type": "integer"}, int, _exactly(int)),
    float: Form({"type": "number"}, float, _exactly(float)),
}
