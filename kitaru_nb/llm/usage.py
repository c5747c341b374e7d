"""What providers say a call used, brought into one shape.

The traps are in what a number includes. OpenAI and Gemini count cached input as part of the
input, Anthropic and Bedrock beside it; OpenAI counts reasoning as part of the output, Gemini and
xAI beside it. `Usage` always has parts that are parts of the whole, so pricing needs to know none
of this. A proxy may say what cannot be, and must not cost its user an answer that is paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kitaru_nb.model.cost import Usage

__all__ = ["TOKEN_HEADERS", "Tally", "from_headers"]

Json = dict[str, Any]


class Tally:
    """Adds up what the documents of one answer say: one of a plain answer, many of a stream.

    Later documents of a stream correct earlier ones (Anthropic opens with the input and closes
    with the output; Gemini repeats its running totals).
    """

    def __init__(self) -> None:
        self.model: str | None = None
        self._said: Json = {}
        self._tier = ""

    def add(self, document: Any) -> None:
        """Take note of the next document, of any provider and any kind."""
        if isinstance(document, list):  # Gemini's stream where it is not framed as events
            for part in document:
                self.add(part)
        elif isinstance(document, dict):
            self._add(document)
            for name in _INSIDE & document.keys():
                if isinstance(inner := document[name], dict):
                    self._add(inner)

    def _add(self, document: Json) -> None:
        if self.model is None:
            named = document.get("model") or document.get("modelVersion")
            self.model = named if isinstance(named, str) else None
        for name in _SPOKEN & document.keys():
            said = document[name]
            if name == "service_tier":
                self._tier = said or self._tier
            elif name in _AT_TOP:
                self._said = {**self._said, name: said}
            elif name == "results":  # Titan
                for result in said if isinstance(said, list) else ():
                    self._say(result)
            else:
                self._say(said["usage"] if name == "x_groq" and "usage" in (said or ()) else said)

    def _say(self, said: Any) -> None:
        if isinstance(said, dict):
            told = {name: value for name, value in said.items() if value is not None}
            self._said = {**self._said, **told} if self._said else told

    @property
    def usage(self) -> Usage | None:
        """What was used; None as long as nothing was said about it."""
        told = self._told()
        return None if told is None else _consistent(told)

    def _told(self) -> Usage | None:
        said = self._said
        counts = _counts(said)
        tier = _tier(said.get("service_tier") or self._tier)
        if "prompt_tokens" in said or ("total_tokens" in said and "input_tokens" not in said):
            return _openai_chat(counts, said, tier)
        if "input_tokens" in said:
            beside = "cache_read_input_tokens" in said or "cache_creation_input_tokens" in said
            return _anthropic(counts, said, tier) if beside else _openai_responses(counts, said, tier)
        if "promptTokenCount" in said:
            return _gemini(counts, said)
        for into, out, read, write in _BESIDE:
            if into in said or out in said:
                return _beside(counts, into, out, read, write)
        return None


def from_headers(headers: Mapping[str, str]) -> Usage | None:
    """What Bedrock says in the headers of an answer, which it does for every model."""
    counts = {
        name: int(value) for name, value in headers.items() if name in TOKEN_HEADERS and value.isdigit()
    }
    return _beside(counts, *TOKEN_HEADERS) if counts else None


Counts = dict[str, int]

_INSIDE = {"message", "response"}
"""Where Anthropic and OpenAI put the answer inside an event about it."""

# Input, output and, where they are counted beside the input, what was read from and written to a cache.
_BESIDE = (
    ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),  # Bedrock, Nova
    ("inputTokenCount", "outputTokenCount", "cacheReadInputTokenCount", "cacheWriteInputTokenCount"),
    ("prompt_eval_count", "eval_count", "", ""),  # Ollama
    ("prompt_token_count", "generation_token_count", "", ""),  # Llama on Bedrock
    ("inputTextTokenCount", "tokenCount", "", ""),  # Titan on Bedrock
)
TOKEN_HEADERS = tuple(
    f"x-amzn-bedrock-{what}-token-count"
    for what in ("input", "output", "cache-read-input", "cache-write-input")
)
_AT_TOP = {name for names in _BESIDE[2:] for name in names if name} - {"tokenCount"}
_SPOKEN = _AT_TOP | {
    "usage",
    "usageMetadata",
    "amazon-bedrock-invocationMetrics",
    "x_groq",
    "service_tier",
    "results",
}


def _openai_chat(counts: Counts, said: Json, tier: str) -> Usage:
    into, out = _counts(said.get("prompt_tokens_details")), _counts(said.get("completion_tokens_details"))
    tokens_in, tokens_out = counts.get("prompt_tokens", 0), counts.get("completion_tokens", 0)
    total, reasoning = counts.get("total_tokens", 0), out.get("reasoning_tokens", 0)
    if reasoning and total == tokens_in + tokens_out + reasoning:
        tokens_out += reasoning  # xAI counts it beside the completion
    if not tokens_in and total > tokens_out:
        tokens_in = total - tokens_out  # Voyage tells only the total
    return Usage(
        input=tokens_in,
        output=tokens_out,
        cache_read=into.get("cached_tokens") or counts.get("prompt_cache_hit_tokens", 0),
        cache_write=into.get("cache_write_tokens", 0),
        reasoning=reasoning,
        input_audio=into.get("audio_tokens", 0),
        output_audio=out.get("audio_tokens", 0),
        searches=counts.get("num_search_queries", 0),
        tier=tier,
    )


def _openai_responses(counts: Counts, said: Json, tier: str) -> Usage:
    into, out = _counts(said.get("input_tokens_details")), _counts(said.get("output_tokens_details"))
    return Usage(
        input=counts.get("input_tokens", 0),
        output=counts.get("output_tokens", 0),
        cache_read=into.get("cached_tokens", 0),
        cache_write=into.get("cache_write_tokens", 0),
        reasoning=out.get("reasoning_tokens", 0),
        searches=_counts(said.get("server_tool_use")).get("web_search_requests", 0),
        tier=tier,
    )


def _anthropic(counts: Counts, said: Json, tier: str) -> Usage:
    usage = _beside(
        counts, "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"
    )
    return replace(
        usage,
        cache_write_hour=_counts(said.get("cache_creation")).get("ephemeral_1h_input_tokens", 0),
        searches=_counts(said.get("server_tool_use")).get("web_search_requests", 0),
        tier=tier,
    )


def _beside(counts: Counts, into: str, out: str, read: str, write: str) -> Usage:
    """Usage from providers that count what came from and went to a cache beside the input."""
    cache_read, cache_write = counts.get(read, 0), counts.get(write, 0)
    return Usage(counts.get(into, 0) + cache_read + cache_write, counts.get(out, 0), cache_read, cache_write)


def _gemini(counts: Counts, said: Json) -> Usage:
    thoughts = counts.get("thoughtsTokenCount", 0)
    return Usage(
        input=counts.get("promptTokenCount", 0) + counts.get("toolUsePromptTokenCount", 0),
        output=counts.get("candidatesTokenCount", 0) + thoughts,
        cache_read=counts.get("cachedContentTokenCount", 0),
        reasoning=thoughts,
        input_audio=_sound(said.get("promptTokensDetails")),
        output_audio=_sound(said.get("candidatesTokensDetails")),
        cache_read_audio=_sound(said.get("cacheTokensDetails")),
    )


def _sound(details: Any) -> int:
    parts = details if isinstance(details, list) else []
    sounds = [part for part in parts if isinstance(part, dict) and part.get("modality") == "AUDIO"]
    return sum(_counts(part).get("tokenCount", 0) for part in sounds)


def _consistent(usage: Usage) -> Usage:
    """The same with parts that can be parts of the whole: what is more than that was counted beside it."""
    write = max(usage.cache_write, usage.cache_write_hour)
    cached, thought = usage.cache_read + write, usage.reasoning
    into = usage.input + (cached if cached > usage.input else 0)
    out = usage.output + (thought if thought > usage.output else 0)
    heard = min(usage.input_audio, into)
    # Those that have to be both, where nothing is said of it.
    both = max(usage.cache_read_audio, cached + heard - into)
    return replace(
        usage,
        input=into,
        output=out,
        cache_write=write,
        input_audio=heard,
        output_audio=min(usage.output_audio, out),
        cache_read_audio=min(both, usage.cache_read, heard),
    )


def _tier(said: Any) -> str:
    return "" if said in ("default", "standard", "auto", "on_demand") or not isinstance(said, str) else said


def _counts(said: Any) -> Counts:
    """The whole numbers of an object, as they may be trusted to be."""
    if not isinstance(said, dict):
        return {}
    return {name: count for name, count in said.items() if type(count) is int and count >= 0}
