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


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_reference(verb: str) -> None:
    assert f"\n## `{verb}`\n" in page("cli")


def test_the_reference_has_no_verb_that_does_not_exist() -> None:
    assert set(re.findall(r"^## `([\w-]+)`$", page("cli"), re.MULTILINE)) <= set(VERBS)


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
