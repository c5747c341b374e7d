"""An agent of twelve streamed model calls is killed, wherever it runs: it pays for what it had not heard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kitaru_nb.engine.costs import By, costs
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.testing import FakeLLM, fake_llm
from tests.further import further
from tests.integration.headless import Notebook, end_what_was_started
from tests.integration.kernel import Kernel

CALLS = 12
# Each answer is the history of the next question. DIE is a file that says where the process ends, once.
AGENT = """
import json, os, pathlib, signal
import httpx
import kitaru_nb as kt

DIE = pathlib.Path({die!r})

def die_at(place):
    if DIE.exists() and DIE.read_text() == place:
        DIE.unlink()
        os.kill(os.getpid(), signal.SIGKILL)

def ask(client, messages):
    body = {{"model": "gpt-4o", "messages": messages, "max_tokens": 50, "stream": True}}
    text = ""
    with client.stream("POST", "{url}/chat/completions", json=body) as reply:
        reply.raise_for_status()
        for line in reply.iter_lines():
            if not line.startswith("data: {{"):
                continue
            for choice in json.loads(line[6:])["choices"]:
                text += choice["delta"].get("content") or ""
            if len(text) > 8:
                die_at(f"in {{len(messages) // 2 + 1}}")
    return text

def agent(count={calls}):
    messages = [{{"role": "user", "content": "begin"}}]
    with httpx.Client() as client:
        for step in range(count):
            answer = ask(client, messages)
            messages += [{{"role": "assistant", "content": answer}}, {{"role": "user", "content": "go on"}}]
            die_at(f"after {{step + 1}}")
    return answer
"""
LAST = f"answer {CALLS} in some words"
RUN = f"last = agent()\nassert last == {LAST!r}, last\nlast"

Place = Callable[[Path, str], bool]
"""Runs the agent in a folder; whether it came to its end."""


def in_a_cell(folder: Path, source: str, marked: str = "%%checkpoint work\n") -> bool:
    with Kernel(Path(os.environ["KITARU_NB_HOME"]), cwd=folder, notebook=folder / "work.ipynb") as kernel:
        assert kernel.run(source, cell="a").ok
        ran = kernel.run(marked + RUN, cell="b")
        assert ran.status == "dead" or ran.result == repr(LAST), ran
        return ran.ok


def in_a_flow_in_a_cell(folder: Path, source: str) -> bool:
    return in_a_cell(folder, source + "\nagent = kt.flow(agent)\n", "")


def in_a_script(folder: Path, source: str) -> bool:
    script = folder / "my_agent.py"
    script.write_text(f"{source}\nagent = kt.flow(agent)\nif __name__ == '__main__':\n    print(agent())\n")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL or done.stdout == LAST + "\n", done.stderr
    return done.returncode == 0


def headless(folder: Path, source: str) -> bool:
    work = Notebook(folder, [source, RUN])
    done = work.kitaru("run", "work.ipynb", "--no-progress")
    assert done.code in (0, 138), done.stderr
    return done.code == 0


@pytest.fixture
def llm() -> Iterator[FakeLLM]:
    with fake_llm(answers=lambda call: f"answer {len(call.body['messages']) // 2 + 1} in some words") as llm:
        yield llm
    end_what_was_started()


AFTER_THE_EIGHTH = "after 8", 0
MID_STREAM = "in 9", 1


@pytest.mark.parametrize(
    ("run", "die", "paid_again"),
    [
        (in_a_cell, *MID_STREAM),
        further(in_a_cell, *AFTER_THE_EIGHTH),
        (in_a_flow_in_a_cell, *MID_STREAM),
        further(in_a_flow_in_a_cell, *AFTER_THE_EIGHTH),
        further(in_a_script, *MID_STREAM),
        (in_a_script, *AFTER_THE_EIGHTH),
        further(headless, *MID_STREAM),
        (headless, *AFTER_THE_EIGHTH),
    ],
)
def test_what_was_answered_is_not_paid_again(
    run: Place, die: str, paid_again: int, llm: FakeLLM, tmp_path: Path
) -> None:
    source = AGENT.format(die=str(tmp_path / "die"), url=llm.openai_url, calls=CALLS)
    (tmp_path / "die").write_text(die)

    first = run(tmp_path, source)
    asked = llm.requests
    second = run(tmp_path, source)

    assert (first, second) == (False, True)
    assert asked == 8 + paid_again
    assert llm.requests == CALLS + paid_again, "four more, and the one that was cut"
    with closing(open_engine(resolve(), read_only=True)) as engine:
        rows = costs(engine.journal, by=By.EXECUTION)
    heard = [call.tokens for number, call in enumerate(llm.calls) if not (paid_again and number == 8)]
    assert sum(row.calls for row in rows) == CALLS
    assert sum(row.served for row in rows) == 8
    assert sum(row.input_tokens for row in rows) == sum(tokens.input for tokens in heard)
    assert sum(row.output_tokens for row in rows) == sum(tokens.output for tokens in heard)
    price = sum((tokens.input * 2.5 + tokens.output * 10) / 1e6 for tokens in heard)
    assert sum(row.cost or 0.0 for row in rows) == pytest.approx(price)
