"""Which inputs of a step a person can type: plain data, never modules, functions or classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kitaru_nb.engine.refs import find_step
from kitaru_nb.engine.typeable import Typeable, Typed
from kitaru_nb.model.execution import Identity
from tests.unit.engine.kernel import Kernel

SETUP = """
import math
from dataclasses import dataclass
import numpy as np
def clean(rows):
    return rows
@dataclass
class Options:
    rate: float = 0.5
kind = int
options = Options()
array = np.arange(3)
rate, name, nothing, rows, long = 0.25, "it's", None, [1, (2, {"a"})], list(range(5000))
number = np.float64(2.5)
deep = {"options": [options]}
loop = [1]
loop.append(loop)
"""
STEP = (
    "%%checkpoint step\n"
    "out = [math.pi, clean(rows), Options, kind, options, array.sum()]\n"
    "rate, name, nothing, long[0], number, deep, loop"
)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path / "home")
    yield kernel
    kernel.stop()


def typed(kernel: Kernel, name: str) -> list[Typed]:
    journal = kernel.engine.journal
    execution = journal.execution("latest")
    return Typeable(kernel.engine, execution).of(find_step(journal, execution, name))


def test_only_what_a_person_can_type_is_offered_with_what_it_held(kernel: Kernel) -> None:
    kernel.cell(SETUP)
    kernel.cell(STEP)

    assert typed(kernel, "step") == [
        Typed("long", "list", None),
        Typed("name", "str", '"it\'s"'),
        Typed("nothing", "NoneType", "None"),
        Typed("number", "float", "2.5"),
        Typed("rate", "float", "0.25"),
        Typed("rows", "list", "[1, (2, {'a'})]"),
    ]


def test_names_that_share_a_value_are_offered_each(kernel: Kernel) -> None:
    kernel.cell("%%checkpoint load\nrows = [1, 2]\nalias = rows")
    kernel.cell("%%checkpoint total\ntotal = sum(rows) + len(alias)")

    assert typed(kernel, "total") == [Typed("alias", "list", "[1, 2]"), Typed("rows", "list", "[1, 2]")]


def test_only_what_it_read_is_shown_not_what_that_became(kernel: Kernel) -> None:
    kernel.cell("count = 1\nrows = [1]")
    kernel.cell("%%checkpoint more\ncount += 1\nrows.append(2)\nboth = [rows]")

    assert typed(kernel, "more") == [Typed("count", "int", "1"), Typed("rows", "list", "[1]")]


def test_of_a_value_that_cannot_be_read_nothing_is_offered(kernel: Kernel) -> None:
    kernel.cell("%%checkpoint load\nrows = list(range(50_000))\nrate = 0.5")
    kernel.cell("%%checkpoint total\ntotal = sum(rows) * rate")
    assert [each.name for each in typed(kernel, "total")] == ["rate", "rows"]
    kernel.engine.store.flush()
    damaged = [path for path in kernel.home.rglob("*.pack") if path.stat().st_size > 50_000]
    for path in damaged:
        path.write_bytes(b"x" * path.stat().st_size)

    assert damaged
    assert [each.name for each in typed(kernel, "total")] == ["rate"]


def test_of_a_flow_it_is_what_it_was_called_with(kernel: Kernel) -> None:
    kernel.cell("%%checkpoint step\nx = 1")
    held = {"type": "Model", "digest": "0" * 64}
    identity = Identity(flow="agent:write", parameters={"topic": "otters", "model": held, "pair": [1, held]})
    execution = kernel.engine.journal.execution("latest")
    [step] = kernel.engine.journal.checkpoints(execution.id)

    flow = Typeable(kernel.engine, replace(execution, identity=identity))

    assert flow.of(step) == [Typed("topic", "str", "'otters'")]
