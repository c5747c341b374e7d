"""`python -m benchmarks`: run the workloads and print their table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.agent import AGENT
from benchmarks.array import ARRAY
from benchmarks.batch import BATCH
from benchmarks.calls import CALLS
from benchmarks.collect import COLLECT
from benchmarks.digest import DIGEST
from benchmarks.first_cell import FIRST_CELL
from benchmarks.frame import FRAME
from benchmarks.headless import HEADLESS
from benchmarks.objects import OBJECTS
from benchmarks.plain_cells import PLAIN_CELLS
from benchmarks.resume import RESUME
from benchmarks.runner import Found, run, table
from benchmarks.save import SAVE
from benchmarks.start import START
from benchmarks.tap import TAP
from benchmarks.tiny import TINY
from benchmarks.trivial import TRIVIAL
from benchmarks.values import VALUES
from benchmarks.workload import Options, Workload

WORKLOADS: tuple[Workload, ...] = (
    TRIVIAL,
    AGENT,
    CALLS,
    TAP,
    DIGEST,
    PLAIN_CELLS,
    HEADLESS,
    BATCH,
    FIRST_CELL,
    SAVE,
    *VALUES,
    TINY,
    RESUME,
    OBJECTS,
    START,
    COLLECT,
    ARRAY,
    FRAME,
)
CONTESTANTS = frozenset(name for workload in WORKLOADS for name in workload.contestants)
SIZES = [field.name for field in fields(Options) if field.name != "without"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; gives the exit code."""
    asked = _parsed(arguments)
    sizes = {name: getattr(asked, name) for name in SIZES}
    without = (CONTESTANTS - {*asked.beside} if asked.beside else frozenset()) | {*asked.without}
    options = Options(**sizes, without=without)
    chosen = [w for w in WORKLOADS if _is_chosen(w, asked)]
    machine = _machine()
    print(" · ".join(machine.values()), flush=True)
    print(f"median of {asked.runs} (lowest-highest)", flush=True)
    done = []
    for workload in chosen:
        found = run(workload, options, rounds=asked.runs, place=asked.place)
        done.append(found)
        print(f"\n{table(found)}", flush=True)
    if asked.json is not None:
        record = {"machine": machine, "sizes": sizes, "workloads": [_plain(found) for found in done]}
        asked.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 1 if any(found.failed for found in done) else 0


def _is_chosen(workload: Workload, asked: argparse.Namespace) -> bool:
    if asked.only:
        return workload.name in asked.only or workload.family in asked.only
    return asked.full or not workload.full


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = list(dict.fromkeys(name for w in WORKLOADS for name in (w.family, w.name) if name))
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--full", action="store_true", help="the workloads that take minutes and gigabytes too"
    )
    parser.add_argument("--runs", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=CONTESTANTS,
        metavar="CONTESTANT",
        help="leave one out",
    )
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        choices=CONTESTANTS,
        metavar="CONTESTANT",
        help="leave out all but these and what they are compared with",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument(
        "--place",
        type=Path,
        metavar="FOLDER",
        help="where stores are written (default: the temporary folder)",
    )
    default = Options()
    for name in SIZES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(default, name))
    return parser.parse_args(arguments)


def _machine() -> dict[str, str]:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {load:.1f}",
        "python": f"Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in ("ipykernel", "numpy")),
    }


def _plain(found: Found) -> dict[str, Any]:
    return {
        "name": found.workload.name,
        "title": found.workload.title,
        "aim": found.workload.aim,
        "rounds": found.rounds,
        "figures": {
            contestant: {
                column: dict(zip(("median", "lowest", "highest"), figure, strict=True))
                for column, figure in row.items()
            }
            for contestant, row in found.figures.items()
        },
        "absent": dict(found.absent),
        "failed": dict(found.failed),
    }


if __name__ == "__main__":
    sys.exit(main())
