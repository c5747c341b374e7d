"""The routes as an OpenAPI 3.1 document. A test holds it against the routes that a server has."""

from __future__ import annotations

from typing import Any

from kitaru_nb.engine.costs import By
from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.model.wait import WaitKind, WaitStatus

__all__ = ["described"]

_VERSION = "1"
Json = dict[str, Any]


def described(url: str) -> Json:
    """The document, for a server whose routes are below `url`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kitaru_nb",
            "version": _VERSION,
            "description": "Executions, waits and stored values of durable notebooks. JSON documents are "
            "those that the command line prints with --json. What changes is told on Jupyter's event "
            "stream, under the schema https://kitaru-nb.dev/events/changed/v1.",
        },
        "servers": [{"url": url}],
        "security": [{"token": []}, {"query": []}],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "token TOKEN",
                },
                "query": {"type": "apiKey", "in": "query", "name": "token"},
            },
        },
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json, *, optional: tuple[str, ...] = (), more: bool = False) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": more}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _between(least: int, most: int) -> Json:
    return {"type": "integer", "minimum": least, "maximum": most}


def _or_null(kind: str, **more: Any) -> Json:
    return {"type": [kind, "null"], **more}


_TEXT: Json = {"type": "string"}
_NAME: Json = {"type": "string", "minLength": 1, "maxLength": 1000}
_TIME = _or_null("string", format="date-time")
_NUMBER = _or_null("number")
_COUNT = _or_null("integer")
_ANY: Json = {}
_WHOLE: Json = {"type": "integer"}
_PLACES: Json = {"type": "string", "pattern": r"^[0-9]+(,[0-9]+)*$"}


def _query(name: str, schema: Json, text: str, *, required: bool = False) -> Json:
    if not required:  # one that is sent empty, as a form does, is not given
        schema = {"anyOf": [schema, {"const": ""}]}
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": text}


def _in_path(name: str, text: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": _NAME, "description": text}


_EXECUTION = _in_path("execution", "An id, or `latest`.")
_ADDRESS = _in_path("address", "EXECUTION/NAME[#n], quoted so that it is one segment.")
_OF = _query("execution", _NAME, "One execution alone.")
_NOTEBOOK = _query("notebook", _NAME, "A notebook's path as the contents API has it.")
_KNOWN_AS = _query("known_as", _NAME, "What the kernel of `notebook` calls it, where that is another path.")
_TAG = _query("tag", _NAME, "Executions with this tag.")
_SINCE = _query("since", _NAME, "Executions begun since then: a length of time such as 2h, or a date.")


def _answer(schema: Json, text: str = "What was asked for.", *, media: str = "application/json") -> Json:
    return {"description": text, "content": {media: {"schema": schema}}}


def _operation(
    name: str,
    summary: str,
    answer: Json,
    *,
    query: tuple[Json, ...] = (),
    body: Json | None = None,
    errors: tuple[int, ...] = (400, 404),
    media: str = "application/json",
) -> Json:
    told = {
        400: "The request is not one that can be taken.",
        404: "There is no such thing.",
        409: "It does not fit what is on record: answered already, held by another process, not trusted.",
        413: "The request is too large.",
        422: "The question does not take the answer.",
        502: "The process that was to run it could not be started, or ended before it began.",
    }
    codes = sorted({*errors, *((413,) if body is not None else ())})
    responses = {"200": _answer(answer, media=media)}
    responses |= {str(code): _answer(_ref("Error"), told[code]) for code in codes}
    responses["403"] = _answer(_ref("Error"), "Not logged in, or not allowed.")
    responses["503"] = _answer(_ref("Error"), "The records cannot be read or written.")
    found: Json = {"operationId": name, "summary": summary, "parameters": list(query), "responses": responses}
    if body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found


def _paths() -> Json:
    executions = _object({"executions": _list(_ref("Execution")), "more": {"type": "boolean"}})
    standing = _object({"execution": _TEXT, "status": _ref("ExecutionStatus")})
    changes = {"type": "object", "description": 'Values by name: JSON, or {"expr": "a Python literal"}.'}
    return {
        "/executions": {
            "get": _operation(
                "executions",
                "Executions, newest first, a page at a time.",
                executions,
                query=(
                    _query("status", _ref("ExecutionStatus"), "Only those that stand like this."),
                    _TAG,
                    _SINCE,
                    _NOTEBOOK,
                    _KNOWN_AS,
                    _query("q", _NAME, "Only those with this in their id, notebook, flow or tags."),
                    _query("limit", _between(1, 500), "At most this many."),
                    _query("before", _NAME, "The id of the last one of the page before."),
                ),
            )
        },
        "/executions/{execution}": {
            "parameters": [_EXECUTION],
            "get": _operation("show", "One execution with its checkpoints and waits.", _ref("Show")),
        },
        "/executions/{execution}/logs": {
            "parameters": [_EXECUTION],
            "get": _operation(
                "logs",
                "What happened, line by line.",
                _object(
                    {"lines": _list(_ref("Line")), "next": {"type": "integer"}, "more": {"type": "boolean"}}
                ),
                query=(
                    _query("after", {"type": "integer", "minimum": 0}, "`next` of the answer before."),
                    _query(
                        "limit",
                        _between(1, 1000),
                        "At most this many events.",
                    ),
                ),
            ),
        },
        "/executions/{execution}/outputs": {
            "parameters": [_EXECUTION],
            "get": _operation(
                "outputs",
                "What a checkpoint has shown when it ran last, or shows while it runs.",
                _object(
                    {
                        "checkpoint": _TEXT,
                        "outputs": _list({"type": "object"}),
                        "ended": {"type": "boolean"},
                    }
                ),
                query=(_query("checkpoint", _NAME, "Its name; that of the one that runs without it."),),
            ),
        },
        "/executions/{execution}/inputs": {
            "parameters": [_EXECUTION],
            "get": _operation(
                "inputs",
                "What a checkpoint read, or its flow was given, that a person can type for a replay.",
                _ref("Inputs"),
                query=(_query("checkpoint", _NAME, "Its name; NAME#2 is the second of it.", required=True),),
            ),
        },
        "/executions/{execution}/why": {
            "parameters": [_EXECUTION],
            "get": _operation(
                "why",
                "Why a checkpoint was restored or ran.",
                _ref("Why"),
                query=(_query("checkpoint", _NAME, "Its name; NAME#2 is the second of it.", required=True),),
            ),
        },
        "/executions/{execution}/replay": {
            "parameters": [_EXECUTION],
            "post": _operation(
                "replay",
                "Begin a new execution from one of its steps on, in the background.",
                _object({"execution": _TEXT}),
                body=_object(
                    {"from": {"type": "string", "minLength": 1}, "inputs": changes, "overrides": changes},
                    optional=("inputs", "overrides"),
                    more=True,
                ),
                errors=(400, 404, 409, 422, 502),
            ),
        },
        "/executions/{execution}/resume": {
            "parameters": [_EXECUTION],
            "post": _operation(
                "resume", "Go on with it, in the background.", standing, errors=(400, 404, 409, 502)
            ),
        },
        "/executions/{execution}/cancel": {
            "parameters": [_EXECUTION],
            "post": _operation("cancel", "End it for good.", standing, errors=(400, 404, 409)),
        },
        "/waits": {
            "get": _operation(
                "waits",
                "Questions to people, pending ones first.",
                _object({"waits": _list(_ref("Wait")), "more": {"type": "boolean"}}),
                query=(
                    _OF,
                    _query("status", _ref("WaitStatus"), "Only those that stand like this."),
                    _NOTEBOOK,
                    _KNOWN_AS,
                    _query("limit", _between(1, 500), "At most this many."),
                ),
            )
        },
        "/waits/{address}": {
            "parameters": [_ADDRESS],
            "get": _operation("wait", "One wait as it stands.", _ref("Wait")),
        },
        "/waits/{address}/answer": {
            "parameters": [_ADDRESS],
            "post": _operation(
                "answer",
                "Answer it, under the name of whoever is logged in. The first answer counts.",
                _ref("Wait"),
                body=_object(
                    {
                        "answer": _ANY,
                        "reason": _or_null("string"),
                        "binding": _or_null("string", description="`binding` of the wait that was shown."),
                    },
                    optional=("reason", "binding"),
                    more=True,
                ),
                errors=(400, 404, 409, 422),
            ),
        },
        "/cost": {
            "get": _operation(
                "cost",
                "What model calls have cost and what was saved.",
                _list(_ref("Cost")),
                query=(_query("by", {"enum": list(By)}, "What to add up by."), _OF, _TAG, _SINCE),
            )
        },
        "/diff": {
            "get": _operation(
                "diff", "Two executions side by side.", _ref("Diff"), query=_two(), errors=(400, 404)
            )
        },
        "/diff.html": {
            "get": _operation(
                "diffPage", "The same as a page without scripts.", _TEXT, query=_two(), media="text/html"
            )
        },
        "/cells": {
            "post": _operation(
                "cells",
                "How the cells of an open notebook stand; nothing is run.",
                _ref("Cells"),
                body=_object(
                    {
                        "notebook": _NAME,
                        "known_as": _TEXT,
                        "cells": {
                            "type": "array",
                            "maxItems": 5000,
                            "items": _object(
                                {"id": _TEXT, "source": _TEXT, "tags": _list(_TEXT)},
                                optional=("tags",),
                                more=True,
                            ),
                        },
                    },
                    optional=("known_as",),
                    more=True,
                ),
                errors=(400, 409),
            )
        },
        "/artifacts": {
            "get": _operation("artifact", "What a stored value is like.", _ref("Artifact"), query=(_value(),))
        },
        "/artifacts/slice": {
            "get": _operation(
                "slice",
                "A part of a stored array or table.",
                {"type": "object"},
                query=(
                    _value(),
                    _query("as", {"enum": ["values", "rows", "statistics", "png"]}, "What to answer with."),
                    _query("path", _NAME, "The array inside a table or group."),
                    _query(
                        "start",
                        _PLACES,
                        "One number for each axis.",
                    ),
                    _query(
                        "stop",
                        _PLACES,
                        "Likewise; it is left out.",
                    ),
                    _query("columns", _NAME, "Of a table only these, with commas between."),
                    _query("pixels", _between(1, 1024), "Of a PNG, at most."),
                ),
            )
        },
        "/openapi.json": {"get": _operation("openapi", "This document.", {"type": "object"}, errors=(400,))},
    }


def _two() -> tuple[Json, ...]:
    return (_query("a", _NAME, "The first.", required=True), _query("b", _NAME, "The second.", required=True))


def _value() -> Json:
    return _query("ref", _NAME, "EXECUTION/CHECKPOINT[#n]/NAME, or a digest.", required=True)


def _schemas() -> Json:
    execution = {
        "id": _TEXT,
        "status": _ref("ExecutionStatus"),
        "notebook": _or_null("string"),
        "flow": _or_null("string"),
        "started_at": _TIME,
        "ended_at": _TIME,
        "duration": _NUMBER,
        "cost": _NUMBER,
        "tokens": _COUNT,
        "saved_cost": _NUMBER,
        "saved_duration": _NUMBER,
        "parent": _or_null("string"),
        "tags": _list(_TEXT),
        "attempts": {"type": "integer"},
    }
    progress = _object({"done": {"type": "integer"}, "total": _COUNT})
    show = {"checkpoints": _list(_ref("Checkpoint")), "waits": _list(_ref("Wait")), "replays": _list(_TEXT)}
    return {
        "Error": _object(
            {
                "error": _object({"kind": _TEXT, "message": _TEXT, "hint": _or_null("string")}),
                "fields": {"type": "object", "additionalProperties": _TEXT},
            },
            optional=("fields",),
        ),
        "ExecutionStatus": {"type": "string", "enum": list(ExecutionStatus)},
        "WaitStatus": {"type": "string", "enum": list(WaitStatus)},
        "Execution": _object({**execution, "progress": progress}, optional=("progress",)),
        "Show": _object({**execution, "progress": progress, **show}, optional=("progress", "replays")),
        "Checkpoint": _object(
            {
                "name": _TEXT,
                "ordinal": {"type": "integer"},
                "status": {"enum": ["completed", "restored", "failed"]},
                "key": _TEXT,
                "started_at": _TIME,
                "duration": _NUMBER,
                "cost": _NUMBER,
                "reads": _list(_TEXT),
                "writes": _list(_TEXT),
                "files": _list({"type": "object"}),
                "artifacts": _list(_ref("Stored")),
            }
        ),
        "Stored": _object(
            {
                "ref": _TEXT,
                "names": _list(_TEXT),
                "digest": _TEXT,
                "bytes": _COUNT,
                "codec": _or_null("string"),
                "removed": {"type": "object"},
            },
            optional=("removed",),
        ),
        "Wait": _object(
            {
                "address": _TEXT,
                "execution": _TEXT,
                "name": _TEXT,
                "kind": {"enum": list(WaitKind)},
                "question": _or_null("string"),
                "schema": _or_null("object"),
                "show": _ANY,
                "status": _ref("WaitStatus"),
                "asked_at": _TIME,
                "deadline": _TIME,
                "answer": _ANY,
                "answered_by": _or_null("string"),
                "answered_at": _TIME,
                "reason": _or_null("string"),
                "binding": _or_null("string"),
            }
        ),
        "Inputs": _object(
            {
                "checkpoint": _TEXT,
                "inputs": _list(_object({"name": _TEXT, "type": _TEXT, "literal": _or_null("string")})),
            }
        ),
        "Line": _object(
            {
                "seq": {"type": "integer"},
                "at": _TIME,
                "kind": _TEXT,
                "checkpoint": _or_null("string"),
                "stream": _or_null("string"),
                "text": _TEXT,
            }
        ),
        "Why": _object(
            {
                "execution": _TEXT,
                "checkpoint": _TEXT,
                "status": _TEXT,
                "reasons": _list(
                    _object(
                        {
                            "kind": _TEXT,
                            "what": _TEXT,
                            "text": _TEXT,
                            "old": _or_null("string"),
                            "new": _or_null("string"),
                        }
                    )
                ),
                "reads": {"type": "object"},
            }
        ),
        "Cost": _object(
            {
                "calls": {"type": "integer"},
                "input_tokens": {"type": "integer"},
                "output_tokens": {"type": "integer"},
                "tokens": {"type": "integer"},
                "cost": _NUMBER,
                "unpriced_calls": {"type": "integer"},
                "saved_cost": _NUMBER,
                "served_calls": {"type": "integer"},
            },
            more=True,
        ),
        "Diff": _object(
            {
                "a": _ref("Execution"),
                "b": _ref("Execution"),
                "parameters": {"type": "object"},
                "first_difference": _or_null("string"),
                "first_difference_kind": _or_null("string"),
                "steps": _list({"type": "object"}),
                "kept": _list({"type": "object"}),
            }
        ),
        "Cells": _object(
            {
                "execution": _or_null("string"),
                "cells": {"type": "object", "additionalProperties": _ref("Cell")},
                "dead": _or_null("object"),
            }
        ),
        "Cell": _object(
            {
                "checkpoint": _or_null("string"),
                "status": {"enum": ["fresh", "stale", "restored", "running", "failed", "waiting", None]},
                "duration": _NUMBER,
                "cost": _NUMBER,
                "saved_duration": _NUMBER,
                "started_at": _TIME,
                "restored_from": _or_null("string"),
                "why": _TEXT,
                "wait": _or_null("string"),
            }
        ),
        "Artifact": _object(
            {
                "ref": _TEXT,
                "names": _list(_TEXT),
                "name": _or_null("string"),
                "checkpoint": _or_null("string"),
                "digest": _TEXT,
                "codec": _TEXT,
                "bytes": {"type": "integer"},
                "recipe": {"type": "boolean"},
                "kind": {"enum": ["array", "table", "group", "text", "json", "image", "opaque"]},
            },
            more=True,
        ),
    }
