"""A digest tells apart what differs and nothing else."""

from __future__ import annotations

import contextvars
import functools
import gc
import os
import random
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kitaru_nb.artifacts import census
from kitaru_nb.artifacts import digest as digest_module
from kitaru_nb.artifacts.digest import digest_values, is_immutable_atom, walk_digest
from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.artifacts.pickle_codec import PickleCodec
from tests.unit.artifacts import graphs

Digest = Callable[[object], str]


def fast(value: object) -> str:
    return digest_values({"x": value}, namespace=globals())


def walked(value: object) -> str:
    return walk_digest({"x": value}, namespace=globals())


def _function(source: str, **scope: Any) -> Any:
    space: dict[str, Any] = {"__name__": "__main__", **scope}
    exec(source, space)
    return space["f"]


def _shared(*, same: bool) -> list[Any]:
    one = [1]
    return [one, one if same else [1]]


def _views(*, same: bool) -> list[Any]:
    base = np.zeros(6)
    return [base, base[:3] if same else np.zeros(3)]


def _pair(*, same: bool) -> list[Any]:
    t = ([],)
    return [t, t if same else ([],)]


def _frames_that_share() -> list[Any]:
    frame = pd.DataFrame(_FRAME)
    return [frame, frame.copy(deep=False)]


_FRAME = {"a": [1, 2], "b": ["x", "y"]}
DIFFERENT: dict[str, tuple[object, object]] = {
    "bool and int": (True, 1),
    "int and float": (1, 1.0),
    "negative zero": (0.0, -0.0),
    "text and bytes": ("a", b"a"),
    "list and tuple": ([1], (1,)),
    "nested bool": ([[True]], [[1]]),
    "dict order": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "set and frozenset": ({1}, frozenset({1})),
    "set elements": ({1, 2}, {1, 3}),
    "shared and copied": (_shared(same=True), _shared(same=False)),
    "shared in a tuple": (_pair(same=True), _pair(same=False)),
    "view and copy": (_views(same=True), _views(same=False)),
    "dtype": (np.arange(4), np.arange(4).astype("u8")),
    "byte order": (np.arange(4), np.arange(4).astype(">i8")),
    "shape": (np.zeros((2, 3)), np.zeros((2, 1, 3))),
    "memory order": (np.ones((2, 3)), np.asfortranarray(np.ones((2, 3)))),
    "transposed": (np.eye(3)[:2], np.eye(3)[:2].T),
    "strided": (np.arange(10)[::2], np.arange(10)[::2].copy()),
    "writable": (np.zeros(2), np.broadcast_to(np.zeros(2), (2,))),
    "array and list": (np.array([1]), [1]),
    "numpy scalar": (np.float64(1), 1.0),
    "index": (pd.DataFrame(_FRAME), pd.DataFrame(_FRAME, index=[1, 2])),
    "column order": (pd.DataFrame(_FRAME), pd.DataFrame(_FRAME)[["b", "a"]]),
    "index name": (pd.DataFrame(_FRAME), pd.DataFrame(_FRAME).rename_axis("n")),
    "categories": (pd.Series(["a"]), pd.Series(["a"], dtype="category")),
    "default": (_function("def f(x=1): pass"), _function("def f(x=2): pass")),
    "constant": (_function("def f(): return 1"), _function("def f(): return True")),
    "name read": (_function("def f(): return a"), _function("def f(): return b")),
    "handler": (
        _function("def f():\n try: a(); b()\n except E: c()"),
        _function("def f():\n try: a()\n except E: c()\n else: b()"),
    ),
    "closure": (
        _function("def g(n):\n def h(): return n\n return h\nf = g(1)"),
        _function("def g(n):\n def h(): return n\n return h\nf = g(2)"),
    ),
    "function attribute": (_function("def f(): pass\nf.a = 1"), _function("def f(): pass\nf.a = 2")),
    "method": (
        _function("class f:\n def m(self): return 1"),
        _function("class f:\n def m(self): return 2"),
    ),
    "class attribute": (_function("class f: a = 1"), _function("class f: a = 2")),
    "class of an instance": (_function("class A: a = 1\nf = A()"), _function("class A: a = 2\nf = A()")),
    "path and text": (Path("a"), "a"),
}
BESIDE = {"a set"}  # beside it a small value takes the way of large ones
SAME: dict[str, tuple[object, object]] = {
    "sets in any order": ({"a", "b", "c", "d"}, {"d", "c", "b", "a"}),
    "equal constants, one object or two": ([(1, 2), (1, 2)], [(1, 2), tuple(range(1, 3))]),
    "interned text": (["abc", "abc"], ["abc", str(b"abc", "ascii")]),
    "not a number": (float("nan"), float("nan")),
    "comments and layout": (
        _function("def f(x):\n  while True:\n    x += 1\n    if x > 3: break\n  return x"),
        _function(
            "# new\n\ndef f(x):\n\n  while True:  # loop\n    x += (\n      1)\n"
            "    if x > 3:\n      break\n  return x"
        ),
    ),
    "frames that share": (
        _frames_that_share(),
        [pd.DataFrame(_FRAME), pd.DataFrame(_FRAME)],
    ),
}


@pytest.mark.parametrize("digest", [fast, walked])
@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_has_another_digest(name: str, digest: Digest) -> None:
    one, other = DIFFERENT[name]

    assert digest(one) != digest(other)
    assert digest([one, BESIDE]) != digest([other, BESIDE])
    assert digest(one) == digest(one)


@pytest.mark.parametrize("digest", [fast, walked])
@pytest.mark.parametrize("name", SAME)
def test_what_is_the_same_has_the_same_digest(name: str, digest: Digest) -> None:
    one, other = SAME[name]

    assert digest(one) == digest(other)
    assert digest([one, BESIDE]) == digest([other, BESIDE])


@pytest.mark.parametrize("digest", [digest_values, walk_digest])
def test_the_notebook_globals_of_a_function_are_not_part_of_its_digest(digest: Any) -> None:
    spaces = [{"__name__": "__main__", "K": k} for k in (1, 2)]
    for space in spaces:
        exec("def f(): return K", space)

    one, other = (digest({"f": space["f"]}, namespace=space) for space in spaces)

    assert one == other


@pytest.mark.parametrize("digest", [fast, walked])
@pytest.mark.parametrize("make", [lambda: functools.partial(print, 1), lambda: ValueError("x")])
def test_a_look_at_what_an_object_holds_is_no_change(make: Callable[[], Any], digest: Digest) -> None:
    value = make()
    before = digest(value)

    assert vars(value) == {}  # which makes the dict that was not there before

    assert digest(value) == before
    vars(value)["more"] = 1
    assert digest(value) != before


@pytest.mark.parametrize("digest", [fast, walked])
def test_an_array_that_shows_all_of_one_that_nobody_else_has_is_that_array(digest: Digest) -> None:
    own = np.array(["x", [1]], object)
    shown, alone = own[:], np.array(["x", [1]], object)[:]  # an index of pandas 2 comes back so

    assert alone.base is not None
    assert digest(alone) == digest(own)
    assert digest(shown) != digest(own)


def test_an_object_whose_class_tells_its_module_by_a_descriptor_is_looked_at_like_any_other() -> None:
    class Odd:
        """As the class of Cython's functions was."""

    Odd.__module__ = property(lambda _: "x")  # type: ignore[assignment] # that is what is odd

    found = PickleCodec().encode({"odd": Odd(), "n": 1}, namespace={})

    assert "looking at it raises" not in found.unstorable.get("odd", "")
    assert fast(Odd()) == fast(Odd())


def test_a_marker_has_the_digest_of_what_it_says() -> None:
    one, other = Marker("a", "generator", "why"), Marker("b", "generator", "why")

    assert fast([one]) == fast([Marker("a", "generator", "why")]) != fast([other])
    assert walked([one]) == walked([Marker("a", "generator", "why")]) != walked([other])


TEXT = "a long text, é\ud800 " * 200


@pytest.mark.parametrize(
    "value",
    [
        *(TEXT, TEXT.encode("utf-8", "surrogatepass"), TEXT * 100, "x" * 2001, b"y" * 70_000),
        *("sk-abcdefghijklmnopqrstuvwx" * 100, [TEXT], (TEXT, TEXT)),
        *({("a", TEXT), ("b", TEXT, 1)}, {("a", 1)}),
    ],
    ids=range(10),
)
def test_a_long_text_has_the_digest_that_any_graph_would_have(
    value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = digest_values({"said": value}, namespace={})
    monkeypatch.setattr(digest_module, "_NAMED_TEXTS", [])

    assert digest_values({"said": value}, namespace={}) == found


def test_the_order_of_names_does_not_count() -> None:
    one = digest_values({"a": 1, "b": [2]}, namespace=globals())
    other = digest_values({"b": [2], "a": 1}, namespace=globals())

    assert one == other


def test_pickling_an_instance_leaves_the_digest_of_its_class() -> None:
    value = _function("class A: pass\nf = A()")
    before = fast(value)

    PickleCodec().encode({"x": value}, namespace=globals())

    assert fast(value) == before


@pytest.mark.parametrize("digest", [fast, walked])
def test_a_live_object_has_a_digest_of_its_own(digest: Digest) -> None:
    one, other = (i for i in [1]), (i for i in [1])

    assert digest(one) == digest(one)
    assert digest(one) != digest(other)


def test_a_generator_that_moved_on_has_another_digest() -> None:
    generator = (i for i in [1, 2])
    before = fast(generator)

    next(generator)

    assert fast(generator) != before


@pytest.mark.parametrize("digest", [fast, walked])
def test_graphs_deeper_than_the_recursion_limit_have_a_digest(digest: Digest) -> None:
    def nested(inner: object) -> object:
        for _ in range(5_000):
            inner = [inner]
        return inner

    assert digest(nested(1)) == digest(nested(1)) != digest(nested(2))


@pytest.mark.parametrize("digest", [fast, walked])
def test_a_graph_of_a_billion_paths_has_a_digest(digest: Digest) -> None:
    def diamond(inner: Any) -> Any:
        for _ in range(60):
            inner = [inner, inner]
        return inner

    assert digest(diamond([1])) == digest(diamond([1])) != digest(diamond([2]))


def test_sets_nested_in_sets_have_a_digest() -> None:
    number: frozenset[Any] = frozenset()
    for _ in range(25):
        number = number | {number}

    assert fast(number) == fast(frozenset(sorted(number, key=len)))


@pytest.mark.parametrize("digest", [fast, walked])
def test_sets_of_objects_that_lead_to_each_other_have_a_digest_whatever_their_order(digest: Digest) -> None:
    def net(count: int, step: int) -> object:
        graph = graphs.Node()
        nodes = [graphs.Node() for _ in range(count)]
        kept = [graphs.Node() for _ in range(next(sizes))]  # the nodes lie elsewhere, in another order
        for name, node in enumerate(nodes):
            near = {nodes[(name + 1) % count], nodes[(name * step) % count]}
            vars(node).update(name=name, graph=graph, near=near)
        vars(graph).update(nodes=set(random.sample(nodes, count)))
        del kept
        return graph

    sizes = iter([0, 7, 31, 0, 5])

    found = [digest(net(12, 5)) for _ in range(4)]

    assert set(found) == {found[0]}
    assert digest(net(12, 7)) != found[0]


def _round_trip(values: dict[str, Any]) -> dict[str, Any]:
    done = PickleCodec().encode(values, namespace=globals())
    return PickleCodec().decode(done.meta, lambda i: done.buffers[i], namespace=globals())


@settings(max_examples=150, deadline=None)
@example(1934)  # sets whose elements lead back to them
@example(18406)
@example(354)  # two that look alike in a set, one of them held elsewhere
@given(st.integers(0, 10**9))
def test_random_graphs_survive_a_round_trip_with_every_identity(seed: int) -> None:
    values = graphs.random_graph(seed)

    back = _round_trip(values)

    assert graphs.shape(back) == graphs.shape(values)
    assert digest_values(back, namespace=globals()) == digest_values(values, namespace=globals())
    assert walk_digest(back, namespace=globals()) == walk_digest(values, namespace=globals())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_any_change_of_a_random_graph_changes_its_digest(seed: int) -> None:
    values = graphs.random_graph(seed)
    fast_before = digest_values(values, namespace=globals())
    walk_before = walk_digest(values, namespace=globals())

    for change in graphs.mutations(values):
        assert digest_values(values, namespace=globals()) != fast_before, change
        assert walk_digest(values, namespace=globals()) != walk_before, change

    assert digest_values(values, namespace=globals()) == fast_before


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 4))
def test_both_ways_agree_on_what_is_equal(one: int, other: int, size: int) -> None:
    first = graphs.random_graph(one, names=1, size=size)
    second = graphs.random_graph(other, names=1, size=size)

    quick = digest_values(first, namespace=globals()) == digest_values(second, namespace=globals())
    slow = walk_digest(first, namespace=globals()) == walk_digest(second, namespace=globals())

    assert quick == slow


@pytest.mark.parametrize(
    ("value", "atom"),
    [
        *(
            (v, True)
            for v in (1, "a", None, b"x", (1, ("a", None)), frozenset({1}), len, int, np.float64(1), slice(1))
        ),
        *(
            (v, False)
            for v in ([], {}, ([],), {1}, np.zeros(1), random.Random(), lambda: 1, [].append, object())
        ),
    ],
)
def test_immutable_atoms_are_known(value: object, atom: bool) -> None:
    assert is_immutable_atom(value) is atom


def test_a_figure_that_nobody_touches_keeps_its_digest_and_a_touched_one_does_not() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    values = {"figure": figure, "axes": axes}
    before = digest_values(values, namespace={})
    walked = walk_digest(values, namespace={})

    again = digest_values(values, namespace={})
    walked_again = walk_digest(values, namespace={})
    axes.set_title("changed")

    assert again == before
    assert walked_again == walked
    assert digest_values(values, namespace={}) != before
    plt.close(figure)


def test_what_the_collector_takes_from_a_figure_does_not_change_its_digest() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    figure, axes = plt.subplots()
    gc.disable()
    try:
        for number in range(3):
            axes.set_title(f"title {number}")
            figure.draw_without_rendering()
            axes.legend(axes.plot([number]), "x")
            axes.get_legend().remove()
        before = digest_values({"figure": figure}, namespace={})
        taken = gc.collect()
    finally:
        gc.enable()

    assert taken
    assert digest_values({"figure": figure}, namespace={}) == before
    plt.close(figure)


def test_a_context_variable_of_the_notebook_is_known_by_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    main, variable = types.ModuleType("__main__"), contextvars.ContextVar("v", default=0)
    main.__dict__["v"] = variable
    monkeypatch.setitem(sys.modules, "__mp_main__", main)  # as importing multiprocessing leaves it

    before = digest_values({"v": variable}, namespace={})
    variable.set(1)

    assert digest_values({"v": variable}, namespace={}) != before


def test_a_pydantic_model_has_the_same_digest_in_every_process_and_another_one_when_it_is_edited() -> None:
    source = (
        "from pydantic import BaseModel, Field, field_validator\n"
        "from kitaru_nb.artifacts.digest import digest_values\n"
        "class M(BaseModel):\n a: int = Field(gt=0)\n b: int = 1\n @field_validator('{}')\n @classmethod\n"
        " def check(cls, v): return v\n"
        "print(digest_values({{'': M(a=1)}}, namespace=globals()))"
    )
    texts = [source.format("a"), source.format("a"), source.format("b")]
    # Something else in memory first, or a class would have the same address in each.
    found = [
        subprocess.run(
            [sys.executable, "-c", f"x = [type('T', (), {{}}) for _ in range({n})]\n{text}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for n, text in enumerate(texts)
    ]

    assert found[0] == found[1] != found[2]


_OF_A_SCRIPT = """
import attrs, dataclasses, enum, functools, typing
class P:
    def __init__(self): self.f = f
    @functools.lru_cache
    def cached(self): pass
def f(): pass
T = typing.TypeVar("T")
Id = typing.NewType("Id", int)
@dataclasses.dataclass
class Box(typing.Generic[T]):
    value: T
@attrs.frozen
class Frozen:
    x: int
class Color(enum.Enum):
    RED = 1
values = [P(), P, f, T, Id, Box(1), Frozen(1), Color.RED]
"""


def test_what_a_script_defines_has_the_same_digest_in_a_worker_that_was_spawned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for name in ("__main__", "__mp_main__"):
        main = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, main)
        scope = vars(main)
        exec(_OF_A_SCRIPT, scope)
        found.append([digest_values({"": value}, namespace=scope) for value in scope["values"]])

    assert found[0] == found[1]
    assert len(set(found[0])) == len(found[0])


def test_a_frozen_class_of_attrs_has_the_same_digest_in_every_process() -> None:
    source = (
        "import attrs\nfrom kitaru_nb.artifacts.digest import digest_values\n"
        "@attrs.frozen\nclass A:\n x: {}\n"
        "print(digest_values({{'': A}}, namespace=globals()))"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", source.format(kind)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for kind, seed in (("int", "1"), ("int", "2"), ("str", "1"))
    ]

    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("many", [3, 400])
def test_what_cannot_be_stored_is_let_go_when_nobody_else_has_it(many: int) -> None:
    def look() -> int:
        scanner = re.compile("a").scanner("aa")  # no weak reference can see it die
        digest_values({"s": scanner}, namespace={})
        return object.__hash__(scanner)

    before = len(census._opaque)
    last = [look() for _ in range(many)][-1]

    assert last in census._opaque, "it is met in the very digest that it is told in"
    assert len(census._opaque) <= max(2 * before, 2)


class _Slots:
    """Hands out what is in its slots in another order each time, as one that goes through a set does."""

    __slots__ = ("a", "b", "turn")

    def __init__(self) -> None:
        self.a, self.b, self.turn = 1, [2], [False]

    def __getstate__(self) -> dict[str, Any]:
        self.turn[0] = not self.turn[0]
        names = ("a", "b") if self.turn[0] else ("b", "a")
        return {name: getattr(self, name) for name in names}


def test_the_order_in_which_a_class_names_its_slots_is_no_part_of_a_digest() -> None:
    value = _Slots()

    found = {digest_values({"": value}, namespace=globals()) for _ in range(2)}

    assert len(found) == 1
    value.b.append(3)
    assert digest_values({"": value}, namespace=globals()) not in found


def test_a_slice_that_two_have_is_as_good_as_two() -> None:
    one = slice(0, 2)

    shared = digest_values({"a": [one], "b": [one]}, namespace=globals())

    assert shared == digest_values({"a": [slice(0, 2)], "b": [slice(0, 2)]}, namespace=globals())


class _Node:
    """One of many that lead to each other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.others: set[_Node] = set()


def test_a_set_of_objects_that_lead_to_each_other_is_not_gone_through_for_each_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = [_Node(f"n{number}") for number in range(40)]
    for node in nodes:
        node.others = {*nodes}
    asked: list[object] = []
    whole = digest_module._written
    monkeypatch.setattr(
        digest_module, "_written", lambda root, *rest: (asked.append(root), whole(root, *rest))[1]
    )

    found = digest_values({"": nodes}, namespace=globals())

    assert len(asked) < 5
    nodes[3].name = "other"
    assert digest_values({"": nodes}, namespace=globals()) != found


def test_elements_that_look_alike_are_told_from_each_other() -> None:
    def pair(*values: int) -> set[Any]:
        found = [_Node("n") for _ in values]
        for node, value in zip(found, values, strict=True):
            node.others = {("held", value)}  # type: ignore[arg-type] # anything that tells them apart
        return {*found}

    def digest(value: object) -> str:
        return digest_values({"": value}, namespace=globals())

    assert digest(pair(1, 2)) == digest(pair(2, 1))
    assert digest(pair(1, 2)) != digest(pair(1, 3))
