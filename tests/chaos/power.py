"""Whether everything acknowledged survives, whatever the disk holds."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from kitaru_nb.errors import KitaruError, NotFoundError
from tests.chaos import scenario
from tests.chaos.chance import SEED
from tests.chaos.disk import Call, lay_out, python, record, states

__all__ = ["check", "recorded", "violations"]


def recorded(folder: Path, bug: str | None = None, *, fault: str = "") -> tuple[list[Call], str]:
    """The calls of one run of the scenario, and the folder its home was in.

    A `fault` is what strace is to inject, such as ``fdatasync:error=EIO:when=5``.
    """
    folder.mkdir(exist_ok=True)
    home = folder / "home"
    program = python("tests.chaos.scenario", str(home), str(folder / "acks"), *([bug] if bug else []))
    return record(program, home, folder / "acks", fault=fault), str(home)


def violations(
    calls: Sequence[Call], home: str, right: Sequence[dict[str, str]], folder: Path, *, cuts: int, most: int
) -> tuple[int, list[str]]:
    """How many disks were looked at, and what was wrong with them. At most `most`, spread over the run."""
    per_call = cuts + 1
    every = max(1, len(calls) * per_call // most)
    looked, wrong = 0, []
    for state in states(calls, cuts=cuts, every=every, seed=SEED):
        looked += 1
        place = folder / "disk"
        shutil.rmtree(place, ignore_errors=True)
        lay_out(state.files, home, place)
        found = check(place, state.acknowledged, right)
        wrong += [f"{state.how} after call {state.after}: {text}" for text in found]
    return looked, wrong


def check(place: Path, acknowledged: int, right: Sequence[dict[str, str]]) -> Iterable[str]:
    """What is wrong with one home: an acknowledged step is lost, or the end is another one."""
    kernel = None
    try:
        kernel = scenario.a_kernel(place)
        try:
            steps = kernel.session.resume(take_over=True).steps
        except NotFoundError:
            steps = 0
            kernel.take_over()
        if steps < acknowledged:
            yield f"{acknowledged} steps were acknowledged, {steps} are there"
            return
        if scenario.end_state(kernel) != right[steps]:
            yield f"after {steps} steps the names hold something else"
        restored, end = scenario.finish(kernel)
        if restored < acknowledged:
            yield f"{acknowledged - restored} acknowledged steps ran again"
        if end != right[-1]:
            yield "the end is not that of an undisturbed run"
    except KitaruError as error:
        yield f"{type(error).__name__}: {error}"
    finally:
        if kernel is not None:
            kernel.stop()
