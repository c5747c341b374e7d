"""The JupyterLab extension as it is shipped: built, current, small, and found by JupyterLab."""

from __future__ import annotations

import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "labextension"
CATALOGUE = runpy.run_path(str(FOLDER / "catalogue.py"))
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


def test_the_template_for_translators_holds_every_text() -> None:
    committed = CATALOGUE["TEMPLATE"].read_text(encoding="utf-8")

    assert committed == CATALOGUE["template"](), "run `make catalogue` and commit what it writes"


def test_the_template_is_one_that_gettext_reads() -> None:
    with CATALOGUE["TEMPLATE"].open("rb") as file:
        known = {(message.context, message.id) for message in read_po(file) if message.id}

    assert known == {(context, text) for _, text, context in CATALOGUE["texts"]()}
    assert {("settings", "Go on after an answer"), (None, ("%1 day", "%1 days")), (None, "Kitaru")} <= known


def test_no_call_of_the_translation_escapes_the_template() -> None:
    """Each has a text that stands in it as such, and a form that JupyterLab's own tool knows, too."""
    sources = [path for path in (FOLDER / "src").rglob("*.ts*") if "__tests__" not in path.parts]
    call = re.compile(r"(?<![\w.])(?:this\._)?trans\._[_np]+\(")
    calls = sum(len(call.findall(path.read_text(encoding="utf-8"))) for path in sources)

    assert calls == sum(place.startswith("labextension/src/") for place, _, _ in CATALOGUE["texts"]())


def test_texts_are_looked_up_under_one_name() -> None:
    index = (FOLDER / "src" / "index.ts").read_text(encoding="utf-8")
    schema = json.loads((FOLDER / "schema" / "kitaru.json").read_text(encoding="utf-8"))

    assert f".load('{CATALOGUE['DOMAIN']}')" in index
    assert schema["jupyter.lab.internationalization"]["domain"] == CATALOGUE["DOMAIN"]


def test_no_lock_names_a_registry() -> None:
    """Packages come from wherever the machine that builds is told to get them."""
    assert not (FOLDER / "package-lock.json").exists()
    assert "://" not in (FOLDER / "yarn.lock").read_text(encoding="utf-8")
    assert "://" not in (FOLDER / ".yarnrc.yml").read_text(encoding="utf-8")
