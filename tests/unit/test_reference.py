"""The reference is complete: what a user can type is on its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kitaru_nb.cli.main import app
from kitaru_nb.notebook import extension
from kitaru_nb.stacks import settings
from kitaru_nb.stacks.outcome import Exit

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
VERBS = [name for name in app if not name.startswith("-")]
MAGICS = [("%%" if kind == "cell" else "%") + name for kind, name in extension._MAGICS]


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text(encoding="utf-8")


def section(verb: str) -> str:
    """What the page says under the heading of `verb`."""
    return page("cli").partition(f"\n## `{verb}`\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[str]:
    """The first cell of each row of a table."""
    return re.findall(r"^\| ([^|]*) \|", text, re.MULTILINE)


def options(verb: str) -> set[str]:
    """The options that `verb` takes on the command line."""
    arguments = app[verb].assemble_argument_collection(default_parameter=app.default_parameter)
    return {name for argument in arguments for name in argument.names if name.startswith("-")}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_reference(verb: str) -> None:
    assert f"\n## `{verb}`\n" in page("cli")


def test_the_reference_has_no_verb_that_does_not_exist() -> None:
    assert set(re.findall(r"^## `([\w-]+)`$", page("cli"), re.MULTILINE)) <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_section_has_its_options_and_no_others(verb: str) -> None:
    taken = {name for name in options(verb) if name != "--json"}

    written = set(re.findall(r"`(--?[a-z][\w-]*)`", "".join(rows(section(verb)))))

    assert written == taken


@pytest.mark.parametrize("code", Exit, ids=lambda code: code.name)
def test_every_exit_code_is_in_the_reference(code: Exit) -> None:
    assert f"\n| {int(code)} |" in page("cli")


@pytest.mark.parametrize("magic", MAGICS)
def test_every_magic_is_in_the_reference(magic: str) -> None:
    assert f"\n## `{magic}`\n" in page("magics")


@pytest.mark.parametrize("magic", extension._HELP)
def test_every_option_in_a_magics_help_is_in_the_reference(magic: str) -> None:
    options = set(re.findall(r"--[a-z][a-z-]+", extension._HELP[magic]))

    assert {option for option in options if f"`{option}" not in page("magics")} == set()


@pytest.mark.parametrize("name", settings.NAMES)
def test_every_setting_is_in_the_reference(name: str) -> None:
    assert f"| `{name}` | `KITARU_NB_{name.upper()}` |" in page("settings")


def test_each_test_that_a_fault_names_is_there() -> None:
    tests = REFERENCE.parents[1] / "tests"
    suite = REFERENCE.parents[1] / "kitaru_nb" / "testing" / "launcher_suite.py"
    promises = (REFERENCE.parent / "explanation" / "promises.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/.]+)::(test_\w+)`", promises)

    assert len(named) > 15
    for place, name in named:
        file = suite if place == "LauncherSuite" else tests / place
        assert f"def {name}(" in file.read_text(encoding="utf-8"), f"{place}::{name}"
