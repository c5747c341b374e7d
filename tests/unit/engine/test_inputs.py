"""What a cell depends on, as things stand."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.engine.inputs import Dependencies, Inputs
from kitaru_nb.engine.namespace import Namespace
from kitaru_nb.errors import UnstorableError, UsageError
from tests.unit.engine.kernel import cell_of


def inputs(folder: Path, before: str = "", **values: Any) -> Inputs:
    live: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins, **values}
    exec(before, live)
    return Inputs(Namespace(live), folder)


def needs(folder: Path, source: str, before: str = "", **values: Any) -> Dependencies:
    found = inputs(folder, before, **values)
    return found.of(cell_of(source), found._namespace.observe())


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of the project."""
    file = tmp_path / "kt_helper.py"
    file.write_text("def go(): return 1\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield file
    sys.modules.pop("kt_helper", None)


BEFORE = "a = [1]; b = 2; c = 3\ndef f(): return a"


@pytest.mark.parametrize(
    ("source", "reads", "touched"),
    [
        ("x = b", {"b"}, {"b", "x"}),
        ("x = f()", {"f", "a"}, {"f", "a", "x"}),
        ("del c", {"c"}, {"c"}),
        ("x = 1", set(), {"x"}),
        ("exec('x = 1')", {"a", "b", "c", "f"}, {"a", "b", "c", "f"}),
        ("later()", set(), set()),
    ],
)
def test_what_a_cell_reads_and_can_touch(
    source: str, reads: set[str], touched: set[str], tmp_path: Path
) -> None:
    found = needs(tmp_path, source, BEFORE)

    assert {name for names in found.reads for name in names.split(",")} == reads
    assert found.touched - {"later"} == touched


@pytest.mark.parametrize(
    ("source", "before", "same"),
    [
        ("x = b", "a = 5; b = 2", True),
        ("x = b  # as it was", "b = 2", True),
        ("x = b", "b = 3", False),
        ("b;", "b = 2", False),
        ("x = c", "b = 2; c = 2", False),
    ],
)
def test_the_key_is_made_of_the_code_and_of_what_it_reads(
    source: str, before: str, same: bool, tmp_path: Path
) -> None:
    known = needs(tmp_path, "b" if source == "b;" else "x = b", "b = 2")

    found = needs(tmp_path, source, before)

    assert (found.keys == known.keys) is same


def test_a_loop_variable_of_its_own_gives_a_second_key_that_of_a_run_without_it(tmp_path: Path) -> None:
    loop = "for row in rows: pass\nprint(row)"
    first = needs(tmp_path, loop, "rows = [1]")
    again = needs(tmp_path, loop, "rows = [1]; row = 1")

    assert len(first.keys) == 1
    assert len(again.keys) == 2
    assert again.keys[1] == first.keys[0]


def test_a_loop_variable_that_something_else_reads_has_one_key(tmp_path: Path) -> None:
    loop = "for row in rows: pass\nprint(row, f())"

    found = needs(tmp_path, loop, "rows = [1]; row = 1\ndef f(): return row")

    assert len(found.keys) == 1


def test_a_name_that_is_only_read_has_one_key(tmp_path: Path) -> None:
    assert len(needs(tmp_path, "print(row)", "row = 1; x = 2").keys) == 1


def test_modules_that_a_cell_reaches_by_a_name_or_imports(tmp_path: Path) -> None:
    found = needs(tmp_path, "import string\nx = j.dumps(1)", "import json as j, random")

    assert found.uses == {"json", "string"}
    assert found.modules == {}


def test_a_module_of_the_project_counts_with_its_source(helper: Path, tmp_path: Path) -> None:
    found = needs(tmp_path, "x = kt_helper.go()", "import kt_helper")
    helper.write_text("def go(): return 2\n", "utf-8")
    sys.modules.pop("kt_helper")
    other = needs(tmp_path, "x = kt_helper.go()", "import kt_helper")

    assert [module.path for module in found.modules.values()] == [helper]
    assert found.keys != other.keys
    assert needs(tmp_path / "elsewhere", "x = kt_helper.go()", "import kt_helper").modules == {}


def test_a_module_of_the_project_counts_as_it_was_loaded(helper: Path, tmp_path: Path) -> None:
    loaded = inputs(tmp_path, "import kt_helper")
    loaded.fix_modules()
    helper.write_text("def go(): return 2\n", "utf-8")

    found = loaded.of(cell_of("x = kt_helper.go()"), loaded._namespace.observe())

    sys.modules.pop("kt_helper")
    assert found.keys != needs(tmp_path, "x = kt_helper.go()", "import kt_helper").keys


def test_a_module_of_the_project_that_is_made_lazily_counts_as_it_was_loaded(
    helper: Path, tmp_path: Path
) -> None:
    spec = importlib.util.find_spec("kt_helper")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = sys.modules["kt_helper"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    loaded = inputs(tmp_path)
    loaded.fix_modules()
    assert loaded.local == set()
    module.go()
    sys.modules["kt_another"] = types.ModuleType("kt_another")

    loaded.fix_modules()

    del sys.modules["kt_another"]
    assert loaded.local == {"kt_helper"}


def test_a_file_that_it_depends_on_counts_with_its_content(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("1", "utf-8")
    source = f"%%checkpoint --depends {file}\nx = 1"
    first = needs(tmp_path, source)
    assert needs(tmp_path, source).keys == first.keys
    file.write_text("2", "utf-8")

    assert needs(tmp_path, source).keys != first.keys

    file.unlink()
    with pytest.raises(UsageError, match="names no file"):
        needs(tmp_path, source)


def test_a_marker_that_a_cell_reads_is_refused_by_name(tmp_path: Path) -> None:
    marker = Marker("conn", "sqlite3.Connection", "it is open")
    found = inputs(tmp_path, conn=marker, other=Marker("other", "", "was excluded"), x=1)

    reads = found.of(cell_of("y = other, conn"), found._namespace.observe())
    assert reads.markers == ("conn", "other")
    with pytest.raises(UnstorableError, match=r"`step` reads `conn`, a sqlite3.Connection .* it is open"):
        found.refuse_markers(reads, "step")
    with pytest.raises(UnstorableError) as headless:
        found.refuse_markers(reads, "step", headless=True)
    assert (
        headless.value.hint
        == "tag the cell that makes `conn` with no-checkpoint, or declare it with @kt.resource"
    )
    found.refuse_markers(found.of(cell_of("y = x"), found._namespace.observe()), "step")


def test_a_marker_inside_what_a_cell_reads_is_told_by_name_and_part(tmp_path: Path) -> None:
    marker = Marker("cfg", "generator", "it is running")
    found = inputs(tmp_path, "def f(): return cfg", cfg={"deep": [marker], "n": 1}, x=1)

    for source in ("y = str(cfg)", "y = f()", "y = cfg['n']"):
        reads = found.of(cell_of(source), found._namespace.observe())
        found.refuse_markers(reads, "step")
        (said,) = found.hear()
        assert said.startswith("`cfg` was read with a generator inside missing")
    found.refuse_markers(found.of(cell_of("y = x\ncfg = {}"), found._namespace.observe()), "step")
    assert found.hear() == []


@pytest.mark.parametrize(("source", "expected"), [("y = f()", {"f", "a"}), ("eval('a')", None)])
def test_the_names_that_a_plain_cell_reads(source: str, expected: set[str] | None, tmp_path: Path) -> None:
    assert inputs(tmp_path, BEFORE).read_by(ast.parse(source)) == expected
