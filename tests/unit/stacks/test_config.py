from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kitaru_nb.errors import KitaruError, UsageError
from kitaru_nb.model.stack import LOCAL
from kitaru_nb.stacks.config import read_stacks, reveal, reveal_signing_key
from kitaru_nb.stacks.editing import add_stack, remove_stack, set_use
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve

TEAM = """
# what the team agreed on
use = "team"

[stacks.team]
store = "s3://bucket/prefix"
journal = "postgresql://ana@db.example/work"
journal_password = "secret:env:TEAM_PASSWORD"
signing_key = "secret:env:TEAM_KEY"
[stacks.team.options]
region = "eu-west-1"
allow_http = true
[stacks.team.settings]
lease = "2m"
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"KITARU_NB_CONFIG": str(tmp_path / "config")}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "notebooks").mkdir(parents=True)
    return folder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_there_is_the_local_stack(project: Path, environ: dict[str, str]) -> None:
    files = read_stacks(project, environ)

    assert files.stacks == {"local": LOCAL}
    assert resolve(environ=environ, cwd=project).place == LOCAL


@pytest.mark.parametrize("name", ["kitaru_nb.toml", ".kitaru_nb/stacks.toml"])
def test_a_projects_file_counts_in_its_folders(name: str, project: Path, environ: dict[str, str]) -> None:
    path = write(project / name, TEAM)

    settings = resolve(environ=environ, cwd=project / "notebooks")

    assert settings.stack == "team"
    assert settings.sources["stack"] == str(path)
    assert settings.place is not None
    assert settings.place.options == {"region": "eu-west-1", "allow_http": "true"}
    assert (settings.lease, settings.sources["lease"]) == (120.0, f"stack team in {path}")


def test_the_projects_file_counts_before_the_users(project: Path, environ: dict[str, str]) -> None:
    user = Path(environ["KITARU_NB_CONFIG"]) / "stacks.toml"
    write(user, 'use = "own"\n[stacks.own]\nstore = "/own"\n[stacks.team]\nstore = "/mine"\n')
    write(project / "kitaru_nb.toml", TEAM)

    files = read_stacks(project, environ)

    assert list(files.stacks) == ["local", "own", "team"]
    assert files.stacks["team"].store == "s3://bucket/prefix"
    assert resolve(environ=environ, cwd=project).stack == "team"
    assert resolve(environ=environ, cwd=project.parent).stack == "own"


@pytest.mark.parametrize("how", ["argument", "environment", "pyproject"])
def test_what_is_stronger_than_a_file_chooses_the_stack(
    how: str, project: Path, environ: dict[str, str]
) -> None:
    write(project / "kitaru_nb.toml", TEAM)
    overrides = {"stack": "local"} if how == "argument" else {}
    if how == "environment":
        environ["KITARU_NB_STACK"] = "local"
    if how == "pyproject":
        write(project / "pyproject.toml", '[tool.kitaru_nb]\nstack = "local"\n')

    settings = resolve(environ=environ, cwd=project, **overrides)

    assert (settings.stack, settings.place, settings.lease) == ("local", LOCAL, 30.0)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ('journal = "postgresql://ana:hunter2hunter2@db/work"', 'journal_password = "secret:env:'),
        ('journal = "postgresql://ana@db/work?password=hunter2hunter2"', 'journal_password = "secret:env:'),
        ('journal_password = "hunter2hunter2"', "secret:env:JOURNAL_PASSWORD"),
        ('signing_key = "abcdefabcdef"', "secret:env:SIGNING_KEY"),
        ('options = { secret_access_key = "abc" }', "secret:env:SECRET_ACCESS_KEY"),
        ('options = { token = "abc" }', "secret:env:TOKEN"),
        (
            'options = { connection_string = "AccountName=a;AccountKey=hunter2" }',
            "secret:env:CONNECTION_STRING",
        ),
        ('options = { sas_key = "sv=1&sig=hunter2" }', "secret:env:SAS_KEY"),
        ('options = { service_account_key = "{}" }', "secret:env:SERVICE_ACCOUNT_KEY"),
        ('options = { client_secret = "hunter2" }', "secret:env:CLIENT_SECRET"),
        ('options = { endpoint = "https://a.example/?sig=hunter2" }', "secret:env:ENDPOINT"),
        ('options = { anything = "AKIA' + "A" * 16 + '" }', "secret:env:ANYTHING"),
    ],
)
def test_a_secret_that_is_written_out_is_refused_and_not_shown(
    line: str, hint: str, project: Path, environ: dict[str, str]
) -> None:
    write(project / "kitaru_nb.toml", f"[stacks.team]\n{line}\n")

    with pytest.raises(UsageError) as caught:
        read_stacks(project, environ)

    assert caught.value.kind == "secret-in-stack-file"
    assert hint in caught.value.hint
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "kind", "hint"),
    [
        ('[stacks.team]\nstroe = "/x"\n', "unknown-stack-key", "store"),
        ("[stacks.team]\nstore = 5\n", "bad-stack-file", "mend"),
        ('[stacks.local]\nstore = "/x"\n', "bad-stack-file", "mend"),
        ("[stacks.team\n", "bad-stack-file", "mend"),
        ("stacks = 1\n", "bad-stack-file", "mend"),
        ('[stack.team]\nstore = "/x"\n', "bad-stack-file", "mend"),
        ('[stacks.team]\nlauncher = "moon"\n', "unknown-launcher", "local"),
    ],
)
def test_a_mistake_in_a_file_is_named(
    text: str, kind: str, hint: str, project: Path, environ: dict[str, str]
) -> None:
    path = write(project / "kitaru_nb.toml", text)

    with pytest.raises(UsageError, match=str(path)) as caught:
        read_stacks(project, environ)

    assert caught.value.kind == kind
    assert hint in caught.value.hint


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_KEY", "open sesame")

    assert reveal("secret:env:TEAM_KEY", what="the key") == "open sesame"
    assert reveal("eu-west-1", what="the region") == "eu-west-1"
    with pytest.raises(UsageError, match="MISSING_ONE, which is not set"):
        reveal("secret:env:MISSING_ONE", what="the key")


@pytest.mark.parametrize("name", ["PATH", "LANG", "HOSTNAME", "PYTHONPATH"])
def test_nobody_signs_with_a_variable_that_others_can_guess(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/usr/local/bin:/usr/bin:/bin")
    monkeypatch.setenv("TEAM_SIGNING_KEY", "a phrase that the team knows")

    with pytest.raises(UsageError, match=name) as caught:
        reveal_signing_key(f"secret:env:{name}")

    assert caught.value.kind == "bad-key"
    assert reveal_signing_key("secret:env:TEAM_SIGNING_KEY") == "a phrase that the team knows"


def test_an_edited_file_survives_a_power_cut_and_what_a_killed_process_left(
    tmp_path: Path, synced: Callable[[Path], bool]
) -> None:
    path = tmp_path / "of" / "stacks.toml"
    path.parent.mkdir()
    path.with_name(f".stacks.toml.{os.getpid()}").touch()  # in a container numbers come again

    add_stack(path, "other", {"store": "/values"})

    assert synced(path)
    assert synced(path.parent)


def test_editing_a_file_keeps_what_a_person_wrote(tmp_path: Path) -> None:
    path = write(tmp_path / "stacks.toml", TEAM)

    add_stack(path, "other", {"store": 'a "quoted" \\ folder', "options": {"region": "x"}})
    set_use(path, "other")
    made = read_stacks(tmp_path, {"KITARU_NB_CONFIG": str(tmp_path)})
    remove_stack(path, "other")
    set_use(path, "team")

    assert made.use == ("other", path)
    assert made.stacks["other"].store == 'a "quoted" \\ folder'
    assert made.stacks["other"].options == {"region": "x"}
    assert made.stacks["team"].signing_key == "secret:env:TEAM_KEY"
    again = path.read_text(encoding="utf-8")
    assert "# what the team agreed on" in again
    assert sorted(again.split()) == sorted(TEAM.split())


def test_a_stack_in_folders_records_there(tmp_path: Path, project: Path, environ: dict[str, str]) -> None:
    place = tmp_path / "elsewhere"
    text = f'[stacks.team]\nstore = "../values"\njournal = "sqlite:///{place}/journal.db"\n'
    write(project / "kitaru_nb.toml", text)
    settings = resolve(environ=environ, cwd=project, stack="team", home=tmp_path / "home")

    open_engine(settings).close()

    assert (place / "journal.db").is_file()
    assert not (tmp_path / "home" / "journal.db").exists()


@pytest.mark.parametrize(
    ("line", "kind"), [('store = "ftp://x"', "bad-store-url"), ('journal = "mysql://x/y"', "bad-journal-url")]
)
def test_a_place_of_no_known_kind_is_refused(
    line: str, kind: str, tmp_path: Path, project: Path, environ: dict[str, str]
) -> None:
    write(project / "kitaru_nb.toml", f"[stacks.team]\n{line}\n")
    settings = resolve(environ=environ, cwd=project, stack="team", home=tmp_path / "home")

    with pytest.raises(KitaruError) as caught:
        open_engine(settings)

    assert caught.value.kind == kind


def test_stacks_that_are_added_at_once_are_all_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "kitaru_nb.toml"
    names = [f"stack-{number}" for number in range(8)]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: add_stack(path, name, {"store": f"s3://b/{name}"}), names))
    with pytest.raises(UsageError) as twice:  # another process was first, after this one had looked
        add_stack(path, names[0], {"store": "s3://b/other"})

    assert set(tomllib.loads(path.read_text())["stacks"]) == set(names)
    assert twice.value.kind == "duplicate-stack"
