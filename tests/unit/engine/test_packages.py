"""Versions of packages and imports of submodules: recorded, compared, made again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.engine.packages import changed_versions, said_versions, versions_of
from kitaru_nb.engine.why import explain
from tests.unit.engine.kernel import RAN, RESTORED, Kernel


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a package that has a version, outside the notebook's folder."""
    (tmp_path / "lib/pkg_of_test/sub").mkdir(parents=True)
    (tmp_path / "lib/pkg_of_test/__init__.py").write_text("__version__ = '1.0'\ndef one(): return 1\n")
    (tmp_path / "lib/pkg_of_test/sub/__init__.py").touch()
    (tmp_path / "lib/pkg_of_test/sub/deep.py").write_text("def two(): return 2\n")
    (tmp_path / "work").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    yield tmp_path
    forget()


def forget() -> None:
    """What a new process does not have."""
    for name in [name for name in sys.modules if name.startswith("pkg_of_test")]:
        del sys.modules[name]


def kernel(folder: Path, **settings: Any) -> Kernel:
    forget()
    return Kernel(folder / "home", notebook=folder / "work/n.ipynb", settings=settings).take_over()


def test_the_versions_of_what_a_step_uses_are_on_record(folder: Path) -> None:
    first = kernel(folder)

    first.cells("import pkg_of_test", "x = pkg_of_test.one()", "y = 2")

    assert first.last.draft.packages == {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    second = first.engine.journal.checkpoints(first.session.open().execution)[1]
    assert second.draft.packages["pkg_of_test"] == "1.0"


def test_another_version_is_said_once_and_is_no_reason_to_run(folder: Path) -> None:
    kernel(folder).cell("import pkg_of_test\nx = pkg_of_test.one()")
    init = folder / "lib/pkg_of_test/__init__.py"
    init.write_text("__version__ = '2.0.0'\ndef one(): return 1\n")

    again = kernel(folder)

    assert again.cell("import pkg_of_test\nx = pkg_of_test.one()") == RESTORED
    assert [said for said in again.restored.problems if "pkg_of_test" in said] == [
        "`pkg_of_test` was 1.0 when it ran and is 2.0.0 now; --strict-env would run it again"
    ]


def test_strict_env_runs_again_for_another_version_only(folder: Path) -> None:
    source = "%%checkpoint one --strict-env\nimport pkg_of_test\nx = pkg_of_test.one()"
    kernel(folder).cell(source)
    assert kernel(folder).cell(source) == RESTORED

    (folder / "lib/pkg_of_test/__init__.py").write_text("__version__ = '2.0.0'\ndef one(): return 1\n")

    assert kernel(folder).cell(source) == RAN


def test_the_types_of_values_count_as_used() -> None:
    import numpy as np  # noqa: PLC0415 - only here

    assert versions_of([], [np.zeros(1)])["numpy"] == np.__version__
    assert versions_of(["os", "__main__"], [1, "x"]).keys() == {"python"}


def test_a_package_whose_distribution_is_called_otherwise_has_its_version() -> None:
    import _pytest  # noqa: PLC0415 - has no version, the distribution is `pytest`
    import attr  # noqa: PLC0415 - only here; the distribution is `attrs`

    assert versions_of([attr.__name__, _pytest.__name__])["_pytest"] == pytest.__version__


def test_a_package_that_is_not_there_counts_only_where_it_must() -> None:
    recorded = {"no_such_package_of_test": "1"}

    assert changed_versions(recorded) == {}
    assert said_versions(recorded) == []
    assert changed_versions(recorded, load=True) == {"no_such_package_of_test": ("1", None)}


@pytest.mark.parametrize(
    "source",
    [
        "import pkg_of_test.sub.deep",
        "import pkg_of_test, importlib\nimportlib.import_module('pkg_of_test.sub.deep')\nx = 1",
        "import pkg_of_test\nfrom pkg_of_test.sub.deep import two",
        "import pkg_of_test\ndef f():\n    import pkg_of_test.sub.deep\nf()",
    ],
)
@pytest.mark.parametrize("how", ["restored", "resumed"])
def test_a_submodule_is_there_for_the_cells_after_a_restore(folder: Path, source: str, how: str) -> None:
    kernel(folder).cell(source)
    again = kernel(folder)

    if how == "restored":
        assert again.cell(source) == RESTORED
    else:
        again.session.resume()

    assert again.plain("pkg_of_test.sub.deep.two()") == 2


def test_what_a_function_imports_for_itself_is_not_imported_again(folder: Path) -> None:
    source = "def f():\n    import pkg_of_test.sub.deep\n    return 2\nx = f()"
    kernel(folder).cell(source)

    again = kernel(folder)

    assert again.cell(source) == RESTORED
    assert "pkg_of_test" not in sys.modules


def test_a_module_that_cannot_be_imported_any_more_is_named(folder: Path) -> None:
    source = "import importlib\nimportlib.import_module('pkg_of_test.sub.deep')\nx = 1"
    kernel(folder).cell(source)
    (folder / "lib/pkg_of_test/sub/deep.py").unlink()

    again = kernel(folder)

    assert again.cell(source) == RESTORED
    assert any("`import pkg_of_test.sub.deep` failed" in said for said in again.restored.problems)


def test_the_bytecode_that_an_import_writes_is_no_condition(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    first = kernel(folder)

    first.cell("import pkg_of_test\nx = pkg_of_test.one()")

    assert not [what for what in first.last.draft.conditions if ".pyc" in what]


def test_the_setting_strict_env_does_it_for_every_step(folder: Path) -> None:
    source = "%%checkpoint one\nimport pkg_of_test\nx = pkg_of_test.one()"
    kernel(folder).cell(source)
    (folder / "lib/pkg_of_test/__init__.py").write_text("__version__ = '2.0.0'\ndef one(): return 1\n")

    again = kernel(folder, strict_env=True)

    assert again.cell(source) == RAN

    (reason,) = explain(again.engine.journal, again.last).reasons
    assert (reason.kind, reason.text) == ("package", "`pkg_of_test` was 1.0 before and is 2.0.0 now")
