"""`demo`: what happened, cell by cell, when a kernel was killed half-way."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from shlex import quote

from kitaru_nb.cli.output import Json, clean, duration, print_json, print_table, tidy_path
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
    restored = [step for step in found.checkpoints if step.draft.status is CheckpointStatus.RESTORED]
    ran = [step for step in found.checkpoints if step.draft.status is CheckpointStatus.COMPLETED]
    print()
    rows = [[step.draft.name, duration(step.draft.duration), "restored"] for step in restored]
    rows += [
        [step.draft.name, "killed" if step is ran[0] else "", duration(step.draft.duration)] for step in ran
    ]
    print_table(("checkpoint", "first run", "second run"), rows)
    print(f"\n{len(restored)} cells restored, {len(ran)} run: {duration(found.saved)} of work saved.")
    print(f"first run   {duration(found.first)}, exit code {found.exits[0]} (the kernel died)")
    print(f"second run  {duration(found.second)}, exit code {found.exits[1]} (completed)")
    print(clean(f"output      {tidy_path(str(found.output))}"))
    _print_ideas(found)


def _print_ideas(found: Demo) -> None:
    python = _typed(sys.executable)
    command = "kitaru-nb" if shutil.which("kitaru-nb") else f"{python} -m kitaru_nb"
    home = f"KITARU_NB_HOME={_typed(str(found.home))}"
    print("\nWhat to try next:")
    for line in (
        f"{home} {command} show latest",
        f"{home} {command} why latest {quote(found.checkpoints[0].draft.name)}",
        f"{home} {python} -c \"import kitaru_nb; print(kitaru_nb.load('svm').best_params_)\"",
        f"{command} run YOUR_NOTEBOOK.ipynb",
    ):
        print(clean(f"  {line}"))


def _typed(path: str) -> str:
    """`path` for a shell: as short as it can be, where nothing in it has to be quoted."""
    short = tidy_path(path)
    return short if quote(short.removeprefix("~/")) == short.removeprefix("~/") else quote(path)
