"""The OpenAI Agents SDK."""

from __future__ import annotations

from typing import Any

import agents
import openai
from walking import GPT, PATHS, QUESTION, Seen, weather


def agents_path(name: str, *, chat: bool) -> None:
    def agent(*, tool: bool = False) -> Any:
        client = openai.AsyncOpenAI()
        kind = agents.OpenAIChatCompletionsModel if chat else agents.OpenAIResponsesModel
        tools = [agents.function_tool(weather)] if tool else []
        return agents.Agent(name="a", model=kind(model=GPT, openai_client=client), tools=tools)

    def of_agent(result: Any) -> Seen:
        usage = result.context_wrapper.usage
        return Seen(result.final_output, usage.input_tokens or None, usage.output_tokens or None)

    def run() -> Seen:
        return of_agent(agents.Runner.run_sync(agent(), QUESTION))

    async def run_async() -> Seen:
        return of_agent(await agents.Runner.run(agent(), QUESTION))

    async def stream() -> Seen:
        result = agents.Runner.run_streamed(agent(), QUESTION)
        async for _event in result.stream_events():
            pass
        return of_agent(result)

    def tool() -> Seen:
        return of_agent(agents.Runner.run_sync(agent(tool=True), QUESTION))

    for suffix, function in (("", run), ("_async", run_async), ("_stream", stream), ("_tool", tool)):
        PATHS[f"agents_{name}{suffix}"] = function


agents_path("responses", chat=False)
agents_path("chat", chat=True)
