"""OpenAI's responses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from kitaru_nb.testing.llm import openai
from kitaru_nb.testing.llm.answers import Answer, Failure, pieces
from kitaru_nb.testing.llm.call import Call, Tokens
from kitaru_nb.testing.llm.dialect import Dialect, Document, Event, created, tool_id

__all__ = ["RESPONSES"]

# What the answer repeats of the request, and what it says where the request is silent.
_ECHOED: Document = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
_INCOMPLETE = {"length": "max_output_tokens", "filtered": "content_filter"}


def _document(call: Call, answer: Answer, tokens: Tokens) -> Document:
    reason = _INCOMPLETE.get(answer.finished)
    return {
        **_response(call, "incomplete" if reason else "completed"),
        "incomplete_details": {"reason": reason} if reason else None,
        "output": _items(call, answer),
        "usage": _usage(tokens),
    }


def _events(call: Call, answer: Answer, tokens: Tokens) -> Iterator[Event]:
    numbers = count()

    def event(name: str, /, *, piece: bool = False, **data: object) -> Event:
        return Event({"type": name, "sequence_number": next(numbers), **data}, name, piece=piece)

    begun = _response(call, "in_progress")
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    for index, item in enumerate(_items(call, answer)):
        place = {"item_id": item["id"], "output_index": index}
        if item["type"] == "message":
            part = item["content"][0]
            inside = {**place, "content_index": 0}
            begins = {**item, "status": "in_progress", "content": []}
            yield event("response.output_item.added", output_index=index, item=begins)
            yield event("response.content_part.added", **inside, part={**part, "text": ""})
            for piece in pieces(part["text"]):
                yield event("response.output_text.delta", piece=True, **inside, delta=piece, logprobs=[])
            yield event("response.output_text.done", **inside, text=part["text"], logprobs=[])
            yield event("response.content_part.done", **inside, part=part)
        else:
            begins = {**item, "status": "in_progress", "arguments": ""}
            yield event("response.output_item.added", output_index=index, item=begins)
            for piece in pieces(item["arguments"]):
                yield event("response.function_call_arguments.delta", piece=True, **place, delta=piece)
            ends = {"name": item["name"], "arguments": item["arguments"]}
            yield event("response.function_call_arguments.done", **place, **ends)
        yield event("response.output_item.done", output_index=index, item=item)
    whole = _document(call, answer, tokens)
    yield event(f"response.{whole['status']}", response=whole)


def _response(call: Call, status: str) -> Document:
    """The answer before it holds anything."""
    echoed = {
        name: default if call.body.get(name) is None else call.body[name] for name, default in _ECHOED.items()
    }
    return {
        "id": f"resp_{call.number}",
        "object": "response",
        "created_at": created(call),
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": call.model,
        "output": [],
        "usage": None,
        "service_tier": "default",
        **echoed,
    }


def _items(call: Call, answer: Answer) -> list[Document]:
    said: list[Document] = [
        {
            "id": f"msg_{call.number}",
            "type": "message",
            "status": "incomplete" if answer.finished in _INCOMPLETE else "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}],
        }
    ]
    called: list[Document] = [
        {
            "id": f"fc_{call.number}_{index}",
            "type": "function_call",
            "status": "completed",
            "call_id": tool_id(call, index, tool, "call"),
            "name": tool.name,
            "arguments": tool.arguments_json,
        }
        for index, tool in enumerate(answer.tools)
    ]
    return [*(said if answer.text or not called else []), *called]


def _usage(tokens: Tokens) -> Document:
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": tokens.cache_written},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.total,
    }


def _error_event(call: Call, failure: Failure, number: int) -> Event:
    failed = {**_response(call, "failed"), "error": {"code": "server_error", "message": failure.message}}
    return Event(
        {"type": "response.failed", "sequence_number": number, "response": failed}, "response.failed"
    )


RESPONSES = Dialect(
    api="responses",
    path="responses",
    needs={"model": str, "input": (str, list)},
    document=_document,
    events=_events,
    error=openai.error,
    error_event=_error_event,
    request_id="x-request-id",
)
