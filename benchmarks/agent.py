"""An agent of 50 steps that appends to its history: CPU per step, and what the disk holds in the end."""

from __future__ import annotations

from pathlib import Path

from benchmarks.contestants import KEEPERS, Cell
from benchmarks.notebook import play
from benchmarks.workload import Options, Round, Turn, Workload

__all__ = ["AGENT"]

_BEGIN = Cell("import random\nmessages = [{'role': 'system', 'content': 'You are an agent.'}]")
_STEP = """said = random.Random({n}).randbytes(2900).hex()
messages.append({{'role': 'assistant', 'content': said, 'step': {n}, 'usage': {{'in': {n}, 'out': 1450}}}})"""


def _turn(contestant: str, options: Options, folder: Path) -> Turn:
    steps = [Cell(_STEP.format(n=n), reads=("messages",), gives=("messages",)) for n in range(options.steps)]
    size = "len(__import__('pickle').dumps(messages, 5))"
    return play(contestant, steps, folder, before=(_BEGIN,), asked=size)


def _judge(found: Round) -> Round:
    plain = found["plain"]
    return {
        contestant: {
            "CPU ms per step": turn["mean"] * 1e3,
            "x plain": turn["mean"] / plain["mean"],
            "over plain": (turn["mean"] - plain["mean"]) * 1e3,
            "first half": (turn["first"] - plain["first"]) * 1e3,
            "last half": (turn["last"] - plain["last"]) * 1e3,
            "wall over plain": (turn["mean wall"] - plain["mean wall"]) * 1e3,
            "disk KiB": turn["disk"] / 1024,
            "x pickled final state": turn["disk"] / turn["asked"],
            "x when killed": turn["disk killed"] / turn["asked"],
        }
        for contestant, turn in found.items()
    }


AGENT = Workload(
    name="agent",
    title="an agent that appends 6 KB to its history at every step",
    aim="at most 2 ms of CPU per step over plain; disk at most twice the final state when the kernel ended",
    contestants=KEEPERS,
    turn=_turn,
    judge=_judge,
)
