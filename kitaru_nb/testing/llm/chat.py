"""OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Iterator

from kitaru_nb.testing.llm import openai
from kitaru_nb.testing.llm.answers import Answer, Failure, pieces
from kitaru_nb.testing.llm.call import Call, Tokens
from kitaru_nb.testing.llm.dialect import Dialect, Document, Event, created, tool_id

__all__ = ["CHAT"]

_FINISH = {"stop": "stop", "length": "length", "tools": "tool_calls", "filtered": "content_filter"}


def _document(call: Call, answer: Answer, tokens: Tokens) -> Document:
    message: Document = {
        "role": "assistant",
        "content": answer.text or None if answer.tools else answer.text,
        "refusal": None,
        "annotations": [],
    }
    if answer.tools:
        message["tool_calls"] = _tools(call, answer)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH[answer.finished]}
    return {**_head(call, "chat.completion"), "choices": [choice], "usage": _usage(tokens)}


def _events(call: Call, answer: Answer, tokens: Tokens) -> Iterator[Event]:
    """The chunks; the usage comes in one more, without choices, when `include_usage` asks for it."""
    with_usage = bool((call.body.get("stream_options") or {}).get("include_usage"))
    head = _head(call, "chat.completion.chunk")

    def chunk(delta: Document, finish: str | None = None, *, piece: bool = False) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return Event({**head, "choices": [choice], **({"usage": None} if with_usage else {})}, piece=piece)

    yield chunk({"role": "assistant", "content": None if answer.tools else "", "refusal": None})
    for piece in pieces(answer.text):
        yield chunk({"content": piece}, piece=True)
    for index, tool in enumerate(_tools(call, answer)):
        function = tool["function"]
        yield chunk({"tool_calls": [{"index": index, **tool, "function": {**function, "arguments": ""}}]})
        for piece in pieces(function["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, piece=True)
    yield chunk({}, _FINISH[answer.finished])
    if with_usage:
        yield Event({**head, "choices": [], "usage": _usage(tokens)})
    yield Event("[DONE]")


def _head(call: Call, kind: str) -> Document:
    return {
        "id": f"chatcmpl-{call.number}",
        "object": kind,
        "created": created(call),
        "model": call.model,
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }


def _tools(call: Call, answer: Answer) -> list[Document]:
    return [
        {
            "id": tool_id(call, index, tool, "call"),
            "type": "function",
            "function": {"name": tool.name, "arguments": tool.arguments_json},
        }
        for index, tool in enumerate(answer.tools)
    ]


def _usage(tokens: Tokens) -> Document:
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.total,
        "prompt_tokens_details": {"cached_tokens": tokens.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning, "audio_tokens": 0},
    }


def _error_event(_call: Call, failure: Failure, _number: int) -> Event:
    return Event(openai.error(failure))


CHAT = Dialect(
    api="chat",
    path="chat/completions",
    needs={"model": str, "messages": list},
    document=_document,
    events=_events,
    error=openai.error,
    error_event=_error_event,
    request_id="x-request-id",
)
