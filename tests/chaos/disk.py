"""What a disk may hold after the power went: a run's file-system calls, and the states they allow.

`record` runs a program under strace and takes every call that changes something below a folder.
`Disk` replays them: what was synced is there, of what was written since any part may be there,
a write may be torn, and a name that its folder was not synced for may be missing: that of a
folder, too, with all that is in it.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["TRACED", "Call", "Disk", "record", "states"]

TRACED = (
    "openat,creat,lseek,pwrite64,write,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,"
    "mkdir,mkdirat,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,fsync,fdatasync,sync_file_range"
)

_CALL = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)")
_UNFINISHED = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_FILE = re.compile(r"\d+<([^>]*)>")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, slots=True)
class Call:
    """One call that changed something: what, where, and with which data."""

    kind: str  # create, write, cut, mkdir, rename, unlink, sync, ack
    path: str
    offset: int = 0
    data: bytes = b""
    to: str = ""


def record(program: Sequence[str], folder: Path, acks: Path, *, fault: str = "") -> list[Call]:
    """The calls of a run that change something below `folder` or acknowledge a step in `acks`.

    Calls that failed, with a `fault` that strace injects, changed nothing.
    """
    log = folder.parent / "strace.log"
    command = ["strace", "-f", "-y", "-xx", "-s", "100000000", "-e", f"trace={TRACED}", "-o", str(log)]
    command += ["-e", f"inject={fault}"] if fault else []
    subprocess.run([*command, *program], check=True, capture_output=True)
    reader = _Reader(str(folder), str(acks))
    return [call for name, args, result in _calls(log) for call in reader.changes(name, args, result)]


def _calls(log: Path) -> Iterator[tuple[str, str, int]]:
    """Each call that ended well, when it ended."""
    begun: dict[str, str] = {}
    for line in log.read_text("latin-1").splitlines():
        if unfinished := _UNFINISHED.match(line):
            begun[unfinished[1]] = unfinished[3]
            continue
        if resumed := _RESUMED.match(line):
            line = f"{resumed[1]} {resumed[2]}({begun.pop(resumed[1])}{resumed[3]}"  # noqa: PLW2901
        found = _CALL.match(line)
        if found and int(found[4]) >= 0:
            yield found[2], found[3], int(found[4])


def _bytes(args: str) -> list[bytes]:
    return [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(args)]


class _Reader:
    """Makes `Call`s of what strace says, below one folder."""

    def __init__(self, folder: str, acks: str) -> None:
        self._folder = folder
        self._acks = acks
        self._next: dict[str, int] = {}  # where the next plain write to a file goes

    def changes(self, name: str, args: str, result: int) -> list[Call]:
        """What one call changed."""
        texts = _bytes(args)
        held = _FILE.search(args)
        at = os.fsdecode(bytes.fromhex(held[1].replace("\\x", ""))) if held else ""
        if name in ("write", "writev") and at == self._acks:
            return [Call("ack", at)]
        where = at if name not in _BY_NAME else os.fsdecode(texts[0])
        above = os.path.dirname(self._folder)  # noqa: PTH120 - plain text from a log
        if not where.startswith(self._folder) and not (where == above and _KINDS.get(name) == "sync"):
            return []
        if "write" in name:
            return [self._write(name, where, args, b"".join(texts)[:result])]
        match name:
            case "openat" | "creat":
                made = [Call("create", where)] if "O_CREAT" in args else []
                return [*made, Call("cut", where)] if "O_TRUNC" in args else made
            case "lseek":
                self._next[where] = result
                return []
            case "ftruncate" | "truncate":
                return [Call("cut", where, _numbers(args)[-1])]
            case "fallocate":  # of a new file, which it makes longer
                return [Call("cut", where, sum(_numbers(args)[-2:]))]
            case "rename" | "renameat" | "renameat2":
                return [Call("rename", where, to=os.fsdecode(texts[1]))]
        return [Call(_KINDS[name], where)] if _KINDS[name] else []

    def _write(self, name: str, where: str, args: str, data: bytes) -> Call:
        if name in ("write", "writev"):
            offset = self._next.get(where, 0)
            self._next[where] = offset + len(data)
        else:
            offset = _numbers(args)[-2 if name == "pwritev2" else -1]
        return Call("write", where, offset, data)


def _numbers(args: str) -> list[int]:
    bare = _TEXT.sub("", _FILE.sub("", args))
    return [int(part) for part in re.findall(r"(?<![\w<])-?\d+(?![\w>])", bare)]


_KINDS = {
    **dict.fromkeys(("mkdir", "mkdirat"), "mkdir"),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), "unlink"),
    **dict.fromkeys(("fsync", "fdatasync"), "sync"),
    "sync_file_range": "",  # begins writing and promises nothing
}
_BY_NAME = frozenset(
    [
        "openat",
        "creat",
        "mkdir",
        "mkdirat",
        "rename",
        "renameat",
        "renameat2",
        "unlink",
        "unlinkat",
        "truncate",
    ]
)


@dataclass(slots=True)
class _File:
    safe: bytes = b""
    since: list[Call] = field(default_factory=list)  # writes and cuts that are not synced


@dataclass(slots=True)
class Disk:
    """The files below a folder as a run goes on."""

    files: dict[str, _File] = field(default_factory=dict)  # by the name they have now
    named: dict[str, _File] = field(default_factory=dict)  # by the names that are safe
    folders: dict[str, bool] = field(default_factory=dict)  # those that were made; whether the name is safe

    def play(self, call: Call) -> None:
        """Let one more call have happened."""
        match call.kind:
            case "mkdir":
                self.folders[call.path] = False
            case "create":
                self.files.setdefault(call.path, _File())
            case "write" | "cut":
                self.files[call.path].since.append(call)
            case "rename":
                self.files[call.to] = self.files.pop(call.path)
            case "unlink":
                self.files.pop(call.path, None)
            case "sync" if call.path in self.files:
                file = self.files[call.path]
                file.safe, file.since = _applied(file.safe, file.since), []
            case "sync":
                for name in {*self.files, *self.named, *self.folders}:
                    if os.path.dirname(name) == call.path:  # noqa: PTH120 - plain text from a log
                        self._sync_name(name)

    def _sync_name(self, name: str) -> None:
        if name in self.folders:
            self.folders[name] = True
        elif name in self.files:
            self.named[name] = self.files[name]
        else:
            self.named.pop(name, None)

    def killed(self) -> dict[str, bytes]:
        """What is there when only the process died: everything."""
        return {name: _applied(file.safe, file.since) for name, file in self.files.items()}

    def cut_off(self, chance: random.Random | None) -> dict[str, bytes]:
        """What may be there when the power went: without `chance` nothing that was not synced."""
        found: dict[str, bytes] = {}
        gone = tuple(
            f"{name}/"
            for name, safe in sorted(self.folders.items())
            if not safe and (chance is None or chance.random() < 0.5)
        )
        for name in sorted({*self.files, *self.named}):
            if name.startswith(gone):
                continue
            kept = self.named.get(name)
            now = self.files.get(name)
            if chance is not None and kept is not now and chance.random() < 0.5:
                kept = now
            if kept is not None:
                found[name] = _applied(kept.safe, _some(kept.since, chance))
        return found


def _some(calls: Sequence[Call], chance: random.Random | None) -> list[Call]:
    """A part of writes that nobody waited for, in any selection, with torn ones."""
    if chance is None:
        return []
    likely = chance.choice((0.1, 0.5, 0.9))
    kept = []
    for call in calls:
        if chance.random() > likely:
            continue
        torn = call.kind == "write" and len(call.data) > 1 and chance.random() < 0.2
        sector = chance.randrange(0, len(call.data), 512) if torn else len(call.data)
        kept.append(Call(call.kind, call.path, call.offset, call.data[:sector], call.to))
    return kept


def _applied(content: bytes, calls: Sequence[Call]) -> bytes:
    made = bytearray(content)
    for call in calls:
        if call.kind == "cut":
            del made[call.offset :]
            made.extend(bytes(call.offset - len(made)))
        else:
            made.extend(bytes(max(0, call.offset - len(made))))
            made[call.offset : call.offset + len(call.data)] = call.data
    return bytes(made)


@dataclass(frozen=True, slots=True)
class State:
    """A disk as somebody finds it: after which call, how it came about, what was acknowledged before."""

    after: int
    how: str
    acknowledged: int
    files: dict[str, bytes]


def states(calls: Sequence[Call], *, cuts: int, every: int = 1, seed: int = 0) -> Iterator[State]:
    """States after each `every`-th call: one of a kill, one of a half-way write, `cuts` of a power cut."""
    disk = Disk()
    acknowledged = 0
    chance = random.Random(seed)
    offset = chance.randrange(every)
    for number, call in enumerate(calls):
        looked = number % every == offset
        if looked and call.kind == "write" and len(call.data) > 1:
            half = Disk(dict(disk.files), dict(disk.named))
            before = disk.files[call.path]
            half.files[call.path] = _File(before.safe, [*before.since, _half(call)])
            yield State(number, "half", acknowledged, half.killed())
        acknowledged += call.kind == "ack"
        disk.play(call)
        if looked:
            yield State(number, "kill", acknowledged, disk.killed())
            yield State(number, "cut", acknowledged, disk.cut_off(None))
            for _ in range(cuts - 1):
                yield State(number, "cut", acknowledged, disk.cut_off(chance))


def _half(call: Call) -> Call:
    return Call(call.kind, call.path, call.offset, call.data[: len(call.data) // 2])


def lay_out(files: dict[str, bytes], folder: str, target: Path) -> None:
    """Put the files of a state, which were below `folder`, below `target`."""
    for name, content in files.items():
        if name.endswith("-shm"):
            continue  # shared memory of living processes
        path = target / os.path.relpath(name, folder)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(content)


def python(*args: str) -> list[str]:
    """The command that runs a module of the tests."""
    return [sys.executable, "-X", "frozen_modules=on", "-m", *args]
