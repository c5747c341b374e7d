"""Functions and classes of a notebook keep their state and their ties when put together again."""

from __future__ import annotations

import inspect
import linecache
import secrets
import sys
import types
from typing import Any

import pytest

from kitaru_nb.artifacts import functions
from kitaru_nb.artifacts.code_digest import code_token
from kitaru_nb.artifacts.functions import (
    load_code,
    make_class,
    reduce_code,
    reduce_function,
    set_class,
)
from kitaru_nb.artifacts.ties import Tie, tied
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
    loaded = space["A"].kept, space["A"].added
    with tied(Tie.RESTORED):
        set_class(space["A"], state)

    assert loaded == (2, 3), "what is only loaded leaves a class that is there as it is"
    assert space["A"].kept == 1
    assert not hasattr(space["A"], "added")


POINT = """
class Point:
    count = 0
    class Kind(enum.Enum):
        ROUND = 1
    def __init__(self, x: int, *, times: float = 1): self.x = x
    @property
    def twice(self): return 2 * self.x
"""


@pytest.fixture
def stored_point() -> tuple[Any, ...]:
    """How the class is stored, in a process that knows nothing more of it."""
    cls = _cell("import enum" + POINT)["Point"]
    _, (*arguments, _, definition), *_ = functions.reduce_class(cls)
    return (*arguments, "an identity of its own", definition)


@pytest.mark.parametrize(
    ("written", "served", "loaded"),
    [
        (POINT, True, True),
        ("\n\n# further down" + POINT, True, True),
        (POINT + "Point.count = 5\n", True, False),
        (POINT + "Point.more = []\n", True, False),
        (POINT + "Point.more = object()\n", True, False),
        (POINT + "Point.more = [1]\nPoint.more.append(Point.more)\n", True, False),
        (POINT.replace("2 * self.x", "3 * self.x"), False, False),
        (POINT.replace("self.x = x", "self.y = x"), False, False),
        (POINT.replace("times: float = 1", "times: float = 2"), False, False),
        (POINT.replace("class Point", "class Point(list)"), False, False),
        (POINT.replace("class Point", "class Other"), False, False),
        (POINT + "    def more(self): pass\n", False, False),
        ("\nPoint = 7\n", False, False),
        ("", False, False),
    ],
)
def test_a_class_of_the_main_module_is_the_stored_one_where_it_says_the_same(
    stored_point: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, written: str, served: bool, loaded: bool
) -> None:
    main = types.ModuleType("__main__")
    vars(main).update(_cell("import enum" + written))
    monkeypatch.setitem(sys.modules, "__main__", main)
    found = {}

    for tie in Tie:
        *arguments, definition = stored_point
        with tied(tie):
            made = make_class(*arguments[:-1], f"identity {secrets.token_hex(4)}", definition)
        found[tie] = made is vars(main).get("Point")

    assert found == {Tie.LOADED: loaded, Tie.SERVED: served, Tie.RESTORED: False, Tie.APART: False}


@pytest.mark.parametrize("written", [POINT, "\nclass Point(enum.Enum):\n    ROUND = 1\n"])
def test_what_is_compared_belongs_to_a_class_that_is_nobody_elses(written: str) -> None:
    mine = _cell("import enum" + written)["Point"]
    make, arguments, state, *_ = functions.reduce_class(mine)
    mine.later = 1

    with tied(Tie.APART):
        one, other = make(*arguments), make(*arguments)
        set_class(one, state)

    assert len({one, other, mine}) == 3
    assert (hasattr(one, "later"), mine.later) == (False, 1)
    assert make(*arguments) is mine


def test_a_function_of_the_main_module_is_taken_as_it_is_unless_it_is_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    vars(main).update(_cell("def f(x, k=1): return x"))
    there = types.FunctionType(main.f.__code__, vars(main), "f", (1,))
    main.f = there
    make, arguments, (slots, attributes), *_ = reduce_function(there, vars(main))
    state = slots, dict(attributes)
    there.__dict__["calls"] = 7
    arguments = (arguments[0], vars(main), *arguments[2:])

    made = {}
    for tie in Tie:
        with tied(tie):
            made[tie] = make(*arguments)
            functions.set_function(made[tie], state)

    assert {tie for tie, function in made.items() if function is there} == {Tie.LOADED, Tie.SERVED}
    assert vars(there) == {"calls": 7}
    assert vars(made[Tie.RESTORED]) == {}
    there.__defaults__ = (2,)
    assert make(*arguments) is not there, "another default is another function"


def test_an_enumeration_is_the_one_of_the_main_module_where_its_members_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = "import enum\nclass Color(enum.Enum):\n    RED = 1\n"
    make, (*arguments, _, definition), *_ = functions.reduce_class(_cell(written)["Color"])
    found = []
    for number, source in enumerate(
        [written, written.replace("RED = 1", "RED = 2"), written + "    B = 2\n"]
    ):
        main = types.ModuleType("__main__")
        vars(main).update(_cell(source))
        monkeypatch.setitem(sys.modules, "__main__", main)
        for tie in (Tie.SERVED, Tie.LOADED):
            with tied(tie):
                made = make(*arguments, f"identity {number} of {tie}", definition)
            found.append(made is main.Color)

    assert found == [True, True, False, False, False, False]


def test_a_class_that_no_name_leads_to_is_never_taken_for_another() -> None:
    local = _cell("def f():\n    class A: pass\n    return A")["f"]()
    library = types.SimpleNamespace  # of a module that an import gives

    assert functions.reduce_class(local)[1][-1] == ""
    assert functions.reduce_class(library)[1][-1] == ""


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


KEY = "sk-proj-" + "a1B2c3D4" * 6


@pytest.mark.parametrize(
    "written",
    [
        "class Point:\n    password = 'hunter2-hunter2'",
        "class Point:\n    options = {'password': 'hunter2-hunter2'}",
        "class Point:\n    def __init__(self, password='hunter2-hunter2'): pass",
        "class Point:\n    def __init__(self, *, password='hunter2-hunter2'): pass",
        f"class Point:\n    def f(self):\n        return lambda: {KEY!r}",
        f"import enum\nclass Point(enum.Enum):\n    ONE = {KEY!r}",
        f"class Point:\n    keys = [{KEY!r}]",
    ],
)
def test_no_digest_of_a_secret_is_stored_with_a_class(written: str) -> None:
    plain = _cell(written.replace("password", "text").replace("hunter2", "any").replace(KEY, "any"))["Point"]

    assert functions.reduce_class(_cell(written)["Point"])[1][-1] == ""
    assert functions.reduce_class(plain)[1][-1] != ""


def test_a_class_is_told_from_others_by_what_its_small_containers_hold_only() -> None:
    def data(more: str) -> str:
        said: str = functions.reduce_class(_cell(f"class Point:\n    more = {more}")["Point"])[1][-1]
        return said.partition(" ")[2]

    assert data("[1, ('a', {'b': 2})]") == data("[1, ('a', {'b': 2})]") != data("[1, ('a', {'b': 3})]")
    assert data("[1, 2]") != data("(1, 2)")
    assert "" != data("['some \\n']") != data("['some']")
    assert [data(more) for more in ("[object()]", "list(range(101))", "[[[[[1]]]]]")] == ["", "", ""]
