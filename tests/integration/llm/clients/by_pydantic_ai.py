"""Pydantic AI."""

from __future__ import annotations

from typing import Any

from pydantic_ai import Agent
from walking import CLAUDE, GPT, PATHS, QUESTION, Seen, weather


def pydantic_agent(model: str, *, tool: bool = False) -> Any:
    return Agent(model, tools=[weather] if tool else [])


def of_run(result: Any) -> Seen:
    usage = result.usage() if callable(result.usage) else result.usage
    return Seen(str(result.output), usage.input_tokens, usage.output_tokens)


def pydantic_path(name: str, model: str) -> None:
    def run() -> Seen:
        return of_run(pydantic_agent(model).run_sync(QUESTION))

    async def run_async() -> Seen:
        return of_run(await pydantic_agent(model).run(QUESTION))

    async def stream() -> Seen:
        async with pydantic_agent(model).run_stream(QUESTION) as result:
            said = [text async for text in result.stream_text()][-1]
            usage = result.usage() if callable(result.usage) else result.usage
        return Seen(said, usage.input_tokens, usage.output_tokens)

    def tool() -> Seen:
        return of_run(pydantic_agent(model, tool=True).run_sync(QUESTION))

    for suffix, function in (("", run), ("_async", run_async), ("_stream", stream), ("_tool", tool)):
        PATHS[f"pydantic_ai_{name}{suffix}"] = function


pydantic_path("chat", f"openai-chat:{GPT}")
pydantic_path("responses", f"openai-responses:{GPT}")
pydantic_path("anthropic", f"anthropic:{CLAUDE}")
