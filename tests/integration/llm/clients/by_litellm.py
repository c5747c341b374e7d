"""LiteLLM, which asks either."""

from __future__ import annotations

from typing import Any

import litellm
from walking import (
    ASKED,
    CLAUDE,
    EMBEDDING,
    GPT,
    OPENAI_TOOLS,
    QUESTION,
    SUNNY,
    Seen,
    of_chunks,
    of_completion,
    path,
)


def litellm_asks(model: str) -> dict[str, Any]:
    return {"model": model, "messages": ASKED, "max_tokens": 100}


@path
def litellm_openai() -> Seen:
    return of_completion(litellm.completion(**litellm_asks(f"openai/{GPT}")))


@path
async def litellm_openai_async() -> Seen:
    return of_completion(await litellm.acompletion(**litellm_asks(f"openai/{GPT}")))


@path
def litellm_openai_stream() -> Seen:
    asked = {**litellm_asks(f"openai/{GPT}"), "stream_options": {"include_usage": True}}
    return of_chunks(list(litellm.completion(**asked, stream=True)))


@path
async def litellm_openai_stream_async() -> Seen:
    asked = {**litellm_asks(f"openai/{GPT}"), "stream_options": {"include_usage": True}}
    return of_chunks([chunk async for chunk in await litellm.acompletion(**asked, stream=True)])


@path
def litellm_openai_tool() -> Seen:
    return of_completion(litellm.completion(**litellm_asks(f"openai/{GPT}"), tools=OPENAI_TOOLS))


@path
def litellm_responses() -> Seen:
    answer = litellm.responses(model=f"openai/{GPT}", input=QUESTION)
    said = answer.output[0].content[0].text
    return Seen(said, answer.usage.input_tokens, answer.usage.output_tokens)


@path
def litellm_embedding() -> Seen:
    answer = litellm.embedding(model=f"openai/{EMBEDDING}", input=[QUESTION, SUNNY])
    return Seen("", answer.usage.prompt_tokens, 0)


@path
def litellm_anthropic() -> Seen:
    return of_completion(litellm.completion(**litellm_asks(f"anthropic/{CLAUDE}")))


@path
async def litellm_anthropic_async() -> Seen:
    return of_completion(await litellm.acompletion(**litellm_asks(f"anthropic/{CLAUDE}")))


@path
def litellm_anthropic_stream() -> Seen:
    asked = {**litellm_asks(f"anthropic/{CLAUDE}"), "stream_options": {"include_usage": True}}
    return of_chunks(list(litellm.completion(**asked, stream=True)))


@path
async def litellm_anthropic_stream_async() -> Seen:
    asked = {**litellm_asks(f"anthropic/{CLAUDE}"), "stream_options": {"include_usage": True}}
    return of_chunks([chunk async for chunk in await litellm.acompletion(**asked, stream=True)])


@path
def litellm_anthropic_tool() -> Seen:
    return of_completion(litellm.completion(**litellm_asks(f"anthropic/{CLAUDE}"), tools=OPENAI_TOOLS))
