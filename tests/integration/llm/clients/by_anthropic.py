"""Anthropic's own client."""

from __future__ import annotations

import json
from typing import Any

import anthropic
from walking import ASKED, CLAUDE, PARAMETERS, SUNNY, Seen, path, together

SMALL = {"model": CLAUDE, "max_tokens": 100, "messages": ASKED}
CLAUDE_TOOLS = [{"name": "weather", "input_schema": PARAMETERS}]


def of_message(answer: Any) -> Seen:
    said = "".join(block.text for block in answer.content if block.type == "text")
    called = [
        f"{block.name} {json.dumps(block.input)}" for block in answer.content if block.type == "tool_use"
    ]
    usage = answer.usage
    asked = (
        usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    )
    return Seen(said, asked, usage.output_tokens, called)


def of_message_events(events: list[Any]) -> Seen:
    assert events[0].type == "message_start"
    assert events[-1].type == "message_stop"
    said = "".join(event.delta.text for event in events if event.type == "content_block_delta")
    [ends] = [event for event in events if event.type == "message_delta"]
    return Seen(said, events[0].message.usage.input_tokens, ends.usage.output_tokens)


@path
def anthropic_messages() -> Seen:
    return of_message(anthropic.Anthropic().messages.create(**SMALL))


@path
async def anthropic_messages_async() -> Seen:
    async with anthropic.AsyncAnthropic() as client:
        return of_message(await client.messages.create(**SMALL))


@path
def anthropic_stream() -> Seen:
    return of_message_events(list(anthropic.Anthropic().messages.create(**SMALL, stream=True)))


@path
async def anthropic_stream_async() -> Seen:
    async with anthropic.AsyncAnthropic() as client:
        stream = await client.messages.create(**SMALL, stream=True)
        return of_message_events([event async for event in stream])


@path
def anthropic_stream_helper() -> Seen:
    with anthropic.Anthropic().messages.stream(**SMALL) as stream:
        said = "".join(stream.text_stream)
        seen = of_message(stream.get_final_message())
    assert said == seen.text
    return seen


@path
async def anthropic_stream_helper_async() -> Seen:
    async with anthropic.AsyncAnthropic() as client, client.messages.stream(**SMALL) as stream:
        return of_message(await stream.get_final_message())


@path
def anthropic_tool() -> Seen:
    client = anthropic.Anthropic()
    first = client.messages.create(**SMALL, tools=CLAUDE_TOOLS)
    [call] = [block for block in first.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": SUNNY}
    said = [block.model_dump(exclude_none=True) for block in first.content]
    history = [*ASKED, {"role": "assistant", "content": said}, {"role": "user", "content": [result]}]
    second = client.messages.create(**{**SMALL, "messages": history}, tools=CLAUDE_TOOLS)
    return together(of_message(first), of_message(second))


@path
def anthropic_tool_stream() -> Seen:
    with anthropic.Anthropic().messages.stream(**SMALL, tools=CLAUDE_TOOLS) as stream:
        return of_message(stream.get_final_message())
