from __future__ import annotations

import pytest

from kitaru_nb.llm.usage import Tally, from_headers
from kitaru_nb.model.cost import Usage


def tally(*documents):
    found = Tally()
    for document in documents:
        found.add(document)
    return found


OPENAI_CHAT = {
    "model": "gpt-4o-2024-08-06",
    "service_tier": "default",
    "usage": {
        "prompt_tokens": 120,
        "completion_tokens": 34,
        "total_tokens": 154,
        "prompt_tokens_details": {"cached_tokens": 20, "audio_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0},
    },
}


@pytest.mark.parametrize(
    ("document", "usage"),
    [
        (OPENAI_CHAT, Usage(120, 34, cache_read=20, reasoning=4, input_audio=3)),
        (
            {**OPENAI_CHAT, "service_tier": "flex"},
            Usage(120, 34, 20, reasoning=4, input_audio=3, tier="flex"),
        ),
        (
            {  # xAI counts reasoning beside the completion
                "usage": {
                    "prompt_tokens": 10,
                    "completion_tokens": 5,
                    "total_tokens": 35,
                    "completion_tokens_details": {"reasoning_tokens": 20},
                }
            },
            Usage(10, 25, reasoning=20),
        ),
        (
            {"usage": {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 5}},
            Usage(9, 1, 5),
        ),
        ({"usage": {"prompt_tokens": 8, "total_tokens": 8}}, Usage(8)),
        ({"usage": {"total_tokens": 8}}, Usage(8)),
        ({"x_groq": {"usage": {"prompt_tokens": 8, "completion_tokens": 2}}}, Usage(8, 2)),
        (
            {  # Responses
                "usage": {
                    "input_tokens": 120,
                    "input_tokens_details": {"cached_tokens": 20},
                    "output_tokens": 34,
                    "output_tokens_details": {"reasoning_tokens": 4},
                }
            },
            Usage(120, 34, cache_read=20, reasoning=4),
        ),
        (
            {  # Anthropic counts the cache beside the input
                "usage": {
                    "input_tokens": 100,
                    "cache_read_input_tokens": 20,
                    "cache_creation_input_tokens": 30,
                    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
                    "output_tokens": 34,
                    "server_tool_use": {"web_search_requests": 2},
                    "service_tier": "standard",
                }
            },
            Usage(150, 34, cache_read=20, cache_write=30, cache_write_hour=20, searches=2),
        ),
        (
            {  # LiteLLM's proxy in front of Anthropic: OpenAI's shape, with the cache inside
                "usage": {"prompt_tokens": 150, "completion_tokens": 34, "cache_read_input_tokens": 20}
            },
            Usage(150, 34),
        ),
        (
            {  # Gemini counts thoughts beside the candidates
                "modelVersion": "gemini-2.5-pro",
                "usageMetadata": {
                    "promptTokenCount": 50,
                    "cachedContentTokenCount": 10,
                    "candidatesTokenCount": 7,
                    "thoughtsTokenCount": 5,
                    "toolUsePromptTokenCount": 2,
                    "totalTokenCount": 64,
                    "promptTokensDetails": [
                        {"modality": "TEXT", "tokenCount": 30},
                        {"modality": "AUDIO", "tokenCount": 20},
                    ],
                },
            },
            Usage(52, 12, cache_read=10, reasoning=5, input_audio=20),
        ),
        ({"model": "llama", "done": True, "prompt_eval_count": 9, "eval_count": 3}, Usage(9, 3)),
        (
            {
                "usage": {
                    "inputTokens": 9,
                    "outputTokens": 3,
                    "cacheReadInputTokens": 4,
                    "cacheWriteInputTokens": 2,
                }
            },
            Usage(15, 3, 4, 2),
        ),
        ({"prompt_token_count": 9, "generation_token_count": 3}, Usage(9, 3)),
        ({"inputTextTokenCount": 9, "results": [{"tokenCount": 3}]}, Usage(9, 3)),
        ({"choices": []}, None),
        ({"usage": None}, None),
        ({"usage": "lots"}, None),
        ("no document", None),
        ({"usage": {"prompt_tokens": "9", "completion_tokens": True}}, Usage()),
    ],
)
def test_what_each_provider_says_has_one_shape(document, usage):
    assert tally(document).usage == usage


@pytest.mark.parametrize(
    ("document", "usage"),
    [
        (  # a proxy in OpenAI's shape that counts the cache beside the input
            {
                "usage": {
                    "prompt_tokens": 4,
                    "completion_tokens": 3,
                    "prompt_tokens_details": {"cached_tokens": 50},
                }
            },
            Usage(54, 3, cache_read=50),
        ),
        (
            {
                "usage": {
                    "prompt_tokens": 4,
                    "completion_tokens": 3,
                    "completion_tokens_details": {"reasoning_tokens": 9},
                }
            },
            Usage(4, 12, reasoning=9),
        ),
        (
            {
                "usage": {
                    "input_tokens": 9,
                    "cache_read_input_tokens": 0,
                    "cache_creation": {"ephemeral_1h_input_tokens": 5},
                    "output_tokens": 3,
                }
            },
            Usage(9, 3, cache_write=5, cache_write_hour=5),
        ),
        (
            {
                "usage": {
                    "prompt_tokens": 4,
                    "completion_tokens": 3,
                    "prompt_tokens_details": {"audio_tokens": 9},
                }
            },
            Usage(4, 3, input_audio=4),
        ),
        ({"usage": {"input_tokens": "9", "output_tokens": 3}}, Usage(0, 3)),
        ({"usageMetadata": {"promptTokenCount": 9, "promptTokensDetails": 9}}, Usage(9)),
    ],
)
def test_what_cannot_be_is_made_possible_and_no_part_is_more_than_the_whole(document, usage):
    assert tally(document).usage == usage


@pytest.mark.parametrize(
    ("told", "both"), [({}, 7), ({"cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 8}]}, 8)]
)
def test_how_much_of_what_is_cached_is_sound_is_what_gemini_says_or_what_has_to_be(told, both):
    sound = [{"modality": "AUDIO", "tokenCount": 8}, {"modality": "TEXT", "tokenCount": 2}]
    said = {"promptTokenCount": 10, "cachedContentTokenCount": 9, "promptTokensDetails": sound, **told}

    usage = tally({"usageMetadata": said}).usage

    assert usage == Usage(10, 0, cache_read=9, input_audio=8, cache_read_audio=both)


def test_the_parts_of_anthropics_input_add_up():
    usage = tally(
        {"usage": {"input_tokens": 1, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 4}}
    ).usage

    assert usage.input - usage.cache_read - usage.cache_write == 1
    assert usage.total == 7


def test_a_stream_of_anthropics_opens_with_the_input_and_closes_with_the_output():
    start = {
        "type": "message_start",
        "message": {
            "model": "claude-x",
            "usage": {"input_tokens": 100, "cache_read_input_tokens": 20, "output_tokens": 1},
        },
    }
    delta = {"type": "message_delta", "usage": {"output_tokens": 34, "input_tokens": None}}

    found = tally(start, delta)

    assert found.model == "claude-x"
    assert found.usage == Usage(120, 34, cache_read=20)


def test_a_response_inside_an_event_is_found():
    event = {"type": "response.completed", "response": {"model": "gpt-5", "usage": {"input_tokens": 3}}}

    found = tally({"type": "response.created", "response": {"model": "gpt-5", "usage": None}}, event)

    assert (found.model, found.usage) == ("gpt-5", Usage(3))


def test_the_running_totals_of_gemini_are_not_added_up():
    parts = [{"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": n}} for n in (2, 4, 6)]

    assert tally(*parts).usage == tally(parts).usage == Usage(5, 6)


def test_bedrock_tells_in_headers_what_a_models_own_answer_does_not():
    headers = {
        "x-amzn-bedrock-input-token-count": "9",
        "x-amzn-bedrock-output-token-count": "3",
        "content-type": "application/json",
    }

    assert from_headers(headers) == Usage(9, 3)
    assert from_headers({"content-type": "application/json"}) is None
