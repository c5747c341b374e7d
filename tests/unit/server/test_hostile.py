"""Names, questions and ids that somebody chose to do harm come back as the text they are."""

from __future__ import annotations

import pytest

from kitaru_nb.testing import a_draft
from tests.served import Api, quoted
from tests.unit.server.conftest import Recorder

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "{{constructor.constructor('alert(1)')()}}",
    "${7*7}",
    "'; DROP TABLE executions; --",
    '" OR "1"="1',
    "%00",
    "%2e%2e%2fetc%2fpasswd",
    "..\\..\\windows\\system32",
    "\u202etxt.exe",
    "\u0000null",
    "\x1b[31mred\x1b[0m",
    "line\r\nSet-Cookie: a=b",
    "tab\tand\x0bvertical",
    "\ufeffbom",
    "e\u0301 is not \u00e9",
    "ﷺ" * 100,
    "\U0001d56c\U0001d591\U0001d58a\U0001d597\U0001d599",
    "🙂" * 50,
    "a" * 900,
    "🏳️‍🌈",
    "null",
    "undefined",
    "__proto__",
    "constructor",
    "-1e400",
    "=cmd|' /C calc'!A0",
    "`rm -rf /`",
    "$(reboot)",
    "&lt;b&gt;",
]


def test_there_are_thirty_of_them() -> None:
    assert len(set(HOSTILE)) >= 30


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_question_comes_back_as_it_is_and_as_json_alone(
    api: Api, recorder: Recorder, text: str
) -> None:
    attempt = recorder.begin(tags=(text,))
    recorder.journal.commit(attempt, a_draft(name=text))
    wait = recorder.ask(attempt, text, show=text, schema={"type": "string", "title": text})

    response = api.get(f"waits/{quoted(wait.address)}")
    answered = api.post(f"waits/{quoted(wait.address)}/answer", {"answer": text, "reason": text})

    assert response.headers["content-type"] == "application/json"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert (response.json()["question"], response.json()["show"]) == (text, text)
    assert (answered.json()["answer"], answered.json()["reason"]) == (text, text)
    shown = api.found(f"executions/{attempt.execution}")
    assert (shown["checkpoints"][0]["name"], shown["tags"]) == (text, [text])
    assert text in api.found(f"executions/{attempt.execution}/logs")["lines"][-3]["text"]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_id_is_nothing_that_there_is(api: Api, recorder: Recorder, text: str) -> None:
    recorder.begin()
    part = quoted(text)

    answers = [
        api.get(f"executions/{part}"),
        api.get(f"executions/{part}/logs"),
        api.get("executions/latest/why", checkpoint=text),
        api.get("executions/latest/inputs", checkpoint=text),
        api.post(f"executions/{part}/cancel"),
        api.post(f"executions/{part}/resume"),
        api.post(f"executions/{part}/replay", {"from": text}),
        api.get(f"waits/{part}"),
        api.get(f"waits/{quoted('latest/' + text)}"),
        api.post(f"waits/{part}/answer", {"answer": True}),
        api.get("executions", before=text),
        api.get("waits", execution=text),
        api.get("diff", a=text, b=text),
        api.get("diff.html", a=text, b=text),
        api.get("artifacts", ref=text),
        api.get("artifacts", ref=f"latest/{text}/{text}"),
        api.get("artifacts/slice", ref=f"{text}/{text}/{text}"),
    ]

    assert {answer.status_code for answer in answers} <= {400, 404}
    for answer in answers:
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json()) == {"error"}


def is_path(text: str) -> bool:
    """Whether the contents API could have a notebook of that name."""
    return "\0" not in text and not {"", ".", ".."} & set(text.strip("/").split("/"))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_filter_finds_nothing_else(api: Api, recorder: Recorder, text: str) -> None:
    recorder.begin("plain.ipynb", tags=("plain",))

    assert api.found("executions", q=text)["executions"] == []
    assert api.found("executions", tag=text)["executions"] == []
    assert api.get("executions", status=text).status_code == 400
    of_notebook = api.get("executions", notebook=text)
    if is_path(text):
        assert of_notebook.json() == {"executions": [], "more": False}
    else:
        assert api.error(of_notebook) == (400, "bad-path")
    cells = {"notebook": "plain.ipynb", "cells": [{"id": text, "source": text}]}
    assert api.post("cells", cells).json()["cells"] == {}
