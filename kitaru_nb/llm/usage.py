"""What providers say a call used, brought into one shape.

The traps are in what a number includes. OpenAI and Gemini count cached input as part of the
input, Anthropic and Bedrock beside it; OpenAI counts reasoning as part of the output, Gemini and
xAI beside it. `Usage` always has parts that are parts of the whole, so pricing needs to know none
of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kitaru_nb.model.cost import Usage

__all__ = ["Tally", "from_headers"]

Json = Mapping[str, Any]


class Tally:
    """Adds up what the documents of one answer say: one of a plain answer, many of a stream.

    Later documents of a stream correct earlier ones (Anthropic opens with the input and closes
    with the output; Gemini repeats its running totals).
    """

    def __init__(self) -> None:
        self.model: str | None = None
        self._said: dict[str, Any] = {}
        self._tier: str | None = None

    def add(self, document: Any) -> None:
        """Take note of the next document, of any provider and any kind."""
        if isinstance(document, list):  # Gemini's stream where it is not framed as events
            for part in document:
                self.add(part)
            return
        if not isinstance(document, Mapping):
            return
        inner = _mapping(document, "message") or _mapping(document, "response") or document
        for place in (document, inner):
            self.model = self.model or _text(place, "model") or _text(place, "modelVersion")
            self._tier = _text(place, "service_tier") or self._tier
            for said in _places(place):
                self._said.update({name: value for name, value in said.items() if value is not None})

    @property
    def usage(self) -> Usage | None:
        """What was used; None as long as nothing was said about it."""
        said = self._said
        tier = _text(said, "service_tier") or self._tier or ""
        if "prompt_tokens" in said or ("total_tokens" in said and "input_tokens" not in said):
            return _openai_chat(said, tier)
        if "input_tokens" in said:
            beside = any(name in said for name in ("cache_read_input_tokens", "cache_creation_input_tokens"))
            return _anthropic(said, tier) if beside else _openai_responses(said, tier)
        if "promptTokenCount" in said:
            return _gemini(said)
        for input_name, output_name, *cached in _BESIDE:
            if input_name in said or output_name in said:
                read, write = (_count(said, name) for name in cached) if cached else (0, 0)
                fresh = _count(said, input_name)
                return Usage(fresh + read + write, _count(said, output_name), read, write)
        return None


def from_headers(headers: Mapping[str, str]) -> Usage | None:
    """What Bedrock says in the headers of an answer, which it does for every model."""
    found = headers.get("x-amzn-bedrock-input-token-count"), headers.get("x-amzn-bedrock-output-token-count")
    if not any(found):
        return None
    read, write = (
        int(headers.get(f"x-amzn-bedrock-cache-{way}-input-token-count") or 0) for way in ("read", "write")
    )
    return Usage(int(found[0] or 0) + read + write, int(found[1] or 0), read, write)


# Input, output and, where they are counted beside the input, what was read from and written to a cache.
_BESIDE = (
    ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),  # Bedrock, Nova
    (
        "inputTokenCount",
        "outputTokenCount",
        "cacheReadInputTokenCount",
        "cacheWriteInputTokenCount",
    ),  # metrics
    ("prompt_eval_count", "eval_count"),  # Ollama
    ("prompt_token_count", "generation_token_count"),  # Llama on Bedrock
    ("inputTextTokenCount", "tokenCount"),  # Titan on Bedrock
)
_AT_TOP = {name for names in _BESIDE[2:] for name in names}


def _places(document: Json) -> Iterable[Json]:
    """Where a document may speak of usage."""
    for name in ("usage", "usageMetadata", "amazon-bedrock-invocationMetrics"):
        if said := _mapping(document, name):
            yield said
    if groq := _mapping(document, "x_groq"):
        yield from _places(groq)
    if not _AT_TOP.isdisjoint(document):
        yield {name: document[name] for name in _AT_TOP if name in document}
    for result in document.get("results") or ():
        if isinstance(result, Mapping) and "tokenCount" in result:
            yield result


def _openai_chat(said: Json, tier: str) -> Usage:
    into, out = _mapping(said, "prompt_tokens_details"), _mapping(said, "completion_tokens_details")
    tokens_in, tokens_out = _count(said, "prompt_tokens"), _count(said, "completion_tokens")
    total, reasoning = _count(said, "total_tokens"), _count(out, "reasoning_tokens")
    if total == tokens_in + tokens_out + reasoning:
        tokens_out += reasoning  # xAI counts it beside the completion
    return Usage(
        input=tokens_in or total - tokens_out if total else tokens_in,
        output=tokens_out,
        cache_read=_count(into, "cached_tokens") or _count(said, "prompt_cache_hit_tokens"),
        cache_write=_count(into, "cache_write_tokens"),
        reasoning=reasoning,
        input_audio=_count(into, "audio_tokens"),
        output_audio=_count(out, "audio_tokens"),
        searches=_count(said, "num_search_queries"),
        tier=_tier(tier),
    )


def _openai_responses(said: Json, tier: str) -> Usage:
    into, out = _mapping(said, "input_tokens_details"), _mapping(said, "output_tokens_details")
    return Usage(
        input=_count(said, "input_tokens"),
        output=_count(said, "output_tokens"),
        cache_read=_count(into, "cached_tokens"),
        cache_write=_count(into, "cache_write_tokens"),
        reasoning=_count(out, "reasoning_tokens"),
        searches=_count(_mapping(said, "server_tool_use"), "web_search_requests"),
        tier=_tier(tier),
    )


def _anthropic(said: Json, tier: str) -> Usage:
    read, write = _count(said, "cache_read_input_tokens"), _count(said, "cache_creation_input_tokens")
    return Usage(
        input=_count(said, "input_tokens") + read + write,
        output=_count(said, "output_tokens"),
        cache_read=read,
        cache_write=write,
        cache_write_hour=_count(_mapping(said, "cache_creation"), "ephemeral_1h_input_tokens"),
        searches=_count(_mapping(said, "server_tool_use"), "web_search_requests"),
        tier=_tier(tier),
    )


def _gemini(said: Json) -> Usage:
    thoughts = _count(said, "thoughtsTokenCount")
    return Usage(
        input=_count(said, "promptTokenCount") + _count(said, "toolUsePromptTokenCount"),
        output=_count(said, "candidatesTokenCount") + thoughts,
        cache_read=_count(said, "cachedContentTokenCount"),
        reasoning=thoughts,
        input_audio=_sound(said, "promptTokensDetails"),
        output_audio=_sound(said, "candidatesTokensDetails"),
    )


def _sound(said: Json, name: str) -> int:
    parts = [part for part in said.get(name) or () if isinstance(part, Mapping)]
    return sum(_count(part, "tokenCount") for part in parts if part.get("modality") == "AUDIO")


def _tier(said: str) -> str:
    return "" if said in ("default", "standard", "auto", "on_demand") else said


def _mapping(data: Json, name: str) -> Json:
    found = data.get(name)
    return found if isinstance(found, Mapping) else {}


def _text(data: Json, name: str) -> str | None:
    found = data.get(name)
    return found if isinstance(found, str) and found else None


def _count(data: Json, name: str) -> int:
    found = data.get(name)
    return found if isinstance(found, int) and found > 0 else 0
