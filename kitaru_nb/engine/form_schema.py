"""The JSON schema of a dataclass as a question has it: its arguments, and no others."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from pydantic import TypeAdapter
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import SchemaSerializer, core_schema

__all__ = ["closed_schema", "comes_back", "serializer_of"]


def closed_schema(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """The JSON schema of a type, in which a dataclass takes nothing but what its `__init__` takes.

    A model of pydantic's, or a dataclass with a rule of its own for what else is given, keeps that.
    """
    return adapter.json_schema(schema_generator=_Closed)


class _Closed(GenerateJsonSchema):
    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        found = super().dataclass_schema(schema)
        cls = schema["cls"]
        ruled = "extra" in (getattr(cls, "__pydantic_config__", None) or {})
        if dataclasses.is_dataclass(cls) and not is_pydantic_dataclass(cls) and not ruled:
            self.resolve_ref_schema(found)["additionalProperties"] = False
        return found

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        if not all(comes_back(member.value) for member in schema["members"]):
            raise TypeError(f"the values of `{schema['cls'].__name__}` inside of it are no JSON")
        return super().enum_schema(schema)

    def dataclass_args_schema(self, schema: core_schema.DataclassArgsSchema) -> JsonSchemaValue:
        fields = [field for field in schema["fields"] if field.get("init", True)]
        return super().dataclass_args_schema({**schema, "fields": fields})


def comes_back(value: object) -> bool:
    """Whether a value is the same after it was written as JSON and read."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False


def serializer_of(adapter: TypeAdapter[Any]) -> SchemaSerializer:
    """Gives the JSON of a typed value without what its schema does not take."""
    plain = adapter.core_schema
    taken = _without_own(plain)
    return adapter.serializer if taken is plain else SchemaSerializer(taken)


def _without_own(part: Any) -> Any:
    """A schema without the fields that a dataclass makes by itself; the same object where there are none."""
    if isinstance(part, dict):
        changed = {key: new for key, held in part.items() if (new := _without_own(held)) is not held}
        if part.get("type") == "dataclass-field" and not part.get("init", True):
            changed["serialization_exclude"] = True
        return {**part, **changed} if changed else part
    if isinstance(part, list):
        items = [_without_own(each) for each in part]
        return part if all(new is held for new, held in zip(items, part, strict=True)) else items
    return part
