"""Which value of a setting wins, and what a bad one says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kitaru_nb.errors import UsageError
from kitaru_nb.model.settings import RerunLimit
from kitaru_nb.stacks.settings import NAMES, parse_duration, resolve, table_in


def project(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text)
    return folder


def test_without_any_choice_the_home_is_the_users_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    settings = resolve(environ={}, cwd=tmp_path)

    assert settings.home.name == "kitaru-nb"
    assert set(settings.sources.values()) == {"default"}
    assert tuple(settings.sources) == NAMES


def test_an_argument_wins_over_the_environment_and_that_over_the_project(tmp_path: Path) -> None:
    project(tmp_path, '[tool.kitaru_nb]\nhome = "p"\nstack = "p"\nlease = 61\n')
    environ = {"KITARU_NB_HOME": "/e", "KITARU_NB_STACK": "e"}

    settings = resolve(environ=environ, cwd=tmp_path, home="/a")

    assert (settings.home, settings.stack, settings.lease) == (Path("/a"), "e", 61.0)
    assert settings.sources["home"] == "argument"
    assert settings.sources["stack"] == "KITARU_NB_STACK"
    assert settings.sources["lease"] == str(tmp_path / "pyproject.toml")
    assert settings.sources["heartbeat"] == "default"


def test_a_relative_home_starts_where_it_was_written(tmp_path: Path) -> None:
    project(tmp_path, '[tool.kitaru_nb]\nhome = ".kitaru"\n')
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)

    from_project = resolve(environ={}, cwd=inner)
    from_environment = resolve(environ={"KITARU_NB_HOME": "x/../here"}, cwd=inner)

    assert from_project.home == tmp_path / ".kitaru"
    assert from_environment.home == inner / "here"


def test_a_tilde_is_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert resolve(environ={"KITARU_NB_HOME": "~/k"}, cwd=tmp_path).home == tmp_path / "k"


def test_an_inner_project_without_our_table_does_not_hide_the_outer_one(tmp_path: Path) -> None:
    project(tmp_path, '[tool.kitaru_nb]\nlease = "2m"\n')
    inner = tmp_path / "inner"
    inner.mkdir()
    project(inner, "[project]\nname = 'x'\n")

    assert resolve(environ={}, cwd=inner).lease == 120.0


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert resolve(environ={"KITARU_NB_STACK": ""}, cwd=tmp_path).sources["stack"] == "default"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"KITARU_NB_LEASE": "soon"}, "KITARU_NB_LEASE"),
        ({"KITARU_NB_LEASE": "-3"}, "KITARU_NB_LEASE"),
        ({"KITARU_NB_HEARTBEAT": "inf"}, "KITARU_NB_HEARTBEAT"),
        ({"KITARU_NB_HEARTBEAT": "45"}, "KITARU_NB_HEARTBEAT"),
        ({"KITARU_NB_HOME": "~no-such-user-here/x"}, "KITARU_NB_HOME"),
        ({"KITARU_NB_KEEP_DAYS": "-1"}, "KITARU_NB_KEEP_DAYS"),
        ({"KITARU_NB_KEEP_DAYS": "nan"}, "KITARU_NB_KEEP_DAYS"),
        ({"KITARU_NB_KEEP_DAYS": "inf"}, "KITARU_NB_KEEP_DAYS"),
    ],
)
def test_a_bad_variable_is_named(environ: dict[str, str], named: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        resolve(environ=environ, cwd=tmp_path)

    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "[tool.kitaru_nb]\nhom = 'x'\n",
        "[tool.kitaru_nb]\nhome = 3\n",
        "[tool.kitaru_nb]\nlease = true\n",
        "[tool.kitaru_nb\n",
        "[tool]\nkitaru_nb = 3\n",
        "tool = 'kitaru_nb'\n",
    ],
)
def test_a_bad_project_file_is_named(text: str, tmp_path: Path) -> None:
    project(tmp_path, text)

    with pytest.raises(UsageError) as caught:
        resolve(environ={}, cwd=tmp_path)

    assert str(tmp_path / "pyproject.toml") in caught.value.message


def test_another_tools_broken_project_file_is_none_of_our_business(tmp_path: Path) -> None:
    project(tmp_path, "[broken\n")

    assert resolve(environ={}, cwd=tmp_path).sources["home"] == "default"


def test_a_misspelt_setting_suggests_the_right_one(tmp_path: Path) -> None:
    project(tmp_path, "[tool.kitaru_nb]\nhom = 'x'\n")

    with pytest.raises(UsageError) as caught:
        resolve(environ={}, cwd=tmp_path)

    assert (caught.value.kind, caught.value.hint) == ("unknown-setting", "home")


def test_an_unknown_argument_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no setting `colour`"):
        resolve(environ={}, cwd=tmp_path, colour="red")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), (90, 90), ("30s", 30), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("250ms", 0.25)],
)
def test_a_length_of_time_is_read(text: object, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "m", "10 parsecs", "0", "-1s", "nan", None, True, "1h x"])
def test_what_is_no_length_of_time_is_refused(text: object) -> None:
    with pytest.raises(UsageError, match="--timeout"):
        parse_duration(text, what="--timeout")


def test_what_a_notebook_chooses_wins_over_the_project(tmp_path: Path) -> None:
    project(tmp_path, '[tool.kitaru_nb]\nbudget = 5\nllm_bodies = "redact"\n')
    table = {"budget": 7, "strict_env": True, "confirm_rerun": "10s"}

    settings = resolve(environ={}, cwd=tmp_path, in_notebook=table)

    assert (settings.budget, settings.llm_bodies, settings.strict_env) == (7.0, "redact", True)
    assert settings.confirm_rerun == RerunLimit(10.0, None)
    assert settings.sources["budget"] == settings.sources["confirm_rerun"] == "notebook metadata"
    assert settings.sources["llm_bodies"] == str(tmp_path / "pyproject.toml")


def test_an_argument_and_the_environment_win_over_the_notebook(tmp_path: Path) -> None:
    table = {"budget": 1, "llm_bodies": "off"}

    settings = resolve(environ={"KITARU_NB_BUDGET": "9"}, cwd=tmp_path, in_notebook=table, llm_bodies="store")

    assert (settings.budget, settings.llm_bodies) == (9.0, "store")


@pytest.mark.parametrize(
    "name", sorted({*NAMES} - {"budget", "confirm_rerun", "strict_env", "paranoid", "llm_bodies"})
)
def test_a_notebook_cannot_choose_places_nor_whom_to_tell(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"a notebook cannot choose `{name}`"):
        resolve(environ={}, cwd=tmp_path, in_notebook={name: "x"})


@pytest.mark.parametrize(
    ("table", "kind"),
    [({"bugdet": 5}, "unknown-setting"), ({"budget": -1}, "bad-budget"), ("x", "bad-setting")],
)
def test_what_is_wrong_in_a_notebook_is_refused_as_in_a_project(
    tmp_path: Path, table: object, kind: str
) -> None:
    with pytest.raises(UsageError, match=r"notebook.*metadata") as refused:
        resolve(environ={}, cwd=tmp_path, in_notebook=table)

    assert refused.value.kind == kind


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [({"kitaru_nb": {"budget": 5}}, {"budget": 5}), ({"name": "kitaru_nb"}, {}), ({}, None)],
)
def test_the_table_is_read_from_the_notebooks_file(
    tmp_path: Path, metadata: object, expected: object
) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [], "metadata": metadata}))

    assert table_in(path) == expected


@pytest.mark.parametrize("content", ['"kitaru_nb"', '["kitaru_nb"', '{"kitaru_nb": 1}'])
def test_a_file_that_is_no_notebook_has_no_table(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(content)

    assert table_in(path) is None
    assert table_in(tmp_path / "none.ipynb") is None
