"""OpenAI's own client."""

from __future__ import annotations

from typing import Any

import openai
from walking import (
    ASKED,
    EMBEDDING,
    GPT,
    OPENAI_TOOLS,
    PARAMETERS,
    QUESTION,
    SUNNY,
    Seen,
    of_chunks,
    of_completion,
    path,
    together,
)


@path
def openai_chat() -> Seen:
    return of_completion(openai.OpenAI().chat.completions.create(model=GPT, messages=ASKED))


@path
async def openai_chat_async() -> Seen:
    async with openai.AsyncOpenAI() as client:
        return of_completion(await client.chat.completions.create(model=GPT, messages=ASKED))


@path
def openai_chat_stream() -> Seen:
    stream = openai.OpenAI().chat.completions.create(model=GPT, messages=ASKED, stream=True)
    chunks = list(stream)
    assert all(chunk.choices for chunk in chunks), "a chunk without choices that nobody asked for"
    return of_chunks(chunks)


@path
def openai_chat_stream_usage() -> Seen:
    options = {"include_usage": True}
    stream = openai.OpenAI().chat.completions.create(
        model=GPT, messages=ASKED, stream=True, stream_options=options
    )
    return of_chunks(list(stream))


@path
async def openai_chat_stream_async() -> Seen:
    async with openai.AsyncOpenAI() as client:
        stream = await client.chat.completions.create(
            model=GPT, messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
        return of_chunks([chunk async for chunk in stream])


@path
def openai_chat_stream_helper() -> Seen:
    with openai.OpenAI().chat.completions.stream(
        model=GPT, messages=ASKED, stream_options={"include_usage": True}
    ) as stream:
        for _event in stream:
            pass
        return of_completion(stream.get_final_completion())


@path
def openai_chat_tool() -> Seen:
    client = openai.OpenAI()
    first = client.chat.completions.create(model=GPT, messages=ASKED, tools=OPENAI_TOOLS)
    message = first.choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": SUNNY}
    history = [*ASKED, message.model_dump(exclude_none=True), result]
    second = client.chat.completions.create(model=GPT, messages=history, tools=OPENAI_TOOLS)
    return together(of_completion(first), of_completion(second))


@path
def openai_chat_tool_stream() -> Seen:
    with openai.OpenAI().chat.completions.stream(
        model=GPT, messages=ASKED, tools=OPENAI_TOOLS, stream_options={"include_usage": True}
    ) as stream:
        for _event in stream:
            pass
        return of_completion(stream.get_final_completion())


RESPONSE_TOOLS = [{"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}]


def of_response(answer: Any) -> Seen:
    called = [f"{item.name} {item.arguments}" for item in answer.output if item.type == "function_call"]
    return Seen(answer.output_text, answer.usage.input_tokens, answer.usage.output_tokens, called)


def of_response_events(events: list[Any]) -> Seen:
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    seen = of_response(events[-1].response)
    assert said == seen.text
    return seen


@path
def openai_responses() -> Seen:
    return of_response(openai.OpenAI().responses.create(model=GPT, input=QUESTION))


@path
async def openai_responses_async() -> Seen:
    async with openai.AsyncOpenAI() as client:
        return of_response(await client.responses.create(model=GPT, input=ASKED))


@path
def openai_responses_stream() -> Seen:
    return of_response_events(list(openai.OpenAI().responses.create(model=GPT, input=QUESTION, stream=True)))


@path
async def openai_responses_stream_async() -> Seen:
    async with openai.AsyncOpenAI() as client:
        stream = await client.responses.create(model=GPT, input=QUESTION, stream=True)
        return of_response_events([event async for event in stream])


@path
def openai_responses_stream_helper() -> Seen:
    with openai.OpenAI().responses.stream(model=GPT, input=QUESTION) as stream:
        for _event in stream:
            pass
        return of_response(stream.get_final_response())


@path
def openai_responses_tool() -> Seen:
    client = openai.OpenAI()
    first = client.responses.create(model=GPT, input=QUESTION, tools=RESPONSE_TOOLS)
    call = first.output[0]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": SUNNY}
    history = [*ASKED, call.model_dump(exclude_none=True), result]
    second = client.responses.create(model=GPT, input=history, tools=RESPONSE_TOOLS)
    return together(of_response(first), of_response(second))


@path
def openai_responses_tool_stream() -> Seen:
    stream = openai.OpenAI().responses.create(model=GPT, input=QUESTION, tools=RESPONSE_TOOLS, stream=True)
    return of_response_events(list(stream))


def of_embedding(answer: Any) -> Seen:
    [first, second] = answer.data
    assert len(first.embedding) == len(second.embedding) > 1
    assert first.embedding != second.embedding
    return Seen("", answer.usage.prompt_tokens, 0)


@path
def openai_embeddings() -> Seen:
    return of_embedding(openai.OpenAI().embeddings.create(model=EMBEDDING, input=[QUESTION, SUNNY]))


@path
async def openai_embeddings_async() -> Seen:
    async with openai.AsyncOpenAI() as client:
        return of_embedding(await client.embeddings.create(model=EMBEDDING, input=[QUESTION, SUNNY]))
