"""Outputs of a cell that runs long, read from elsewhere while it runs and after its kernel died."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.integration.headless import finished, start
from tests.integration.kernel import Kernel
from tests.patience import until

# It shows something, waits until a test says so, and shows more. Only the name of `MY_API_KEY` says
# that it is a secret.
TRAINING = """%%checkpoint train
import pathlib, sys, time
MY_API_KEY = "q8Zr4Tn1" + "Lw7Xs2Vb9"
print("epoch 1", MY_API_KEY)
print("careful", file=sys.stderr)
while not pathlib.Path("go").exists():
    time.sleep(0.02)
print("epoch 2")
"shown"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def kernel(home: Path, tmp_path: Path) -> Kernel:
    notebook = tmp_path / "n.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), notebook)
    return Kernel(home, notebook=notebook, cwd=tmp_path)


def logs(home: Path, *options: str, begun: bool = True) -> str:
    """What the command prints: nothing, until the execution has `begun`."""
    return subprocess.run(
        [sys.executable, "-m", "kitaru_nb", "logs", *options],
        env={**os.environ, "KITARU_NB_HOME": str(home)},
        capture_output=True,
        text=True,
        check=begun,
    ).stdout


def until_shown(home: Path, *texts: str) -> str:
    """The log, once it holds all of `texts`."""

    def look() -> str:
        told = logs(home, begun=False)
        return told if all(text in told for text in texts) else ""

    return until(look, " and ".join(texts))


def test_what_a_cell_shows_is_in_the_log_while_it_runs_and_there_once(
    kernel: Kernel, home: Path, tmp_path: Path
) -> None:
    with kernel:
        request = kernel.send(TRAINING, cell="a")
        running = until_shown(home, "epoch 1", "careful")
        following = start(["-m", "kitaru_nb", "logs", "-f"], tmp_path, {"KITARU_NB_HOME": str(home)})
        (tmp_path / "go").touch()
        ran = kernel.wait(request)
    followed = finished(following).stdout
    after = logs(home)
    lines = json.loads(logs(home, "--json"))

    assert "epoch 2" not in running
    assert ran.ok
    for told in (followed, after):
        assert [told.count(text) for text in ("epoch 1", "careful", "epoch 2", "'shown'")] == [1, 1, 1, 1]
    assert [line["kind"] for line in lines if line["stream"] == "stderr"] == ["shown"]
    assert not any(piece in followed + after for piece in ("q8Zr4Tn1", "Lw7Xs2Vb9"))


def test_what_a_killed_kernels_cell_had_shown_is_still_there(kernel: Kernel, home: Path) -> None:
    kernel.send(TRAINING, cell="a")
    until_shown(home, "epoch 1")

    kernel.kill()

    assert logs(home).count("epoch 1") == 1


def test_a_quick_cell_leaves_its_own_record_only(kernel: Kernel, home: Path, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    with kernel:
        assert kernel.run(TRAINING, cell="a").ok
        restored = kernel.run(TRAINING, cell="a")

    kinds = {line["kind"] for line in json.loads(logs(home, "--json"))}
    assert restored.stdout.startswith("epoch 1")
    assert "shown" not in kinds
