"""`demo`: what happened, cell by cell, when a kernel was killed half-way."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from kitaru_nb.cli.output import Json, clean, counted, duration, print_json, print_table, tidy_path
from kitaru_nb.model.checkpoint import CheckpointStatus
from kitaru_nb.stacks.demo import Demo, run_demo

__all__ = ["demo"]


def demo(*, keep: Path = Path("kitaru-demo"), json: Json = False) -> int:
    """Run a real notebook, kill its kernel half-way, run it again, and say what was saved.

    Args:
        keep: Folder for the notebook, its output and a home of its own; ./kitaru-demo by
            default. That of an earlier demo is made anew.
        json: Print one JSON document.
    """

    def say(line: str) -> None:
        if not json:
            print(line, flush=True)

    found = run_demo(keep, say=say)
    if json:
        print_json(_document(found))
    else:
        _print_report(found)
    return 0


def _document(found: Demo) -> dict[str, object]:
    return {
        "execution": found.execution,
        "folder": str(found.folder),
        "home": str(found.home),
        "notebook": str(found.notebook),
        "output": str(found.output),
        "exit_codes": list(found.exits),
        "checkpoints": [
            {"name": step.draft.name, "status": step.draft.status.value, "duration": step.draft.duration}
            for step in found.checkpoints
        ],
        "first_duration": found.first,
        "second_duration": found.second,
        "saved_duration": found.saved,
    }


def _print_report(found: Demo) -> None:
    verbs = {CheckpointStatus.RESTORED: "restored", CheckpointStatus.COMPLETED: "ran"}
    rows = []
    for number, step in enumerate(found.checkpoints, start=1):
        verb = verbs.get(step.draft.status, step.draft.status.value)
        took = duration(step.draft.duration)
        restored = step.draft.status is CheckpointStatus.RESTORED
        rows.append(
            [str(number), step.draft.name, verb, took if not restored else "", took if restored else ""]
        )
    print()
    print_table(("cell", "checkpoint", "second run", "took", "saved"), rows)
    print()
    did = counted(
        Counter(verbs.get(step.draft.status, step.draft.status.value) for step in found.checkpoints)
    )
    print(f"{did}. Saved {duration(found.saved)} of work: nothing that was done was done again.")
    print(f"first run   {duration(found.first)}, exit code {found.exits[0]} (kernel died)")
    print(f"second run  {duration(found.second)}, exit code {found.exits[1]} (completed)")
    print(clean(f"output      {tidy_path(str(found.output))}"))
    print("\nwhat to try next")
    python = f"{Path(sys.executable).name} -c"
    at = f"KITARU_NB_HOME={tidy_path(str(found.home))}"
    for line in (
        f"{at} kitaru-nb show latest",
        f"{at} kitaru-nb why latest {found.checkpoints[-1].draft.name}",
        f"{at} {python} \"import kitaru_nb; print(kitaru_nb.load('svm').best_params_)\"",
        "kitaru-nb run YOUR_NOTEBOOK.ipynb",
    ):
        print(clean(f"  {line}"))
