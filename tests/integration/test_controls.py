"""`--timeout`, `--retries` and the stop button in a real kernel."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.kernel import Kernel


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path


def start(place: Path) -> Kernel:
    return Kernel(place / "home", notebook=place / "work" / "nb.ipynb", cwd=place / "work")


@pytest.fixture
def kernel(place: Path) -> Iterator[Kernel]:
    with start(place) as kernel:
        yield kernel


@pytest.mark.parametrize("wait", ["time.sleep(60)", "await asyncio.sleep(60)", "while True: pass"])
def test_a_deadline_stops_a_cell_and_its_next_run_starts_from_before(kernel: Kernel, wait: str) -> None:
    kernel.run("import asyncio, time\nrows = [1]")

    late = kernel.run(f"%%checkpoint a --timeout 1s\nrows.append(2)\n{wait}", cell="a")
    left = kernel.run("rows").result
    again = kernel.run("%%checkpoint a --timeout 10m\nrows.append(3)\nrows", cell="a")

    assert (late.status, late.ename) == ("error", "TimedOutError")
    assert "`a` ran longer than 1 s" in late.evalue
    assert left == "[1, 2]"
    assert again.result == "[1, 3]"


def test_a_cell_is_tried_again_from_the_state_before_and_only_the_last_try_is_recorded(place: Path) -> None:
    cell = (
        "%%checkpoint a --retries 2\n"
        "with open('tries', 'a') as file:\n    file.write('x')\n"
        "with open('tries') as file:\n    n = len(file.read())\n"
        "del file\n"
        "rows.append(n)\nprint('try', n)\n"
        "if n < 2:\n    raise ValueError('not yet')\n"
        "rows"
    )
    with start(place) as first:
        first.run("rows = []")
        ran = first.run(cell, cell="a")
    with start(place) as second:
        second.run("rows = []")
        (place / "work" / "tries").unlink()
        restored = second.run(cell, cell="a")

    assert (ran.status, ran.result) == ("ok", "[2]")
    assert ran.stdout == "try 1\ntry 2\n"
    assert "restored" in restored.said
    assert (restored.result, restored.stdout) == ("[2]", "try 2\n")


def test_what_a_magic_keeps_to_itself_is_a_failure_all_the_same(kernel: Kernel) -> None:
    kernel.run("rows = []")

    failed = kernel.run("%%checkpoint a\n%%capture out\nrows.append(1)\n1 / 0", cell="a")
    again = kernel.run("%%checkpoint a\n%%capture out\nrows.append(1)", cell="a")

    assert (failed.status, failed.ename) == ("error", "ZeroDivisionError")
    assert "saved" in again.said
    assert kernel.run("rows").result == "[1]"


def test_the_stop_button_at_any_instant_leaves_a_commit_or_none(kernel: Kernel) -> None:
    """Interrupts from before a cell is planned to after it is saved; its next run is right each time."""
    chance = random.Random(7)
    kernel.run("import random, numpy as np\nbig = np.zeros(1_000_000)\nrows = [0]")
    kernel.run("%%checkpoint warm\nw = 1", cell="warm")
    body = "rows.append({n})\nfor _ in range(20):\n    sum(range(20_000))\nbig[{n}] = {n}\nlast = {n}"
    for n in range(1, 31):
        cell = "%%checkpoint step\n" + body.format(n=n)
        request = kernel.send(cell, cell="s")
        kernel.wait_for_input(request)  # before that the kernel itself loses the reply
        time.sleep(chance.random() * 0.06)  # the instant is the point of the test; any is right
        os.kill(kernel.pid, signal.SIGINT)
        stopped = kernel.wait(request)
        done = stopped if stopped.ok else kernel.run(cell, cell="s")

        assert done.ok, (n, stopped, done)
        state = kernel.run(f"rows == list(range({n} + 1)), last, int(big.sum())").result
        assert state == f"(True, {n}, {n * (n + 1) // 2})", (n, stopped, done)
    assert kernel.run("%rewind step").ok
    assert kernel.run("len(rows), last").result == "(31, 30)"


def test_a_kernel_whose_warnings_are_errors_ends_when_it_is_told_to(place: Path) -> None:
    with start(place) as kernel:
        kernel.run("%%checkpoint strict\nimport warnings\nwarnings.simplefilter('error')", cell="strict")
        process = kernel.manager.provisioner.process
    assert process.returncode == 0
