"""Names are tied together by what can change, and by nothing else."""

# ruff: noqa: E501 - cells are quoted as they are typed

from __future__ import annotations

import gc
import logging
import math
import weakref
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitaru_nb.artifacts.groups import alias_groups
from tests.unit.artifacts import graphs


def _tied(values: dict[str, object], namespace: dict[str, Any] | None = None) -> set[frozenset[str]]:
    groups = alias_groups(values, namespace=globals() if namespace is None else namespace)
    return {group for group in groups if len(group) > 1}


def _cells(source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(source, space)
    return {name: value for name, value in space.items() if not name.startswith("__")}, space


TIED = {
    "the same list": "a = [1]\nb = a",
    "a list in a dict": "a = [1]\nb = {'k': a}",
    "a list in a tuple": "a = [1]\nb = (1, (2, a))",
    "the same mixed tuple": "a = ([],)\nb = [a]",
    "a list in an object array": "import numpy\na = [1]\nb = numpy.array([a, None], dtype=object)\ndel numpy",
    "a view": "import numpy\na = numpy.zeros(5)\nb = a[2:]\ndel numpy",
    "overlapping views": "import numpy\nz = numpy.zeros(9)\na, b = z[:5], z[4:]\ndel numpy, z",
    "memory of a bytearray": "import numpy\na = bytearray(8)\nb = numpy.frombuffer(a)\ndel numpy",
    "an instance and its class": "class a: pass\nb = a()",
    "two instances": "class A: pass\na, b = A(), A()\ndel A",
    "a class and its subclass": "class a: pass\nclass b(a): pass",
    "a shared cell": "def mk():\n n = []\n return lambda: n, lambda: n\na, b = mk()\ndel mk",
    "a default": "a = []\ndef b(x=a): pass",
    "a keyword default": "a = []\ndef b(*, x=a): pass",
    "a function attribute": "a = []\ndef b(): pass\nb.x = a",
    "a wrapped function": "import functools\ndef a(): pass\nb = functools.lru_cache(a)\ndel functools",
    "a partial": "import functools\na = []\nb = functools.partial(print, a)\ndel functools",
    "a bound method": "a = [1]\nb = a.append",
    "a method of an instance": "class A:\n def m(self): pass\na = A()\nb = a.m\ndel A",
    "attributes of an instance": "class A: pass\nx = A()\nx.y = a = [1]\nb = vars(x)\ndel A, x",
    "slots": "class A: __slots__ = 'x'\na = [1]\nb = A()\nb.x = a\ndel A",
    "a weak reference": "import weakref\nclass A: pass\na = A()\nb = weakref.ref(a)\ndel A, weakref",
    "a weak mapping": "import weakref\nclass A: pass\na = A()\nb = weakref.WeakValueDictionary(k=a)\ndel A, weakref",
    "a generator": "a = [1]\nb = (x for x in a)",
    "an iterator": "a = [1]\nb = iter(a)",
    "a cycle": "a = []\nb = [a]\na.append(b)",
    "a key": "class K: pass\na = K()\nb = {a: 1}\ndel K",
    "an element of a set": "class K: pass\na = K()\nb = {a}\ndel K",
    "a sentinel": "a = object()\ndef b(x=a): pass",
    "a deque": "import collections\na = []\nb = collections.deque([a])\ndel collections",
    "a frame in a list": "import pandas\na = pandas.DataFrame({'x': [1]})\nb = [a]\ndel pandas",
    "a list in a frame": "import pandas\na = [1]\nb = pandas.DataFrame({'x': [a]})\ndel pandas",
    "a frame over an array": "import numpy, pandas\na = numpy.zeros((3, 2))\nb = pandas.DataFrame(a, copy=False)\ndel numpy, pandas",
    "a function and the dict it runs in": "a = {'k': 1}\nexec('def f(): return k', a)\nb = a['f']",
    "an exception and what it carries": "a = []\nb = ValueError(a)",
}
APART = {
    "equal lists": "a = [1]\nb = [1]",
    "one constant tuple": "a = (1, ('x', 2.5))\nb = a",
    "tuples in lists": "t = (1, 2)\na = [t]\nb = [t]\ndel t",
    "interned text": "a = ['abc']\nb = ['abc']",
    "the same number": "a = b = 10**30",
    "a module": "import math\na = [math]\nb = {'m': math}\ndel math",
    "an importable function": "import json\na = [json.dumps]\nb = [json.dumps]\ndel json",
    "an importable class": "import collections\na = collections.Counter()\nb = collections.Counter()\ndel collections",
    "functions that read the same globals": "K = []\ndef a(): return K\ndef b(): return K\ndel K",
    "disjoint views": "import numpy\nz = numpy.zeros(9)\na, b = z[:4], z[4:]\ndel numpy, z",
    "frames that copy on write": "import pandas\na = pandas.DataFrame({'x': [1., 2]})\nb = a.copy(deep=False)\ndel pandas",
    "an index of a column": "import pandas\na = pandas.Series([1, 2])\nb = pandas.Index(a)\ndel pandas",
    "a column of an index": "import pandas\na = pandas.Index([1, 2])\nb = pandas.Series(a)\ndel pandas",
    "a column of a frame": "import pandas\na = pandas.DataFrame({'x': [1., 2]})\nb = a['x'].to_numpy()\ndel pandas",
    "loggers": "import logging\na, b = logging.getLogger('p'), logging.getLogger('q')\ndel logging",
    "what a task failed over": "import asyncio\na = [1]\nasync def f(x): raise ValueError\nasync def m():\n t = asyncio.ensure_future(f(a))\n await asyncio.wait([t])\n return t\nb = asyncio.run(m())\ndel asyncio, f, m",
    "importable constants": "import decimal\na = [decimal.Decimal(1)]\nb = [decimal.Decimal(1)]\ndel decimal",
}


@pytest.mark.parametrize("name", TIED)
def test_names_that_share_what_can_change_are_one_group(name: str) -> None:
    values, space = _cells(TIED[name])

    assert frozenset({"a", "b"}) <= next(g for g in alias_groups(values, namespace=space) if "a" in g)


@pytest.mark.parametrize("name", APART)
def test_names_that_share_only_what_cannot_change_stay_apart(name: str) -> None:
    values, space = _cells(APART[name])

    assert _tied(values, space) == set()


def test_the_namespace_itself_ties_nothing_together() -> None:
    values, space = _cells("a = [1]\nb = [2]\nme = [globals()]")

    assert _tied(values, space) == set()


def test_every_name_is_in_exactly_one_group_in_order() -> None:
    shared = [1]

    groups = alias_groups({"z": shared, "n": 1, "a": [shared], "m": math}, namespace=globals())

    assert groups == [frozenset({"z", "a"}), frozenset({"n"}), frozenset({"m"})]


def test_the_collector_is_left_as_it_was() -> None:
    alias_groups({"a": [1]}, namespace=globals())

    assert gc.isenabled()


def test_weak_and_logging_objects_do_not_break_the_walk() -> None:
    values = {"w": weakref.WeakSet(), "l": logging.getLogger(), "f": pd.Series([1]), "e": np.zeros(0)}

    assert _tied(values) == set()


def _brute_force(values: dict[str, Any]) -> set[frozenset[str]]:
    held = {
        name: {key for key, obj in graphs.reachable(value).items() if not isinstance(obj, tuple | frozenset)}
        for name, value in values.items()
    }
    for name, value in values.items():
        for obj in graphs.reachable(value).values():
            if isinstance(obj, (graphs.Node, graphs.Slotted)) and type(obj).__module__ == "__main__":
                held[name].add(id(type(obj)))
    groups = [{name} for name in values]
    for one in values:
        for other in values:
            if held[one] & held[other]:
                first = next(g for g in groups if one in g)
                second = next(g for g in groups if other in g)
                if first is not second:
                    first |= second
                    groups.remove(second)
    return {frozenset(group) for group in groups}


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**9), st.integers(5, 40))
def test_groups_equal_those_of_a_plain_walk(seed: int, size: int) -> None:
    values = graphs.random_graph(seed, names=6, size=size)

    assert set(alias_groups(values, namespace=globals())) == _brute_force(values)


def test_what_pandas_notes_about_views_of_an_index_ties_no_frames_together() -> None:
    dates = pd.date_range("2013", periods=3)
    df = pd.DataFrame({"a": [1, 2, 3]}, index=dates)
    copied = df.copy()
    rows, more = pd.DataFrame({"a": [1]}).index, pd.RangeIndex(2)

    values = {"dates": dates, "df": df, "copied": copied, "rows": rows, "view": rows.view(), "more": more}

    assert set(alias_groups(values, namespace=globals())) == {
        frozenset({"dates", "df"}),
        *(frozenset({name}) for name in ("copied", "rows", "view", "more")),
    }


def test_two_figures_share_nothing_but_what_is_of_matplotlib() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure  # noqa: PLC0415 - may be missing

    first, second = Figure(), Figure()
    axes = first.add_subplot()
    axes.hist([1, 2, 3])
    second.add_subplot().plot([1, 2])

    values = {"first": first, "axes": axes, "second": second}

    assert set(alias_groups(values, namespace=globals())) == {
        frozenset({"first", "axes"}),
        frozenset({"second"}),
    }


def test_a_list_of_the_options_of_matplotlib_under_two_names_is_one() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    limits = matplotlib.rcParams["axes.formatter.limits"]

    assert alias_groups({"a": limits, "b": limits}, namespace=globals()) == [frozenset({"a", "b"})]
