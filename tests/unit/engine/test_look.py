"""Looking again costs what was touched, and sees what a first look would see."""

from __future__ import annotations

import builtins
import gc
import random
import sys
import weakref
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import pytest

from kitaru_nb.analysis.reach import Reach, reach
from kitaru_nb.artifacts.trace import Trace
from kitaru_nb.engine import namespace as namespace_module
from kitaru_nb.engine.namespace import Namespace
from kitaru_nb.engine.state import changed_groups, differing, grown_groups


class Says:
    """As objects of libraries do: what is stored of them is made when they are asked."""

    def __init__(self, *held: Any) -> None:
        self.held = list(held)
        self.drawn = iter([])  # could not be stored

    def __getstate__(self) -> dict[str, Any]:
        return {"held": [*self.held], "count": len(self.held), "note": getattr(self, "note", None)}


class Pair(NamedTuple):
    """A tuple of a library."""

    one: Any
    other: Any


_START = """
import collections, functools
class C:
    shared = [1]
    def __init__(self, held):
        self.held = held
def f(x=1):
    return x
def closure(held):
    def inner():
        return held
    return inner
"""
_NAMES = "a b c d e g h".split()


def a_namespace(source: str = "") -> Namespace:
    live: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins, "np": np}
    live |= {"Says": Says, "Pair": Pair}
    exec(source, live)
    return Namespace(live)


@pytest.mark.parametrize("seed", range(120))
def test_any_number_of_looks_see_what_a_first_look_sees(seed: int) -> None:
    chosen = random.Random(seed)
    namespace = a_namespace(_START + "\n".join(f"{name} = {n}" for n, name in enumerate(_NAMES)))
    seen = namespace.observe()

    for _ in range(60):
        _try(namespace, _statement(chosen))
        if chosen.random() < 0.3:
            namespace.let_go({chosen.choice(_NAMES)}, {chosen.choice(_NAMES)})
        if chosen.random() < 0.7:
            before, seen = seen, namespace.observe()
            fresh = Namespace(namespace.live).observe()
            others = set(differing(before.groups, seen.groups))
            same = {n: before.refers.get(n, frozenset()) for n in seen.groups.keys() - others}
            assert changed_groups(before, seen) == others | grown_groups(seen, same)
            assert (dict(seen.groups), dict(seen.ids)) == (dict(fresh.groups), dict(fresh.ids))
            assert seen.refers == fresh.refers
            assert (seen.definitions, seen.group_of) == (fresh.definitions, fresh.group_of)
            assert _reached(namespace, partial(namespace.is_data, state=seen)) == _reached(namespace)


def _try(namespace: Namespace, source: str) -> None:
    try:
        exec(source, namespace.live)
    except Exception:  # noqa: BLE001 - a random statement need not fit what the name holds
        return


def _statement(chosen: random.Random) -> str:
    one, other = chosen.choice(_NAMES), chosen.choice(_NAMES)
    return chosen.choice(
        [
            *[f"{one} = {_expression(chosen)}"] * 3,
            *(f"del {one}", f"{one}.append({other})", f"{one}['z'] = {other}", f"{one}.held = {other}"),
            *(f"del {one}['k']", f"{one}[0] = {other}", f"{one}.add(7)", f"{one}['y'] = {one}.pop('k')"),
            *(f"{one}.clear()", f"C.shared = {other}", f"f.note = {other}", f"{one} += 1"),
            *("def f(x=1, y=[]): return x", "class C:\n def __init__(self, held): self.held = held"),
            f"{one}.__dict__ = {{'held': {other}}}",
            *(f"{one}[:] = {other}", f"{one} *= 3", f"{one}.shape = (3, 1)", f"{one}.dtype = 'f8'"),
            *(f"{one}.flags.writeable = False", f"{one}.note = {other}"),
            f"{one}.held[0] = {other}",
        ]
    )


def _expression(chosen: random.Random) -> str:
    name = chosen.choice(_NAMES)
    return chosen.choice(
        [
            *("1", "2", "[[], []]", "{1, 2}", "{1: 2, 'a': [3]}", "f", "np.arange(3)", "np.arange(6)[1:4]"),
            *(name, f"[{name}, 1]", f"{{'k': {name}}}", f"({name},)", f"C({name})", f"closure({name})"),
            *(f"collections.defaultdict(list, a={name})", f"(lambda x={name}: x)"),
            f"functools.partial(f, {name})",
            *(
                f"{name}[1:]",
                f"{name}.held[1:]",
                f"{name}.held[0][1:]",
                f"[{name}[:2]]",
                f"Says({name})",
                f"Says(np.arange(4), {name})",
            ),
            *(f"np.array([{name}, None], object)", f"np.ma.array({name}, mask=[0, 1, 0])", f"{name}.held"),
            *("collections.OrderedDict(k=[], l=np.zeros(2))", f"Pair({name}, 1)", f"Says({name}.held)"),
        ]
    )


_GRAPHS = {
    "list": ("x = [1, [2]]", "x[1].append(3)"),
    "dict value": ("x = {'a': {'b': 1}}", "x['a']['b'] = 2"),
    "dict key of the same value": ("v = object\nx = {'a': v}", "x['b'] = x.pop('a')"),
    "dict order": ("x = {'a': 1, 'b': 1}", "x['a'] = x.pop('a')"),
    "equal value of another type": ("x = [1]", "x[0] = True"),
    "set": ("x = [{1}]", "x[0].add(2)"),
    "deque": ("import collections\nx = collections.deque([1])", "x.append(2)"),
    "attribute": ("class C: pass\nx = C()\nx.a = 1", "x.a = 2"),
    "attributes exchanged": ("class C: pass\nx = C()\nx.__dict__ = {'a': 1}", "x.__dict__ = {'a': 1}"),
    "class of an instance": ("class C: pass\nclass D: pass\nx = C()", "x.__class__ = D"),
    "class attribute": ("class C: a = [1]\nx = C()", "C.a.append(2)"),
    "method": ("class C:\n def f(self): return 1\nx = C()", "C.f = lambda self: 2"),
    "default": ("def x(a=[]): return a", "x.__defaults__[0].append(1)"),
    "code": ("def x(): return 1", "x.__code__ = (lambda: 2).__code__"),
    "closure": (
        "def make():\n held = [1]\n return lambda: held\nx = make()",
        "x.__closure__[0].cell_contents.append(2)",
    ),
    "function attribute": ("def x(): return 1", "x.note = 1"),
    "partial": ("import functools\nx = functools.partial(max, [1])", "x.args[0].append(2)"),
    "order": ("import collections\nx = collections.OrderedDict(a=1, b=1)", "x.move_to_end('a')"),
    "elements": ("x = [np.zeros(3)]", "x[0][1] = -0.0"),
    "many elements": ("x = [np.zeros(3000)]", "x[0][2999] = 1"),
    "shape": ("x = [np.zeros(4)]", "x[0].shape = 2, 2"),
    "memory order": ("x = [np.zeros((2, 2))]", "x[0] = np.zeros((2, 2), order='F')"),
    "dtype": ("x = [np.zeros(4)]", "x[0].dtype = 'i8'"),
    "writeable": ("x = [np.zeros(4)]", "x[0].flags.writeable = False"),
    "objects in an array": ("x = [np.array([[1], None], object)]", "x[0][0].append(2)"),
    "object of an array": ("x = [np.array([[1], None], object)]", "x[0][1] = 1"),
    "mask": ("x = [np.ma.array([1, 2], mask=[0, 1])]", "x[0].mask[0] = True"),
    "masked element": ("x = [np.ma.array([1, 2], mask=[0, 1])]", "x[0][0] = 5"),
    "what it answers": ("x = Says([1])", "x.held[0].append(2)"),
    "what it makes to answer": ("x = Says(1)", "x.held.append(2)"),
    "element of a named tuple": ("x = Pair([1], 2)", "x.one.append(2)"),
    "list of a bound method": ("x = Says([1].append)", "x.held[0](2)"),
}


@pytest.mark.parametrize(("source", "change"), _GRAPHS.values(), ids=_GRAPHS)
def test_a_trace_holds_until_something_is_touched(source: str, change: str) -> None:
    namespace = a_namespace(source)
    trace = Trace.of([namespace.live["x"]], namespace.live)
    assert trace is not None
    trace = Trace.merged([trace])

    before = trace.holds()
    exec(change, namespace.live)

    assert (before, trace.holds()) == (True, False)


@pytest.mark.parametrize(
    "source",
    [
        "x = [np.zeros(600_000)]",
        "import mmap\nx = [np.frombuffer(mmap.mmap(-1, 8))]",
        "x = [np.zeros(2, dtype=[('a', object)])]",
        "class S:\n def __getstate__(self): return {}\nx = S()",
        "x = Says([iter([])])",
        "x = [bytearray(b'1')]",
        "import collections\nx = collections.Counter('ab')",
        "import io\nx = io.StringIO('a')",
        "class D(dict): pass\nx = D(a=1)",
        "class S:\n __slots__ = ('a',)\nx = S()",
        "import random\nx = random.Random(1)",
        "x = (i for i in [1])",
        "x = iter([1, 2])",
        "import abc\nclass x(abc.ABC): pass",
        "import enum\nclass E(enum.Enum):\n A = 1\nx = E.A",
    ],
)
def test_what_the_collector_does_not_show_has_no_trace(source: str) -> None:
    namespace = a_namespace(source)

    assert Trace.of([[namespace.live["x"]]], namespace.live) is None


def _reached(namespace: Namespace, is_data: Callable[[str], bool] = lambda _name: False) -> dict[str, Reach]:
    """What each name leads to."""
    live = namespace.live
    return {
        name: reach([name], live, is_local=lambda _module: False, is_data=is_data)
        for name in _NAMES
        if name in live
    }


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ("x = [{'a': (1, 2.5, None), b'c': {'d', 'e'}}]", True),
        ("x = [{'a': len}]", False),
        ("x = [int]", False),
        ("def x(): return y", False),
        ("class C: pass\nx = C()", False),
        ("class Text(str): pass\nx = [Text('a')]", False),
        ("import datetime\nx = [datetime.date(2026, 1, 1)]", False),
    ],
)
def test_only_numbers_and_text_in_plain_containers_are_known_as_data(source: str, data: bool) -> None:
    namespace = a_namespace(source)

    seen = namespace.observe()

    assert namespace.is_data("x", seen) is data


def test_nothing_is_known_as_data_in_a_state_of_the_past() -> None:
    namespace = a_namespace("x = [1]")
    past = namespace.observe()
    namespace.live["x"].append(2)
    namespace.observe()

    assert not namespace.is_data("x", past)
    assert not namespace.is_data("none", namespace.observe())


def test_what_was_looked_at_once_is_not_digested_again(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = a_namespace("x = [1]")
    seen = namespace.observe()
    monkeypatch.setattr(namespace_module, "digest_values", None)

    assert namespace.observe().groups == seen.groups


def test_traces_merged_hold_while_each_of_them_does() -> None:
    one, other = [1], {"a": [2]}
    whole = Trace.merged(trace for root in (one, other) if (trace := Trace.of([root], {})))

    assert whole.holds()
    other["a"].append(3)
    assert not whole.holds()


@pytest.mark.parametrize(
    "later", ["x.held[0][1:]", "memoryview(x.held[0])", "np.asarray(memoryview(x.held[0]))"]
)
def test_a_view_of_an_array_in_a_traced_group_is_found_to_share_it(later: str) -> None:
    namespace = a_namespace("x = Says(np.arange(3), [])\nz = Says(np.arange(3))")
    namespace.observe()
    assert namespace.observe().groups.keys() >= {("x",), ("z",)}

    exec(f"y = {later}", namespace.live)

    assert namespace.observe().groups.keys() >= {("x", "y"), ("z",)}


def _looked_at_twice(source: str) -> tuple[Namespace, Callable[[], object]]:
    namespace = a_namespace(source)
    namespace.observe()
    namespace.observe()
    reference = weakref.ref(namespace.live["x"])
    return namespace, reference


@pytest.mark.parametrize("held", ["x", "[x]"])
def test_an_object_that_a_cell_gives_up_dies_when_it_would_have_died(held: str) -> None:
    namespace, alive = _looked_at_twice(f"class C: pass\nx = C()\nholder = {held}\ndel holder")

    namespace.let_go({"x"}, {"x"})
    exec("del x", namespace.live)
    gc.collect()

    assert alive() is None


def test_an_object_inside_what_a_cell_touches_dies_when_it_would_have_died() -> None:
    namespace, alive = _looked_at_twice("class C: pass\nx = C()\nholder = [x]")
    exec("del x", namespace.live)
    namespace.observe()
    namespace.observe()

    namespace.let_go({"holder"})
    namespace.live["holder"].clear()
    gc.collect()

    assert alive() is None


def test_a_function_that_a_cell_deletes_dies_when_it_would_have_died() -> None:
    namespace, alive = _looked_at_twice("def x(): return 1")

    namespace.let_go(set(), {"x"})
    exec("del x", namespace.live)
    gc.collect()

    assert alive() is None


def test_a_trace_tells_whether_a_weak_reference_could_see_its_objects_die() -> None:
    namespace = a_namespace("class C: pass\nx = [C()]\ny = [[1]]")
    one, other = (Trace.of([namespace.live[name]], namespace.live) for name in "xy")
    assert one is not None
    assert other is not None

    assert (one.weak, other.weak, Trace.merged([other, one]).weak) == (True, False, True)


def test_what_no_step_touches_keeps_its_trace() -> None:
    namespace, alive = _looked_at_twice("class C: pass\nx = C()")

    namespace.let_go({"y"}, {"y"})
    exec("del x", namespace.live)  # as nothing but a step does, and steps say what they touch
    gc.collect()

    assert alive() is not None


def test_a_name_that_the_interpreter_takes_over_is_no_longer_the_users() -> None:
    namespace = Namespace({"display": 1}, lambda _name, value: value is len)
    namespace.observe()

    namespace.live["display"] = len

    assert namespace.observe().groups == {}


def test_many_new_groups_cost_one_pass_over_what_they_own() -> None:
    """Taken in one by one, a thousand values in a commit took a second and a half."""

    def steps(count: int) -> int:
        namespace = a_namespace()
        namespace.observe()
        exec("\n".join(f"v{n} = {{'number': {n}, 'rest': [{n} / 3]}}" for n in range(count)), namespace.live)
        found = 0

        def note(frame: FrameType, event: str, _argument: object) -> Any:
            nonlocal found
            frame.f_trace_lines, frame.f_trace_opcodes = False, True
            found += event == "opcode"
            return note

        before = sys.gettrace()
        sys.settrace(note)
        try:
            namespace.observe()
        finally:
            sys.settrace(before)
        return found

    assert steps(800) < 2.5 * steps(400)
