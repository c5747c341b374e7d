"""Anthropic's messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kitaru_nb.testing.llm.answers import Answer, Failure, pieces
from kitaru_nb.testing.llm.call import Call, Tokens
from kitaru_nb.testing.llm.dialect import Dialect, Document, Event, tool_id

__all__ = ["MESSAGES"]

_FINISH = {"stop": "end_turn", "length": "max_tokens", "tools": "tool_use", "filtered": "refusal"}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def _document(call: Call, answer: Answer, tokens: Tokens) -> Document:
    called = [
        {
            "type": "tool_use",
            "id": _tool_id(call, answer, index),
            "name": tool.name,
            "input": _input(tool.arguments),
        }
        for index, tool in enumerate(answer.tools)
    ]
    said = [{"type": "text", "text": answer.text}] if answer.text or not called else []
    return {
        **_message(call, tokens),
        "content": [*said, *called],
        "stop_reason": _FINISH[answer.finished],
        "usage": _usage(tokens),
    }


def _events(call: Call, answer: Answer, tokens: Tokens) -> Iterator[Event]:
    def event(name: str, /, *, piece: bool = False, **data: object) -> Event:
        return Event({"type": name, **data}, name, piece=piece)

    yield event("message_start", message={**_message(call, tokens), "content": []})
    for index, block in enumerate(_document(call, answer, tokens)["content"]):
        if block["type"] == "text":
            begins, kind, said = {**block, "text": ""}, "text", block["text"]
        else:
            begins, kind = {**block, "input": {}}, "partial_json"
            said = answer.tools[index - bool(answer.text)].arguments_json
        yield event("content_block_start", index=index, content_block=begins)
        if index == 0:
            yield event("ping")
        for piece in pieces(said):
            delta = {"type": "text_delta" if kind == "text" else "input_json_delta", kind: piece}
            yield event("content_block_delta", piece=True, index=index, delta=delta)
        yield event("content_block_stop", index=index)
    ends = {"stop_reason": _FINISH[answer.finished], "stop_sequence": None}
    yield event("message_delta", delta=ends, usage=_usage(tokens))
    yield event("message_stop")


def _message(call: Call, tokens: Tokens) -> Document:
    """The answer before it holds anything; its usage counts one token of output, as the real one does."""
    return {
        "id": f"msg_{call.number}",
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**_usage(tokens), "output_tokens": min(1, tokens.output)},
    }


def _usage(tokens: Tokens) -> Document:
    """Anthropic counts what was read from the cache and written to it apart from the rest of the input."""
    return {
        "input_tokens": tokens.input - tokens.cached - tokens.cache_written,
        "cache_creation_input_tokens": tokens.cache_written,
        "cache_read_input_tokens": tokens.cached,
        "output_tokens": tokens.output,
        "service_tier": "standard",
    }


def _tool_id(call: Call, answer: Answer, index: int) -> str:
    return tool_id(call, index, answer.tools[index], "toolu")


def _input(arguments: Any) -> Any:
    return json.loads(arguments or "{}") if isinstance(arguments, str) else arguments


def _error(failure: Failure) -> Document:
    kind = failure.type or _TYPES.get(failure.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": failure.message}, "request_id": None}


def _error_event(_call: Call, failure: Failure, _number: int) -> Event:
    return Event(_error(failure), "error")


MESSAGES = Dialect(
    api="messages",
    path="messages",
    needs={"model": str, "messages": list, "max_tokens": int},
    document=_document,
    events=_events,
    error=_error,
    error_event=_error_event,
    request_id="request-id",
)
