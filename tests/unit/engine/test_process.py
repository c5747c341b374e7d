"""State outside the namespace: taken, and put back."""

# ruff: noqa: NPY002 - numpy's global generator is what is put back

from __future__ import annotations

import codeop
import decimal
import importlib
import json
import logging
import os
import random
import sys
import time
import types
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kitaru_nb.engine.parts import CELLS
from kitaru_nb.engine.process import ABSENT, Held, Process, began_ns, drawn, is_secret
from tests.unit.engine.kernel import RESTORED, Kernel


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    python, numpy = random.getstate(), np.random.get_state()
    yield
    random.setstate(python)
    np.random.set_state(numpy)


def test_a_process_as_it_was_found_has_no_path_and_environment_of_its_own() -> None:
    state = Process().snapshot()

    assert state["env"] == {}
    assert state["path"] == ([], [], [])


def test_the_process_began_before_this_test_and_not_long_ago() -> None:
    ago = time.time_ns() - began_ns()

    assert 0 <= ago < 7 * 24 * 3600 * 1_000_000_000


def test_two_looks_at_the_same_state_are_equal() -> None:
    process = Process()

    assert process.snapshot() == process.snapshot()


def test_generators_go_on_where_they_stood() -> None:
    process = Process()
    before = process.snapshot()
    expected = random.random(), np.random.random()

    assert process.apply({part: before[part] for part in ("random", "numpy")}) == []

    assert (random.random(), np.random.random()) == expected


def test_the_generators_that_were_drawn_from_are_named() -> None:
    process = Process()
    before = process.snapshot()
    assert drawn(before, process.snapshot()) == ()

    random.random()
    assert drawn(before, process.snapshot()) == ("random",)
    np.random.random()
    assert drawn(before, process.snapshot()) == ("random", "numpy")


def test_a_generator_that_was_not_loaded_before_was_not_drawn_from() -> None:
    assert drawn({"random": 1}, {"random": 1, "numpy": 2}) == ()


def test_environment_changes_are_put_back_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD", "1")
    monkeypatch.setenv("KEPT", "1")
    process = Process()
    monkeypatch.setenv("NEW", "2")
    monkeypatch.delenv("OLD")
    state = process.snapshot()
    monkeypatch.delenv("NEW")
    monkeypatch.setenv("OLD", "1")
    monkeypatch.setenv("OTHER", "3")

    process.apply({"env": state["env"]})

    assert state["env"] == {"NEW": "2", "OLD": None}
    assert (os.environ["NEW"], os.environ["OTHER"], os.environ["KEPT"]) == ("2", "3", "1")
    assert "OLD" not in os.environ


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("OPENAI_API_KEY", True),
        ("GITHUB_TOKEN", True),
        ("token", True),
        ("DB_PASSWORD", True),
        ("SECRETS", True),
        ("KEYBOARD", False),
        ("MONKEY", False),
        ("TOKENIZERS_PARALLELISM", False),
        ("HOME", False),
    ],
)
def test_what_looks_secret_is_never_stored(monkeypatch: pytest.MonkeyPatch, name: str, secret: bool) -> None:
    process = Process()
    monkeypatch.setenv(name, "a new value")

    assert is_secret(name) is secret
    assert (name not in process.snapshot()["env"]) is secret


def test_our_own_settings_are_not_the_notebooks(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process()
    monkeypatch.setenv("KITARU_NB_STACK", "other")

    assert process.snapshot()["env"] == {}


def test_the_working_folder_is_put_back(tmp_path: Path) -> None:
    process = Process()
    (tmp_path / "sub").mkdir()
    os.chdir("sub")
    state = process.snapshot()
    os.chdir("..")

    process.apply({"cwd": state["cwd"]})

    assert Path.cwd() == tmp_path / "sub"


def test_a_working_folder_that_is_gone_is_said_and_the_rest_is_put_back(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")

    problems = Process().apply({"cwd": gone, "recursion limit": sys.getrecursionlimit()})

    assert len(problems) == 1
    assert problems[0].startswith("cwd was not put back:")
    assert gone in problems[0]


def test_entries_of_the_import_path_go_back_to_their_end() -> None:
    found = list(dict.fromkeys(sys.path))
    sys.path[:] = found
    process = Process()
    sys.path.insert(0, "/front")
    sys.path.append("/back")
    sys.path.remove(found[-1])
    state = process.snapshot()
    sys.path[:] = [*found, "/machine"]

    process.apply({"path": state["path"]})
    process.apply({"path": state["path"]})

    assert sys.path == ["/front", *found[:-1], "/machine", "/back"]


def test_options_of_the_standard_library_are_put_back() -> None:
    process = Process()
    logger = logging.getLogger("a.notebook")
    with decimal.localcontext(), warnings.catch_warnings():
        decimal.getcontext().prec = 7
        warnings.simplefilter("ignore", ResourceWarning)
        logger.setLevel(logging.DEBUG)
        state = process.snapshot()
        decimal.getcontext().prec = 9
        warnings.resetwarnings()
        logger.setLevel(logging.ERROR)

        process.apply({part: state[part] for part in ("decimal", "warnings", "logging")})

        assert decimal.getcontext().prec == 7
        assert warnings.filters[0][:3:2] == ("ignore", ResourceWarning)
        assert logger.level == logging.DEBUG
    logger.setLevel(logging.NOTSET)


def test_attributes_that_cells_set_on_modules_and_library_classes_are_put_back() -> None:
    process = Process()
    namespace = {"json": json, "Path": Path, "mine": object()}
    process.watch(namespace, [("json", "default"), ("Path", "extra"), ("mine", "x"), ("nothing", "x")])
    json.default = Path.extra = str  # type: ignore[attr-defined]
    state = process.snapshot()
    del json.default, Path.extra  # type: ignore[attr-defined]
    without = process.snapshot()

    process.apply({"attributes": state["attributes"]})
    assert json.default is Path.extra is str  # type: ignore[attr-defined]
    process.apply({"attributes": without["attributes"]})

    assert not hasattr(json, "default")
    assert not hasattr(Path, "extra")
    assert state["attributes"].keys() == {"json:default", "pathlib|Path:extra"}


def test_a_variable_and_a_path_entry_that_were_added_and_taken_away_are_away_after_a_restore(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KT_ADDED", raising=False)
    process = Process()
    os.environ["KT_ADDED"] = "1"
    sys.path.append("/kt/added")
    added = process.snapshot()
    del os.environ["KT_ADDED"]
    sys.path.remove("/kt/added")
    away = process.snapshot()
    restored = Process()

    for state in (added, away):
        restored.apply({part: state[part] for part in ("env", "path")})

    assert "KT_ADDED" not in os.environ
    assert "/kt/added" not in sys.path


def test_an_owner_that_is_gone_keeps_no_other_attribute_from_being_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, process = types.ModuleType("kt_put_back"), Process()
    vars(module).update(one=1, two=1)
    monkeypatch.setitem(sys.modules, "kt_put_back", module)
    attributes = {"kt_put_back:one": 5, "kt_gone|Class:lr": 2, "builtins|int:real": 3, "kt_put_back:two": 6}

    problems = process.apply({"attributes": {path: Held(value) for path, value in attributes.items()}})

    assert [problem.partition(" was not put back: ")[0] for problem in problems] == [
        "kt_gone.Class.lr",
        "builtins.int.real",
    ]
    assert (vars(module)["one"], vars(module)["two"]) == (5, 6)
    assert "kt_put_back:one" in process.snapshot()["attributes"]  # the next commit is none the worse


def test_an_owner_that_is_gone_later_is_no_error_of_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    module, process = types.ModuleType("kt_gone_later"), Process()
    vars(module).update(lr=1)
    monkeypatch.setitem(sys.modules, "kt_gone_later", module)
    process.apply({"attributes": {"kt_gone_later:lr": Held(2)}})
    monkeypatch.delitem(sys.modules, "kt_gone_later")

    assert process.snapshot()["attributes"]["kt_gone_later:lr"] == Held(ABSENT)


def test_an_owner_that_raises_when_it_is_loaded_anew_is_no_error_of_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, process = types.ModuleType("kt_raises"), Process()
    vars(module).update(lr=1)
    monkeypatch.setitem(sys.modules, "kt_raises", module)
    process.apply({"attributes": {"kt_raises:lr": Held(2)}})
    (tmp_path / "kt_raises.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "kt_raises")

    assert process.snapshot()["attributes"]["kt_raises:lr"] == Held(ABSENT)


def test_an_attribute_that_was_put_back_is_part_of_the_state_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json, "kt_words", [1], raising=False)
    process = Process()
    process.watch({"json": json}, [("json", "kt_words")])
    stored = process.snapshot()
    other = Process()

    other.apply({"attributes": stored["attributes"]})

    assert other.snapshot()["attributes"] == stored["attributes"]


def test_a_list_held_by_a_library_that_was_appended_to_is_another_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json, "kt_words", [1], raising=False)
    process = Process()
    process.watch({"json": json}, [("json", "kt_words")])
    before = process.snapshot()

    json.kt_words.append(2)  # type: ignore[attr-defined] # set above

    assert process.snapshot()["attributes"] != before["attributes"]


def test_going_back_undoes_what_was_set_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KT_KEPT", "found")
    monkeypatch.setattr(sys, "path", ["/found", *sys.path])
    names: dict[str, object] = {}
    process = Process()
    process.annotated_in(names)
    process.watch({"json": json}, [("json", "kt_since"), ("json", "kt_known")])
    process.snapshot()
    path, folder, limit = list(sys.path), Path.cwd(), sys.getrecursionlimit()
    json.kt_known = 1  # type: ignore[attr-defined] # a cell does
    known = {"attributes": process.snapshot()["attributes"], "env": {"KT_SET": "1"}}
    known["attributes"] = {"json:kt_known": known["attributes"]["json:kt_known"]}
    os.environ.update(KT_KEPT="other", KT_SET="1", KT_SINCE="2")
    sys.path[:] = ["/since", *sys.path[1:]]
    os.chdir(tmp_path.parent)
    sys.setrecursionlimit(limit + 7)
    json.kt_since = 2  # type: ignore[attr-defined] # the same
    names["__annotations__"] = {"x": int}
    process.snapshot()

    assert process.go_back(known) == []

    assert {name: os.environ.pop(name, None) for name in ("KT_KEPT", "KT_SET", "KT_SINCE")} == {
        "KT_KEPT": "found",
        "KT_SET": "1",
        "KT_SINCE": None,
    }
    assert (sys.path, Path.cwd(), sys.getrecursionlimit()) == (path, folder, limit)
    assert (vars(json).pop("kt_known"), vars(json).pop("kt_since", None)) == (1, None)
    assert names["__annotations__"] == {}


def test_a_logger_that_had_no_level_goes_back_to_none() -> None:
    cell, library = logging.getLogger("kt_of_a_cell"), logging.getLogger("json.kt_of_a_library")
    process = Process()
    process.snapshot()
    cell.setLevel(40)
    library.setLevel(40)

    process.go_back({})

    levels = cell.level, library.level
    library.setLevel(0)
    assert levels == (0, 40)


def test_what_is_imported_from_the_future_is_put_back_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CELLS, "compiler", codeop.Compile())
    process = Process()
    process.snapshot()
    CELLS.compiler("from __future__ import annotations", "", "exec")
    known = process.snapshot()["future imports"]
    process.go_back({})
    before = process.snapshot()["future imports"]

    process.apply({"future imports": known})

    assert (known, before) == (("annotations",), ())
    assert process.snapshot()["future imports"] == known


def test_a_variable_of_the_project_goes_back_to_how_it_was_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "kt_own.py").write_text("count = 1\nfound = [1]\nlost = [1]\n", "utf-8")
    process = Process()
    process.variables.install()
    own = importlib.import_module("kt_own")
    process.variables.remove()
    process.variables.modules = {"kt_own"}
    process.snapshot()
    own.count, own.found, own.late = 2, [2], 3
    own.lost.append(2)
    process.snapshot()

    said = process.go_back({})

    assert said == ["kt_own.lost was not put back: it was changed in place"]
    assert (own.count, own.found, hasattr(own, "late")) == (1, [1], False)
    assert process.snapshot()["attributes"].keys() == {"kt_own:lost"}
    sys.modules.pop("kt_own")


def test_what_a_plain_cell_sets_on_a_library_goes_with_a_rewind(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path / "home")
    kernel.cell("%%checkpoint one\nimport json")
    kernel.plain("json.kt_plain = 1")

    kernel.session.rewind("one")
    kernel.stop()

    assert not hasattr(json, "kt_plain")


def test_an_attribute_that_is_not_watched_yet_is_as_it_is(tmp_path: Path) -> None:
    reads_any = "x = [name for name in globals() if name == 'json']"
    first = Kernel(tmp_path / "home")
    first.cells("import json", "json.kt_late = 1")
    first.session.rewind("imports")
    first.cell(reads_any)

    second = Kernel(tmp_path / "home").take_over()

    assert second.cells("import json", reads_any) == [RESTORED, RESTORED]
    for kernel in (second, first):
        kernel.stop()
