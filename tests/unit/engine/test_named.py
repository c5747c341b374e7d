"""Files, folders and patterns that code and values name, for libraries that read past Python."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from kitaru_nb.analysis.outline import Outline, outline_of
from kitaru_nb.engine.named import (
    MOST_FILES,
    conditions_of_trees,
    named_files,
    named_trees,
    paths_in,
    reads_past_python,
    tree_of,
)
from kitaru_nb.engine.observe import Observed, file_holds
from tests.unit.engine.kernel import Start

NOTHING = Outline()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: ``x.csv``, and ``parts`` with ``a.csv``, ``b.csv`` and ``deep/c.csv``."""
    (tmp_path / "parts" / "deep").mkdir(parents=True)
    for name in ("x.csv", "parts/a.csv", "parts/b.csv", "parts/deep/c.csv"):
        (tmp_path / name).write_text("a\n1\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _outline(source: str) -> Outline:
    return outline_of(ast.parse(source))


@dataclass
class Paths:
    path: object


@pytest.mark.parametrize(
    "value",
    [
        Paths(Path("x.csv")),
        Paths("x.csv"),
        SimpleNamespace(inner={"of": Paths("x.csv")}),
        [Paths("x.csv")],
    ],
)
def test_a_path_inside_an_object_names_its_file(value: object, folder: Path) -> None:
    assert named_files(NOTHING, [], ignored=[], texts=[paths_in([value])]).keys() == {str(folder / "x.csv")}


def test_a_text_of_other_code_names_a_file_that_is_there(folder: Path) -> None:
    texts = ["x.csv", "none.csv", "parts", "./parts/a.csv", "a\nb", "", "y" * 5000, str(folder / "x.csv")]

    found = named_files(NOTHING, [], ignored=[], texts=[texts])

    assert found.keys() == {str(folder / "x.csv"), str(folder / "parts" / "a.csv")}


def test_a_path_in_a_query_names_its_file(folder: Path) -> None:
    code = _outline("""duckdb.sql("select * from 'x.csv' where a > 0")""")

    assert named_files(code, [], ignored=[]).keys() == {str(folder / "x.csv")}


def test_a_lazy_frame_and_a_data_set_name_what_they_read() -> None:
    polars, dataset = pytest.importorskip("polars"), pytest.importorskip("pyarrow.dataset")
    lazy = polars.scan_csv("x.csv").join(polars.scan_csv("parts/*.csv"), on="a")

    assert paths_in([lazy]) == {"x.csv", "parts/*.csv"}
    assert paths_in([dataset.dataset("x.csv", format="csv")]) == {"x.csv"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("parts", ["parts"]),
        ("parts/", ["parts"]),
        ("parts/*.csv", ["parts/*.csv"]),
        ("parts/**/*.csv", ["parts/**/*.csv"]),
        ("*.csv", ["*.csv"]),
        ("*", []),
        ("[a-z]+", []),
        (r"(\\w+)[.]csv", []),
        ("x.[a-z]*$", []),
        ("none/*.csv", []),
        ("parts/*.parquet", []),
        ("select * from t", []),
        (".", []),
        ("..", []),
        ("/", []),
    ],
)
def test_what_names_files_together(text: str, expected: list[str], folder: Path) -> None:
    found = named_trees(_outline(f"read({text!r})"), [], ignored=[])

    assert found == tuple(str(folder / each) for each in expected)


def _new(folder: Path) -> None:
    (folder / "parts" / "new.csv").touch()


def _changed(folder: Path) -> None:
    (folder / "parts" / "b.csv").write_text("a\n2\n", "utf-8")


def _deep(folder: Path) -> None:
    (folder / "parts" / "deep" / "c.csv").write_text("a\n2\n", "utf-8")


def _other(folder: Path) -> None:
    (folder / "parts" / "note.txt").touch()


@pytest.mark.parametrize(
    ("path", "change", "expected"),
    [
        ("parts", _new, False),
        ("parts", _changed, False),
        ("parts", _deep, False),
        ("parts/*.csv", _new, False),
        ("parts/*.csv", _changed, False),
        ("parts/*.csv", _deep, True),
        ("parts/*.csv", _other, True),
        ("parts/**/*.csv", _deep, False),
        ("parts/**/*.csv", _new, False),
    ],
)
def test_what_a_folder_or_a_pattern_stands_for_counts(
    path: str, change: Callable[[Path], None], expected: bool, folder: Path
) -> None:
    def told() -> dict[str, str]:
        return dict(conditions_of_trees([tree_of(str(folder / path), ignored=[])], Observed()))

    before = told()
    change(folder)

    assert (told() == before) is expected


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param({"read": {"parts/a.csv"}}, id="it was heard to read one of them"),
        pytest.param({"written": {"parts/out.csv"}}, id="it wrote there"),
        pytest.param({"listed": {("parts", "*"): frozenset()}}, id="it was heard to list it"),
    ],
)
def test_a_folder_does_not_count_that_a_step_is_known_to_have_used(
    observed: dict[str, object], folder: Path
) -> None:
    seen = Observed()
    for name, held in observed.items():
        if isinstance(held, dict):
            seen.listed[str(folder / "parts"), "*"] = frozenset()
        elif isinstance(held, set):
            getattr(seen, name).update(str(folder / path) for path in held)

    assert dict(conditions_of_trees([tree_of(str(folder / "parts"), ignored=[])], seen)) == {}


def test_of_a_folder_with_too_many_files_the_first_count(folder: Path) -> None:
    for number in range(MOST_FILES + 1):
        (folder / "parts" / f"{number}.csv").touch()

    tree = tree_of(str(folder / "parts"), ignored=[])

    assert (len(tree.files), tree.whole) == (MOST_FILES, False)


def test_files_that_are_large_together_are_known_by_size_and_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitaru_nb.engine.named._LARGE", 5)
    path = folder / "parts" / "a.csv"

    digest = tree_of(str(folder / "parts"), ignored=[]).files[str(path)]
    held = file_holds(f"file:{path}", digest)
    os.utime(path, ns=(0, 0))

    assert (digest.partition(":")[0], held, file_holds(f"file:{path}", digest)) == ("stat", True, False)


@pytest.mark.parametrize(
    ("libraries", "expected"),
    [(["polars"], True), (["numpy", "os", "_io", "openai"], False), (["own"], False), ([], False)],
)
def test_libraries_that_may_read_files_themselves(libraries: list[str], expected: bool) -> None:
    assert reads_past_python(libraries, {"own"}) is expected


MODULE = "import os\ndef model(): return os.getenv('KT_MODEL', 'none')\n"
READER = "import polars as pl\ndef rows(): return pl.read_csv('x.csv')['a'].to_list()\n"
READ_BY_POLARS = {
    "a function of another cell": ("def load(): return pl.read_csv('x.csv')", "r = load()['a'].to_list()"),
    "a method of a class": (
        "class Source:\n    path = 'x.csv'\n    def load(self): return pl.read_csv(self.path)\ns = Source()",
        "r = s.load()['a'].to_list()",
    ),
    "a lazy frame": ("lf = pl.scan_csv('x.csv')", "r = lf.collect()['a'].to_list()"),
    "an attribute": (
        "from types import SimpleNamespace\ncfg = SimpleNamespace(path='x.csv')",
        "r = pl.read_csv(cfg.path)['a'].to_list()",
    ),
    "a pattern": ("n = 1", "r = pl.read_csv('x*.csv')['a'].to_list()"),
    "a module of the project": ("import kt_reader", "r = kt_reader.rows()"),
}


@pytest.mark.parametrize(("before", "step"), READ_BY_POLARS.values(), ids=READ_BY_POLARS)
def test_a_step_runs_again_when_a_file_changed_that_polars_read(
    before: str, step: str, folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("polars")
    (folder / "kt_reader.py").write_text(READER, "utf-8")
    monkeypatch.syspath_prepend(folder)
    first = start()
    first.plain("import polars as pl\n" + before)
    first.cell(step)
    again = start()
    again.plain("import polars as pl\n" + before)
    same = again.cell(step)

    (folder / "x.csv").write_text("a\n25\n", "utf-8")
    kernel = start()
    kernel.plain("import polars as pl\n" + before)

    assert (same, kernel.cell(step), kernel["r"]) == ("restored", "completed", [25])
    sys.modules.pop("kt_reader", None)


@pytest.mark.parametrize(
    ("module", "step"),
    [
        (MODULE, "r = kt_asks.model()"),
        (MODULE + "class M:\n    @property\n    def name(self): return model()\n", "r = kt_asks.M().name"),
    ],
)
def test_a_step_runs_again_when_a_variable_changed_that_the_project_reads(
    module: str, step: str, folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "kt_asks.py").write_text(module, "utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("KT_MODEL", "small")
    for expected in ("completed", "restored"):
        kernel = start()
        kernel.plain("import kt_asks")
        assert kernel.cell(step) == expected
    monkeypatch.setenv("KT_MODEL", "large")
    kernel = start()
    kernel.plain("import kt_asks")

    assert (kernel.cell(step), kernel["r"]) == ("completed", "large")
    sys.modules.pop("kt_asks", None)


def test_a_step_runs_again_when_arguments_changed_that_it_parses(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["train"])
    step = (
        "import argparse\np = argparse.ArgumentParser(); p.add_argument('--lr'); r = p.parse_args().lr; del p"
    )
    seen = []
    for rate in ("1", "1", "2"):
        kernel = start()
        kernel.plain(f"import sys\nsys.argv = ['train', '--lr', '{rate}']")
        seen.append((kernel.cell(step), kernel["r"]))

    assert seen == [("completed", "1"), ("restored", "1"), ("completed", "2")]


def test_what_is_not_looked_at_in_a_folder_is_said(folder: Path, start: Start) -> None:
    polars = pytest.importorskip("polars")
    polars.DataFrame({"a": [1]}).write_parquet(folder / "parts" / "z.parquet")
    for number in range(MOST_FILES + 1):
        (folder / "parts" / f"{number}.csv").touch()
    kernel = start()
    kernel.plain("import polars as pl")

    kernel.cell("p = 'parts'; n = pl.read_parquet(p + '/z.parquet').height")

    assert any(f"only the first {MOST_FILES} files" in said for said in kernel.session.notes())
