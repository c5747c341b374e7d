from __future__ import annotations

import base64
import json
import struct

import pytest

from kitaru_nb.llm.answers import reader_of
from kitaru_nb.llm.wire import model_request
from kitaru_nb.model.cost import Usage

EVENTS = "text/event-stream; charset=utf-8"
AMAZON = "application/vnd.amazon.eventstream"


def request(api="openai-chat", **body):
    url = {
        "openai-chat": "https://a/v1/chat/completions",
        "anthropic": "https://a/v1/messages",
        "openai-responses": "https://a/v1/responses",
        "gemini": "https://a/models/g:streamGenerateContent",
        "ollama": "https://a/api/chat",
        "bedrock-converse": "https://a/model/m/converse-stream",
        "bedrock-invoke": "https://a/model/m/invoke-with-response-stream",
    }[api]
    body = {"model": "m", "messages": [], "contents": [], "stream": True, **body}
    return model_request("POST", url, json.dumps(body).encode())


def event(document, name=""):
    data = document if isinstance(document, str) else json.dumps(document)
    return (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()


def piece(text="hi", reason=None, index=0):
    choice = {"index": index, "delta": {"content": text}, "finish_reason": reason}
    return event({"model": "gpt-4o", "choices": [choice]})


def line(document):
    return json.dumps(document).encode() + b"\n"


def message(name, document, kind="event"):
    """A message as Amazon frames it."""
    told = {":event-type": name, ":message-type": kind}
    head = b"".join(
        struct.pack(">B", len(key)) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in told.items()
    )
    payload = json.dumps(document).encode()
    size = 16 + len(head) + len(payload)
    return struct.pack(">III", size, len(head), 0) + head + payload + bytes(4)


def inside(document):
    return {"bytes": base64.b64encode(json.dumps(document).encode()).decode()}


USAGE = event({"model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
DONE = event("[DONE]")

STREAMS = {
    "openai-chat": (EVENTS, [piece(), piece("", "stop"), USAGE, DONE], 1),
    "openai-responses": (
        EVENTS,
        [
            event(
                {"type": "response.created", "response": {"model": "m", "error": None}}, "response.created"
            ),
            event({"type": "response.output_text.delta", "delta": "hi"}, "response.output_text.delta"),
            event(
                {
                    "type": "response.completed",
                    "response": {"model": "m", "usage": {"input_tokens": 5, "output_tokens": 2}},
                },
                "response.completed",
            ),
        ],
        2,
    ),
    "anthropic": (
        EVENTS,
        [
            event({"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 5}}}),
            event({"type": "content_block_delta", "delta": {"text": "message_stop"}}),
            event(
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
            ),
            event({"type": "message_stop"}, "message_stop"),
        ],
        2,
    ),
    "gemini": (
        EVENTS,
        [
            event({"candidates": [{"content": {}}], "usageMetadata": {"promptTokenCount": 5}}),
            event(
                {
                    "candidates": [{"finishReason": "STOP"}],
                    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2},
                }
            ),
        ],
        1,
    ),
    "ollama": (
        "application/x-ndjson",
        [
            line({"model": "m", "done": False}),
            line({"model": "m", "done": True, "prompt_eval_count": 5, "eval_count": 2}),
        ],
        1,
    ),
    "bedrock-converse": (
        AMAZON,
        [
            message("messageStart", {"role": "assistant"}),
            message("contentBlockDelta", {"delta": {"text": "hi"}}),
            message("messageStop", {"stopReason": "end_turn"}),
            message("metadata", {"usage": {"inputTokens": 5, "outputTokens": 2}}),
        ],
        2,
    ),
    "bedrock-invoke": (
        AMAZON,
        [
            message("chunk", inside({"type": "message_start", "message": {"model": "m"}})),
            message(
                "chunk",
                inside(
                    {
                        "type": "message_stop",
                        "amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 2},
                    }
                ),
            ),
        ],
        1,
    ),
}
every_stream = pytest.mark.parametrize("api", STREAMS)


@every_stream
def test_a_stream_is_handed_on_whole_and_its_usage_is_read(api):
    content_type, frames, _ = STREAMS[api]
    reader = reader_of(request(api), content_type)

    given = b"".join([reader.feed(frame) for frame in frames])
    given += reader.end()

    assert given == reader.body == b"".join(frames)
    assert reader.over
    assert reader.tally.usage == Usage(5, 2)


@every_stream
def test_a_stream_cut_into_single_bytes_is_the_same_stream(api):
    content_type, frames, _ = STREAMS[api]
    reader = reader_of(request(api), content_type)

    given = b"".join(reader.feed(bytes([byte])) for byte in b"".join(frames)) + reader.end()

    assert given == reader.body == b"".join(frames)
    assert reader.over
    assert reader.tally.usage == Usage(5, 2)


@every_stream
def test_the_end_is_held_back_until_the_answer_is_known_to_be_complete(api):
    content_type, frames, first_held = STREAMS[api]
    reader = reader_of(request(api), content_type)

    for number, frame in enumerate(frames[:-1]):
        assert reader.feed(frame) == (frame if number < first_held else b"")
        assert not reader.over
    last = reader.feed(frames[-1]) or reader.end()

    assert reader.over
    assert last == b"".join(frames[first_held:])


@every_stream
def test_a_stream_that_is_cut_off_before_the_model_stopped_is_not_over(api):
    content_type, frames, first_held = STREAMS[api]
    reader = reader_of(request(api), content_type)

    given = b"".join(reader.feed(frame) for frame in frames[:first_held])
    given += reader.feed(frames[first_held][:-3]) + reader.end()

    assert not reader.over
    assert reader.problem == "the stream was cut off"
    assert given == b"".join(frames[:first_held]) + frames[first_held][:-3]


def test_a_stream_whose_model_has_stopped_is_complete_without_its_closing_event():
    reader = reader_of(request(), EVENTS)

    given = reader.feed(piece()) + reader.feed(piece("", "stop")) + reader.end()

    assert reader.over
    assert given == reader.body == piece() + piece("", "stop")


def test_what_was_held_back_is_given_when_the_stream_breaks_off():
    reader = reader_of(request(), EVENTS)

    given = reader.feed(piece()) + reader.feed(piece("", "stop") + b"data: {")

    assert given == piece()
    assert reader.held() == piece("", "stop") + b"data: {"


def test_two_answers_are_complete_when_both_have_stopped():
    reader = reader_of(request(n=2), EVENTS)

    assert reader.feed(piece(reason="stop", index=0)) == piece(reason="stop", index=0)
    assert reader.feed(piece(index=1)) == piece(index=1)
    assert reader.feed(piece(reason="stop", index=1)) == b""
    assert reader.feed(DONE) == piece(reason="stop", index=1) + DONE


def test_the_usage_that_nobody_asked_for_is_hidden_and_read():
    reader = reader_of(request(), EVENTS, hide_usage=True)

    given = b"".join(reader.feed(frame) for frame in [piece(), piece("", "stop"), USAGE, DONE])

    assert given == reader.body == piece() + piece("", "stop") + DONE
    assert reader.tally.usage == Usage(5, 2)


def test_an_event_without_choices_that_is_not_the_usage_is_not_hidden():
    filtered = event({"model": "", "choices": [], "prompt_filter_results": [{}]})
    reader = reader_of(request(), EVENTS, hide_usage=True)

    assert reader.feed(filtered) == filtered


@pytest.mark.parametrize(
    ("api", "content_type", "frame"),
    [
        ("openai-chat", EVENTS, event({"error": {"message": "overloaded"}})),
        ("anthropic", EVENTS, event({"type": "error", "error": {"message": "overloaded"}}, "error")),
        ("openai-responses", EVENTS, event({"type": "response.failed", "response": {"error": "overloaded"}})),
        ("openai-responses", EVENTS, event({"type": "error", "message": "overloaded"})),
        ("ollama", "application/x-ndjson", line({"error": "overloaded"})),
        ("bedrock-converse", AMAZON, message("", {"message": "overloaded"}, kind="exception")),
    ],
)
def test_a_stream_that_ends_in_an_error_is_not_an_answer(api, content_type, frame):
    _, frames, first_held = STREAMS[api]
    reader = reader_of(request(api), content_type)

    given = b"".join(reader.feed(part) for part in [*frames[:first_held], frame]) + reader.end()

    assert given == b"".join(frames[:first_held]) + frame
    assert not reader.over
    assert "overloaded" in reader.problem


def test_a_word_in_the_text_is_not_taken_for_the_end():
    said = piece('data: [DONE] "finish_reason":"stop" "usage":{"a":1} event: message_stop')
    reader = reader_of(request(), EVENTS)

    assert reader.feed(said) == said
    assert not reader.over


def test_comments_and_other_line_ends_pass_through():
    frames = [b": ping\r\n\r\n", piece().replace(b"\n", b"\r\n"), b"data: [DONE]\r\n\r\n"]
    reader = reader_of(request(), EVENTS)

    given = b"".join(map(reader.feed, frames))

    assert given == b"".join(frames)
    assert reader.over


def test_what_follows_the_end_is_handed_on_and_not_recorded():
    reader = reader_of(request(), EVENTS)

    given = reader.feed(piece() + DONE + b": bye") + reader.feed(b"\n\n") + reader.end()

    assert given == piece() + DONE + b": bye\n\n"
    assert reader.body == piece() + DONE


def test_a_server_that_does_not_say_that_it_streams_is_understood():
    reader = reader_of(request(), "")

    reader.feed(piece() + DONE)

    assert reader.over


@pytest.mark.parametrize(
    ("content_type", "content", "problem"),
    [
        ("application/json", b'{"choices": [], "error": null}', ""),
        ("application/json", b'{"choices": [', "not JSON"),
        ("application/json", b"", "not JSON"),
        ("application/json", b'{"error": {"message": "no such model"}}', "no such model"),
        ("application/json", b'[{"error": {"message": "quota"}}]', "quota"),
        ("application/json", b'{"status": "failed"}', "failed"),
        ("application/json", b'{"status": "incomplete"}', ""),
        ("application/problem+json", b"<", "not JSON"),
        ("text/html; charset=utf-8", b"<html>sign in</html>", "web page"),
        ("application/octet-stream", b"\x00", ""),
    ],
)
def test_an_answer_in_one_piece_is_recorded_if_it_is_one(content_type, content, problem):
    reader = reader_of(request(stream=False), content_type)

    given = reader.feed(content) + reader.end()

    assert given == reader.body == content
    assert reader.over is not bool(problem)
    assert problem in reader.problem


def test_the_last_chunk_of_an_answer_in_one_piece_is_held_back():
    reader = reader_of(request(stream=False), "application/json")

    given = [reader.feed(b'{"model"'), reader.feed(b': "m",'), reader.feed(b'"x": 1}')]

    assert given == [b"", b'{"model"', b': "m",']
    assert reader.end() == b'"x": 1}'
    assert reader.over
    assert reader.tally.model == "m"
