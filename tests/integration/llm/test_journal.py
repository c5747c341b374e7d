"""Real clients, real kills: a model call whose answer came is never paid again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kitaru_nb.testing import fake_llm
from tests.further import further
from tests.llm_pythons import llm_environ, llm_python

pytestmark = pytest.mark.timeout(300)

AGENT = """
import os, signal
import openai
import kitaru_nb as kt

client = openai.OpenAI()

def ask(messages, stream):
    asked = dict(model="gpt-4o", messages=messages, max_tokens=50)
    if not stream:
        return client.chat.completions.create(**asked).choices[0].message.content
    text = ""
    for number, chunk in enumerate(client.chat.completions.create(**asked, stream=True)):
        text += chunk.choices[0].delta.content or ""
        if os.environ.get("DIE") == f"in{len(messages) // 2}" and number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    return text

@kt.flow
def agent(count):
    messages = [{"role": "user", "content": "begin"}]
    for step in range(count):
        answer = ask(messages, stream=step % 3 == 2)
        messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": f"go on {step}"}]
        if os.environ.get("DIE") == f"after{step + 1}":
            os.kill(os.getpid(), signal.SIGKILL)
    return answer

if __name__ == "__main__":
    print(agent(12))
"""


@pytest.fixture(params=["llm2", further("llm3")])
def python(request: pytest.FixtureRequest) -> Path:
    """What every path of every client does in both, `test_matrix` says."""
    return llm_python(request.param)


class Agent:
    """The agent's script, with a model that counts for itself."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder = python, folder
        self.llm = fake_llm(answers=[f"answer {number} in some words" for number in range(60)])
        (folder / "agent12.py").write_text(AGENT, encoding="utf-8")

    def environ(self, **more: str) -> Mapping[str, str]:
        return llm_environ({**self.llm.environ(), "KITARU_NB_HOME": str(self.folder / "home"), **more})

    def run(self, *, expect: int, **more: str) -> subprocess.CompletedProcess[str]:
        return self._command([str(self.python), "agent12.py"], expect, self.environ(**more))

    def cli(self, *words: str, expect: int = 0) -> str:
        return self._command([str(self.python), "-m", "kitaru_nb", *words], expect, self.environ()).stdout

    def _command(
        self, command: list[str], expect: int, environ: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == expect, done.stderr
        return done

    def execution(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.cli("executions", "--json"))[0]
        return found


def test_an_agent_that_was_killed_after_its_eighth_call_pays_four_more(python: Path, tmp_path: Path) -> None:
    agent = Agent(python, tmp_path)

    agent.run(expect=-signal.SIGKILL, DIE="after8")
    assert agent.llm.requests == 8
    done = agent.run(expect=0)

    assert done.stdout == "answer 11 in some words\n"
    assert agent.llm.requests == 12
    execution = agent.execution()
    assert execution["tokens"] == agent.llm.tokens.total
    (told,) = json.loads(agent.cli("cost", "--json"))
    assert (told["calls"], told["served_calls"]) == (12, 8)
    assert told["tokens"] == agent.llm.tokens.total
    assert told["cost"] == pytest.approx(execution["cost"])
    assert told["saved_cost"] == pytest.approx(execution["saved_cost"])


@pytest.mark.further
def test_an_answer_that_was_cut_is_paid_again_and_no_other(python: Path, tmp_path: Path) -> None:
    agent = Agent(python, tmp_path)

    agent.run(expect=-signal.SIGKILL, DIE="in8")  # the ninth call is streamed
    assert agent.llm.requests == 9
    agent.run(expect=0)

    assert agent.llm.requests == 9 + 4


@pytest.mark.further
def test_a_stops_before_the_call_and_a_raised_one_goes_on(python: Path, tmp_path: Path) -> None:
    agent = Agent(python, tmp_path)

    stopped = agent.run(expect=75, KITARU_NB_BUDGET="0.002")
    paid = agent.llm.requests
    execution = agent.execution()

    assert 0 < paid < 12
    assert execution["status"] == "waiting"
    assert execution["cost"] <= 0.002
    last = stopped.stderr.splitlines()[-1]
    assert last == f"kitaru: waiting execution={execution['id']}"
    agent.cli("resume", execution["id"], "--budget", "1")
    assert agent.llm.requests == 12
    assert agent.execution()["status"] == "completed"


def test_a_model_without_a_price_stops_at_its_first_call_under_a_budget(python: Path, tmp_path: Path) -> None:
    agent = Agent(python, tmp_path)
    source = (tmp_path / "agent12.py").read_text().replace("gpt-4o", "my-own-model")
    (tmp_path / "agent12.py").write_text(source)

    stopped = agent.run(expect=75, KITARU_NB_BUDGET="5")

    assert agent.llm.requests == 0
    assert "`my-own-model` has no price" in stopped.stderr
    assert "[tool.kitaru_nb.prices]" in stopped.stderr


def test_request_headers_are_nowhere_on_disk(python: Path, tmp_path: Path) -> None:
    agent = Agent(python, tmp_path)

    agent.run(expect=0, OPENAI_API_KEY="sk-proj-canary0123456789abcdefghij")

    kept = b"".join(file.read_bytes() for file in (tmp_path / "home").rglob("*") if file.is_file())
    assert b"canary0123456789" not in kept
    assert b"authorization" not in kept.lower()


@pytest.mark.further
def test_the_notebook_of_the_docs_dies_and_pays_four(python: Path, tmp_path: Path) -> None:
    source = Path(__file__).parents[3] / "notebooks" / "02_agent_never_pays_twice.ipynb"
    shutil.copy(source, tmp_path)
    environ = {**os.environ, "KITARU_NB_HOME": str(tmp_path / "home")}
    command = [str(python), "-m", "kitaru_nb", "run", source.name, "--no-progress"]

    first = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    second = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    assert first.returncode == 138, first.stderr
    assert second.returncode == 0, second.stderr
    output = nbformat.read(tmp_path / "02_agent_never_pays_twice.out.ipynb", as_version=4)
    shown = {cell.id: cell.outputs for cell in output.cells if cell.cell_type == "code"}
    assert shown["research"][0]["text"].startswith("12 answers; the last one: finding 11")
    assert shown["paid"][0]["text"].startswith("paid in this kernel: 4 calls")
