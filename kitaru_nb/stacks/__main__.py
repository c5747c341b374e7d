"""The processes that work for a command, a launcher or a batch: ``python -m kitaru_nb.stacks NAME ...``."""

from __future__ import annotations

import sys
from importlib import import_module

from kitaru_nb.stacks.deferred import defer_imports
from kitaru_nb.stacks.loading import nothing_collected

__all__ = ["main"]

_PROCESSES = ("background", "batch_worker", "probe", "submitted")


def main() -> int:
    """Run the process that the first word names; its exit code."""
    defer_imports()
    name = sys.argv.pop(1)
    if name not in _PROCESSES:
        raise SystemExit(f"there is no process `{name}`")
    with nothing_collected():
        process = import_module(f"kitaru_nb.stacks.{name}")
    return int(process.main())


if __name__ == "__main__":
    sys.exit(main())
