from __future__ import annotations

import json

import pytest

from kitaru_nb.llm.difference import Difference, first_difference


def between(recorded, asked):
    return first_difference(json.dumps(recorded).encode(), json.dumps(asked).encode())


def test_a_time_deep_inside_a_prompt_is_found_and_shown_in_its_place():
    prompt = "You are an assistant. " * 50 + "It is {} now. " + "Answer briefly. " * 50

    def asked(time):
        return {"model": "m", "messages": [{"content": "hi"}, {"content": prompt.format(time)}]}

    found = between(asked("10:40"), asked("10:41"))

    assert found.place == "messages[1].content"
    assert found.recorded == "…ssistant. It is 10:40 now. Answer briefl…"
    assert found.asked == "…ssistant. It is 10:41 now. Answer briefl…"


@pytest.mark.parametrize(
    ("recorded", "asked", "difference"),
    [
        ({"n": 1}, {"n": 2}, Difference("n", "1", "2")),
        ({"n": 1}, {"n": 1.0}, Difference("n", "1", "1.0")),
        ({"n": True}, {"n": 1}, Difference("n", "true", "1")),
        ({}, {"seed": 7}, Difference("seed", "not there", "7")),
        ({"seed": None}, {}, Difference("seed", "null", "not there")),
        ({"m": [1]}, {"m": [1, 2]}, Difference("m", "1 item", "2 items")),
        ({"a": {"b": [{"c": "x"}]}}, {"a": {"b": [{"c": "y"}]}}, Difference("a.b[0].c", "x", "y")),
        ({"a": "x" * 30}, {"a": {}}, Difference("a", '"' + "x" * 19 + "…", "{}")),
        ({"a": "x"}, {"a": "xy"}, Difference("a", "x", "xy")),
        ([], {}, Difference("", "[]", "{}")),
    ],
)
def test_the_first_difference_is_named(recorded, asked, difference):
    assert between(recorded, asked) == difference


def test_equal_bodies_do_not_differ():
    assert between({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}) is None
    assert first_difference(b"\xff", b"\xff") is None


def test_bodies_that_are_not_json_differ_as_a_whole():
    found = first_difference(b"\xff\x00", b"\xfe")

    assert (found.place, found.recorded, found.asked) == ("", "b'\\xff\\x00'", "b'\\xfe'")
    assert str(found) == "`the request` is `b'\\xfe'`, and was `b'\\xff\\x00'`"
