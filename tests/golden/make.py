"""Write a golden store: what this release's store looks like, kept for all later ones to open.

Run it once for each new format, on the release that writes it, and commit what it wrote::

    python tests/golden/make.py tests/golden/format-N

It runs notebooks with the real command: one that completes, one that fails half-way and can be
resumed, one with recorded calls, one whose values are removed by `gc`. They hold one of each
thing a store can hold: small and large values and texts, names that share, classes and functions of cells, a
file that a cell wrote, process state, outputs, calls, pins, removals. The one with calls is also
exported to a file, which later releases must be able to import.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

import kitaru_nb
from kitaru_nb.journal.sqlite_journal import SqliteJournal

PLACE = Path(tempfile.gettempdir()) / "kitaru-nb-golden"
"""Where the notebooks stand while they run; the store remembers it."""
PACKAGE = PLACE.with_name("kitaru-nb-golden-package")
"""Where kitaru_nb itself stands meanwhile: functions that it wraps remember that, too."""

TEXTS = """
story = ' '.join(f'{n} is a number.' for n in range(200))
told = [{'text': story + str(n)} for n in range(5)]
"""
CELLS = (
    "import numpy as np\nimport random\nrandom.seed(7)",
    "numbers = np.arange(9_000, dtype='float64') * 0.5\nview = numbers[:4]",
    "rows = [{'id': n, 'text': f'row {n}'} for n in range(50)]\nalso = rows",
    "class Point(dict):\n    x = property(len)\n    def double(self):\n        return self['at'] * scale",
    "scale = 3\ndef far(point):\n    return point.double() + scale\npoint = Point(at=14)",
    "with open('report.txt', 'w') as file:\n    file.write('forty-two\\n')\nfar(point)",
    "drawn = random.random()\nprint('drawn')\n" + TEXTS,
)
FAILS = "raise RuntimeError('half-way')"
CALLS = (
    "import kitaru_nb as kt\n@kt.checkpoint\ndef twice(number):\n    return [number, number]",
    "pairs = [twice(number) for number in range(3)]\nsame = pairs[0]",
)
GONE = ("lost = ['gone']",)
RUNS = (
    ("whole", CELLS, 0),
    ("broken", (*CELLS, FAILS, "after = 1"), 1),
    ("calls", CALLS, 0),
    ("gone", GONE, 0),
)


def main(target: Path) -> None:
    """Run the notebooks into `target`, which must not exist."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    shutil.rmtree(PACKAGE, ignore_errors=True)
    shutil.copytree(Path(kitaru_nb.__file__).parent, PACKAGE / "kitaru_nb")
    home = PLACE / "home"
    env = {
        **os.environ,
        "KITARU_NB_HOME": str(home),
        "KITARU_NB_CONFIG": str(PLACE / "config"),
        "PYTHONPATH": str(PACKAGE),
    }

    def command(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "kitaru_nb", *words],
            cwd=PLACE,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != code:
            raise SystemExit(f"{words} ended with {done.returncode}, not {code}")
        return done.stdout

    for name, cells, code in RUNS:
        notebook = nbformat.v4.new_notebook(
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
            cells=[nbformat.v4.new_code_cell(source, id=f"c{place}") for place, source in enumerate(cells)],
        )
        nbformat.write(notebook, PLACE / f"{name}.ipynb")
        command("run", f"{name}.ipynb", "--no-progress", code=code)
    listing = json.loads(command("executions", "--json"))
    expected = {Path(each["notebook"]).stem: [each["id"], each["status"]] for each in listing}
    for name in ("whole", "calls"):
        command("pin", expected[name][0])
    command("gc", "--keep-days", "0")
    command("export", expected["calls"][0], "calls.kitaru")
    (own,) = json.loads(command("trust", "--json"))
    SqliteJournal(home / "journal.db").close()  # the last one to close folds the log into the file
    for source in (
        *(home / part for part in ("journal.db", "journal.db-head", "store")),
        PLACE / "calls.kitaru",
    ):
        part = source.name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        target.mkdir(parents=True, exist_ok=True)
        copy(source, target / part)
    (target / "signer.pub").write_text(own["key"] + "\n")
    (target / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")
    shutil.rmtree(PLACE)
    shutil.rmtree(PACKAGE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
