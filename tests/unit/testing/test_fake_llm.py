"""The fake language model, asked over plain HTTP."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from kitaru_nb.errors import UsageError
from kitaru_nb.testing import Answer, Call, Cut, Failure, FakeLLM, Tokens, ToolCall, fake_llm

FOREVER = 3600.0
SAID = [{"role": "user", "content": "say it again"}]
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"model": "gpt-4o", "messages": SAID},
    "responses": {"model": "gpt-4o", "input": "say it again"},
    "messages": {"model": "claude", "messages": SAID, "max_tokens": 100},
}
APIS = list(PATHS)


@dataclass
class Got:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of the events of a stream; what is no JSON as the text it is."""
        return [_data(line) for line in self.body.decode().splitlines() if line.startswith("data: ")]


def _data(line: str) -> Any:
    text = line.removeprefix("data: ")
    try:
        return json.loads(text)
    except ValueError:
        return text


def connect(llm: FakeLLM) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(llm.url.removeprefix("http://"), timeout=60)


def send(connection: http.client.HTTPConnection, path: str, body: object, **headers: str) -> Got:
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **headers})
    answer = connection.getresponse()
    return Got(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def ask(llm: FakeLLM, api: str = "chat", headers: dict[str, str] | None = None, **body: Any) -> Got:
    with closing(connect(llm)) as connection:
        return send(connection, PATHS[api], {**BODIES[api], **body}, **(headers or {}))


def get(llm: FakeLLM, path: str) -> Any:
    with closing(connect(llm)) as connection:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())


def post(llm: FakeLLM, path: str, body: object) -> Got:
    with closing(connect(llm)) as connection:
        return send(connection, path, body)


def text_of(api: str, got: Got) -> str:
    match api:
        case "chat":
            return str(got.document["choices"][0]["message"]["content"])
        case "responses":
            return str(got.document["output"][0]["content"][0]["text"])
        case _:
            return str(got.document["content"][0]["text"])


def said_in(api: str, events: list[Any]) -> list[str]:
    """The pieces of text in a stream."""
    match api:
        case "chat":
            deltas = [
                event["choices"][0]["delta"]
                for event in events
                if isinstance(event, dict) and event.get("choices")
            ]
            return [delta["content"] for delta in deltas if delta.get("content")]
        case "responses":
            return [event["delta"] for event in events if "output_text.delta" in event["type"]]
        case _:
            return [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]


@pytest.fixture
def llm() -> Iterator[FakeLLM]:
    with fake_llm() as llm:
        yield llm


@pytest.mark.parametrize("api", APIS)
def test_an_answer_holds_what_was_scripted_and_the_tokens_that_are_counted(api: str) -> None:
    with fake_llm("four words it is") as llm:
        got = ask(llm, api)

    usage = got.document["usage"]
    assert (got.status, text_of(api, got)) == (200, "four words it is")
    assert usage.get("prompt_tokens", usage.get("input_tokens")) == 3
    assert usage.get("completion_tokens", usage.get("output_tokens")) == 4
    assert llm.tokens == Tokens(3, 4)


@pytest.mark.parametrize("api", APIS)
def test_a_stream_brings_the_same_answer_word_by_word(api: str) -> None:
    with fake_llm("four words it is") as llm:
        got = ask(llm, api, stream=True)

    assert got.headers["content-type"].startswith("text/event-stream")
    assert said_in(api, [event for event in got.events if event != "[DONE]"]) == [
        "four ",
        "words ",
        "it ",
        "is",
    ]
    assert llm.tokens == Tokens(3, 4)


def test_a_chat_stream_has_its_usage_only_when_it_is_asked_for() -> None:
    with fake_llm("hi") as llm:
        without = ask(llm, stream=True).events
        asked = ask(llm, stream=True, stream_options={"include_usage": True}).events

    assert without[-1] == asked[-1] == "[DONE]"
    assert all(event["choices"] and "usage" not in event for event in without[:-1])
    assert all(event["choices"] and event["usage"] is None for event in asked[:-2])
    assert (asked[-2]["choices"], asked[-2]["usage"]["total_tokens"]) == ([], 4)


def test_a_response_stream_numbers_its_events_and_ends_with_the_whole_answer(llm: FakeLLM) -> None:
    events = ask(llm, "responses", stream=True).events
    whole = ask(llm, "responses").document

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert (events[0]["type"], events[-1]["type"]) == ("response.created", "response.completed")
    assert events[-1]["response"].keys() == whole.keys()
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "answer 1 to say it again"


def test_an_anthropic_stream_has_its_events_in_order_and_its_usage_in_two_of_them() -> None:
    with fake_llm(Answer(text="a b", cached_tokens=2)) as llm:
        got = ask(llm, "messages", stream=True)

    named = [
        line.removeprefix("event: ") for line in got.body.decode().splitlines() if line.startswith("event: ")
    ]
    assert named == [event["type"] for event in got.events]
    assert named == [
        *("message_start", "content_block_start", "ping"),
        *("content_block_delta", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    asked = got.events[0]["message"]["usage"]
    assert (asked["input_tokens"], asked["cache_read_input_tokens"]) == (1, 2)
    assert got.events[-2]["usage"]["output_tokens"] == 2
    assert llm.tokens == Tokens(3, 2, cached=2)


CALLED = {"x": 3, "y": [1, 2]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("text", ["", "let me see"])
@pytest.mark.parametrize("api", APIS)
def test_tools_are_called(api: str, text: str, stream: bool) -> None:
    with fake_llm(Answer(text=text, tools=[ToolCall("add", CALLED), ToolCall("stop", id="mine")])) as llm:
        got = ask(llm, api, stream=stream)

    assert TOOLS[api, stream](got) == [("add", CALLED), ("stop", {}), "mine", bool(text)]
    assert llm.tokens.output == len(text.split()) + 1 + len(json.dumps(CALLED).split()) + 2


def _chat_tools(got: Got) -> list[Any]:
    choice = got.document["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    calls = choice["message"]["tool_calls"]
    named = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
    return [*named, calls[1]["id"], choice["message"]["content"] is not None]


def _chat_stream_tools(got: Got) -> list[Any]:
    deltas = [event["choices"][0]["delta"] for event in got.events[:-1]]
    parts = [part for delta in deltas for part in delta.get("tool_calls", ())]
    assert got.events[-2]["choices"][0]["finish_reason"] == "tool_calls"
    named = []
    for index in (0, 1):
        mine = [part for part in parts if part["index"] == index]
        arguments = "".join(part["function"]["arguments"] for part in mine)
        named.append((mine[0]["function"]["name"], json.loads(arguments)))
    ids = [part["id"] for part in parts if "id" in part]
    return [*named, ids[1], any(delta.get("content") for delta in deltas)]


def _response_tools(document: Any) -> list[Any]:
    calls = [item for item in document["output"] if item["type"] == "function_call"]
    named = [(call["name"], json.loads(call["arguments"])) for call in calls]
    return [*named, calls[1]["call_id"], document["output"][0]["type"] == "message"]


def _response_stream_tools(got: Got) -> list[Any]:
    parts = [event["delta"] for event in got.events if "arguments.delta" in event["type"]]
    assert "".join(parts) == json.dumps(CALLED) + "{}"
    return _response_tools(got.events[-1]["response"])


def _message_tools(got: Got) -> list[Any]:
    assert got.document["stop_reason"] == "tool_use"
    blocks = got.document["content"]
    calls = [block for block in blocks if block["type"] == "tool_use"]
    return [*((call["name"], call["input"]) for call in calls), calls[1]["id"], blocks[0]["type"] == "text"]


def _message_stream_tools(got: Got) -> list[Any]:
    begun = [event for event in got.events if event["type"] == "content_block_start"]
    calls = [event for event in begun if event["content_block"]["type"] == "tool_use"]
    named = []
    for call in calls:
        mine = [
            event["delta"]
            for event in got.events
            if event["type"] == "content_block_delta" and event["index"] == call["index"]
        ]
        named.append(
            (call["content_block"]["name"], json.loads("".join(delta["partial_json"] for delta in mine)))
        )
    return [*named, calls[1]["content_block"]["id"], begun[0]["content_block"]["type"] == "text"]


TOOLS = {
    ("chat", False): _chat_tools,
    ("chat", True): _chat_stream_tools,
    ("responses", False): lambda got: _response_tools(got.document),
    ("responses", True): _response_stream_tools,
    ("messages", False): _message_tools,
    ("messages", True): _message_stream_tools,
}


def test_a_list_is_dealt_out_in_order_and_then_a_status_that_nobody_tries_again_says_why() -> None:
    with fake_llm(["one", "two"]) as llm:
        texts = [text_of("chat", ask(llm)), text_of("messages", ask(llm, "messages"))]
        late = ask(llm)

    assert texts == ["one", "two"]
    assert late.status == 400
    assert "2 were given, and this is request 3" in late.document["error"]["message"]


def test_a_function_answers_what_it_is_asked() -> None:
    seen: list[Call] = []

    def answer(call: Call) -> str:
        seen.append(call)
        return f"{call.model} {call.api} {call.stream}: {call.prompt}"

    with fake_llm(answer) as llm:
        got = ask(llm, headers={"X-Test": "here"})

    assert text_of("chat", got) == "gpt-4o chat False: say it again"
    assert seen[0].headers["x-test"] == "here"
    assert seen[0].body == BODIES["chat"]


def test_a_function_that_raises_is_told_to_the_client() -> None:
    with fake_llm(lambda call: call.body["no such"]) as llm:
        got = ask(llm)

    assert got.status == 400
    assert "the answer function raised KeyError: 'no such'" in got.document["error"]["message"]


@pytest.mark.parametrize(
    ("api", "status", "kind"),
    [
        ("chat", 429, "rate_limit_error"),
        ("responses", 500, "server_error"),
        ("messages", 529, "overloaded_error"),
        ("messages", 500, "api_error"),
    ],
)
def test_a_failure_has_the_providers_shape_and_costs_nothing(api: str, status: int, kind: str) -> None:
    with fake_llm([Failure(status, "too much", retry_after=0.25), "hi"]) as llm:
        failed = ask(llm, api, stream=True)
        ask(llm, api)

    assert (failed.status, failed.headers["retry-after"]) == (status, "0.25")
    assert failed.document["error"]["type"] == kind
    assert failed.document["error"]["message"] == "too much"
    assert [call.status for call in llm.calls] == [status, 200]
    assert llm.tokens == Tokens(3, 1)


def test_a_connection_is_closed_without_a_word() -> None:
    with fake_llm(Failure(0)) as llm, pytest.raises(http.client.RemoteDisconnected):
        ask(llm)

    assert llm.requests == 1


@pytest.mark.parametrize("api", APIS)
def test_a_dropped_stream_stops_after_so_many_words(api: str) -> None:
    with (
        fake_llm(Answer(text="one two three", cut=Cut(2))) as llm,
        pytest.raises(http.client.IncompleteRead) as caught,
    ):
        ask(llm, api, stream=True)

    events = Got(200, {}, caught.value.partial).events
    assert said_in(api, events) == ["one ", "two "]
    assert [(call.status, call.ended, call.tokens.output) for call in llm.calls] == [(200, False, 3)]


@pytest.mark.parametrize("api", APIS)
def test_a_dropped_answer_is_half_of_it(api: str) -> None:
    with (
        fake_llm(Answer(text="one two three", cut=Cut())) as llm,
        pytest.raises(http.client.IncompleteRead) as caught,
    ):
        ask(llm, api)

    assert caught.value.expected is not None
    assert abs(len(caught.value.partial) - caught.value.expected) <= 1
    assert not llm.calls[0].ended


@pytest.mark.parametrize(
    ("api", "last"), [("chat", None), ("responses", "response.failed"), ("messages", "error")]
)
def test_a_stream_fails_in_the_middle_as_the_providers_does(api: str, last: str | None) -> None:
    with fake_llm(Answer(text="one two three", cut=Cut(1, "error"))) as llm:
        streamed = ask(llm, api, stream=True)
        whole = ask(llm, api)

    assert said_in(api, streamed.events) == ["one "]
    assert streamed.events[-1].get("type") == last
    assert "told to fail" in json.dumps(streamed.events[-1])
    assert whole.status == 500
    assert [call.ended for call in llm.calls] == [False, True]


@pytest.mark.parametrize("api", APIS)
def test_a_malformed_answer_is_no_json(api: str) -> None:
    with fake_llm(Answer(text="one two three", cut=Cut(1, "malformed"))) as llm:
        streamed = ask(llm, api, stream=True)
        whole = ask(llm, api)

    assert isinstance(streamed.events[-1], str)
    assert len(said_in(api, streamed.events[:-1])) == 1
    with pytest.raises(ValueError, match="line 1"):
        whole.document  # noqa: B018 - reading it is the act


def test_one_connection_carries_many_requests_streams_among_them(llm: FakeLLM) -> None:
    with closing(connect(llm)) as connection:
        send(connection, PATHS["chat"], BODIES["chat"])
        first = connection.sock
        send(connection, PATHS["chat"], {**BODIES["chat"], "stream": True})
        send(connection, PATHS["chat"], {"no": "model"})
        got = send(connection, PATHS["messages"], BODIES["messages"])

        assert connection.sock is first
    assert text_of("messages", got) == "answer 4 to say it again"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_compressed_for_who_takes_it(stream: bool) -> None:
    with fake_llm("one two three", gzip=True) as llm:
        plain = ask(llm, headers={"accept-encoding": "identity"}, stream=stream)
        squeezed = ask(llm, headers={"accept-encoding": "gzip, deflate"}, stream=stream)

    unpacked = gzip.decompress(squeezed.body)
    assert squeezed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert unpacked.replace(b"chatcmpl-2", b"chatcmpl-1").replace(b"0002", b"0001") == plain.body


def test_a_compressed_stream_can_be_dropped() -> None:
    with (
        fake_llm(Answer(text="one two three", cut=Cut(1)), gzip=True) as llm,
        pytest.raises(http.client.IncompleteRead),
    ):
        ask(llm, headers={"accept-encoding": "gzip"}, stream=True)


def test_many_threads_get_each_answer_once() -> None:
    answers = [f"answer number {n}" for n in range(200)]

    with fake_llm(answers) as llm, ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda n: text_of("chat", ask(llm)), range(200)))

    assert sorted(got) == sorted(answers)
    assert [call.number for call in llm.calls] == list(range(1, 201))
    assert llm.requests == 200
    assert llm.tokens == Tokens(600, 600)


def test_a_generator_is_asked_by_one_thread_at_a_time() -> None:
    def answers() -> Iterator[str]:
        while True:
            time.sleep(0.001)  # gives way while it runs: who asks meanwhile must wait
            yield "fine"

    with fake_llm(answers()) as llm, ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda n: ask(llm).status, range(40)))

    assert got == [200] * 40


def test_what_was_asked_before_a_reset_is_not_counted_after_it() -> None:
    def answer(call: Call) -> str:
        if call.prompt == "first":
            llm.reset()
            ask(llm)
        return "two words"

    with fake_llm(answer) as llm:
        ask(llm, messages=[{"role": "user", "content": "first"}])

    assert [(call.prompt, call.tokens) for call in llm.calls] == [("say it again", Tokens(3, 2))]


def test_answers_are_on_their_way_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=60)

    with fake_llm(lambda call: str(both.wait())) as llm, ThreadPoolExecutor(2) as pool:
        got = list(pool.map(lambda n: ask(llm).status, range(2)))

    assert got == [200, 200]


def test_an_answers_own_latency_comes_before_the_servers() -> None:
    with fake_llm(
        Answer(text="at once", latency=0, chunk_latency=0), latency=FOREVER, chunk_latency=FOREVER
    ) as llm:
        assert text_of("chat", ask(llm)) == "at once"
        assert ask(llm, stream=True).status == 200


def test_closing_ends_an_answer_that_was_to_take_long() -> None:
    asked = threading.Event()

    def answer(call: Call) -> Answer:
        asked.set()
        return Answer(text="too late", latency=FOREVER)

    with ThreadPoolExecutor(1) as pool:
        with fake_llm(answer) as llm:
            waits = pool.submit(ask, llm)
            assert asked.wait(60)

        with pytest.raises((http.client.HTTPException, ConnectionError)):
            waits.result(60)
    assert [(call.status, call.ended) for call in llm.calls] == [(0, False)]


def test_a_stream_waits_before_each_piece() -> None:
    with (
        fake_llm(Answer(text="late later", chunk_latency=FOREVER)) as llm,
        closing(connect(llm)) as connection,
    ):
        connection.request("POST", PATHS["chat"], json.dumps({**BODIES["chat"], "stream": True}))
        answer = connection.getresponse()
        head = answer.readline()
        llm.close()
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            answer.read()

    assert b'"role": "assistant"' in head
    assert not llm.calls[0].ended


def test_a_client_that_goes_away_leaves_an_answer_that_did_not_end() -> None:
    with fake_llm([Answer(text=f"{'long' * 5000} " * 1000), "next"]) as llm:
        with closing(connect(llm)) as connection:
            connection.request("POST", PATHS["chat"], json.dumps({**BODIES["chat"], "stream": True}))
            connection.getresponse().readline()
        after = text_of("chat", ask(llm))

    assert after == "next"
    assert [(call.tokens.output, call.ended) for call in llm.calls] == [(1000, False), (1, True)]


def test_a_model_says_no_more_than_it_may() -> None:
    with fake_llm("one two three") as llm:
        chat = ask(llm, max_completion_tokens=2).document["choices"][0]
        response = ask(llm, "responses", max_output_tokens=2).document
        message = ask(llm, "messages", max_tokens=2).document

    assert (chat["message"]["content"], chat["finish_reason"]) == ("one two ", "length")
    assert (response["status"], response["incomplete_details"]) == (
        "incomplete",
        {"reason": "max_output_tokens"},
    )
    assert (message["content"][0]["text"], message["stop_reason"]) == ("one two ", "max_tokens")
    assert llm.tokens.output == 6


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("chat", {"messages": SAID}),
        ("chat", {"model": "m"}),
        ("responses", {"model": "m"}),
        ("messages", {"model": "m", "messages": SAID}),
        ("chat", [1]),
    ],
)
def test_what_the_real_ones_refuse_is_refused_and_counted(llm: FakeLLM, api: str, body: object) -> None:
    got = post(llm, PATHS[api], body)

    assert got.status == 400
    assert [call.status for call in llm.calls] == [400]


def test_what_is_no_json_and_what_is_no_endpoint_are_said_to_be_so(llm: FakeLLM) -> None:
    with closing(connect(llm)) as connection:
        connection.request("POST", PATHS["chat"], "{")
        answer = connection.getresponse()
        spoiled = json.loads(answer.read())

    assert (answer.status, "not JSON" in spoiled["error"]["message"]) == (400, True)
    missing = post(llm, "/v1/completions", {})
    assert missing.status == 404
    assert "`/v1/completions`" in missing.document["error"]["message"]


def test_vectors_depend_on_the_text_alone() -> None:
    asked = {"model": "e", "input": ["one two", "three"], "dimensions": 20}
    with fake_llm(["hi"]) as first, fake_llm() as second:
        numbers = post(first, "/v1/embeddings", asked).document
        packed = post(second, "/v1/embeddings", {**asked, "encoding_format": "base64"}).document
        token_ids = post(second, "/v1/embeddings", {"model": "e", "input": [[1, 2, 3], [4]]}).document
        chat = text_of("chat", ask(first))

    vectors = [entry["embedding"] for entry in numbers["data"]]
    unpacked = [struct.unpack("<20f", base64.b64decode(entry["embedding"])) for entry in packed["data"]]
    assert unpacked == [pytest.approx(vector, abs=1e-6) for vector in vectors]
    assert [sum(part * part for part in vector) for vector in vectors] == [pytest.approx(1), pytest.approx(1)]
    assert vectors[0] != vectors[1]
    assert (numbers["usage"]["total_tokens"], token_ids["usage"]["total_tokens"]) == (3, 4)
    assert chat == "hi"


def test_the_count_is_told_over_http_by_endpoint_and_by_model() -> None:
    with fake_llm(["one two", Failure(500), Answer(text="x", cached_tokens=1)]) as llm:
        for api in ("chat", "chat", "messages"):
            ask(llm, api)
        told = get(llm, "/_count")

    nothing = {"input": 0, "output": 0, "cached": 0, "cache_written": 0, "reasoning": 0}
    assert told == llm.count()
    assert (told["requests"], told["answered"], told["failed"]) == (3, 2, 1)
    assert told["tokens"] == {**nothing, "input": 6, "output": 3, "cached": 1}
    assert told["apis"] == {"chat": 2, "messages": 1}
    assert told["models"]["gpt-4o"] == {"requests": 2, "tokens": {**nothing, "input": 3, "output": 2}}


def test_the_calls_are_told_over_http_without_the_key(llm: FakeLLM) -> None:
    ask(llm, headers={"authorization": "Bearer a-key-of-mine"})

    [told] = get(llm, "/_calls")

    assert (told["api"], told["status"], told["ended"], told["body"]) == ("chat", 200, True, BODIES["chat"])
    assert "a-key-of-mine" not in json.dumps(told)


def test_a_reset_forgets_the_requests_and_begins_with_the_first_answer() -> None:
    with fake_llm(["one", "two"]) as llm:
        ask(llm)
        post(llm, "/_reset", {})

        assert llm.requests == 0
        assert (text_of("chat", ask(llm)), llm.calls[0].number) == ("one", 1)


def test_answers_are_changed_over_http(llm: FakeLLM) -> None:
    changed = post(llm, "/_script", [{"text": "changed"}, {"status": 418}])
    wrong = post(llm, "/_script", {"txt": "a slip"})

    assert changed.status == 200
    assert (wrong.status, "`txt: 'a slip'`" in wrong.document["error"]["message"]) == (400, True)
    assert text_of("chat", ask(llm)) == "changed"
    assert ask(llm).status == 418


def test_a_body_may_come_in_chunks(llm: FakeLLM) -> None:
    sent = json.dumps(BODIES["chat"]).encode()
    with closing(connect(llm)) as connection:
        connection.request(
            "POST",
            PATHS["chat"],
            iter([sent[:5], sent[5:]]),
            encode_chunked=True,
            headers={"transfer-encoding": "chunked"},
        )
        first = Got(200, {}, connection.getresponse().read())
        second = send(connection, PATHS["chat"], BODIES["chat"])

    assert text_of("chat", first) == "answer 1 to say it again"
    assert text_of("chat", second) == "answer 2 to say it again"


def test_an_old_client_reads_a_stream_to_the_end_of_the_connection(llm: FakeLLM) -> None:
    body = json.dumps({**BODIES["chat"], "stream": True})
    with socket.create_connection(
        (llm.url.split("/")[2].split(":")[0], int(llm.url.rpartition(":")[2]))
    ) as plain:
        plain.sendall(f"POST {PATHS['chat']} HTTP/1.0\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        got = b"".join(iter(lambda: plain.recv(65536), b""))

    head, _, stream = got.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert stream.endswith(b"data: [DONE]\n\n")


def test_closing_closes_connections_and_frees_the_port() -> None:
    llm = fake_llm()
    port = int(llm.url.rpartition(":")[2])
    with closing(connect(llm)) as connection:
        send(connection, PATHS["chat"], BODIES["chat"])

        llm.close()
        llm.close()

        assert connection.sock is not None
        assert connection.sock.recv(1) == b""
    with fake_llm(port=port) as again:
        assert ask(again).status == 200


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open(llm: FakeLLM) -> None:
    with pytest.raises(OSError, match="in use"):
        fake_llm(port=int(llm.url.rpartition(":")[2]))


def test_a_wrong_answer_is_an_error_before_anything_listens() -> None:
    with pytest.raises(UsageError):
        fake_llm(answers=[3])  # type: ignore[list-item]


def test_the_variables_lead_here(llm: FakeLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    plain = llm.environ()
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    behind = llm.environ()

    assert plain["OPENAI_BASE_URL"] == f"{llm.url}/v1"
    assert plain["ANTHROPIC_BASE_URL"] == llm.url
    assert plain["OPENAI_API_KEY"] == plain["ANTHROPIC_API_KEY"] == llm.api_key
    assert "NO_PROXY" not in plain
    assert behind["NO_PROXY"] == behind["no_proxy"] == "intranet.example,127.0.0.1"


def test_it_needs_nothing_that_is_for_tests_and_loads_nothing_before_it_is_used() -> None:
    program = (
        "import sys, kitaru_nb.testing as testing\n"
        "print('http.server' in sys.modules, end=' ')\n"
        "testing.fake_llm().close()\n"
        "print('http.server' in sys.modules, 'pytest' in sys.modules, 'numpy' in sys.modules)\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "True", "False", "False"]
