"""`schedule show`, as it is typed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml

from kitaru_nb.cli.main import main


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "night ly.ipynb"
    path.write_text("{}", encoding="utf-8")
    return path


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(["schedule", "show", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["cron", "systemd", "k8s", "slurm"])
def test_the_command_runs_the_notebook_from_anywhere(kind: str, notebook: Path, capsys) -> None:
    options = ["-p", "year", "2026", "--tag", "nightly", "-o", "out.ipynb"]

    told = shown(capsys, notebook.name, "--as", kind, *options)

    command = told["command"][told["command"].index("run") :]
    output = str(notebook.parent / "out.ipynb")
    assert command[:9] == ["run", str(notebook), "-o", output, "-p", "year", "2026", "--tag", "nightly"]
    assert ("--suspend-exit" in command) is (kind in ("k8s", "slurm"))
    assert (told["as"], told["at"], told["folder"]) == (kind, "0 2 * * *", str(notebook.parent))


def test_what_is_printed_is_the_text_itself(notebook: Path, capsys) -> None:
    assert main(["schedule", "show", notebook.name, "--as", "cron", "--at", "@daily"]) == 0

    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert line.startswith(f"0 0 * * * cd {notebook.parent} && ")
    assert shlex.split(line)[-3:] == ["run", str(notebook), "--no-progress"]


def test_a_cronjob_is_yaml_with_its_notes(notebook: Path, capsys) -> None:
    assert main(["schedule", "show", notebook.name, "--as", "k8s", "--image", "registry/nb:1"]) == 0

    job = yaml.safe_load(capsys.readouterr().out)
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert (job["kind"], container["image"]) == ("CronJob", "registry/nb:1")
    assert container["command"][:3] == ["kitaru-nb", "run", str(notebook)]


def test_secrets_of_the_stack_are_named_and_never_written(notebook: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("TEAM_PASSWORD", "a-very-secret-thing")
    Path("kitaru_nb.toml").write_text(
        '[stacks.team]\njournal = "postgresql://ana@db.example/work"\n'
        'journal_password = "secret:env:TEAM_PASSWORD"\n'
    )

    told = shown(capsys, notebook.name, "--as", "k8s", "--stack", "team")

    assert told["needs"] == ["TEAM_PASSWORD"]
    assert "secretKeyRef" in told["files"][0]["text"]
    assert "a-very-secret-thing" not in json.dumps(told)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["missing.ipynb", "--as", "cron"], "no-notebook"),
        (["night ly.ipynb", "--as", "cron", "--at", "tomorrow"], "bad-schedule"),
        (["night ly.ipynb", "--as", "cron", "-p", "api_key", "abc"], "secret-in-schedule"),
        (["night ly.ipynb", "--as", "cron", "-p", "a", "x\ny"], "unwritable-schedule"),
        (["night ly.ipynb", "--as", "cron", "--stack", "nowhere"], "unknown-stack"),
        (["night ly.ipynb"], None),
        (["night ly.ipynb", "--as", "windows"], None),
    ],
)
def test_what_cannot_be_scheduled_is_refused(
    words: list[str], kind: str | None, notebook: Path, capsys
) -> None:
    code = main(["schedule", "show", *words, "--json"])

    error = json.loads(capsys.readouterr().out)["error"]
    assert code == 2
    assert kind is None or error["kind"] == kind
