"""Programs of flows are run, killed, edited, and started again until they come to their end.

Run as a program it takes a folder, the first seed and how many: ``python -m tests.chaos.flow_runs FOLDER
SEED COUNT [cells] [big]``; with `cells` what the main flow does is in cells of a notebook. What was
wrong is printed, and its folder stays; the last line says how many could be told of.
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
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kitaru_nb.testing import FakeLLM, fake_llm
from tests.chaos.disk import python
from tests.chaos.flow_process import INTERRUPTED, answer_waits, begin, executions, warm
from tests.chaos.flow_programs import program

__all__ = ["violations"]

_MOST_ATTEMPTS = 30
_LONGEST = 100.0
_POINTS = (
    *("before-commit", "inside-commit", "after-commit", "before-extent-write", "after-extent-write"),
    *("before-flush", "after-flush", "after-ask"),
)
_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_WAITS = 75
_STOPPED = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, INTERRUPTED)


class WrongError(Exception):
    """What a program did that it should not."""


def violations(folder: Path, seed: int, count: int, *options: str) -> tuple[int, str]:
    """Of how many programs the end could be told, and what was wrong."""
    words = (str(folder), str(seed), str(count), *options)
    done = subprocess.run(
        python("tests.chaos.flow_runs", *words), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    *wrong, last = done.stdout.splitlines()
    return int(last), "\n".join(wrong)


class Case:
    """One program, in a folder of its own."""

    def __init__(self, folder: Path, seed: int, llm: FakeLLM, *, cells: bool, size: int) -> None:
        self.folder, self.cells, self.llm = folder, cells, llm
        self.chance = random.Random(seed * 7 + 1)
        self.program = program(seed, size=size, cells=cells)
        self.attempt = 0
        self.around = 0
        self.edited: tuple[str, ...] = ()
        self.remade = False  # after an edit of what is recorded, it is made again
        self.asked = Counter[str]()
        self.log: list[str] = []

    # Attempts

    def run(self, *, plain: bool = False, after: float | None = None, by: int = 0, **more: str) -> int:
        """One attempt, killed after so many seconds; how it exits."""
        kind = "plain" if plain else "real"
        environ = {
            "KITARU_NB_HOME": str(self.folder / "home"),
            "KITARU_NB_NOTEBOOK": str(self.folder / "work.ipynb") if self.cells else "",
            "FUZZ_TOLD": str(self.folder / f"{kind}.told"),
            "FUZZ_END": str(self.folder / f"{kind}.end"),
            "FUZZ_ATTEMPT": str(self.attempt),
            "FUZZ_LLM": self.llm.openai_url,
            **({"FUZZ_PLAIN": "1"} if plain else {}),
            **more,
        }
        changed = {"around": self.around, "edited": self.edited}
        cells = self.program.notebook(**changed) if self.cells else []
        path = self.folder / "my_flow.py"
        path.write_text("\n".join(cells) if cells else self.program.source(**changed), encoding="utf-8")
        before = self.llm.requests
        pid = begin(path, self.out(plain=plain), environ, cells)
        code = os.waitstatus_to_exitcode(self._waited(pid, after, by))
        self.asked[kind] += self.llm.requests - before
        return code

    def _waited(self, pid: int, after: float | None, by: int) -> int:
        began = time.monotonic()
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)  # its workers
                return status
            if after is not None and time.monotonic() - began > after:
                os.kill(pid, by)
                after = None
            if time.monotonic() - began > _LONGEST:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise WrongError("it hangs")
            time.sleep(0.005)

    def out(self, *, plain: bool = False) -> Path:
        """Where the newest attempt has written what it printed."""
        return self.folder / ("plain.out" if plain else f"{self.attempt}.out")

    def plain(self) -> Any:
        """What it ends with where nothing is recorded."""
        (self.folder / "plain.told").unlink(missing_ok=True)
        self.asked["plain"] = 0
        self._remove_files()
        if self.run(plain=True):
            raise AssertionError(self.out(plain=True).read_text(encoding="utf-8"))
        self._remove_files()
        return json.loads((self.folder / "plain.end").read_text(encoding="utf-8"))

    def _remove_files(self) -> None:
        for path in self.folder.glob("*.txt"):
            path.unlink()

    def told(self, kind: str = "real") -> list[tuple[int, str, str]]:
        """What attempts have told: which one, what, of what."""
        path = self.folder / f"{kind}.told"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [(int(number), what, of) for number, what, of in (line.split(" ", 2) for line in lines)]

    def attempts(self) -> bool:
        """Make attempts until one comes to its end; whether that can be compared."""
        kills = self.chance.randint(1, 6)
        places = 2 * sum(what in ("did", "begun", "ended") for _, what, _ in self.told("plain"))
        span = 1.0
        while self.attempt < _MOST_ATTEMPTS:
            self.attempt += 1
            options: dict[str, Any] = {}
            if kills:
                kills -= 1
                options = self._killing(places, span)
                self._edit()
            began = time.monotonic()
            code = self.run(**options)
            span = min(span, time.monotonic() - began) if "after" not in options else span
            self.log.append(f"{self.attempt}: {options} -> {code}, {self.around=}, {self.edited=}")
            if code == 0:
                return True
            if any(what == "completed" and number == self.attempt for number, what, _ in self.told()):
                return False
            if code == _WAITS:
                answer_waits(self.folder / "home")
            elif code not in _STOPPED:
                raise WrongError(f"it exits with {code}\n{self.out().read_text(encoding='utf-8')[-3000:]}")
            elif any(e["flow"] == "my_flow:main" and e["status"] == "completed" for e in self.shown()):
                return False  # and what is started next is another execution
        raise WrongError("it never ends")

    def _killing(self, places: int, span: float) -> dict[str, Any]:
        chance, how = self.chance, self.chance.random()
        by = chance.choice(_SIGNALS)
        if how < 0.55:
            return {"FUZZ_DIE": f"{chance.randint(1, max(2, places))} {by.name}"}
        if how < 0.8:
            return {"KITARU_NB_CRASH_AT": f"{chance.choice(_POINTS)}:{chance.randint(1, 20)}"}
        return {"after": chance.uniform(0.02, span), "by": by}

    def _edit(self) -> None:
        if self.attempt > 1 and self.chance.random() < 0.3:
            self.around = self.chance.randint(1, 1000)
        if self.attempt > 1 and self.chance.random() < 0.15:
            self.edited, self.remade = (self.chance.choice([*self.program.functions, "K"]),), True

    # What is wrong

    def check(self, right: Any) -> None:
        """Raise what is wrong after the end."""
        ended = json.loads((self.folder / "real.end").read_text(encoding="utf-8"))
        if ended != right:
            raise WrongError("another end:\n" + "\n".join(_differences(right, ended)))
        did, wanted = self._did("real"), self._did("plain")
        under_way, questions = self._under_way()
        for label in did.keys() | wanted.keys():
            most = wanted[label] + under_way[label]
            if did[label] < wanted[label] or (did[label] > most and not self.remade):
                raise WrongError(
                    f"`{label}` was done {did[label]} times: right are {wanted[label]} to {most}"
                )
        more = self.asked["real"] - self.asked["plain"]
        if more < 0 or (more > questions and not self.remade):
            raise WrongError(f"the model was asked {more} times more, {questions} of them under way")
        keys = {label for _, what, label in self.told() if what == "key"}
        if len(keys) > 1:
            raise WrongError(f"keys that differ: {keys}")
        if not self.cells:
            self._check_shown()

    def _did(self, kind: str) -> Counter[str]:
        return Counter(label for _, what, label in self.told(kind) if what == "did")

    def _under_way(self) -> tuple[Counter[str], int]:
        """How often each effect may have been under way at a kill, and how many questions to the model."""
        found, questions = Counter[str](), 0
        for attempt in range(1, self.attempt):
            begun, did = Counter[str](), Counter[str]()
            for number, what, label in self.told():
                name, _, many = label.partition("*")
                if number != attempt:
                    continue
                if what == "did":
                    did[label] += 1
                elif what in ("begun", "ended"):
                    begun[name] += int(many or 1) * (1 if what == "begun" else -1)
            questions += begun["llm"]
            found.update({label: min(count, did[label]) for label, count in begun.items()})
        return found, questions

    def shown(self) -> list[dict[str, Any]]:
        """What the command says of the executions."""
        return executions(self.folder / "home")

    def _check_shown(self) -> None:
        shown = self.shown()
        mains = [each for each in shown if each["flow"] == "my_flow:main"]
        if [each["status"] for each in mains] != ["completed"]:
            raise WrongError(f"executions of the flow: {[each['status'] for each in mains]}")
        ended = {step["status"] for step in mains[0]["checkpoints"]}
        if ended - {"completed", "restored", "failed"}:
            raise WrongError(f"steps that are {ended}")


def _differences(right: Any, found: Any, at: str = "") -> list[str]:
    if right == found:
        return []
    if isinstance(right, list) and isinstance(found, list) and len(right) == len(found):
        parts = enumerate(zip(right, found, strict=True))
        return [line for n, (a, b) in parts for line in _differences(a, b, f"{at}/{n}")][:8]
    return [f"at {at}: right {str(right)[:300]}\n    found {str(found)[:300]}"]


def main(folder: Path, first: int, count: int, options: Sequence[str]) -> None:
    """Try so many programs."""
    warm()
    told = 0
    # Equal questions have equal answers, so that a run is the same each time.
    with fake_llm(
        answers=lambda call: f"a{zlib.crc32(json.dumps(call.body['messages']).encode()) % 1000}"
    ) as llm:
        for seed in range(first, first + count):
            place = folder / str(seed)
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            case = Case(place, seed, llm, cells="cells" in options, size=24 if "big" in options else 8)
            case.plain()
            try:
                if case.attempts():
                    case.check(case.plain())
                    told += 1
            except WrongError as wrong:
                print(f"seed {seed}: {wrong}", *case.log, sep="\n", flush=True)
            else:
                shutil.rmtree(place)
    print(told)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
