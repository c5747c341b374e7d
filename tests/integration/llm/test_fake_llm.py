"""The fake language model, asked by the clients that people use."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.testing import Call, ToolCall, fake_llm
from tests.further import further
from tests.llm_pythons import LLM_PYTHONS, llm_environ, llm_python

CLIENTS = Path(__file__).with_name("clients")
# These do not ask for the usage of a stream, so they are not told.
SILENT = {"openai_chat_stream", "agents_chat_stream"}


def answer(call: Call) -> str | ToolCall:
    """A tool is called until its result is there; any other answer is a new one."""
    asked = call.body.get("messages") or call.body.get("input")
    if call.body.get("tools") and "sunny" not in json.dumps(asked):
        return ToolCall("weather", {"city": "Utrecht"})
    return f"answer {call.number}: it is fine"


@pytest.fixture(scope="module", params=[further("llm2"), "llm3"])
def python(request: pytest.FixtureRequest) -> Path:
    """That both have their answers, `test_matrix` says too."""
    return llm_python(request.param)


@pytest.fixture(scope="module")
def walked(python: Path) -> dict[str, Any]:
    """What the clients of one Python saw, and what the server counted, by path."""
    with fake_llm(answer) as llm:
        done = subprocess.run(
            [python, "-W", "ignore", CLIENTS],
            env=llm_environ(llm.environ()),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return {found["path"]: found for found in map(json.loads, done.stdout.splitlines())}


def test_every_client_of_a_python_is_there(walked: dict[str, Any], python: Path) -> None:
    libraries = LLM_PYTHONS[python.parents[1].name.removeprefix(".venv-")]

    assert {library for library in libraries if any(path.startswith(library) for path in walked)} == libraries


def test_every_path_of_every_client_is_answered(walked: dict[str, Any]) -> None:
    assert {path: found["error"] for path, found in walked.items() if found["error"]} == {}
    for path, found in walked.items():
        assert ": it is fine" in found["text"] or "embedding" in path or "weather" in str(found["tools"]), (
            path
        )


def test_tools_are_called_and_their_results_come_back(walked: dict[str, Any]) -> None:
    called = {path for path, found in walked.items() if found["tools"] == ['weather {"city": "Utrecht"}']}
    rounds = {path for path, found in walked.items() if found["server"]["requests"] == 2}

    assert {path for path in walked if "_tool" in path} == called | rounds
    assert {"openai_chat_tool", "openai_responses_tool", "anthropic_tool"} <= called & rounds


def test_every_client_sees_the_tokens_that_the_server_counts(walked: dict[str, Any]) -> None:
    seen = {path: (found["input"], found["output"]) for path, found in walked.items()}
    counted = {path: (found["server"]["input"], found["server"]["output"]) for path, found in walked.items()}

    assert {path for path in walked if seen[path] != counted[path]} == SILENT & set(walked)
    assert all(asked > 0 for asked, _said in counted.values())
