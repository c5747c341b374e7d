"""Functions and classes of a notebook keep their state and their ties when put together again."""

from __future__ import annotations

import inspect
import linecache
import sys
import types
from typing import Any

import pytest

from kitaru_nb.artifacts import functions
from kitaru_nb.artifacts.code_digest import code_token
from kitaru_nb.artifacts.functions import load_code, make_class, reduce_code, reduce_function, set_class
from kitaru_nb.errors import UnstorableError


def _cell(source: str, filename: str = "<a cell>") -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "__main__"}
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec"), space)
    return space


def test_code_of_another_python_is_compiled_from_its_source() -> None:
    source = "def other(): return 1\n\ndef f(x):\n    return x + 1\n"
    where = ("<written elsewhere>", "f", 3)

    code = load_code(b"not ours", (2, 7), where, source)

    assert types.FunctionType(code, {})(1) == 2


def test_code_of_another_python_without_source_is_a_clear_error() -> None:
    with pytest.raises(UnstorableError, match=r"`f` was stored by Python 2\.7"):
        load_code(b"not ours", (2, 7), ("<gone>", "f", 1), None)


def test_the_source_of_a_cell_comes_back_for_inspect() -> None:
    space = _cell("def f():\n    # why\n    pass\n", "<cell with a why>")
    sources: dict[str, str | None] = {}
    _, arguments = reduce_code(space["f"].__code__, sources)
    del linecache.cache["<cell with a why>"]

    code = load_code(*arguments)

    assert "# why" in inspect.getsource(code)


def test_source_of_a_real_file_is_not_carried_along() -> None:
    sources: dict[str, str | None] = {}

    reduce_code(inspect.getsource.__code__, sources)

    assert list(sources.values()) == [None]


def test_a_function_refers_to_the_live_namespace_by_identity() -> None:
    space = _cell("def f(): return K")

    _, (_, where, *_), *_ = reduce_function(space["f"], space)

    assert where is space


def test_a_local_function_of_a_library_refers_to_its_module() -> None:
    import contextlib  # noqa: PLC0415 - the subject of the test

    made = contextlib.contextmanager(lambda: iter([1]))

    _, (_, where, *_), *_ = reduce_function(made, {})

    assert where == "contextlib"


def test_setting_a_class_removes_what_it_did_not_have() -> None:
    space = _cell("class A:\n    kept = 1\n")
    state = functions.class_state(space["A"])
    space["A"].kept, space["A"].added = 2, 3

    set_class(space["A"], state)

    assert space["A"].kept == 1
    assert not hasattr(space["A"], "added")


def test_hooks_of_the_notebook_do_not_run_again_and_stay_in_place() -> None:
    space = _cell(
        "class Base:\n    made = []\n    def __init_subclass__(cls): Base.made.append(cls.__name__)\n"
    )

    made = make_class(type, "Sub", (space["Base"],), {"__module__": "__main__"}, "identity-of-sub")
    space["Base"].__init_subclass__.__func__(int)

    assert made.__bases__ == (space["Base"],)
    assert space["Base"].made == ["int"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(x): return x + 1", "def f(x):  # add\n\n    return (\n        x + 1)"),
        ("def f(x):\n    return x + 1", "def f(x):\n    pass\n    return x + 1"),
        (
            "def f():\n  try: a(); b()\n  except E: c()",
            "def f():\n  try:\n    a()\n    b()\n  except E:\n    c()",
        ),
    ],
)
def test_layout_makes_no_difference_to_code(one: str, other: str) -> None:
    assert code_token(_cell(one)["f"].__code__) == code_token(_cell(other)["f"].__code__)


def test_the_running_python_is_recorded_with_code() -> None:
    _, (_, python, *_) = reduce_code((lambda: 1).__code__, {})

    assert tuple(python) == tuple(sys.version_info[:2])
