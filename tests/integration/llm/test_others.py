"""The tap on clients that speak neither OpenAI's nor Anthropic's formats, and on HTTP/2."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.llm_pythons import llm_environ

PATHS = {
    "llm2": {
        "bedrock_converse",
        "bedrock_converse_stream",
        "bedrock_invoke",
        "bedrock_invoke_stream",
        "http2_brotli",
    },
    "llm3": {
        "gemini_plain",
        "gemini_stream",
        "gemini_async",
        "ollama_plain",
        "ollama_stream",
        "ollama_async",
    },
}


@pytest.mark.timeout(300)
def test_every_path_is_recorded_and_served(python: Path) -> None:
    done = subprocess.run(
        [python, "-W", "ignore", Path(__file__).with_name("others.py")],
        env=llm_environ({}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )

    wrong = {line["path"]: line["wrong"] for line in map(json.loads, done.stdout.splitlines())}

    assert wrong == dict.fromkeys(PATHS[python.parents[1].name.removeprefix(".venv-")], "")
