"""`kitaru-nb fake-llm`: the command that serves until it is told to stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE

ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "say it"}]}
COMMAND = [sys.executable, "-m", "kitaru_nb", "fake-llm"]


@contextmanager
def serving(*words: str) -> Iterator[subprocess.Popen[str]]:
    """The command, running; killed at the end where it has not ended by itself."""
    with subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def ends(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What else it printed until its end: `communicate` would lose what `readline` has read ahead."""
    assert process.stdout is not None
    assert process.stderr is not None
    printed = process.stdout.read(), process.stderr.read()
    process.wait()
    return printed


def post(url: str, body: object) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def said(url: str) -> str:
    return str(post(f"{url}/chat/completions", ASKED)["choices"][0]["message"]["content"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_once_it_has_said_where_and_ends_well(number: signal.Signals) -> None:
    with serving() as process:
        exports = [line_of(process)]
        name, _, url = exports[0].strip().removeprefix("export ").partition("=")
        text = said(url)
        process.send_signal(number)
        rest, told = ends(process)

    exports += rest.splitlines()
    assert (name, text, process.returncode) == ("OPENAI_BASE_URL", "answer 1 to say it", 0)
    assert all(line.startswith("export ") for line in exports)
    assert any(line.startswith("export ANTHROPIC_BASE_URL=http://127.0.0.1:") for line in exports)
    assert told.splitlines()[-1] == "1 requests, 2 input tokens, 5 output tokens"


def test_a_shell_that_reads_its_lines_has_the_variables() -> None:
    with serving() as process:
        first = line_of(process)
        process.terminate()
        rest, _ = ends(process)

    shown = subprocess.run(
        ["/bin/sh", "-c", first + rest + 'echo "$ANTHROPIC_API_KEY"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "fake-key\n"


def test_the_document_is_one_line_and_the_answers_come_from_a_file(tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps(["one", {"status": 429}]), encoding="utf-8")

    with serving("--json", "--answers", str(answers)) as process:
        document = json.loads(line_of(process))
        text = said(document["openai_url"])
        with pytest.raises(urllib.error.HTTPError, match="429"):
            said(document["openai_url"])
        process.terminate()
        rest, told = ends(process)

    assert text == "one"
    assert document["environ"]["OPENAI_BASE_URL"] == document["openai_url"] == document["url"] + "/v1"
    assert (rest, told, process.returncode) == ("", "", 0)


def test_a_port_can_be_chosen_and_one_that_is_taken_is_said_to_be() -> None:
    with serving("--json") as process:
        port = json.loads(line_of(process))["url"].rpartition(":")[2]
        again = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, check=False)

    assert again.returncode == 2
    assert f"cannot listen on `127.0.0.1:{port}`" in again.stderr
    assert "--port" in again.stderr


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [(None, "no-such-file", 1), ("{", "bad-answer", 2), ('{"txt": "hi"}', "bad-answer", 2)],
)
def test_a_file_that_holds_no_answers_is_an_error_before_anything_is_served(
    content: str | None, kind: str, code: int, tmp_path: Path
) -> None:
    answers = tmp_path / "answers.json"
    if content is not None:
        answers.write_text(content, encoding="utf-8")

    done = subprocess.run(
        [*COMMAND, "--json", "--answers", str(answers)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code
    assert json.loads(done.stdout)["error"]["kind"] == kind
