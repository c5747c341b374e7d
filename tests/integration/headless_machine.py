"""A notebook that runs headless, is killed, edited, gone on with and replayed, beside a plain kernel.

After each attempt that shows something, the notebook that it left is run once more by papermill alone, in
a folder of its own: what cells showed, what names hold and what is in the files has to be the same.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.integration.forked import Forks
from tests.integration.headless_cells import BEGIN, END, HELPER, SIDE, WAIT, answer_of, plainly
from tests.integration.headless_plain import (
    Cell,
    Plain,
    Shown,
    id_of,
    read,
    text_of,
    with_first,
    without_numbers,
    write,
)

__all__ = ["Headless"]

_STATUS = re.compile(r"kitaru: (\w+) execution=(ex_\w+)(?: wait=(\S+))?(?: checkpoint=(\S+))?$")
_CODES = {
    0: "completed",
    1: "failed",
    75: "waiting",
    138: "interrupted",
    130: "interrupted",
    143: "interrupted",
}


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str
    ticks: list[str] = field(default_factory=list)
    status: str = ""
    execution: str = ""
    wait: str = ""
    checkpoint: str = ""


class Headless:
    """The notebook, its runs and what is expected of them.

    Args:
        forks: Starts the commands.
        base: A folder for all of it.
        seed: What chance is made of.
        timed: Whether commands and kernels are also killed after some time, wherever they are then, and
            not only where a cell begins or ends. What such a run meets is not the same each time.
    """

    def __init__(self, forks: Forks, base: Path, seed: int, *, timed: bool) -> None:
        self.forks = forks
        self.timed = timed
        self.chance = random.Random(seed)
        self.base = base
        self.folder, self.outside = base / "nb", base / "outside"
        for each in (self.folder, self.outside, base / "logs"):
            each.mkdir(parents=True)
        (self.folder / "side.py").write_text(SIDE.format(folder=str(self.outside)[::-1]))
        self.world = base / "world"
        self.plain = Plain(base, self.world, self._papermill)
        (self.world / "more").mkdir(parents=True)
        self._change_world(helper=HELPER, **{"data.txt": "1\n", "data.csv": "a,b\n1,2\n", "more/a.txt": "a"})
        self.env = {
            "KITARU_NB_HOME": str(base / "home"),
            "KITARU_NB_CONFIG": str(base / "config"),
            "KT_E": "e",
        }
        self.said: list[str] = []
        self.commands = 0
        self.number = 10
        self.counts: dict[str, int] = {}
        self.clean: list[Cell] | None = (
            None  # the cells as they were when the last attempt of the open execution ran
        )
        self.parameters: dict[str, Any] = {}
        self.execution: dict[str, Any] = {}
        self.began_with: dict[str, Any] = {}
        self.recorded: dict[str, Any] = {}
        self.settled = True  # nothing outside has changed since a run came to its end
        self.committed: set[tuple[str, str]] = set()
        self.ran_with: dict[str, str] = {}
        self.cells = [
            Cell("first", BEGIN.strip()),
            Cell("params", "p = 1\nt = 'a'", ("parameters",)),
            Cell("last", END),
        ]
        for _ in range(self.pick(range(3, 9))):
            self._insert(len(self.cells) - 1)

    # -- chance and records ------------------------------------------------------------

    def pick(self, among: Sequence[Any]) -> Any:
        return self.chance.choice(list(among))

    def _kill_of(self, *among: str) -> str:
        return self.pick(among) if self.timed else ""

    def say(self, *words: object) -> None:
        self.said.append(" ".join(map(str, words)))

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def _change_world(self, **content: str) -> None:
        """Change what is beside the notebook."""
        for name, text in content.items():
            path = "helper.py" if name == "helper" else name
            for folder in (self.world, self.folder):
                (folder / path).parent.mkdir(exist_ok=True)
                (folder / path).write_text(text)

    def change(self) -> None:
        """Something outside of the notebook changes: a file, a module, the environment."""
        what = self.pick(["data.txt", "data.csv", "helper", "KT_E", "more"])
        self.number += 1
        if what == "KT_E":
            self.env["KT_E"] = f"e{self.number}"
        elif what == "helper":
            self._change_world(helper=HELPER.replace("SCALE = 1", f"SCALE = {self.number}"))
        elif what == "more":
            self._change_world(**{f"more/{self.pick('abc')}.txt": f"{self.number}"})
        else:
            self._change_world(
                **{what: f"{self.number}\n" if what == "data.txt" else f"a,b\n{self.number},2\n"}
            )
        self.clean, self.settled = None, False
        self.say("changed", what, self.number)

    # -- edits -------------------------------------------------------------------------

    def _call(self, name: str, **words: Any) -> Any:
        done = self._command(["call", name, json.dumps(words)])
        assert done.code == 0, f"{name}: {done.err}"
        return json.loads((self.base / "logs" / f"{self.commands}.json").read_text())

    def _as_told(self, cells: Sequence[Cell]) -> list[dict[str, Any]]:
        return [{"id": each.id, "source": each.source} for each in cells]

    def _insert(self, place: int) -> None:
        self.number += 1
        found = self._call(
            "evaluate",
            world=str(self.world),
            cells=self._as_told(self.cells[:place]),
            insert=place,
            seed=self.chance.randrange(1 << 30),
            number=self.number,
        )
        cell = Cell(f"c{self.number}", found["made"], self._tags(found["raised"][place]))
        self.cells.insert(place, cell)
        self.say("inserted", place, cell)

    def _tags(self, raised: str | None) -> tuple[str, ...]:
        if raised is not None and self.pick([0, 1, 1]):
            return ("raises-exception",)
        return ("no-checkpoint",) if self.pick([0] * 15 + [1]) else ()

    def _replace(self, place: int) -> None:
        self.number += 1
        own_file = f"f_{self.cells[place].id}" in self.cells[place].source
        found = self._call(
            "evaluate",
            world=str(self.world),
            cells=self._as_told(self.cells[: place + 1]),
            replace=place,
            seed=self.chance.randrange(1 << 30),
            number=self.number,
            only="files" if own_file else None,
        )
        self.cells[place] = Cell(self.cells[place].id, found["made"], self._tags(found["raised"][place]))
        self.say("replaced", place, self.cells[place])

    def edit(self) -> None:
        """Something about the notebook changes."""
        places = range(2, len(self.cells) - 1)
        what = self.pick(["replace", "number", "insert", "delete", "comment", "swap"])
        if what == "insert":
            self._insert(self.pick([*places, len(self.cells) - 1]))
            return
        if not places:
            return
        place = self.pick(places)
        cell = self.cells[place]
        if what == "replace":
            self._replace(place)
        elif what == "number":
            found = list(re.finditer(r"\b\d\b", cell.source))
            if found:
                number = self.pick(found)
                source = f"{cell.source[: number.start()]}{self.pick(range(4))}{cell.source[number.end() :]}"
                self.cells[place] = replace(cell, source=source)
                self.say("number", place, self.cells[place])
        elif what == "delete" and not _writes(cell):
            del self.cells[place]
            self.say("deleted", cell.id)
        elif what == "comment" and not cell.source.startswith("%"):
            self.cells[place] = replace(cell, source=f"# {self.number}\n{cell.source}\n")
            self.say("comment", cell.id)
        elif (
            what == "swap"
            and place + 1 < len(self.cells) - 1
            and not _writes(cell)
            and not _writes(self.cells[place + 1])
        ):
            self.cells[place : place + 2] = [self.cells[place + 1], cell]
            self.say("swapped", place)

    def mend(self) -> None:
        """The first cell that would fail is another one, or may raise, or goes."""
        for _ in range(30):
            place = self.first_failing()
            if place is None:
                return
            cell = self.cells[place]
            way = self.pick(["replace", "tag", "delete"])
            if way == "tag":
                self.cells[place] = replace(cell, tags=("raises-exception",))
                self.say("tagged", cell.id)
            elif way == "delete" and not _writes(cell) and cell.id not in ("first", "params"):
                del self.cells[place]
                self.say("deleted", cell.id)
            else:
                self._replace(place)

    def whole(self) -> list[Cell]:
        """The cells with the one in which parameters are set."""
        cells = list(self.cells)
        if self.parameters:
            lines = ["# Parameters", *(f"{name} = {value!r}" for name, value in self.parameters.items()), ""]
            place = next(n for n, each in enumerate(cells) if each.id == "params")
            cells.insert(place + 1, Cell("injected-parameters", "\n".join(lines)))
        return cells

    def first_failing(self) -> int | None:
        """The place of the first cell at which a run should fail."""
        cells = self.whole()
        raised = self._call("evaluate", world=str(self.world), cells=self._as_told(cells))["raised"]
        for cell, error in zip(cells, raised, strict=True):
            if error is not None and "raises-exception" not in cell.tags:
                return self.cells.index(cell)
        return None

    # -- commands ----------------------------------------------------------------------

    def _command(
        self, words: Sequence[str], *, kill: str = "", after: float = 0.0, folder: Path | None = None
    ) -> Ended:
        self.commands += 1
        log = self.base / "logs" / f"{self.commands}"
        before = len(self.ticks())
        running = self.forks.start(words, folder=folder or self.folder, env=self.env, out=log)
        timer = None
        if kill:
            victim = running.kernel if kill == "kernel" else running.pid
            number = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}.get(kill, signal.SIGKILL)
            timer = threading.Timer(after, lambda: _kill(victim, number))
            timer.start()
        code = running.wait()
        if timer is not None:
            timer.cancel()
            timer.join()
        out, err = (log.with_suffix(f".{ending}").read_text() for ending in ("out", "err"))
        done = Ended(code, out, err, self.ticks()[before:])
        lines = [line for line in err.strip().splitlines() if line.strip()]
        found = _STATUS.match(lines[-1]) if lines else None
        if found:
            done.status, done.execution, done.wait, done.checkpoint = (each or "" for each in found.groups())
        return done

    def _papermill(self, words: Sequence[str], folder: Path) -> tuple[int, str]:
        done = self._command(["papermill", *words], folder=folder)
        return done.code, done.err

    def ticks(self) -> list[str]:
        file = self.outside / "ticks"
        return file.read_text().split() if file.exists() else []

    def save(self) -> None:
        write(self.cells, self.folder / "work.ipynb")

    # -- runs --------------------------------------------------------------------------

    def run(self, *, more: Sequence[str] = (), disturb: bool = True) -> Ended:
        """One attempt, as the notebook is now; checks what it did."""
        self.save()
        before = self._call("recorded")
        plan = self._plan() if disturb else ""
        kill = (
            self._kill_of("", "", "", "kernel", "worker", "SIGTERM", "SIGINT") if disturb and not plan else ""
        )
        after = self.chance.uniform(0.2, 1.6)
        words = self._words(more, before)
        expected = self.first_failing()
        done = self._command(words, kill=kill, after=after)
        for each in [*self.outside.glob("die-*"), *self.outside.glob("fail-*")]:
            each.unlink()
        self._say_command(words, f"{plan} {kill} {after:.2f}", done)
        self.count(f"exit {done.code}")
        if "` is held: the kernel died" in done.err:
            self._let_go()
            return done
        if "keep" in more and done.code in (0, 1, 75):
            self._as_kept()
            expected = self.first_failing()
        self._check_end(done, kill, plan, expected, papermill=words[0] == "papermill")
        if done.status == "completed":
            done.code = 0
        now = self._call("recorded")
        attempts = [[(each["id"], each["attempts"]) for each in found] for found in (before, now)]
        if (done.code < 0 or not done.execution) and attempts[0] == attempts[1]:
            return done  # it was ended before it began
        assert now[0]["id"] == (done.execution or now[0]["id"])
        self._check_ticks(done, began=now[0]["id"] not in [each["id"] for each in before])
        self.settled = self.settled or done.code == 0
        self._note(now[0])
        if done.code in _CODES and "could not be started" not in done.err:
            self.check_output(self.folder / "work.out.ipynb", done.code)
        return done

    def _words(self, more: Sequence[str], before: Sequence[Mapping[str, Any]]) -> list[str]:
        """The command line of one more attempt."""
        given = [word for name, value in self.parameters.items() for word in ("-p", name, str(value))]
        ways = [["kitaru-nb", "run", "work.ipynb", "--no-progress", *given, *more]]
        if not more:
            papermill = [
                "papermill",
                "--engine",
                "kitaru",
                "--no-progress-bar",
                "work.ipynb",
                "work.out.ipynb",
            ]
            ways += [ways[0], [*papermill, *given]]
        if (
            not more
            and self.clean is not None
            and self._is_open(before)
            and self.parameters == self.began_with
        ):
            ways.append(["kitaru-nb", "resume", before[0]["id"], "--no-progress"])
        return list(self.pick(ways))

    def _is_open(self, recorded: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the newest execution is the one that was seen last, and goes on."""
        if not recorded or recorded[0]["id"] != self.execution.get("id") or recorded[0]["parent"]:
            return False
        return recorded[0]["status"] in ("failed", "interrupted", "waiting")

    def _say_command(self, words: Sequence[str], how: str, done: Ended) -> None:
        became = (done.code, done.status, done.execution[-6:], done.wait, done.checkpoint, done.ticks)
        self.say(f"#{self.commands}", " ".join(words), f"[{how}] ->", *became)

    def _let_go(self) -> None:
        """A cell that has killed the kernel three times is held: it has to be another one."""
        held = next(
            id_of(each) for each in read(self.folder / "work.out.ipynb") if "is held" in str(each.outputs)
        )
        self.cells = [
            replace(each, source=f"{each.source}\npass") if each.id == held else each for each in self.cells
        ]
        self.say("held", held)

    def _plan(self) -> str:
        """Perhaps a cell is to kill its kernel, or to raise, when it begins or ends."""
        among = [
            each for each in self.cells if "tick(" in each.source and "raises-exception" not in each.tags
        ]
        among = [each for each in among if each.id != "first"]
        if not among or self.pick([0, 0, 1]) == 0:
            return ""
        what = f"{self.pick(['die', 'die', 'fail'])}-{self.pick(among).id}{self.pick(['', '-end'])}"
        (self.outside / what).touch()
        return what

    def _check_end(self, done: Ended, kill: str, plan: str, expected: int | None, *, papermill: bool) -> None:
        """The exit code and the last line are what has happened to it."""
        shown = f"{done.code} {done.err[-3000:]}"
        number = {"worker": 9, "SIGTERM": 15, "SIGINT": 2}.get(kill, 0)
        if number and (done.code == -number or (done.code == 128 + number and not done.execution)):
            return  # killed, or told to end before it had begun
        if papermill and done.status == "completed" and done.code == 1:
            assert any("raises-exception" in each.tags for each in self.cells), shown  # as papermill does
            return
        assert done.status == _CODES.get(done.code), shown
        allowed = {0, 75} if expected is None else {1, 75}
        allowed |= {"kernel": {138, 1, 0}, "SIGTERM": {143}, "SIGINT": {130}}.get(kill, set())
        allowed |= ({138} if plan.startswith("die") else {0, 1}) if plan else set()
        assert done.code in allowed, (allowed, shown)
        if done.code == 1 and kill == "kernel":  # a kernel that is killed before it is one breaks a pipe
            assert "Broken pipe" in done.err or expected is not None, shown

    def _check_ticks(self, done: Ended, *, began: bool) -> None:
        """No completed cell has run again, up to the first that was edited, and none ran twice."""
        for old, new in zip(() if began else self.clean or (), self.whole(), strict=False):
            edited = (old.id, old.tags, _code(old)) != (new.id, new.tags, _code(new))
            if edited or "no-checkpoint" in new.tags or (old.id, old.source) not in self.committed:
                break
            assert old.id not in done.ticks, f"{old.id} was completed and ran again"
        cells = [each for each in done.ticks if not each.startswith(("once", "call"))]
        assert len(set(cells)) == len(cells), cells

    def _as_kept(self) -> None:
        """The notebook becomes what ran."""
        ran = {id_of(each): each.source for each in read(self.folder / "work.out.ipynb")}
        for place, each in enumerate(self.cells):
            assert each.id in ran
            if ran[each.id] != each.source:
                self.say("kept", each.id)
                self.count("kept")
                self.cells[place] = replace(each, source=ran[each.id])
        self.clean = None

    def _note(self, execution: Mapping[str, Any]) -> None:
        recorded = self._call("recorded", execution=execution["id"])
        self.clean = self.whole() if self.settled else None
        self.committed = {
            (each["step"].removeprefix("cell:"), each["source"])
            for each in recorded["all"]
            if each["status"] in ("completed", "restored") and each["step"]
        }
        self.recorded = recorded
        self.execution = dict(execution)
        self.began_with = dict(self.parameters)

    # -- the plain kernel --------------------------------------------------------------

    def check_output(
        self, output: Path, code: int, *, as_ran: Sequence[Cell] = (), first: str = "", at: str = ""
    ) -> None:
        """The notebook that was left is what a plain kernel makes of it.

        Args:
            output: Where it is.
            code: The run's exit code.
            as_ran: For a replay the cells that its original ran, and `at`, where it began.
            first: What was changed there, as code.
            at: See above.
        """
        shown = Shown(output, at=at)
        if not at:
            assert [each.source for each in shown.cells] == [each.source for each in self.whole()]
        if code == 0:
            assert shown.ends == len(shown.cells), shown.statuses
        assert "completed" not in shown.statuses[shown.ends + 1 :], shown.statuses
        if code == 1:
            assert shown.statuses[shown.ends] == "failed", shown.statuses
        cells, ran = shown.as_cells(), {}
        if at:
            above = as_ran[: [each.id for each in as_ran].index(at)]
            cells[: shown.begins] = [replace(each, source=plainly(each.source)) for each in above]
            ran = {each.id: _code(each) for each in above}
        plain = self.plain.shows(with_first(cells, at, first) if first else cells)
        numbered = shown.is_numbered(as_ran)
        for number, (id_, cell) in enumerate(zip(shown.ids, shown.cells, strict=True)):
            if not shown.compared(number, code=code) or (id_ not in plain and number < shown.begins):
                continue
            if number < shown.begins and ran.get(id_) != _code(Cell(id_, cell.source)):
                continue  # it was on no record, and edited since
            mine, expected = text_of(cell), plain[id_]
            if not numbered:
                mine, expected = without_numbers(mine), without_numbers(expected)
            found = f"{id_} shows\n{mine}\nnot\n{expected}\nin {shown.statuses}"
            assert mine == expected, f"{found}\n{self._parted(mine, expected)}"
        if code == 0:
            self.plain.same_files(self.folder)
        self.count(f"compared {code}")

    def _parted(self, one: str, other: str) -> str:
        """Where two pictures of all names differ."""
        found = [re.search(r"all names: (\w+)", each) for each in (one, other)]
        pictures = [
            (folder / f"picture-{each[1]}").read_text().splitlines()
            for folder, each in zip((self.outside, self.plain.outside), found, strict=True)
            if each is not None
        ]
        if len(pictures) < 2:
            return ""
        pairs = zip(*pictures, strict=False)
        return "\n".join(f"- {mine[:1500]}\n+ {plain[:1500]}" for mine, plain in pairs if mine != plain)

    # -- what a session does -----------------------------------------------------------

    def session(self) -> None:
        """Two runs to their ends, and replays of them."""
        if self.pick([0] * 5 + [1]):
            self.grid()
            return
        self.to_the_end()
        self.replay()
        if self.pick([0, 1]):
            self.edit()
            self.mend()
        self.replay()
        if self.pick([0, 1]):
            self.parameters = {"p": self.pick(range(5))}
        self.to_the_end()

    def to_the_end(self, *, tries: int = 12) -> None:
        """Attempts with what may come between them, until it is completed."""
        for number in range(tries):
            more = self.pick(
                [[], [], [], ["--reuse"], ["--new"] if number < 4 else [], ["--on-change", "keep"]]
            )
            done = self.run(more=more, disturb=number < 6)
            if done.code == 0:
                return
            if done.code == 75:
                self.answer(done.wait)
            elif done.code == 1:
                self.mend()
            elif done.execution and self.pick([0, 1]):
                self.answer_ahead(done.execution)
            if self.pick([0, 0, 1]):
                self.lose_a_file()
            if self.pick([0, 0, 0, 1]):
                self.change()
            if self.pick([0, 0, 1]):
                self.edit()
                self.on_change()
        raise AssertionError("it never came to its end")

    def on_change(self) -> None:
        """What was edited is refused where that is asked for, before anything runs."""
        if self.pick([0, 1]) or self.clean is None or not self._is_open(self._call("recorded")):
            return
        self.save()
        was = {each.id: each for each in self.clean if (each.id, each.source) in self.committed}
        edited = [each.id for each in self.whole() if each.id in was and _code(was[each.id]) != _code(each)]
        if not edited:
            return
        given = [word for name, value in self.parameters.items() for word in ("-p", name, str(value))]
        done = self._command(
            ["kitaru-nb", "run", "work.ipynb", "--no-progress", "--on-change", "fail", *given]
        )
        self.say(f"#{self.commands} --on-change fail ->", done.code, edited, done.err[-200:])
        assert done.ticks == []
        assert done.code == 1, done.err
        self.count("on-change fail")

    def grid(self) -> None:
        """Points of a grid are what each is alone."""
        if any(
            re.search(r"'a'\) as out|'r\+'|os\.remove|new \d|kt\.wait", each.source) for each in self.cells
        ):
            return
        self.mend()
        self.save()
        values = self.pick([[1, 2], [3, 5, 3.5], [1, 4]])
        words = [
            "kitaru-nb",
            "run",
            "work.ipynb",
            "--no-progress",
            "--grid",
            f"p={','.join(map(str, values))}",
            "-j",
            self.pick(["1", "2"]),
        ]
        for number in range(5):
            kill = self._kill_of("", "worker", "SIGTERM") if number < 2 else ""
            done = self._command(words, kill=kill, after=self.chance.uniform(0.5, 5))
            self.say(
                f"#{self.commands}", *words[1:], f"kill={kill} ->", done.code, done.err[-300:], done.ticks
            )
            if done.code == 0:
                break
        self.parameters = {}
        for value in values:
            self.parameters = {"p": value}
            fails = self.first_failing()
            output = self.folder / f"work.p-{value}.out.ipynb"
            self.check_output(output, 0 if fails is None else 1)
        self.parameters = {}
        self.count("grid")

    def answer_ahead(self, execution: str) -> None:
        """Answer what may be asked later."""
        for each in WAIT.finditer("\n".join(each.source for each in self.cells)):
            if self.pick([0, 1]):
                done = self._command(
                    [
                        "kitaru-nb",
                        "answer",
                        f"{execution}/w{each[1]}",
                        "--value",
                        json.dumps(answer_of(*each.groups())),
                    ]
                )
                self.say("answered ahead", each[0], done.code, done.err[-200:])
                assert done.code == 0 or "answered" in done.err, done.err

    def lose_a_file(self) -> None:
        """Somebody removes what a cell wrote."""
        there = sorted(each for each in self.folder.rglob("f_*") if each.is_file())
        if there:
            lost = self.pick(there)
            lost.unlink()
            self.say("lost", lost.name)

    def answer(self, wait: str) -> None:
        source = "\n".join(each.source for each in self.cells)
        found = [each.groups() for each in WAIT.finditer(source) if wait.endswith(f"/w{each[1]}")]
        assert found, wait
        value = json.dumps(answer_of(*found[0]))
        done = self._command(["kitaru-nb", "answer", wait, "--value", value])
        assert done.code == 0, done.err
        self.say("answered", wait, value)

    def replay(self) -> None:
        """From some checkpoint of the newest execution, with something else in it."""
        named = self.pick(
            [
                each
                for each in self.recorded["standing"]
                if each["kind"] != "call" and each["step"] != "cell:first"
            ]
        )
        of = self.execution["id"]
        step = named["step"].removeprefix("cell:")
        change = self.pick([[], ["a", [7]], ["b", {"k": [8]}], ["c", "text"], ["d", [[9], 1]]])
        first = ""
        words = [
            "kitaru-nb",
            "replay",
            of,
            "--from",
            named["name"],
            "--no-progress",
            "-o",
            f"replay{self.number}.ipynb",
        ]
        if change:
            words += ["--set", f"input.{change[0]}={json.dumps(change[1])}"]
            first = f"{change[0]} = {change[1]!r}"
        self.number += 1
        self.save()
        kill = self._kill_of("", "", "kernel", "worker")
        known = [each["id"] for each in self._call("recorded")]
        done = self._command(words, kill=kill, after=self.chance.uniform(0.2, 1.6))
        self._say_command(words, kill, done)
        newest = self._call("recorded")[0]
        if newest["id"] in known:
            assert done.code in (-9, 2, 1), done.err
            if done.code in (1, 2):
                assert "error:" in done.err, done.err
                self.say(done.err[-300:])
                self.count("replay refused")
            return
        assert newest["parent"] == of
        before = self._before(step)
        again = [each for each in done.ticks if each in before]
        assert not again, f"{again} ran in a replay from {step}"
        ran = list(done.ticks)
        for _ in range(6):
            if done.code == -9 and self._call("recorded")[0]["status"] == "completed":
                done.code = 0  # killed after its end
            if done.code not in (-9, 138, 75) and "Broken pipe" not in done.err:
                break
            if done.code == 75:
                self.answer(done.wait)
            done = self._command(["kitaru-nb", "resume", newest["id"], "--no-progress"])
            self.say(f"#{self.commands} resume ->", done.code, done.status, done.checkpoint, done.ticks)
            again = [each for each in done.ticks if each in before]
            assert not again, f"{again} ran in a replay from {step}"
            ran += done.ticks
        assert done.code in (0, 1), done.err
        assert step in ran or step in ("last", "params", "injected-parameters") or done.code == 1, (
            f"{step} did not run: {ran}"
        )
        self.count(f"replay exit {done.code}")
        output = Path(newest["output"])
        assert self.clean is not None
        self.check_output(output, done.code, as_ran=self.clean, first=first, at=step)
        if self.pick([0, 1]):
            compared = self._command(["kitaru-nb", "diff", of, newest["id"], "--json"])
            assert compared.code == 0, compared.err
            json.loads(compared.out)

    def _before(self, step: str) -> set[str]:
        """The cells that are on record before a step; those that are not may run again."""
        ids = [each.id for each in self.clean or ()]
        plain = {each.id for each in self.whole() if each.tags} | {
            each.id for each in self.clean or () if each.tags
        }
        return set(ids[: ids.index(step)]) - plain if step in ids else set()


def _code(cell: Cell) -> str:
    return "\n".join(line for line in cell.source.splitlines() if line.strip() and not line.startswith("# "))


def _writes(cell: Cell) -> bool:
    return f"f_{cell.id}" in cell.source or re.search(r"'f_\w+\.", cell.source) is not None


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
