"""A team's stack from the command line: a real PostgreSQL, a real kernel, one run cut short and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kitaru_nb.stacks.checking import check_stack
from kitaru_nb.stacks.launcher import Handle, JobState, RunSpec
from kitaru_nb.stacks.local_launcher import LocalLauncher
from kitaru_nb.stacks.settings import resolve
from tests.postgres_server import PostgresServer


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KITARU_NB_CONFIG", str(tmp_path / "config"))
    return folder


def kitaru(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kitaru_nb", *words], capture_output=True, text=True, check=False
    )


def document(*words: str, code: int = 0) -> Any:
    done = kitaru(*words, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@pytest.mark.further
def test_a_notebook_runs_and_resumes_on_a_teams_stack(
    project: Path, tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_server.schema("team_run")
    values = tmp_path / "values"
    assert document("stack", "create", "team", "--journal", url, "--store", str(values), "--project")
    assert document("stack", "use", "team", "--project")["current"] == "team"
    checked = document("stack", "check")
    assert checked["ok"]
    assert [part["part"] for part in checked["parts"]] == ["journal", "store", "launcher"]
    assert [part.name for part in values.rglob(".probe*")] == []
    cells = [
        "print('paid', file=open('paid.txt', 'a'))\nanswer = 41",
        "import os\nif not os.path.exists('mended'): raise ValueError('not yet')\nanswer += 1",
        "print(answer)",
    ]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(nb, project / "job.ipynb")

    first = kitaru("run", "job.ipynb", "--no-progress")
    (project / "mended").touch()
    second = kitaru("run", "job.ipynb", "--no-progress")

    assert first.returncode == 1, first.stderr
    assert second.returncode == 0, second.stderr
    assert "42" in (project / "job.out.ipynb").read_text(encoding="utf-8")
    assert (project / "paid.txt").read_text().count("paid") == 1
    assert len(document("executions")) == 1
    assert document("show", "latest")["checkpoints"][0]["status"] == "restored"
    assert not (Path(os.environ["KITARU_NB_HOME"]) / "journal.db").exists()
    monkeypatch.setenv("KITARU_NB_STACK", "local")
    assert document("stack", "current")["name"] == "local"


@pytest.mark.further
def test_a_journal_on_a_server_without_a_store_for_all_is_warned_of(
    project: Path, postgres_server: PostgresServer
) -> None:
    url = postgres_server.schema("parted")
    document("stack", "create", "team", "--journal", url, "--project")
    document("stack", "use", "team", "--project")
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("a = 1")]), project / "job.ipynb"
    )

    (_, store, _) = document("stack", "check")["parts"]
    diagnosis = document("doctor")
    done = kitaru("run", "job.ipynb", "--no-progress")

    assert store["ok"]
    assert "stay on this machine" in store["notes"][0]
    assert "s3://bucket/prefix" in store["notes"][0]
    assert "values-on-one-machine" in [warning["kind"] for warning in diagnosis["warnings"]]
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("stay on this machine") == 1


def test_an_execution_goes_from_a_laptop_to_a_team_and_back_in_a_file(
    project: Path, tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_server.schema("team_import")
    document("stack", "create", "team", "--journal", url, "--store", str(tmp_path / "values"), "--project")
    nb = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("import os\nblob = os.urandom(300_000)\nrows = [[1], [2]]")]
    )
    nbformat.write(nb, project / "job.ipynb")
    assert kitaru("run", "job.ipynb", "--no-progress").returncode == 0
    id_ = document("export", "latest", "here.kitaru")["execution"]
    monkeypatch.setenv("KITARU_NB_STACK", "team")

    arrived = document("import", "here.kitaru")
    again = document("import", "here.kitaru")
    document("export", id_, "there.kitaru")

    assert arrived["executions"] == [{"id": id_, "new": True}]
    assert (again["checkpoints"], again["artifacts"]) == (0, 0)
    assert arrived["signed_by"][0]["trusted"], "the same user's key"
    assert kitaru("artifact", f"{id_}/blob/rows").stdout.endswith("[[1], [2]]\n")
    assert kitaru("store", "verify").returncode == 0
    assert (project / "here.kitaru").read_bytes() == (project / "there.kitaru").read_bytes()


def test_a_stack_that_does_not_work_is_told_part_by_part(project: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = f"postgresql://ana@/work?host={tmp_path}"
    document("stack", "create", "team", "--journal", nowhere, "--store", str(tmp_path / "file" / "x"))

    found = document("stack", "check", "team", code=1)

    assert [part["problem"]["kind"] for part in found["parts"]] == [
        "journal-unreachable",
        "home-not-writable",
    ]
    assert all(part["problem"]["hint"] for part in found["parts"])


def test_stacks_are_made_listed_and_removed(project: Path) -> None:
    document("stack", "create", "a", "--store", "s3://bucket/a", "--option", "region", "eu-west-1")
    refused = kitaru("stack", "create", "b", "--option", "secret_access_key", "abc", "--json")
    listed = document("stack", "list")
    document("stack", "use", "a")
    document("stack", "delete", "a")

    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"]["kind"] == "secret-in-stack-file"
    assert [(each["name"], each["current"]) for each in listed] == [("local", True), ("a", False)]
    assert document("stack", "current")["name"] == "local"
    assert document("stack", "show", "a", code=2)["error"]["kind"] == "unknown-stack"


@pytest.mark.further
def test_a_worker_that_would_refuse_what_is_signed_here_is_found_by_the_check(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another home, another key: nothing that is sent along would be run there, and that is said at once."""

    class Away(LocalLauncher):
        def submit(self, spec: RunSpec) -> Handle:
            return super().submit(replace(spec, env={**spec.env, "KITARU_NB_CONFIG": str(tmp_path / "away")}))

    monkeypatch.chdir(project)
    monkeypatch.setattr("kitaru_nb.stacks.checking.launcher_of", Away)
    Path("kitaru_nb.toml").write_text('[stacks.team]\nstore = "values"\n')

    strange = check_stack(resolve(stack="team")).parts[-1]
    monkeypatch.setenv("TEAM_SIGNING_KEY", "0123456789abcdef" * 4)
    Path("kitaru_nb.toml").write_text(
        '[stacks.team]\nstore = "values"\nsigning_key = "secret:env:TEAM_SIGNING_KEY"\n'
    )
    shared = check_stack(resolve(stack="team")).parts[-1]

    assert strange.problem is not None
    assert strange.problem["kind"] == "untrusted-bundle"
    assert "TEAM_SIGNING_KEY" in strange.problem["hint"]
    assert shared.ok, shared.problem


def test_a_check_that_is_given_up_leaves_nothing_in_the_queue(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled: list[Handle] = []

    class Busy(LocalLauncher):
        def submit(self, spec: RunSpec) -> Handle:
            return Handle("in the queue")

        def poll(self, handle: Handle) -> JobState:
            raise KeyboardInterrupt

        def cancel(self, handle: Handle) -> None:
            cancelled.append(handle)

    monkeypatch.setattr("kitaru_nb.stacks.checking.launcher_of", Busy)

    with pytest.raises(KeyboardInterrupt):
        check_stack(resolve())

    assert cancelled == [Handle("in the queue")]
