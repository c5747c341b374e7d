"""The name analysis against execution: whatever can change the outcome must be among the reads."""

from __future__ import annotations

import ast
import itertools
import re
import types
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kitaru_nb.analysis.names import names_of
from tests.unit.analysis.programs import NAMES, programs

ABSENT = object()
GONE = "gone"


class Base:
    """A value that can be told from every other by any operation a program does to it."""

    __match_args__ = ("v",)

    def __init__(self, v: int) -> None:
        self.v = v
        self.pre = True

    def __add__(self, other: object) -> int:
        return self.v + (other if isinstance(other, int) else 7)

    __radd__ = __add__

    def __lt__(self, other: object) -> bool:
        return self.v < 3

    __gt__ = __lt__

    def __bool__(self) -> bool:
        return self.v > 2

    def __repr__(self) -> str:
        return "Base"

    def __call__(self, *args: object, **kwargs: object) -> int:
        return self.v * 2


class quiet:  # noqa: N801 # reads as a statement in the programs
    """A context manager that swallows errors when its argument is true."""

    def __init__(self, swallow: object) -> None:
        self.swallow = bool(swallow)

    def __enter__(self) -> int:
        return 5

    def __exit__(self, kind: object, *rest: object) -> bool:
        return self.swallow and isinstance(kind, type) and issubclass(kind, Exception)


class OutOfTurnsError(BaseException):
    """Ends a program that would loop for ever."""


def helpers() -> dict[str, Any]:
    turns = iter(range(12))

    def tick(value: object) -> bool:
        if next(turns, None) is None:
            raise OutOfTurnsError
        return bool(value)

    def items(value: object) -> list[object]:
        tick(0)
        return list(value)[:3] if isinstance(value, list | types.GeneratorType) else [value] if value else []

    def stop() -> None:
        tick(0)

    return {
        "t": tick,
        "g": items,
        "stop": stop,
        "quiet": quiet,
        "Base": Base,
        "d": lambda value: lambda f: (value, f),
    }


def outcome(
    source: str, before: dict[str, Any], *, namespace: dict[str, Any] | None = None
) -> tuple[Any, dict[str, object]]:
    """Everything a program leaves: each name's value, or that it was left alone, or the error."""
    namespace = helpers() | before if namespace is None else namespace
    values = {name: value.v for name, value in before.items() if isinstance(value, Base)}
    error: object = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(source, "<cell>", "exec"), namespace)  # the very thing under test
    except BaseException as raised:  # noqa: BLE001
        error = type(raised).__name__, without_addresses(str(raised))
    left = {}
    for name in NAMES:
        value = namespace.get(name, ABSENT)
        alone = value is before.get(name, ABSENT) and (name not in values or value.v == values[name])
        left[name] = (
            "absent" if alone and value is ABSENT else "untouched" if alone else shown(value, depth=3)
        )
    return error, left


def differ(one: tuple[Any, dict[str, object]], other: tuple[Any, dict[str, object]]) -> bool:
    """Whether two outcomes differ; a name that was absent and is may have been left alone or deleted."""
    alike = ({"absent", "untouched"}, {"absent", GONE})
    pairs = ((one[1][name], other[1][name]) for name in NAMES)
    return one[0] != other[0] or any(
        x != y and not (isinstance(x, str) and isinstance(y, str) and {x, y} in alike) for x, y in pairs
    )


def without_addresses(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "", text)


def shown(value: object, *, depth: int) -> object:
    if value is ABSENT:
        return GONE
    if isinstance(value, types.FunctionType | types.GeneratorType | types.ModuleType):
        return type(value).__name__
    if isinstance(value, type):
        return "class", sorted(
            (k, shown(v, depth=depth - 1)) for k, v in vars(value).items() if k in NAMES
        ) if depth else 0
    if isinstance(value, list | tuple):
        return type(value).__name__, [shown(each, depth=depth - 1) for each in value] if depth else 0
    if isinstance(value, dict):
        return "dict", [
            (shown(k, depth=depth - 1), shown(v, depth=depth - 1)) for k, v in value.items()
        ] if depth else 0
    if isinstance(value, Base):
        return "Base", shown(value.v, depth=depth - 1) if depth else 0
    return without_addresses(repr(value)) if isinstance(value, int | str | None) else type(value).__name__


VALUES = [
    lambda: ABSENT,
    lambda: Base(1),
    lambda: Base(5),
    lambda: [1, 2],
    lambda: int("1234"),  # a new object each time: a small integer would be the same one
]


def cases(source: str, choice: list[int]) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    for name in NAMES:
        results = []
        for make in VALUES:
            before = {n: VALUES[i]() for n, i in zip(NAMES, choice, strict=True)} | {name: make()}
            results.append(outcome(source, {n: v for n, v in before.items() if v is not ABSENT}))
        yield name, results


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(source=programs(), choice=st.lists(st.integers(0, len(VALUES) - 1), min_size=3, max_size=3))
def test_a_name_whose_earlier_value_changes_the_outcome_is_read(source: str, choice: list[int]) -> None:
    names = names_of(ast.parse(source))
    for name, results in cases(source, choice):
        if any(differ(one, other) for one, other in itertools.combinations(results, 2)):
            assert name in names.reads, (name, source)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(source=programs(), choice=st.lists(st.integers(0, len(VALUES) - 1), min_size=3, max_size=3))
def test_a_required_name_did_not_matter_to_a_run_that_completed_without_it(
    source: str, choice: list[int]
) -> None:
    names = names_of(ast.parse(source))
    for name, results in cases(source, choice):
        without = results[0]
        if name in names.required and without[0] is None:
            assert not any(differ(result, without) for result in results), (name, source)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(source=programs(), choice=st.lists(st.integers(0, len(VALUES) - 1), min_size=3, max_size=3))
def test_what_a_program_binds_or_unbinds_is_foreseen(source: str, choice: list[int]) -> None:
    names = names_of(ast.parse(source))
    before = {n: v for n, i in zip(NAMES, choice, strict=True) if (v := VALUES[i]()) is not ABSENT}

    namespace = helpers() | before
    error, _ = outcome(source, before, namespace=namespace)

    for name in NAMES:
        if namespace.get(name, ABSENT) is not before.get(name, ABSENT):
            assert name in names.writes | names.deletes, (name, source)
        elif error is None and name in before and name in names.certain:
            assert name in names.reads, (name, source)


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    a = stop() or b\n    a = 1\nexcept Exception:\n    pass\nc = a",
        "with quiet(True):\n    raise ValueError\n    a = 1\nc = a",
        "while True:\n    if g(b): break\n    a = 1\n    break\nc = a",
        "c = {1: a, (a := 2): 3}",
        "def f(): return a\na = 1\nc = f()",
        "class K:\n    a = a\n",
    ],
)
def test_known_traps_are_read(source: str) -> None:
    assert "a" in names_of(ast.parse(source)).reads
