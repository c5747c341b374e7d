"""The tap of model calls: function calls per request without it, idle, recording and serving.

Counted in the Pythons that hold the clients (`make llm`), by the program that the tests count with.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from benchmarks.workload import Absent, Options, Round, Turn, Workload

__all__ = ["TAP"]

_ROOT = Path(__file__).parents[1]
_COUNT = _ROOT / "tests" / "integration" / "llm" / "overhead.py"


def _turn(contestant: str, options: Options, folder: Path) -> Turn:  # noqa: ARG001 - no size, writes nothing
    python = _ROOT / f".venv-{contestant.partition(',')[0]}" / "bin" / "python"
    if not python.exists():
        raise Absent("not installed: `make llm` does")
    command = [str(python), "-W", "ignore", str(_COUNT)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    counted = {found["way"]: found for found in map(json.loads, done.stdout.splitlines())}
    return {
        name: float(count)
        for name, count in counted[contestant.rsplit(maxsplit=1)[-1]].items()
        if name != "way"
    }


def _judge(found: Round) -> Round:
    return {
        contestant: {
            "without": turn["without"],
            **{
                f"{way} +%": 100 * (turn[way] / turn["without"] - 1)
                for way in ("idle", "recording", "serving")
            },
        }
        for contestant, turn in found.items()
    }


TAP = Workload(
    name="tap",
    title="function calls of one request by OpenAI's client, by how much more with the tap of model calls",
    aim="idle at most +1 %, recording at most +5 %",
    contestants=("llm2, plain", "llm2, stream", "llm3, plain", "llm3, stream"),
    turn=_turn,
    judge=_judge,
)
