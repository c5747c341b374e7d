"""Fuzzed programs are run, killed, edited, and started again until they come to their end.

Run as a program it takes a folder, a first seed and how many: ``python -m tests.chaos.flow_runs FOLDER
SEED COUNT``. It only forks, so what an attempt imports was imported before.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.chaos.flow_programs import Program, program

MOST_ATTEMPTS = 30
LONGEST = 60.0
POINTS = ("before-commit", "inside-commit", "after-commit", "before-extent-write", "after-extent-write",
          "before-flush", "after-flush", "after-ask")


LLM: Any = None


class Wrong(Exception):
    """What a program did that it should not."""


class Case:
    """One program in a folder of its own."""

    def __init__(self, folder: Path, seed: int, *, real: bool = False, edits: bool = True, size: int = 8, cells: bool = False) -> None:
        self.folder, self.seed, self.real = folder, seed, real
        self.rng = random.Random(seed * 7 + 1)
        self.program: Program = program(seed, size=size, cells=cells)
        self.cells = cells
        self.path = folder / "my_flow.py"
        self.attempt = 0
        self.edits = edits
        self.around, self.edited = 0, ()
        self.ever_edited: set[str] = set()
        self.log: list[str] = []
        self.asked = {"plain": 0, "real": 0}

    def write(self) -> None:
        if self.cells:
            cells = self.program.notebook(around=self.around, edited=self.edited)
            (self.folder / "cells.json").write_text(json.dumps(cells))
            self.path.write_text("\n\n".join(cells))
        else:
            self.path.write_text(self.program.source(around=self.around, edited=self.edited))

    def environ(self, plain: bool) -> dict[str, str]:
        name = "plain" if plain else "real"
        found = {
            "KITARU_NB_HOME": str(self.folder / "home"),
            "FUZZ_TOLD": str(self.folder / f"{name}.told"),
            "FUZZ_END": str(self.folder / f"{name}.end"),
            "FUZZ_ATTEMPT": str(self.attempt),
            "FUZZ_LLM": LLM.openai_url,
            "KITARU_NB_NOTEBOOK": str(self.folder / "work.ipynb") if self.cells else "",
        }
        if plain:
            found["FUZZ_PLAIN"] = "1"
        return found

    def run(self, more: dict[str, str], *, plain: bool = False, kill_after: tuple[float, int] | None = None) -> int:
        """One attempt; its exit status as `subprocess` tells it."""
        environ = {**self.environ(plain), **more}
        before = LLM.requests
        out = self.folder / ("plain.out" if plain else f"out.{self.attempt}")
        if self.real and not plain:
            with out.open("w") as file:
                began = subprocess.Popen(
                    [sys.executable, "my_flow.py"], cwd=self.folder, stdout=file, stderr=file,
                    env={**os.environ, **environ, "PYTHONPATH": os.getcwd()}, start_new_session=True,
                )
            pid = began.pid
        else:
            pid = fork(self.path, out, environ, cells=self.cells)
        until = time.monotonic() + LONGEST
        kill_at = None if kill_after is None else time.monotonic() + kill_after[0]
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            now = time.monotonic()
            if kill_at is not None and now > kill_at:
                os.kill(pid, kill_after[1])
                kill_at = None
            if now > until:
                os.kill(pid, signal.SIGUSR1)
                time.sleep(0.5)
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise Wrong(f"it hangs: {out}\n" + out.read_text()[-3000:])
            time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(status)
        self.asked["plain" if plain else "real"] += LLM.requests - before
        if self.real and not plain:
            began.returncode = code
        return code

    def plain(self) -> Any:
        self.asked["plain"] = 0
        for name in ("plain.told", "plain.end"):
            (self.folder / name).unlink(missing_ok=True)
        for path in self.folder.glob("*.txt"):
            path.unlink()
        if self.run({}, plain=True):
            raise Wrong("plain: " + (self.folder / "plain.out").read_text()[-1500:])
        for path in self.folder.glob("*.txt"):
            path.unlink()
        return json.loads((self.folder / "plain.end").read_text())

    def told(self, name: str = "real") -> list[list[str]]:
        path = self.folder / f"{name}.told"
        return [line.split(" ", 2) for line in path.read_text().splitlines()] if path.exists() else []

    def attempts(self) -> bool:
        """Run until it ends; whether it can be compared."""
        rng = self.rng
        kills = rng.randint(1, 6)
        places = sum(kind in ("did", "begun", "ended") for _, kind, _ in self.told("plain")) * 2
        span = 1.0
        while True:
            self.attempt += 1
            if self.attempt > MOST_ATTEMPTS:
                raise Wrong("it never ends")
            more: dict[str, str] = {}
            after = None
            sig = rng.choice(["SIGKILL", "SIGKILL", "SIGTERM", "SIGINT"])
            if kills:
                kills -= 1
                how = rng.random()
                if how < 0.55:
                    more["FUZZ_DIE"] = f"{rng.randint(1, max(2, places))} {sig}"
                elif how < 0.8:
                    more["KITARU_NB_CRASH_AT"] = f"{rng.choice(POINTS)}:{rng.randint(1, 20)}"
                else:
                    after = rng.uniform(0.02, span), getattr(signal, sig)
                if self.edits and self.attempt > 1 and rng.random() < 0.3:
                    self.around = rng.randint(1, 1000)
                if self.edits and self.attempt > 1 and rng.random() < 0.15:
                    self.edited = (rng.choice([*self.program.functions, "K"]),)
                    self.ever_edited |= set(self.edited)
            self.write()
            began = time.monotonic()
            code = self.run(more, kill_after=after)
            if after is None:
                span = min(span, time.monotonic() - began) or span
            self.log.append(f"{self.attempt}: {more or after} -> {code} around={self.around} edited={self.edited}")
            if code == 0:
                return True
            if any(kind == "completed" and int(n) == self.attempt for n, kind, _ in self.told()):
                return False
            if code == 75:
                self.answer()
            elif code not in (-9, -15, -2, 130):
                raise Wrong(f"exit {code}: " + (self.folder / f"out.{self.attempt}").read_text()[-3000:])
            elif self.main_completed():
                return False

    def answer(self) -> None:
        forked(lambda: _answer(self.folder / "home"))

    def main_completed(self) -> bool:
        return forked(lambda: _main_completed(self.folder / "home")) == 3

    def check(self, right: Any) -> None:
        """Raise what is wrong."""
        ended = json.loads((self.folder / "real.end").read_text())
        if ended != right:
            raise Wrong("another end:\n" + "\n".join(differences(right, ended)))
        told = self.told()
        did = Counter(label for _, kind, label in told if kind == "did")
        wanted = Counter(label for _, kind, label in self.told("plain") if kind == "did")
        under_way: Counter[str] = Counter()
        for number in range(1, self.attempt):
            open_: Counter[str] = Counter()
            done_here: Counter[str] = Counter()
            for n, kind, label in told:
                if int(n) == number:
                    name, _, many = label.partition("*")
                    if kind == "did":
                        done_here[label] += 1
                    elif kind in ("begun", "ended"):
                        open_[name] += int(many or 1) * (1 if kind == "begun" else -1)
            for label, count in open_.items():
                under_way[label] += min(count, done_here[label])
        for label in wanted:
            if did[label] < wanted[label]:
                raise Wrong(f"{label} was done {did[label]} times, not {wanted[label]}")
            if not self.ever_edited and did[label] > wanted[label] + under_way[label]:
                raise Wrong(
                    f"{label} was done {did[label]} times: {wanted[label]} and {under_way[label]} under way"
                )
        if not self.ever_edited and did.keys() - wanted.keys():
            raise Wrong(f"done and not to be: {did.keys() - wanted.keys()}")
        if self.asked["real"] - self.asked["plain"] not in range(under_way_of_llm(told, self.attempt) + 1) and not self.ever_edited:
            raise Wrong(f"asked {self.asked}, under way {under_way_of_llm(told, self.attempt)}")
        keys = {label for _, kind, label in told if kind == "key"}
        if len(keys) > 1:
            raise Wrong(f"keys {keys}")
        if not self.cells:
            self.shown()

    def shown(self) -> None:
        out = self.folder / "shown"
        if forked(lambda: _shown(self.folder / "home", out)):
            raise Wrong("show fails")
        for execution in json.loads(out.read_text()):
            if execution["flow"] == "my_flow:main":
                if execution["status"] != "completed":
                    raise Wrong(f"show: {execution['status']}")
                if execution["attempts"] != self.attempt and not self.early():
                    raise Wrong(f"show: {execution['attempts']} attempts of {self.attempt}")
        mains = [e for e in json.loads(out.read_text()) if e["flow"] == "my_flow:main"]
        if len(mains) != 1:
            raise Wrong(f"{len(mains)} executions of main")

    def early(self) -> bool:
        return True


def under_way_of_llm(told: list[list[str]], attempts: int) -> int:
    total = 0
    for number in range(1, attempts):
        kinds = [kind for n, kind, label in told if int(n) == number and label == "llm"]
        total += kinds.count("begun") - kinds.count("ended")
    return total


def differences(right: Any, found: Any, at: str = "") -> list[str]:
    if right == found:
        return []
    if isinstance(right, list) and isinstance(found, list) and len(right) == len(found):
        return [
            line
            for n, (a, b) in enumerate(zip(right, found, strict=True))
            for line in differences(a, b, f"{at}/{n}" if not (isinstance(a, list) and a and isinstance(a[0], str)) else f"{at}/{n}:{a[0][:12]}")
        ][:8]
    return [f"at {at}: right {str(right)[:300]}\n    found {str(found)[:300]}"]


def fork(path: Path, out: Path, environ: dict[str, str], *, cells: bool = False) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)
    os.environ.update(environ)
    os.chdir(path.parent)
    sys.path[0:0] = [str(path.parent)]
    sys.argv = [str(path)]
    import itertools

    import tests.chaos.flow_told as told

    told._places = itertools.count(1)
    told._pid = os.getpid()
    main = ModuleType("__main__")
    main.__file__ = str(path)
    sys.modules["__main__"] = main
    code = 0
    try:
        if cells:
            run_cells(json.loads((path.parent / "cells.json").read_text()))
        else:
            exec(compile(path.read_text(), str(path), "exec"), main.__dict__)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 130
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        threading._shutdown()
        import atexit

        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
        code = 1 if code == 0 else code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run_cells(cells: list[str]) -> None:
    if os.environ.get("FUZZ_PLAIN"):
        main = sys.modules["__main__"]
        for cell in cells:
            exec(cell.replace("%%checkpoint\n", ""), main.__dict__)
        return
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    sys.modules["__main__"] = shell.user_module
    shell.run_line_magic("load_ext", "kitaru_nb")
    for number, cell in enumerate(cells):
        ran = shell.run_cell(cell, store_history=True, cell_id=f"c{number}")
        error = ran.error_before_exec or ran.error_in_exec
        if error is not None:
            raise error
    from IPython import get_ipython  # noqa: F401


def forked(work: Any) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        try:
            os._exit(work() or 0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _engine(home: Path) -> Any:
    os.environ["KITARU_NB_HOME"] = str(home)
    from kitaru_nb.stacks.open import open_engine
    from kitaru_nb.stacks.settings import resolve

    return open_engine(resolve())


def _answer(home: Path) -> int:
    from kitaru_nb.cli.main import main  # noqa: F401
    from kitaru_nb.model.wait import WaitStatus
    from tests.chaos.flow_plain import answer

    engine = _engine(home)
    for execution in engine.journal.executions():
        for wait in engine.journal.waits(execution.id):
            if wait.status is WaitStatus.PENDING:
                engine.journal.answer_wait(wait.address, answer(wait.name), by="fuzz", source="cli")
    engine.close()
    return 0


def _main_completed(home: Path) -> int:
    if not home.exists():
        return 0
    engine = _engine(home)
    from kitaru_nb.engine.describe import execution_json

    found = [execution_json(each) for each in engine.journal.executions()]
    return 3 if any(e["flow"] == "my_flow:main" and e["status"] == "completed" for e in found) else 0


def _shown(home: Path, out: Path) -> int:
    from kitaru_nb.engine.describe import show_json

    engine = _engine(home)
    out.write_text(json.dumps([show_json(engine.journal, e) for e in engine.journal.executions()]))
    return 0


def run_case(folder: Path, seed: int, **options: Any) -> tuple[str, Case]:
    case = Case(folder, seed, **options)
    folder.mkdir(parents=True)
    case.write()
    try:
        case.plain()
    except Wrong as wrong:
        return f"plain {wrong}", case
    try:
        if not case.attempts():
            return "over", case
        right = case.plain()
        case.check(right)
    except Wrong as wrong:
        return f"WRONG {wrong}", case
    return "ok", case


def warm() -> None:
    import numpy, pandas, httpx  # noqa: F401, E401
    import kitaru_nb
    for name in ("flow", "checkpoint", "wait", "once", "channel", "steps", "load"):
        getattr(kitaru_nb, name)
    import tests.chaos.flow_plain, tests.chaos.flow_told  # noqa: F401, E401
    import kitaru_nb.stacks.open, kitaru_nb.journal.sqlite_journal, kitaru_nb.cli.main  # noqa: F401, E401
    import kitaru_nb.engine.checkpoint as checkpoint
    checkpoint._pause = lambda *a: 0.01


def main() -> None:
    folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    flags = set(sys.argv[4:])
    warm()
    global LLM
    from kitaru_nb.testing import fake_llm
    import zlib
    LLM = fake_llm(answers=lambda call: f"a{zlib.crc32(json.dumps(call.body['messages']).encode()) % 1000}").__enter__()
    tally: Counter[str] = Counter()
    for seed in range(first, first + count):
        place = folder / str(seed)
        shutil.rmtree(place, ignore_errors=True)
        result, case = run_case(place, seed, real="real" in flags, edits="noedits" not in flags, size=24 if "big" in flags else 8, cells="cells" in flags)
        tally[result.split()[0]] += 1
        if result.startswith("WRONG"):
            print(f"--- {seed}: {result}\n" + "\n".join(case.log), flush=True)
        else:
            if result.startswith("plain") and "v" in flags:
                print(seed, result)
            shutil.rmtree(place, ignore_errors=True)
    print(dict(tally))


if __name__ == "__main__":
    main()
