"""The tap on model calls, met by the clients that people use, as a table that the reference shows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.llm_pythons import LLM_PYTHONS, llm_environ

HERE = Path(__file__).parent
REFERENCE = HERE.parents[2] / "docs" / "reference" / "model-calls.md"
LIBRARIES = {
    "openai": "openai",
    "anthropic": "anthropic",
    "litellm": "litellm",
    "pydantic_ai": "pydantic-ai",
    "agents": "OpenAI Agents SDK",
    "langchain": "LangChain",
}
APIS = {
    "chat": "chat completions",
    "responses": "responses",
    "embeddings": "embeddings",
    "embedding": "embeddings",
    "anthropic": "messages",
    "openai": "chat completions",
}
TRIALS = ["record, replay", "retried 500", "connection cut", "error mid-answer", "4 at once", "gzip"]

pytestmark = pytest.mark.timeout(900)  # some forty paths of real clients, six trials each, in each Python


@pytest.fixture(scope="module")
def walked(python: Path) -> dict[str, Mapping[str, str | None]]:
    """What went wrong with each path, by trial."""
    done = subprocess.run(
        [python, "-W", "ignore", HERE / "matrix.py"],
        env=llm_environ({}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"path": ')]
    return {line["path"]: line["wrong"] for line in lines}


def test_every_path_is_recorded_and_served_under_every_trial(walked: dict[str, Any]) -> None:
    wrong = {(path, trial): what for path, trials in walked.items() for trial, what in trials.items() if what}

    assert wrong == {}


def test_every_client_of_a_python_is_in_the_matrix(walked: dict[str, Any], python: Path) -> None:
    libraries = LLM_PYTHONS[python.parents[1].name.removeprefix(".venv-")]

    assert {library for library in libraries if any(path.startswith(library) for path in walked)} == libraries


def test_the_reference_shows_the_matrix(walked: dict[str, Any]) -> None:
    shown = REFERENCE.read_text(encoding="utf-8")

    assert [row for row in rows(walked) if row not in shown] == []


def rows(walked: Mapping[str, Mapping[str, str | None]]) -> list[str]:
    """The matrix as rows of a table: one for each library and wire format, a column for each trial."""
    paths: dict[tuple[str, str], dict[str, str]] = {}
    for path in walked:
        library = next(library for library in LIBRARIES if path.startswith(library))
        words = path.removeprefix(library).strip("_").split("_")
        format_ = "messages" if library == "anthropic" else APIS[words.pop(0)]
        way = " ".join(word for word in words if word != "messages") or "plain"
        paths.setdefault((LIBRARIES[library], format_), {})[way] = path
    return [
        f"| {library} | {format_} | {', '.join(sorted(found))} | "
        + " | ".join(mark([walked[path].get(trial, "") for path in found.values()]) for trial in TRIALS)
        + " |"
        for (library, format_), found in paths.items()
    ]


def mark(results: list[str | None]) -> str:
    """One cell: nothing went wrong, something did, or the trial makes no sense here."""
    if None in results:
        return " "
    return "✗" if any(results) else "✓"


def test_rows_name_each_way_and_each_trial() -> None:
    walked = {"openai_chat": {}, "openai_chat_stream_async": {TRIALS[1]: "wrong"}, "anthropic_messages": {}}
    walked["litellm_embedding"] = {TRIALS[1]: None}

    assert rows(walked) == [
        "| openai | chat completions | plain, stream async | ✓ | ✗ | ✓ | ✓ | ✓ | ✓ |",
        "| anthropic | messages | plain | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |",
        "| litellm | embeddings | plain | ✓ |   | ✓ | ✓ | ✓ | ✓ |",
    ]
