"""Foreign classes are tried before what is stored counts; what would come back wrong is said."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.errors import UnstorableError
from tests.unit.engine.kernel import Start

BAD = {
    "drops state": (
        "def __getstate__(self): return {'rows': self.rows}",
        "without `.total`",
    ),
    "is something else": ("def __reduce__(self): return (dict, ())", "comes back as a dict"),
    "fails": ("def __setstate__(self, state): raise RuntimeError('no')", "RuntimeError: no"),
    "comes back empty": (
        "def __reduce__(self): return (type(self), ())",
        "`.rows` comes back as something else",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_would_come_back_wrong_is_not_stored_and_said(start: Start, kind: str) -> None:
    method, words = BAD[kind]
    first = start()
    first.cells(
        f"class Box:\n    def __init__(self): self.rows = []; self.total = 0\n    {method}",
        "box = Box(); box.rows.append(1); box.total = 2\nx = [1]",
    )

    (said,) = first.session.notes()
    assert said.startswith("`Box` is not stored: ")
    assert words in said
    kernel = start()
    restored = kernel.session.resume().restored
    assert is_marker(kernel["box"])
    assert words in restored.lost["box"]
    assert kernel["x"] == [1]


def test_with_strict_it_is_an_error(start: Start) -> None:
    kernel = start()
    kernel.cell("class Box:\n    def __reduce__(self): return (dict, ())")

    with pytest.raises(UnstorableError, match=r"`box`.*comes back as a dict"):
        kernel.cell("%%checkpoint --strict\nbox = Box()")


GOOD = {
    "state made again": """
        import threading
        class Box:
            def __init__(self): self.rows = [1]; self._lock = threading.Lock()
            def __getstate__(self): return {'rows': self.rows}
            def __setstate__(self, state): self.__dict__.update(state); self._lock = threading.Lock()
        box = Box()""",
    "notebook names": """
        SCALE = 2
        def unpack(state): return {k: v * SCALE // SCALE for k, v in state.items()}
        class Box:
            def __init__(self): self.n = 3
            def __setstate__(self, state): self.__dict__.update(unpack(state))
        box = Box()""",
    "slots": """
        class Box:
            __slots__ = ('a', 'b')
            def __init__(self): self.a = {3, 1, 2}
            def __getstate__(self): return (None, {'a': self.a})
        box = Box()""",
    "list": """
        class Box(list):
            def __reduce__(self): return (Box, (), None, iter(self))
        box = Box([1, 2])""",
    "what it works out on demand": """
        import functools
        class Box:
            def __init__(self): self.n = 3
            @functools.cached_property
            def twice(self): return self.n * 2
            def __reduce__(self): return (Box, ())
        box = Box()
        box.twice""",
    "makes what cannot be stored": """
        class Handle:
            def __reduce__(self): raise TypeError
        class Box:
            def __init__(self): self.handle = {'h': Handle()}; self.n = 1
            def __reduce__(self): return (Box, ())
        box = Box()""",
    "holds what cannot be stored": """
        class Box:
            def __init__(self): self.gen = (i for i in [1]); self.n = 1
            def __getstate__(self): return dict(self.__dict__)
        box = Box()""",
}


@pytest.mark.parametrize("kind", GOOD)
def test_what_comes_back_right_is_stored_without_a_word(start: Start, kind: str) -> None:
    first = start()
    first.cells(textwrap.dedent(GOOD[kind]))

    assert first.session.notes() == []
    kernel = start()
    kernel.session.resume()
    assert type(kernel["box"]) is kernel["Box"]


@pytest.mark.parametrize(
    "cells",
    [("box = Box()", "other = Box(); other.data = [1]"), ("box = Box(); other = Box(); other.data = [1]",)],
)
def test_what_another_object_of_a_class_leaves_out_is_not_lost_without_a_word(
    start: Start, cells: tuple[str, ...]
) -> None:
    define = (
        "class Box:\n    def __getstate__(self): return {'n': 1}\n"
        "    def __setstate__(self, state): vars(self).update(state)"
    )
    first = start()
    first.cells(define, *cells)

    assert any("without `.data`" in said for said in first.session.notes())
    kernel = start()
    assert "other" in kernel.session.resume().restored.lost


META = """
class Meta(type):
    def __new__(cls, name, bases, body):
        columns = body.pop("columns") if bases else ()
        return super().__new__(cls, name, bases, body | {"made": len(columns)})

class Table(metaclass=Meta): pass
"""


def test_a_class_whose_metaclass_wants_what_is_not_stored_is_a_marker_and_the_rest_is_back(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tables_of_a_library.py").write_text(META)
    monkeypatch.syspath_prepend(tmp_path)
    first = start()
    first.cells("from tables_of_a_library import Table\nclass C(Table):\n    columns = [1]\nx = [1]")

    (said,) = first.session.notes()
    assert said == "`C` is not stored: a trial load failed: KeyError: 'columns'"
    kernel = start()
    restored = kernel.session.resume().restored
    assert is_marker(kernel["C"])
    assert "C" in restored.lost
    assert kernel["x"] == [1]


def test_attributes_of_an_array_subclass_come_back(start: Start) -> None:
    pytest.importorskip("numpy")
    cells = "import numpy as np\nclass Signal(np.ndarray): pass", "s = np.arange(3).view(Signal); s.rate = 9"
    first = start()

    first.cells(*cells)

    assert not first.session.notes()
    kernel = start()
    kernel.session.resume()
    assert kernel["s"].rate == 9
    assert type(kernel["s"]) is kernel["Signal"]


def test_a_class_is_tried_once_and_again_when_its_code_changes(start: Start) -> None:
    first = start()
    good = (
        "class Box:\n    n = 1\n    def __getstate__(self): return dict(self.__dict__)\n"
        "box = Box(); box.a = 1"
    )
    first.cell(good)
    child = first.session._line.trial._child
    assert child is not None
    kernel = start()
    kernel.cells(good, "other = Box(); other.a = 2")

    assert kernel.session._line.trial._child is None
    kernel.cell(good.replace("return dict(self.__dict__)", "return None"))
    assert kernel.session._line.trial._child is not None


def test_a_class_that_failed_is_tried_again_in_the_next_kernel(start: Start) -> None:
    cell = "class Box:\n    def __reduce__(self): return (dict, ())\nbox = Box()"
    start().cell(cell)
    kernel = start()

    kernel.cell(cell.replace("box = ", "other = "))

    assert "comes back as a dict" in kernel.session.notes()[0]
    assert kernel.session._line.trial._child is not None


def test_plain_classes_and_known_libraries_start_no_child(start: Start) -> None:
    kernel = start()

    kernel.cells(
        "import collections, dataclasses, enum, datetime\nclass Plain: pass\nplain = Plain(); plain.x = [1]",
        "@dataclasses.dataclass(slots=True, frozen=True)\nclass D:\n    a: int\nd = D(1)",
        "class E(enum.Enum):\n    A = 1\ne = [E.A]",
        "P = collections.namedtuple('P', 'x y')\np = [P(1, 2)]; c = collections.Counter('aab')",
        "class Own(dict): pass\nown = Own(a=1); own.b = 2; err = ValueError('x')",
    )

    assert kernel.session._line.trial._child is None


def test_without_a_child_the_value_is_kept_and_that_is_said(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    first = start()

    first.cell("class Box:\n    def __getstate__(self): return dict(self.__dict__)\nbox = Box(); box.a = 1")

    (said,) = first.session.notes()
    assert "was not verified" in said
    kernel = start()
    kernel.session.resume()
    assert kernel["box"].a == 1


def test_a_child_that_is_killed_is_started_again(start: Start) -> None:
    kernel = start()
    kernel.cell("class One:\n    def __getstate__(self): return dict(self.__dict__)\none = One(); one.a = 1")
    child = kernel.session._line.trial._child
    assert child is not None
    os.kill(child.pid, signal.SIGKILL)
    child.wait()

    kernel.cell("class Two:\n    def __reduce__(self): return (dict, ())\ntwo = Two()")

    assert "comes back as a dict" in kernel.session.notes()[0]


def test_what_a_class_prints_while_it_is_tried_disturbs_nothing(start: Start) -> None:
    kernel = start()

    kernel.cell(
        "import os\nclass Box:\n    def __setstate__(self, s):\n        print('hi'); os.write(1, b'hi'); "
        "self.__dict__.update(s)\nbox = Box(); box.a = 1"
    )

    assert kernel.session.notes() == []
