"""A team's stack with real servers: values in S3, records in PostgreSQL, one signing key by reference.

Two laptops are two homes and two configuration folders. They share the project's folder, as a
checkout at the same path does, and nothing else that is on a disk.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.integration.headless import Finished, Notebook, finished, start
from tests.integration.kernel import Kernel
from tests.patience import until
from tests.postgres_server import PostgresServer
from tests.s3_server import BUCKET, KEY, SECRET, S3Server

STACK = """
use = "team"

[stacks.team]
store = "s3://{bucket}/{prefix}"
journal = "{journal}"
signing_key = "secret:env:TEAM_SIGNING_KEY"

[stacks.team.options]
endpoint = "{endpoint}"
region = "us-east-1"
access_key_id = "secret:env:TEAM_S3_KEY"
secret_access_key = "secret:env:TEAM_S3_SECRET"
max_retries = "2"
"""

MODEL = """
class Model:
    def __init__(self, weights): self.weights = weights
    def __call__(self, x): return float(self.weights[:3].sum()) * x
"""
CELLS = [
    "tick('paid')\nimport numpy as np; alone = np.arange(5.0)\nweights = np.linspace(0, 1, 400_000) ** 2",
    MODEL + "tick('model')\nmodel = Model(weights)\nrows = [[1], [2]]; both = rows",
    "import os, time\nopen('pid', 'w').write(str(os.getpid()))\nif once('slow'): time.sleep(1000)",
    "tick('end')\nboth.append([3])\nprint(round(model(2), 6), rows, weights.nbytes)",
]


class Team:
    """Laptops that share a stack, and what is typed on them."""

    def __init__(self, folder: Path, stack: str) -> None:
        self._folder = folder
        self._key = secrets.token_hex(32)
        self.project = folder / "project"
        self.project.mkdir()
        (self.project / "kitaru_nb.toml").write_text(stack, encoding="utf-8")

    def laptop(self, name: str, **more: str) -> dict[str, str]:
        """The environment of a laptop: a home and a configuration of its own."""
        return {
            "KITARU_NB_HOME": str(self._folder / name / "home"),
            "KITARU_NB_CONFIG": str(self._folder / name / "config"),
            "TEAM_SIGNING_KEY": self._key,
            "TEAM_S3_KEY": KEY,
            "TEAM_S3_SECRET": SECRET,
            **more,
        }

    def kitaru(self, laptop: Mapping[str, str], *words: str) -> Finished:
        return finished(start(["-m", "kitaru_nb", *words], self.project, laptop))

    def document(self, laptop: Mapping[str, str], *words: str) -> Any:
        done = self.kitaru(laptop, *words, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def loaded(self, laptop: Mapping[str, str], what: str) -> Finished:
        """The value of an expression over `kt` in a process without a kernel."""
        return finished(start(["-c", f"import kitaru_nb as kt\nprint({what})"], self.project, laptop))


@pytest.fixture
def team(tmp_path: Path, s3_server: S3Server, postgres_server: PostgresServer) -> Any:
    name = f"team_{secrets.token_hex(4)}"
    journal = postgres_server.schema(name)
    return Team(
        tmp_path,
        STACK.format(bucket=BUCKET, prefix=name, journal=journal, endpoint=s3_server.endpoint),
    )


def killed(process: Any, kernel: int) -> None:
    """Everything of a run dies at once, as when the lid is shut for good."""
    for one in (process.pid, kernel):
        os.kill(one, signal.SIGKILL)
    process.communicate()


@pytest.mark.further
def test_a_run_that_was_killed_on_one_laptop_goes_on_on_another(team: Team) -> None:
    notebook = Notebook(team.project, CELLS)
    ana, ben = team.laptop("ana"), team.laptop("ben")
    assert team.document(ana, "stack", "check")["ok"]
    run = start(["-m", "kitaru_nb", "run", "work.ipynb", "--no-progress"], team.project, ana)
    wait_for_text(team.project / "pid")
    killed(run, int((team.project / "pid").read_text()))

    seen = team.document(ben, "executions")
    planned = team.kitaru(ben, "run", "work.ipynb", "--dry-run")
    done = team.kitaru(ben, "resume")

    assert [each["notebook"] for each in seen] == [str(notebook.path)]
    assert planned.code == 0, planned.stderr
    assert done.code == 0, done.stderr
    assert seen[0]["id"] in done.last_line
    assert notebook.ticks() == ["paid", "model", "end"], "nothing that was recorded is paid again"
    shown = notebook.shown()[-1][1][0]["text"]
    assert shown.endswith(f"[[1], [2], [3]] {400_000 * 8}\n"), "what was one list is one list"
    (execution,) = team.document(ana, "executions")
    assert (execution["status"], execution["attempts"]) == ("completed", 2)
    for laptop in (ana, ben):
        files = [path.name for path in Path(laptop["KITARU_NB_HOME"]).rglob("*") if path.is_file()]
        assert not [name for name in files if name.startswith("journal.db") or name.endswith(".pack")]
    assert team.document(ben, "store", "verify")["damage"] == []
    assert team.document(ben, "doctor")["journal"]["executions"] == 1


def test_a_notebook_whose_kernel_died_on_one_laptop_is_resumed_on_another(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = team.project / "work.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), path)
    monkeypatch.setenv("KITARU_NB_CONFIG", "")
    for name, value in team.laptop("ana").items():
        monkeypatch.setenv(name, value)
    first = Kernel(Path(os.environ["KITARU_NB_HOME"]), notebook=path, cwd=team.project)
    first.run("import numpy as np")
    made = first.run(
        f"%%checkpoint fit\n{MODEL}\nweights = np.arange(300_000.0)\nmodel = Model(weights)", cell="1"
    )
    assert made.ok, made
    assert first.run("%%checkpoint more\nweights[0] = 7", cell="2").ok
    first.kill()

    for name, value in team.laptop("ben").items():
        monkeypatch.setenv(name, value)
    with Kernel(Path(os.environ["KITARU_NB_HOME"]), notebook=path, cwd=team.project) as second:
        notice = second.loaded.said
        resumed = second.run("%resume")
        result = second.run("weights[0], model.weights is weights, isinstance(model, Model), model(2)")
        last = second.run("%%checkpoint end\nend = model(1)\nend", cell="3")

    assert "can be restored" in notice
    assert resumed.ok, resumed
    assert result.result == "(np.float64(7.0), True, True, 20.0)"
    assert last.result == "10.0"
    (execution,) = team.document(team.laptop("ana"), "executions")
    assert (execution["status"], execution["attempts"]) == ("completed", 2)
    assert team.loaded(team.laptop("ana"), "kt.load('end')").stdout == "10.0\n"


@pytest.mark.further
def test_without_the_teams_key_what_could_run_code_is_not_loaded(team: Team) -> None:
    Notebook(team.project, [CELLS[0], CELLS[1]])
    ana = team.laptop("ana")
    assert team.kitaru(ana, "run", "work.ipynb", "--no-progress").code == 0
    eve = team.laptop("eve", TEAM_SIGNING_KEY=secrets.token_hex(32))
    forgot = team.laptop("forgot", TEAM_SIGNING_KEY="")

    shared = team.loaded(team.laptop("ben"), "kt.load('model')(0)")
    refused = team.loaded(eve, "kt.load('model')")
    numbers = team.loaded(eve, "kt.load('alone').nbytes")
    missing = team.kitaru(forgot, "executions")

    assert shared.stdout == "0.0\n", shared.stderr
    assert "UntrustedError" in refused.stderr
    assert numbers.stdout == "40\n", "an array runs no code"
    assert missing.code == 2
    assert "TEAM_SIGNING_KEY" in missing.stderr


def wait_for_text(path: Path) -> None:
    """Until the running cell has written something to `path`."""
    until(lambda: path.exists() and path.read_text(), str(path))
