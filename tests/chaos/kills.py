"""A process that is really killed, at any instant, again and again, until it comes to its end.

Run as a program it takes a folder, how many kills, and a bug to put in: ``python -m tests.chaos.kills
FOLDER COUNT [BUG]``. What was wrong is printed, a line each; the last line says how many were killed in
work. It only forks, so what an attempt imports was imported before and most instants are those of work.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.chaos import power, scenario
from tests.chaos.disk import python
from tests.chaos.seeded import seed

__all__ = ["violations"]


def violations(folder: Path, count: int, bug: str = "") -> tuple[int, list[str]]:
    """How many kills met a process at work, and what was wrong after them."""
    done = subprocess.run(
        python("tests.chaos.kills", str(folder), str(count), *([bug] if bug else [])),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    *wrong, last = done.stdout.splitlines()
    return int(last), wrong


def main(folder: Path, count: int) -> None:
    """Kill `count` processes at work, each as far as the one before had come."""
    (folder / "right").mkdir(parents=True)
    _forked(lambda: (folder / "right.json").write_text(json.dumps(scenario.expected(folder / "right"))))
    right = json.loads((folder / "right.json").read_text())
    home, acks = folder / "home", folder / "acks"
    begin = time.monotonic()
    _forked(lambda: scenario.main(home, acks))
    span = time.monotonic() - begin
    shutil.rmtree(home)
    chance, killed, reached = random.Random(), 0, 0
    while killed < count:
        acks.write_bytes(b"")
        worker = _fork(lambda: scenario.main(home, acks))
        time.sleep(chance.uniform(0, span))  # the instant is what is being varied, nothing waits for it
        os.kill(worker, signal.SIGKILL)
        status = os.waitpid(worker, 0)[1]
        before, reached = reached, max(reached, acks.stat().st_size)
        killed += os.WIFSIGNALED(status)
        if home.exists():
            shutil.copytree(home, folder / "copy")
        _forked(partial(_tell, folder / "copy", reached, right))
        shutil.rmtree(folder / "copy", ignore_errors=True)
        # After the last step an execution may have ended, and the next attempt would begin another one. A
        # third death in one step would hold that step, which is another promise.
        if os.WIFEXITED(status) or reached in (before, len(scenario.CELLS)):
            shutil.rmtree(home, ignore_errors=True)
            reached = 0
    print(killed)


def _tell(home: Path, acknowledged: int, right: list[dict[str, str]]) -> None:
    for text in power.check(home, acknowledged, right):
        print(text)


def _forked(work: Callable[[], object]) -> None:
    status = os.waitpid(_fork(work), 0)[1]
    if status:
        raise AssertionError(f"it ended with {status}")


def _fork(work: Callable[[], object]) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    try:
        work()
        sys.stdout.flush()
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - nothing may run on in the child
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        seed(sys.argv[3])
    main(Path(sys.argv[1]), int(sys.argv[2]))
