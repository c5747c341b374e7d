"""The house: locks, recipes, changelog, and nothing of one machine in the tree."""

from __future__ import annotations

import ast
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
SOURCES = sorted(set((ROOT / "requirements").glob("*.in")) - {ROOT / "requirements" / "build.in"})
NOT_OURS = {
    ".git",
    ".hypothesis",
    ".import_linter_cache",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    ".venv-llm2",
    ".venv-llm3",
    ".venv-others",
    ".venv-torch",
    "__pycache__",
    "_build",
    "build",
    "dist",
    "kitaru-demo",
    "node_modules",
}
# Put together here, so that this file does not hold what it looks for.
HOSTS = [
    "pypi" + ".org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "yarn" + "pkg.com",
    "deb.deb" + "ian.org",
]
# Where this checkout and its owner live: a path into either works on one machine alone.
PLACES = [f"{place}/" for place in (ROOT, Path.home()) if place != Path("/")]


def files() -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS and not name.endswith(".egg-info")]
        yield from (Path(folder, name) for name in names if Path(folder, name).is_file())


def name(path: Path) -> str:
    return path.name


def name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def requirements(path: Path) -> list[str]:
    """The requirements of a file, one string each, continuation lines joined."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.lstrip().startswith(("#", "-"))]


def pinned(path: Path) -> set[str]:
    return {name_of(line) for line in requirements(path)}


@pytest.mark.parametrize("needle", HOSTS + PLACES)
def test_no_registry_and_no_machine_is_named_in_the_tree(needle: str) -> None:
    found = [str(path.relative_to(ROOT)) for path in files() if needle.encode() in path.read_bytes()]

    assert found == []


def test_no_merge_was_left_half_done() -> None:
    marker = re.compile(rb"^(<{7}|>{7}) ", re.MULTILINE)

    assert [path.relative_to(ROOT) for path in files() if marker.search(path.read_bytes())] == []


@pytest.mark.parametrize("lock", LOCKS, ids=name)
def test_a_lock_pins_every_package_by_hash_and_names_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")

    assert all("==" in line and "--hash=sha256:" in line for line in requirements(lock))
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)


@pytest.mark.parametrize("source", SOURCES, ids=name)
def test_a_lock_holds_what_its_source_asks_for(source: Path) -> None:
    assert pinned(source) <= pinned(source.with_suffix(".txt"))


# Of these two each has a Python of its own, where it is beside the runtime and nothing else.
ALONE = [ROOT / "requirements" / "llm-2.txt", ROOT / "requirements" / "llm-3.txt"]
TOGETHER = [
    [lock for lock in LOCKS if lock not in ALONE],
    *([ROOT / "requirements" / "runtime.txt", lock] for lock in ALONE),
]


@pytest.mark.parametrize("locks", TOGETHER, ids=lambda locks: locks[-1].stem)
def test_one_package_has_one_version_where_locks_are_installed_together(locks: list[Path]) -> None:
    versions: dict[str, set[str]] = {}
    for line in (line for lock in locks for line in requirements(lock)):
        versions.setdefault(name_of(line), set()).add(line.split()[0].partition("==")[2])

    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_the_runtime_lock_holds_the_projects_dependencies_and_its_build_backend() -> None:
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    asked += requirements(ROOT / "requirements" / "build.in")

    assert {name_of(requirement) for requirement in asked} <= pinned(ROOT / "requirements" / "runtime.txt")


def test_the_demo_lock_is_the_demo_extra() -> None:
    extra = PROJECT["project"]["optional-dependencies"]["demo"]

    assert requirements(ROOT / "requirements" / "demo.in") == extra


def test_every_recipe_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    phony = re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE)
    described = re.findall(r"^([a-z-]+):.* ## \S", makefile, re.MULTILINE)

    assert phony == described


def test_the_ci_script_runs_by_itself_and_calls_recipes_that_exist() -> None:
    script = ROOT / ".ci" / "run"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    recipes = re.findall(r"^make (\S+)$", script.read_text(encoding="utf-8"), re.MULTILINE)

    assert script.stat().st_mode & stat.S_IXUSR
    assert recipes == ["check", "test", "smoke"]
    assert all(re.search(rf"^{recipe}:", makefile, re.MULTILINE) for recipe in recipes)


def test_the_faults_on_the_page_of_promises_are_tried_by_make_test() -> None:
    page = (ROOT / "docs" / "explanation" / "promises.md").read_text(encoding="utf-8")

    named = re.findall(r"`(integration/\w+\.py)::(test_\w+)`", page)
    marks = {name: marks_of(ROOT / "tests" / file, name) for file, name in named}
    whole = marks_of(ROOT / "tests" / "integration" / "test_launchers.py", "TestLocal")

    assert len(named) > 10
    assert [name for name, found in marks.items() if "mark.further" in found or "mark.slow" in found] == []
    assert whole == "", "one launcher runs the suite with all that it has"


def marks_of(file: Path, name: str) -> str:
    """The decorators of a test or of a class of tests."""
    [found] = [
        node
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
    ]
    return "\n".join(
        line for each in found.decorator_list if (line := ast.unparse(each)) and "parametrize" not in line
    )


def test_what_changed_is_told_to_users() -> None:
    fragments = [path.name for path in (ROOT / "docs" / "changes").glob("*.md")]
    released = f"## {PROJECT['project']['version']} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert fragments or released
    assert all(re.fullmatch(r"\d+\.(added|changed|fixed|removed)\.md", fragment) for fragment in fragments)


def test_the_license_is_the_whole_apache_license() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")

    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
