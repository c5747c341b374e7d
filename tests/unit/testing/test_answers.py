"""What may be an answer, and how it is counted and cut."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitaru_nb.errors import UsageError
from kitaru_nb.testing import Answer, Call, Cut, Failure, Tokens, ToolCall, count_tokens
from kitaru_nb.testing.llm.answers import as_reply, pieces
from kitaru_nb.testing.llm.call import tokens_of, words_asked
from kitaru_nb.testing.llm.dialect import Event, cut_short
from kitaru_nb.testing.llm.files import FIELDS, answers_from_json
from kitaru_nb.testing.llm.script import Script

EVENTS = [Event("head"), Event("one", piece=True), Event("two", piece=True), Event('{"a": 1}'), Event("end")]
OOPS = Event("oops")


def call(**body: Any) -> Call:
    return Call(1, "chat", {"model": "m", **body}, {})


@given(st.text())
def test_the_pieces_of_a_text_are_the_text_and_one_for_each_word(text: str) -> None:
    found = pieces(text)

    assert "".join(found) == text
    assert len(found) == count_tokens(text) or (count_tokens(text) == 0 and len(found) <= 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("hi", Answer(text="hi")),
        (ToolCall("add", {"x": 1}), Answer(tools=(ToolCall("add", {"x": 1}),))),
        ([ToolCall("a"), ToolCall("b")], Answer(tools=(ToolCall("a"), ToolCall("b")))),
        (Failure(429), Failure(429)),
    ],
)
def test_what_may_be_an_answer(given: object, expected: object) -> None:
    assert as_reply(given) == expected


@pytest.mark.parametrize("given", [3, [], ["a", "b"], None, b"hi"])
def test_anything_else_is_refused(given: object) -> None:
    with pytest.raises(UsageError, match="is no answer of the fake model"):
        as_reply(given)


def test_a_list_is_looked_through_before_the_first_request() -> None:
    with pytest.raises(UsageError, match="`3` is no answer"):
        Script(["hi", 3])  # type: ignore[list-item]


def test_an_iterator_gives_answers_without_end() -> None:
    script = Script(f"answer {n}" for n in range(10**9))

    assert [script.next(call()), script.next(call())] == [Answer(text="answer 0"), Answer(text="answer 1")]


def test_a_rewound_list_begins_again() -> None:
    script = Script(["a", "b"])
    first = script.next(call())

    script.rewind()

    assert script.next(call()) == first


def test_answers_are_read_from_json() -> None:
    document = [
        "hi",
        {
            "text": "a b",
            "tools": [{"name": "add", "arguments": {"x": 3}}],
            "cut": {"after": 1, "how": "error"},
        },
        {"status": 429, "retry_after": 0.5},
    ]

    script = Script(answers_from_json(document))

    assert script.next(call()) == Answer(text="hi")
    assert script.next(call()) == Answer(text="a b", tools=[ToolCall("add", {"x": 3})], cut=Cut(1, "error"))
    assert script.next(call()) == Failure(429, retry_after=0.5)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"txt": "hi"}, "txt"),
        ({"text": "hi", "tools": [{"nme": "add"}]}, "nme"),
        ({"status": 500, "text": "hi"}, "text"),
        ({"text": "hi", "cut": {"at": 1}}, "at"),
        ({"text": "hi", "cut": {"how": "burn"}}, "burn"),
        ({"tools": [{}]}, "name"),
        ({"tools": "add"}, "add"),
        ({"text": 3}, "3"),
        (["hi", 3], "3"),
    ],
)
def test_a_mistake_in_json_is_named(document: object, named: str) -> None:
    with pytest.raises(UsageError, match=f"`.*{named}.*`"):
        answers_from_json(document)


@pytest.mark.parametrize("kind", FIELDS)
def test_every_part_of_an_answer_can_be_written_as_json(kind: Any) -> None:
    assert list(FIELDS[kind]) == [field.name for field in fields(kind)]


def test_input_tokens_are_the_words_of_all_that_was_said() -> None:
    body = {
        "system": "be brief",
        "tools": [{"function": {"name": "not counted", "description": "nor this"}}],
        "messages": [
            {"role": "user", "content": "one two three"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "four five"}, {"type": "image", "data": "x y"}],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"function": {"name": "add", "arguments": '{"x": 3}'}}],
            },
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "add", "input": {"x": 3}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "it is seven"},
        ],
    }

    assert words_asked(body) == 2 + 3 + 2 + 3 + 3 + 3


def test_an_answers_own_numbers_come_before_the_counted_ones() -> None:
    asked = call(messages=[{"role": "user", "content": "one two three"}])

    counted = tokens_of(asked, Answer(text="a b", tools=[ToolCall("add", {"x": 3})], reasoning_tokens=4))
    said = tokens_of(asked, Answer(text="a b", input_tokens=120, output_tokens=34, cached_tokens=20))

    assert counted == Tokens(input=3, output=2 + 3 + 4, reasoning=4)
    assert said == Tokens(input=120, output=34, cached=20)


def test_no_more_is_cached_than_was_asked() -> None:
    asked = call(messages=[{"role": "user", "content": "one two three"}])

    assert tokens_of(asked, Answer(cached_tokens=2, cache_write_tokens=9)) == Tokens(
        3, 0, cached=2, cache_written=1
    )


def test_a_call_knows_the_last_thing_the_user_said() -> None:
    history = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "no"},
        {"role": "user", "content": [{"type": "text", "text": "second"}]},
        {"role": "user", "content": [{"type": "tool_result", "content": "3"}]},
    ]

    assert call(messages=history).prompt == "second"
    assert call(input="only this").prompt == "only this"
    assert (
        call(input=[{"role": "user", "content": [{"type": "input_text", "text": "here"}]}]).prompt == "here"
    )
    assert call().prompt == ""


@pytest.mark.parametrize(
    ("cut", "sent"),
    [
        (None, EVENTS),
        (Cut(0), EVENTS[:1]),
        (Cut(1), EVENTS[:2]),
        (Cut(2), EVENTS[:3]),
        (Cut(9), EVENTS[:3]),
        (Cut(1, "error"), [*EVENTS[:2], OOPS]),
        (Cut(2, "malformed"), [*EVENTS[:3], Event('{"a":')]),
    ],
)
def test_a_cut_answer_ends_after_so_many_pieces(cut: Cut | None, sent: list[Event]) -> None:
    assert cut_short(EVENTS, cut, lambda _place: OOPS) == sent


def test_a_cut_answer_that_says_nothing_has_begun_and_has_not_ended() -> None:
    assert cut_short([Event("head"), Event("end")], Cut(3), lambda _place: OOPS) == [Event("head")]
