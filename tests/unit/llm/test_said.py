"""What an answer says is found in one piece, however it was cut into events."""

from __future__ import annotations

import json

import pytest

from kitaru_nb.llm.said import said_in

TEXT = 'url = "postgres://ana:p\u00e4ss@host"\n'


def openai(piece):
    return {"choices": [{"index": 0, "delta": {"content": piece}}]}


def anthropic(piece):
    return {"type": "content_block_delta", "delta": {"type": "text_delta", "text": piece}}


def arguments(piece):
    return {"type": "response.function_call_arguments.delta", "delta": piece}


@pytest.mark.parametrize("event", [openai, anthropic, arguments])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_text_that_came_letter_by_letter_is_one(event, ascii_only):
    lines = [f"data: {json.dumps(event(letter), ensure_ascii=ascii_only)}\n\n" for letter in TEXT]

    assert said_in("".join(lines).encode()) == TEXT


def test_a_whole_answer_says_its_text():
    body = json.dumps({"choices": [{"message": {"role": "assistant", "content": TEXT}}]})

    assert said_in(body.encode()) == TEXT


@pytest.mark.parametrize("body", [b"", b"\xff\x00", b'{"content": "\\x"}', b'{"content": "half'])
def test_bytes_of_another_kind_are_no_mistake(body):
    assert isinstance(said_in(body), str)
