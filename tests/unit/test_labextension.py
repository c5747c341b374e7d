"""The JupyterLab extension as it is shipped: built, current, small, and found by JupyterLab."""

from __future__ import annotations

import json
import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "labextension"
MODULE = runpy.run_path(str(FOLDER / "stamp.py"))
PACKAGE = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))
LARGEST = 500_000


def test_the_committed_assets_are_built_from_the_committed_sources() -> None:
    committed = json.loads((FOLDER / "stamp.json").read_text(encoding="utf-8"))

    assert committed == MODULE["stamp"](), "run `make labextension` and commit what it writes"


def test_the_stamp_tells_another_source(tmp_path: Path) -> None:
    one = FOLDER / "src" / "index.ts"
    files = list(MODULE["sources"]())

    assert one in files
    assert not any("__tests__" in path.parts for path in files)
    assert MODULE["digest"](iter(files)) != MODULE["digest"](path for path in files if path != one)


def test_the_assets_are_small() -> None:
    assert sum(path.stat().st_size for path in MODULE["assets"]()) <= LARGEST


def test_the_wheel_puts_them_where_jupyterlab_looks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    place = f"share/jupyter/labextensions/{PACKAGE['name']}"

    assert shared["labextension/assets"] == place
    assert shared["labextension/install.json"] == f"{place}/install.json"
    assert (FOLDER / PACKAGE["jupyterlab"]["outputDir"]).samefile(FOLDER / "assets")


def test_its_version_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert PACKAGE["version"] == project["project"]["version"]


@pytest.mark.parametrize("style", sorted((FOLDER / "style").glob("*.css")), ids=lambda path: path.name)
def test_colours_are_the_themes(style: Path) -> None:
    text = style.read_text(encoding="utf-8")

    assert not [line for line in text.splitlines() if ": #" in line or "rgb(" in line.replace("in srgb,", "")]


def test_every_command_of_menus_and_shortcuts_exists() -> None:
    schema = (FOLDER / "schema" / "kitaru.json").read_text(encoding="utf-8")
    commands = (FOLDER / "src" / "commands.ts").read_text(encoding="utf-8")
    named = {part.split('"')[0] for part in schema.split('"command": "')[1:]}

    assert named
    assert all(f"'{name}'" in commands for name in named)


def test_no_lock_names_a_registry() -> None:
    """Packages come from wherever the machine that builds is told to get them."""
    assert not (FOLDER / "package-lock.json").exists()
    assert "://" not in (FOLDER / "yarn.lock").read_text(encoding="utf-8")
    assert "://" not in (FOLDER / ".yarnrc.yml").read_text(encoding="utf-8")
