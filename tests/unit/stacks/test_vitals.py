"""What is known of a process's memory once it is dead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kitaru_nb.stacks import vitals
from kitaru_nb.stacks.kernels import describe_exit
from kitaru_nb.stacks.vitals import Memory, Vitals

GB = 10**9


def system(folder: Path, cgroup: str, files: dict[str, str]) -> dict[str, Path]:
    """The folders that a system shows of process 7."""
    (folder / "proc" / "7").mkdir(parents=True)
    (folder / "proc" / "7" / "cgroup").write_text(cgroup)
    for name, text in files.items():
        path = folder / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {"groups": folder / "groups", "processes": folder / "proc"}


@pytest.mark.parametrize(
    ("cgroup", "counter", "limit"),
    [
        ("0::/user.slice/a.scope\n", "user.slice/a.scope/memory.events", "user.slice/a.scope/memory.max"),
        ("0::/of/the/host\n", "memory.events", "memory.max"),
        (
            "5:cpu:/\n4:memory:/job\n0::/\n",
            "memory/job/memory.oom_control",
            "memory/job/memory.limit_in_bytes",
        ),
        ("4:memory:/of/the/host\n", "memory/memory.oom_control", "memory/memory.limit_in_bytes"),
    ],
)
def test_a_kill_for_want_of_memory_is_seen_in_either_kind_of_group(
    cgroup: str, counter: str, limit: str, tmp_path: Path
) -> None:
    told = system(tmp_path, cgroup, {counter: "low 0\noom 3\noom_kill 2\n", limit: f"{2 * GB}\n"})
    seen = Vitals(7, **told)

    before = seen.memory()
    (tmp_path / "groups" / counter).write_text("low 0\noom 4\noom_kill 3\n")
    after = seen.memory()

    assert (before.killed, after.killed, after.limit) == (False, True, 2 * GB)


@pytest.mark.parametrize("limit", ["max\n", "9223372036854771712\n", "?"])
def test_no_limit_is_none(limit: str, tmp_path: Path) -> None:
    told = system(tmp_path, "0::/\n", {"memory.events": "oom_kill 0\n", "memory.max": limit})

    assert Vitals(7, **told).memory() == Memory(None, pytest.approx(0, abs=1e12), killed=False, limit=None)


@pytest.mark.parametrize("cgroup", ["", "0::/\n", "nonsense", "1:cpu:/\n"])
def test_where_nobody_counts_nothing_is_claimed(cgroup: str, tmp_path: Path) -> None:
    told = system(tmp_path, cgroup, {})

    assert Vitals(7, **told).memory().killed is None
    assert Vitals(8, **told).memory().killed is None
    assert Vitals(None).memory().killed is None


def test_what_a_process_used_is_known_after_its_death(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "_EVERY", 0.0)
    code = "x = b'x' * 200_000_000; print(len(x), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        seen = Vitals(process.pid)
        assert process.stdout is not None
        process.stdout.readline()
        seen.look()
        process.kill()
        process.wait()
        seen.look()

    used = seen.memory().used
    assert used is not None
    assert 200_000_000 < used < 400_000_000


def test_it_is_looked_at_once_a_second_only(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(vitals, "_resident", lambda pid, file: looks.append(pid) or 1)
    seen = Vitals(os.getpid())

    for now in (0.0, 0.1, 0.9, 1.0, 1.5, 2.1):
        monkeypatch.setattr(vitals.time, "monotonic", lambda now=now: now)
        seen.look()

    assert len(looks) == 3


@pytest.mark.parametrize(
    ("code", "memory", "words"),
    [
        (-9, Memory(), "out of memory is the usual cause"),
        (-9, Memory(killed=True), "the system killed it for want of memory"),
        (-9, Memory(killed=True, limit=4 * GB), "for want of memory, of which it may have 4.0 GB"),
        (-9, Memory(3 * GB, 0.8, killed=True), "want of memory; it used 3.0 GB of memory 0.8 s before"),
        (
            -9,
            Memory(80_000_000, 1, killed=False),
            "no kill for want of memory; it used 80 MB of memory 1.0 s",
        ),
        (-11, Memory(GB, 1, killed=True), "signal 11 (SIGSEGV); it used 1.0 GB of memory 1.0 s before"),
        (3, Memory(GB, 1, killed=True), "it ended with exit code 3"),
    ],
)
def test_a_death_is_explained_by_what_was_seen(code: int, memory: Memory, words: str) -> None:
    told = describe_exit(code, memory)

    assert words in told
    assert ("want of memory" in told) is ("want of memory" in words)
