"""LangChain."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from walking import CLAUDE, GPT, PATHS, QUESTION, Seen, weather


def of_langchain(message: Any) -> Seen:
    said = message.text if isinstance(message.text, str) else message.text()
    usage = message.usage_metadata or {}
    called = [f"{call['name']} {json.dumps(call['args'])}" for call in message.tool_calls]
    return Seen(str(said), usage.get("input_tokens"), usage.get("output_tokens"), called)


def langchain_path(name: str, make: Callable[[], Any]) -> None:
    def run() -> Seen:
        return of_langchain(make().invoke(QUESTION))

    async def run_async() -> Seen:
        return of_langchain(await make().ainvoke(QUESTION))

    def stream() -> Seen:
        chunks = list(make().stream(QUESTION))
        return of_langchain(sum(chunks[1:], chunks[0]))

    async def stream_async() -> Seen:
        chunks = [chunk async for chunk in make().astream(QUESTION)]
        return of_langchain(sum(chunks[1:], chunks[0]))

    def tool() -> Seen:
        return of_langchain(make().bind_tools([weather]).invoke(QUESTION))

    ways = {"": run, "_async": run_async, "_stream": stream, "_stream_async": stream_async, "_tool": tool}
    for suffix, function in ways.items():
        PATHS[f"langchain_{name}{suffix}"] = function


def langchain_chat() -> Any:
    return ChatOpenAI(model=GPT, stream_usage=True)


def langchain_responses() -> Any:
    return ChatOpenAI(model=GPT, use_responses_api=True)


def langchain_anthropic() -> Any:
    return ChatAnthropic(model=CLAUDE, max_tokens=100)


langchain_path("chat", langchain_chat)
langchain_path("responses", langchain_responses)
langchain_path("anthropic", langchain_anthropic)
