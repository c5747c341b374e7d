from __future__ import annotations

import json

import pytest

from kitaru_nb.llm.wire import canonical, is_candidate, model_request

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
OPENAI = "https://api.openai.com/v1/chat/completions"


def asked(url, body, method="POST"):
    return model_request(method, url, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("url", "body", "api", "model", "provider"),
    [
        (OPENAI, CHAT, "openai-chat", "gpt-4o", "openai"),
        ("http://localhost:4000/chat/completions", CHAT, "openai-chat", "gpt-4o", None),
        ("http://localhost:11434/v1/chat/completions", CHAT, "openai-chat", "gpt-4o", "ollama"),
        (
            "https://me.openai.azure.com/openai/deployments/mine/chat/completions?api-version=1",
            {"messages": []},
            "openai-chat",
            "mine",
            "azure",
        ),
        ("https://openrouter.ai/api/v1/chat/completions", CHAT, "openai-chat", "gpt-4o", "openrouter"),
        (
            "https://api.openai.com/v1/completions",
            {"model": "m", "prompt": "x"},
            "openai-text",
            "m",
            "openai",
        ),
        (
            "https://api.openai.com/v1/responses",
            {"model": "m", "input": "x"},
            "openai-responses",
            "m",
            "openai",
        ),
        ("https://api.openai.com/v1/responses", {"prompt": {"id": "p"}}, "openai-responses", None, "openai"),
        ("https://api.openai.com/v1/embeddings", {"model": "m", "input": "x"}, "embeddings", "m", "openai"),
        ("https://api.anthropic.com/v1/messages", CHAT, "anthropic", "gpt-4o", "anthropic"),
        (
            "https://l-aiplatform.googleapis.com/v1/publishers/anthropic/models/claude-x:streamRawPredict",
            {"messages": [], "anthropic_version": "v"},
            "anthropic",
            "claude-x",
            "google",
        ),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent?key=S",
            {"contents": []},
            "gemini",
            "gemini-2.5-pro",
            "google",
        ),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/e:batchEmbedContents",
            {"requests": []},
            "embeddings",
            "e",
            "google",
        ),
        ("http://gpu:11434/api/chat", {"model": "llama", "messages": []}, "ollama", "llama", "ollama"),
        ("http://gpu:11434/api/generate", {"model": "llama"}, "ollama", "llama", "ollama"),
        ("http://gpu:11434/api/embed", {"model": "llama", "input": "x"}, "embeddings", "llama", "ollama"),
        (
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-x-v1%3A0/converse-stream",
            {"messages": []},
            "bedrock-converse",
            "anthropic.claude-x-v1:0",
            "aws",
        ),
        (
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/meta.llama/invoke",
            {"prompt": "x"},
            "bedrock-invoke",
            "meta.llama",
            "aws",
        ),
    ],
)
def test_a_model_call_is_recognised_wherever_it_goes(url, body, api, model, provider):
    request = asked(url, body)

    assert request is not None
    assert (request.api, request.model, request.provider) == (api, model, provider)
    assert is_candidate("POST", url.partition("?")[0])


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("GET", OPENAI, CHAT),
        ("POST", "https://api.openai.com/v1/threads/t/messages", {"role": "user", "content": "hi"}),
        ("POST", "https://discord.com/api/channels/1/messages", {"content": "hi"}),
        ("POST", "https://survey.example/responses", {"answers": [1]}),
        ("POST", "https://api.anthropic.com/v1/messages/count_tokens", CHAT),
        ("POST", "https://api.anthropic.com/v1/messages/batches", {"requests": []}),
        ("POST", "https://api.openai.com/v1/responses/resp_1/cancel", CHAT),
        ("POST", "https://api.openai.com/v1/files", CHAT),
        ("POST", "https://g.googleapis.com/v1/models/m:countTokens", {"contents": []}),
        ("POST", OPENAI, b"--boundary\r\n"),
        ("POST", OPENAI, [1]),
        ("POST", "http://localhost:8000/messages/?session_id=1", {"jsonrpc": "2.0"}),
    ],
)
def test_what_only_looks_like_a_model_call_is_let_through(method, url, body):
    assert asked(url, body, method) is None


def test_the_key_ignores_how_the_body_is_written_and_where_credentials_stand():
    spaced = json.dumps(dict(reversed(CHAT.items())), indent=2, ensure_ascii=True).encode()
    plain = asked(OPENAI, CHAT)

    same = asked("https://me:secret@api.openai.com/v1/chat/completions?key=secret", spaced)

    assert same.key == plain.key
    assert same.url == OPENAI
    assert "secret" not in repr(same)


def test_the_key_tells_requests_apart():
    keys = {
        asked(OPENAI, CHAT).key,
        asked(OPENAI, {**CHAT, "temperature": 0}).key,
        asked(OPENAI, {**CHAT, "temperature": 0.0}).key,
        asked("https://proxy.example/v1/chat/completions", CHAT).key,
        asked("http://localhost:8000/v1/chat/completions", CHAT).key,
        asked("http://localhost:8001/v1/chat/completions", CHAT).key,
    }

    assert len(keys) == 6


def test_a_local_server_that_gets_another_port_each_time_is_the_same_server():
    first = asked("http://127.0.0.1:40123/v1/chat/completions", CHAT)
    second = asked("http://127.0.0.1:51234/v1/chat/completions", CHAT)
    elsewhere = asked("http://10.0.0.1:51234/v1/chat/completions", CHAT)

    assert first.key == second.key != elsewhere.key
    assert second.url == "http://127.0.0.1:51234/v1/chat/completions"


def test_how_a_gemini_stream_is_framed_is_part_of_the_key():
    url = "https://generativelanguage.googleapis.com/v1beta/models/g:streamGenerateContent"

    framed, unframed = asked(f"{url}?key=a&alt=sse", {"contents": []}), asked(url, {"contents": []})

    assert framed.key != unframed.key
    assert framed.streamed
    assert framed.url == url


@pytest.mark.parametrize(
    ("url", "body", "streamed"),
    [
        (OPENAI, {**CHAT, "stream": True}, True),
        (OPENAI, {**CHAT, "stream": False}, False),
        (OPENAI, CHAT, False),
        ("http://gpu:11434/api/chat", {"model": "m", "messages": []}, True),
        ("http://gpu:11434/api/chat", {"model": "m", "messages": [], "stream": False}, False),
        ("https://b.amazonaws.com/model/m/converse", {"messages": []}, False),
        ("https://b.amazonaws.com/model/m/invoke-with-response-stream", {}, True),
    ],
)
def test_a_stream_is_recognised(url, body, streamed):
    assert asked(url, body).streamed is streamed


@pytest.mark.parametrize(
    ("url", "body", "most", "answers"),
    [
        (OPENAI, CHAT, None, 1),
        (OPENAI, {**CHAT, "max_tokens": 100}, 100, 1),
        (OPENAI, {**CHAT, "max_completion_tokens": 100, "max_tokens": 7, "n": 3}, 300, 3),
        (OPENAI, {**CHAT, "n": 3}, None, 3),
        (OPENAI, {**CHAT, "max_tokens": "many"}, None, 1),
        ("https://a/v1/responses", {"model": "m", "max_output_tokens": 5}, 5, 1),
        ("https://a/v1/messages", {**CHAT, "max_tokens": 5}, 5, 1),
        ("https://a/v1/embeddings", {"model": "m", "input": "x"}, 0, 1),
        (
            "https://a/models/g:generateContent",
            {"contents": [], "generationConfig": {"maxOutputTokens": 5, "candidateCount": 2}},
            10,
            2,
        ),
        ("http://a/api/chat", {"model": "m", "options": {"num_predict": 5}}, 5, 1),
        ("http://a/api/chat", {"model": "m", "options": {"num_predict": -1}}, None, 1),
        ("https://a/model/m/converse", {"messages": [], "inferenceConfig": {"maxTokens": 5}}, 5, 1),
    ],
)
def test_the_most_output_tokens_are_read_from_the_request(url, body, most, answers):
    request = asked(url, body)

    assert (request.max_tokens, request.answers) == (most, answers)


def test_a_body_that_is_not_json_is_taken_as_it_is():
    request = asked("https://b.amazonaws.com/model/m/invoke", b"\xff\x00raw")

    assert request.body == b"\xff\x00raw"


def test_a_lone_surrogate_does_not_hide_a_call():
    data, text = canonical(b'{"a": "\\ud800"}')

    assert data == {"a": "\ud800"}
    assert canonical(text) == (None, text)  # it has no proper UTF-8, but it is the same every time
    assert asked(OPENAI, b'{"model": "m", "messages": ["\\ud800"]}') is not None
