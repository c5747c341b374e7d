"""What is told to be typed can be typed: the verbs, magics and options that a sentence names exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from kitaru_nb.analysis import directive
from kitaru_nb.errors import KitaruError, UsageError, typed_in_a_cell
from kitaru_nb.notebook import extension
from kitaru_nb.stacks import settings
from tests.unit.test_reference import VERBS, options

ROOT = Path(__file__).parents[2]
SOURCES = [p for p in sorted((ROOT / "kitaru_nb").rglob("*.py")) if "testing" not in p.parts]
PAGES = [p for p in sorted((ROOT / "docs").rglob("*.md")) if "changes" not in p.parts]
TEXTS = [*SOURCES, *PAGES, ROOT / "README.md", *sorted((ROOT / "labextension" / "src").rglob("*.ts*"))]
# A command ends where the sentence goes on: with punctuation, a quotation or the line.
_COMMAND = re.compile(r"(?<![\w.%/@-])(?<!install )(kitaru-nb|%kitaru) ([a-z][a-z-]*)\b(?!\.)([^`;,·\n()|]*)")
_MAGIC = re.compile(r"(?<![\w%])%(resume|rewind|replay|why)\b([^`;,·\n()]*)")
_MARK = re.compile(r"%%checkpoint\b([^`;·\n()]*)")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][\w-]*|-[a-zA-Z](?![\w-]))")
_VARIABLE = re.compile(r"\bKITARU_NB_[A-Z_]*[A-Z]\b")
_OF_THE_KERNEL = {"new": set(), "exclude": {"--remove"}}
_PROSE = {"is", "where"}  # of the package, not of the command
_NOT_SETTINGS = {
    "KITARU_NB_BUDGTE",  # a slip of the keys, in an example
    "KITARU_NB_CONFIG",
    "KITARU_NB_CRASH_AT",
    "KITARU_NB_LAB",
    "KITARU_NB_PARENT",
    "KITARU_NB_PLACE",
    "KITARU_NB_SUBMITTER",
}


def strings(path: Path) -> Iterator[str]:
    """What a file can say: the texts in its code, each placeholder a word; all of a page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield text
        return
    inside: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            inside.update(id(part) for part in node.values)
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


SAID = {path: list(strings(path)) for path in TEXTS}
taken_by = cache(options)


@cache
def magic_options(name: str) -> set[str]:
    return set(re.findall(r"--[a-z-]+", extension._HELP[name]))


def wrong(text: str) -> list[str]:
    """What `text` says to type, and nothing takes."""
    found: list[str] = []
    for program, verb, rest in _COMMAND.findall(text):
        if verb in _PROSE:
            continue
        own = _OF_THE_KERNEL.get(verb) if program == "%kitaru" else None
        if own is None and verb not in VERBS:
            found.append(f"{program} {verb}")
            continue
        taken = own if own is not None else taken_by(verb) | {"--json", "--help"}
        found += [f"{program} {verb} {each}" for each in _OPTION.findall(rest) if each not in taken]
    for name, rest in _MAGIC.findall(text):
        taken = magic_options(f"{name}_line")
        found += [f"%{name} {each}" for each in _OPTION.findall(rest) if each not in taken]
    for rest in _MARK.findall(text):
        taken = {*directive._FLAGS, *directive._VALUES}
        found += [f"%%checkpoint {each}" for each in _OPTION.findall(rest) if each not in taken]
    return found


def test_what_a_text_says_to_type_exists() -> None:
    found = {path.relative_to(ROOT).as_posix(): said for path, said in SAID.items()}

    assert {
        path: bad for path, said in found.items() if (bad := [each for text in said for each in wrong(text)])
    } == {}


def test_a_variable_that_a_text_names_is_a_setting() -> None:
    known = {f"KITARU_NB_{name.upper()}" for name in settings.NAMES} | _NOT_SETTINGS
    named = {
        name: path.name for path, said in SAID.items() for text in said for name in _VARIABLE.findall(text)
    }

    assert {
        n: where for n, where in named.items() if n not in known and not n.startswith("KITARU_NB_NOTIFY_")
    } == {}


def test_an_option_that_no_verb_and_no_magic_has_is_seen() -> None:
    said = "kitaru-nb resum EX, `%kitaru run --frsh`; %resume --take; or %%checkpoint load --again"

    assert wrong(said) == [
        "kitaru-nb resum",
        "%kitaru run --frsh",
        "%resume --take",
        "%%checkpoint --again",
    ]


@pytest.mark.parametrize(
    ("in_a_terminal", "in_a_cell"),
    [
        ("kitaru-nb resume ex_1 --budget 3 or more", "%kitaru resume ex_1 --budget 3 or more"),
        ("run it; `kitaru-nb pin ex_1` keeps it", "run it; `%kitaru pin ex_1` keeps it"),
        ("pip install 'kitaru-nb[s3]'", "%pip install 'kitaru-nb[s3]'"),
        ("/a/python -m pip install kitaru-nb", "/a/python -m pip install kitaru-nb"),
        ("KITARU_NB_HOME=/other/folder, or wait", "%env KITARU_NB_HOME=/other/folder, or wait"),
        ("rest, or export KITARU_NB_STACK=local", "rest, or %env KITARU_NB_STACK=local"),
        ("%env KITARU_NB_NOTEBOOK=a.ipynb", "%env KITARU_NB_NOTEBOOK=a.ipynb"),
        ("set KITARU_NB_HOME", "set KITARU_NB_HOME"),
        ("KITARU_NB_STACK='a b' kitaru-nb show latest", "!KITARU_NB_STACK='a b' kitaru-nb show latest"),
        ("%%checkpoint load --fresh", "%%checkpoint load --fresh"),
    ],
)
def test_a_command_is_a_magic_in_a_cell(
    in_a_terminal: str, in_a_cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/bin/kitaru-nb")

    monkeypatch.setattr(KitaruError, "in_cells", staticmethod(typed_in_a_cell))

    (_, typed) = UsageError("it is so", hint=in_a_terminal)._render_traceback_()

    assert typed == f"  Try: {in_a_cell}"
    assert typed_in_a_cell(in_a_cell) == in_a_cell, "what is for a cell already stays as it is"
    assert UsageError("it is so", hint=in_a_terminal).document["error"]["hint"] == in_a_terminal


def test_without_a_path_to_the_command_a_cell_is_told_the_python_that_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("sys.executable", "/a folder/python")

    typed = typed_in_a_cell("KITARU_NB_STACK=far kitaru-nb show latest")

    assert typed == "!KITARU_NB_STACK=far '/a folder/python' -m kitaru_nb show latest"
