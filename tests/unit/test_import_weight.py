"""Importing is quiet and light: counted in modules, since seconds depend on the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import kitaru_nb

ROOT = Path(kitaru_nb.__file__).parents[1]
HEAVY = {"IPython", "ipykernel", "numpy", "pandas", "papermill", "pydantic", "rich", "sqlite3", "zarr", "zmq"}
AT_MOST = 100


def modules_added(statement: str, *, after: str = "pass") -> set[str]:
    """The modules that `statement` loads in a fresh interpreter that has run `after`."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{after}\nbefore = set(sys.modules)\n{statement}\n"
        "added = sorted(set(sys.modules) - before)\nimport json; print(json.dumps(added))"
    )
    command = [sys.executable, "-I", "-c", program]
    return set(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def roots(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_importing_the_package_loads_next_to_nothing() -> None:
    added = modules_added("import kitaru_nb")

    assert len(added) <= AT_MOST
    assert not roots(added) & HEAVY
    assert {name for name in added if name.startswith("kitaru_nb")} == {"kitaru_nb"}


def test_the_errors_are_found_on_first_use_without_loading_anything_heavy() -> None:
    added = modules_added("import kitaru_nb; kitaru_nb.errors.KitaruError")

    assert "kitaru_nb.errors" in added
    assert not roots(added) & HEAVY


# papermill loads every engine that is installed whenever it starts, wanted or not.
PAPERMILL = "import entrypoints; entrypoints.get_group_all = lambda *_, **__: []; import papermill.engines"


def test_the_papermill_engine_adds_little_to_papermill() -> None:
    added = modules_added("import kitaru_nb.stacks.papermill_engine", after=PAPERMILL)

    assert len(added) <= AT_MOST
    assert not roots(added) & {"numpy", "pandas", "zarr"}


@pytest.mark.parametrize("room", ["errors", "model.checkpoint", "journal.journal", "artifacts.store"])
def test_the_shared_nouns_load_no_third_party_package(room: str) -> None:
    added = modules_added(f"import kitaru_nb.{room}")

    assert roots(added) <= {"kitaru_nb"} | sys.stdlib_module_names


def test_what_runs_a_notebook_loads_nothing_that_only_other_verbs_or_kernels_need() -> None:
    after = "from kitaru_nb.stacks.deferred import defer_imports; defer_imports()"
    added = modules_added("import kitaru_nb.cli.verbs, kitaru_nb.cli.run", after=after)

    assert not roots(added) & {
        "IPython",
        "arrow",
        "ipykernel",
        "multiprocessing",
        "numpy",
        "requests",
        "zarr",
    }
    assert not added & {
        f"kitaru_nb.{name}"
        for name in ("cli.elsewhere", "engine.plan", "engine.replay", "engine.session", "stacks.submitting")
    }
