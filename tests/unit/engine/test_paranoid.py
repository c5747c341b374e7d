"""Paranoid mode: what a restore would not give back as it is there is an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.artifacts import values
from kitaru_nb.engine.differing import first_difference
from kitaru_nb.engine.paranoid import differences
from kitaru_nb.errors import DivergenceError
from tests.unit.engine.kernel import Kernel

Start = Callable[..., Kernel]


def namespace(source: str) -> dict[str, Any]:
    live: dict[str, Any] = {"__name__": "__main__"}
    exec(source, live)
    return live


def difference(one: str, other: str) -> str | None:
    left, right = namespace(one), namespace(other)
    names = [name for name in left if name[:2] != "__" and name != "np"]
    found = first_difference({n: left[n] for n in names}, {n: right[n] for n in names}, spaces=(left, right))
    return None if found is None else f"{found.path} {found.what}"


@pytest.mark.parametrize(
    "source",
    [
        "a = [1, (2, 'x'), {3: {4, 5}}, float('nan'), b'y', None]",
        "a = [1]; b = [a, a]; a.append(b)",
        "def f(x, kept=[1]):\n    return f(x)\nf.note = f",
        "class C:\n    made = []\n    def __init__(self):\n        self.made.append(self)\na = C()",
        "def m():\n    n = 0\n    def up():\n        nonlocal n\n        n += 1\n    return up\nf = m()",
        "import numpy as np\na = np.arange(9); b = a[::2]; c = np.array([a, None], object)",
        "a = {(1, 2): object}; b = {frozenset('xy'): 1}",
    ],
)
def test_two_runs_of_the_same_cells_do_not_differ(source: str) -> None:
    assert difference(source, source) is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a = [1]", "a = [2]", "a[0] is 1, and would be 2"),
        ("a = [1]", "a = [True]", "a[0] is a int, and would be a bool"),
        ("a = [0.0]", "a = [-0.0]", "a[0] is 0.0, and would be -0.0"),
        ("a = {1: 2, 3: 4}", "a = {3: 4, 1: 2}", "a key of a is 1, and would be 3"),
        ("a = [1]; b = a", "a = [1]; b = [1]", "b is one object with another place"),
        ("a = [1]; b = [1]", "a = [1]; b = a", "b is an object by itself"),
        ("a = {1, 2}", "a = {1, 3}", "is 2, and would be 3"),
        ("def f(): return 1", "def f(): return 2", "f[5] is b"),
        ("class C: x = 1\na = C()", "class C: x = 2\na = C()", "and would be 2"),
        ("import numpy as np\na = np.arange(3)", "import numpy as np\na = np.arange(3.)", "a[1] is '<i8'"),
        (
            "import numpy as np\na = np.arange(3); b = a[1:]",
            "import numpy as np\na = np.arange(3); b = a[1:].copy()",
            "a shares memory [0, 0], and would []",
        ),
    ],
)
def test_a_difference_is_named_with_the_way_to_it(one: str, other: str, expected: str) -> None:
    found = difference(one, other)

    assert found is not None
    assert expected in found


@pytest.fixture
def kernel(tmp_path: Path) -> Any:
    kernel = Kernel(tmp_path / "home")
    yield kernel
    kernel.stop()


def test_a_commit_that_would_come_back_otherwise_is_an_error_and_stands(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = values.PlainCodec.decode
    monkeypatch.setattr(values.PlainCodec, "decode", lambda *a, **k: {**loaded(*a, **k), "a": [1, 2]})

    with pytest.raises(DivergenceError, match=r"`a`.*live \w{12}, restored \w{12}") as caught:
        kernel.cell("a = [1]")

    assert caught.value.kind == "paranoid"
    assert kernel["a"] == [1]
    assert [c.draft.source for c in kernel.engine.journal.checkpoints(kernel.last.execution)] == ["a = [1]"]


def test_a_change_that_nothing_saw_is_found(kernel: Kernel) -> None:
    kernel.cell("a = [1]")
    last, process = kernel.last, kernel.session._process.snapshot()
    after = kernel.session.namespace.observe()

    kernel["a"].append(2)

    found = differences(kernel.engine, kernel.session.namespace, last.seq, after, process)
    assert [str(one).split(" (")[0] for one in found] == ["`a`: changed, which the last look did not see"]


def test_a_process_part_that_is_not_on_record_is_found(kernel: Kernel) -> None:
    kernel.cell("import random\nrandom.seed(1)")
    after, process = kernel.session.namespace.observe(), kernel.session._process.snapshot()
    process["random"] = "another"

    found = differences(kernel.engine, kernel.session.namespace, kernel.last.seq, after, process)

    assert [one.names for one in found] == [("[random]",)]


def test_the_comparison_leaves_the_notebooks_classes_alone(kernel: Kernel) -> None:
    kernel.cell("class C:\n    def get(self):\n        return n\nn = 1")
    kernel.cell("a = C()")
    kernel.plain("n = 2")

    assert kernel["a"].get() == 2
    assert kernel["C"].get.__globals__ is kernel.live
