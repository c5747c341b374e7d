"""What a step did, undone in the very same objects; and told from what was done after it."""

from __future__ import annotations

import asyncio
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kitaru_nb.engine import frame_kinds, rollback
from kitaru_nb.engine.rollback import Shadow, kind_of, reached
from tests.unit.engine.picture import picture

# name: what makes `x`, a change of it, and another change of the very same thing
CHANGES: dict[str, tuple[str, str, str]] = {
    "list": ("x = [1, [2]]", "x[1].append(3)", "x[1].clear()"),
    "list of the same length": ("x = [1, [2]]", "x[0] = 7", "x[0] = 8"),
    "dict": ("x = {'a': 1}", "x['b'] = 2", "x.clear()"),
    "key of a dict": ("x = {'a': 1, 'c': 2}", "x['d'] = x.pop('a')", "x['e'] = x.pop('c')"),
    "value of a dict": ("x = {'a': 1}", "x['a'] = 2", "x['a'] = 3"),
    "set": ("x = {1, 2}", "x.remove(1)", "x.add(9)"),
    "set within a tuple": ("x = (1, {1})", "x[1].add(5)", "x[1].clear()"),
    "OrderedDict": (
        "import collections\nx = collections.OrderedDict(a=1, b=2)",
        "x.move_to_end('a')",
        "x.pop('a')",
    ),
    "defaultdict": ("import collections\nx = collections.defaultdict(list)", "x['a'].append(1)", "x.clear()"),
    "subclass of a list": (
        "class L(list): pass\nx = L([1])",
        "x.append(2); x.note = 1",
        "x.clear(); x.note = 2",
    ),
    "deque": ("import collections\nx = collections.deque([1, 2], 3)", "x.append(3)", "x.popleft()"),
    "bytearray": ("x = bytearray(b'ab')", "x[0] = 9", "x.append(1)"),
    "cell": (
        "def make(n):\n    def x():\n        nonlocal n\n        n = [n]\n    return x\nx = make([1])",
        "x()",
        "x()",
    ),
    "cell that was empty": (
        "def make():\n    if 0: n = 0\n    def x():\n        nonlocal n; n = 1\n    return x\nx = make()",
        "x()",
        "x.__closure__[0].cell_contents = 5",
    ),
    "cell that was emptied": (
        "def make():\n    n = 3\n    def x():\n        nonlocal n\n        del n\n    return x\nx = make()",
        "x()",
        "x.__closure__[0].cell_contents = 5",
    ),
    "defaults": ("def x(v=[1]): return v", "x.__defaults__ = (2,)", "x.__defaults__ = None"),
    "value of a default": ("def x(v=[1]): return v", "x().append(2)", "x().clear()"),
    "keyword defaults": ("def x(*, v=1): return v", "x.__kwdefaults__ = {'v': 2}", "x.__kwdefaults__ = None"),
    "code": (
        "def x(): return 1\ndef y(): return 2\ndef z(): return 3",
        "x.__code__ = y.__code__",
        "x.__code__ = z.__code__",
    ),
    "attribute of a function": ("def x(): pass", "x.note = 1", "x.other = 2"),
    "attribute of an instance": (
        "class C: pass\nx = C(); x.v = [1]",
        "x.v.append(2); x.w = 3",
        "x.v.clear(); x.w = 4",
    ),
    "slots": (
        "class C:\n    __slots__ = ('v', 'w')\nx = C(); x.v = 1",
        "x.v = 2; x.w = 3",
        "del x.v",
    ),
    "slots of a kind that is written in C": (
        "import decimal\nclass C(decimal.Context):\n    __slots__ = ('v', 'w')\nx = C(); x.v = 1",
        "x.v = 2; x.w = 3",
        "x.v = 9",
    ),
    "slot that was removed": ("class C:\n    __slots__ = 'v'\nx = C(); x.v = 1", "del x.v", "x.v = 4"),
    "class": ("class x:\n    a = 1", "x.a = 2; x.b = 3", "x.a = 5"),
    "attribute that a class lost": ("class x:\n    a = 1", "del x.a", "x.a = 5"),
    "list that a class holds": ("class x:\n    a = [1]", "x.a.append(2)", "x.a.clear()"),
    "class of an instance": ("class C:\n    a = [1]\nx = C()\ndel C", "type(x).a.append(2)", "type(x).a = 7"),
    "base of a class": ("class B:\n    a = [1]\nclass x(B): pass\ndel B", "x.a.append(2)", "x.a.clear()"),
    "partial": (
        "import functools\nx = functools.partial(print, [1])",
        "x.args[0].append(2)",
        "x.args[0].clear()",
    ),
    "module of the notebook": (
        "import types\nx = types.ModuleType('made'); x.v = [1]",
        "x.v.append(2); x.w = 1",
        "x.v.clear(); x.w = 2",
    ),
    "array": ("import numpy as np\nx = np.arange(4)", "x[0] = 9", "x[0] = 8"),
    "view of an array": ("import numpy as np\ny = np.arange(6); x = y[1:4]", "y[0] = 9", "y[0] = 8"),
    "array by columns": ("import numpy as np\nx = np.zeros((2, 3), order='F')", "x[0, 1] = 9", "x[0, 1] = 8"),
    "read-only array": (
        "import numpy as np\nx = np.arange(4)\nx.flags.writeable = False",
        "x.flags.writeable = True; x[0] = 9; x.flags.writeable = False",
        "x.flags.writeable = True; x[0] = 8; x.flags.writeable = False",
    ),
    "shape of an array": ("import numpy as np\nx = np.arange(4)", "x.resize(6, refcheck=False)", "x[:] = 1"),
    "array of objects": (
        "import numpy as np\nx = np.array([[1], None], dtype=object)",
        "x[0].append(2); x[1] = 3",
        "x[1] = 4; x[0].clear()",
    ),
    "frame": ("import pandas as pd\nx = pd.DataFrame({'a': [1]})", "x['b'] = 2", "x['b'] = 3"),
    "frame whose memory an array sees": (
        "import pandas as pd\nx = pd.DataFrame({'a': [1.0, 2.0]}); v = x['a'].to_numpy()",
        "x.loc[0, 'a'] = 5.0",
        "x.loc[0, 'a'] = 6.0",
    ),
    "columns of a frame whose memory an array sees": (
        "import pandas as pd\nx = pd.DataFrame({'a': [1.0, 2.0], 'c': ['x', 'y']}); v = x['a'].to_numpy()",
        "x.loc[0, 'a'] = 5.0; x['b'] = 2; x.columns = list('def'); x.loc[0, 'e'] = 'z'",
        "x['g'] = 3",
    ),
    "series of dates whose memory an array sees": (
        "import pandas as pd\nx = pd.Series(pd.date_range('2024', periods=2)); v = x.to_numpy()",
        "x.loc[0] = x[1]",
        "x.loc[1] = x[0]; x.name = 'n'; x.loc[0] = pd.NaT",
    ),
    "part of an array, and the array": (
        "import numpy as np\ny = np.zeros(4); x = y[::2]",
        "x[0] = 1; y[1] = 2",
        "x[0] = 3; y[1] = 4",
    ),
    "array, and a part of it": (
        "import numpy as np\nx = np.zeros(4); y = x[::2]",
        "y[0] = 1; x[1] = 2",
        "y[0] = 3; x[1] = 4",
    ),
    "index of a frame that a name holds": (
        "import pandas as pd\nx = pd.DataFrame({'a': [1]}); y = x.columns",
        "x['b'] = 2; x.index.name = 'row'; y.name = 'column'",
        "x['c'] = 2; x.index.name = 'other'; y.name = 'other'",
    ),
    "names of an index": (
        "import pandas as pd\nx = pd.DataFrame({'a': [1]})",
        "x.index.name = 'row'; x.columns.name = 'column'",
        "x.index.name = 'other'; x.columns.name = 'other'",
    ),
    "attributes of a frame": (
        "import pandas as pd\nx = pd.DataFrame({'a': [1]})",
        "x.attrs['k'] = [2]",
        "x.attrs['k'] = 3",
    ),
    "random": ("import random\nx = random.Random(1)", "x.random()", "x.random()"),
    "generator of numpy": ("import numpy as np\nx = np.random.default_rng(1)", "x.random()", "x.random()"),
    "generator of numpy that made others": (
        "import numpy as np\nx = np.random.default_rng(1)",
        "x.spawn(2)",
        "x.spawn(1)",
    ),
    "older generator of numpy": ("import numpy as np\nx = np.random.RandomState(1)", "x.rand()", "x.rand()"),
    "bits of numpy": ("import numpy as np\nx = np.random.MT19937(1)", "x.random_raw()", "x.random_raw()"),
    "array of the standard library": (
        "import array\nx = array.array('i', [1])",
        "x.append(2)",
        "x.append(3)",
    ),
    "bytes in memory": ("import io\nx = io.BytesIO(b'abc')", "x.read(1); x.write(b'z')", "x.read(1)"),
    "text in memory": ("import io\nx = io.StringIO('abc')", "x.read(1); x.write('z')", "x.read(1)"),
    "iterator": ("x = iter([1, 2, 3])", "next(x)", "next(x)"),
    "list within a subclass of a list": (
        "class L(list): pass\nx = L([[1]]); x.note = 1",
        "x[0].append(2)",
        "x[0].clear()",
    ),
    "attribute of a subclass of a dict": (
        "class D(dict): pass\nx = D(a=[1]); x.note = [1]",
        "x.note.append(2); x['a'].append(2); x.more = 1",
        "x.note.clear(); x.more = 2; x['a'].clear()",
    ),
    "subclasses with an order of their own": (
        """
class D(dict):
    def __iter__(s): return iter(sorted(s.keys()))
class L(list):
    def __iter__(s): return iter(sorted(s[:]))
    def __setitem__(s, at, v): raise TypeError
x = D(b=1, a=2), L([2, 1])
""",
        "x[0]['c'] = 1; x[1].append(0)",
        "x[0].clear(); x[1].clear()",
    ),
    "name bound anew": ("x = [1]", "x = [2]", "x = [3]"),
    "name that went": ("x = [1]", "del x", "x = [3]"),
    "name that came": ("x = 1", "late = [2]", "late = [3]"),
}


def _changed(source: str, changes: str) -> tuple[dict[str, Any], Shadow]:
    live: dict[str, Any] = {"__name__": "__main__"}
    exec(source, live)
    shadow = Shadow(live, ["x", "late"])
    shadow.take()
    exec(changes, live)
    return live, shadow


@pytest.mark.parametrize("name", list(CHANGES))
def test_what_a_step_changed_is_undone_and_done_again(name: str) -> None:
    source, change, _ = CHANGES[name]
    before = picture(_changed(source, "")[0])
    live, shadow = _changed(source, change)
    after, held = picture(live), live.get("x")
    assert after != before
    shadow.settle()

    shadow.undo()

    assert shadow.whole
    assert picture(live) == before
    if not name.startswith("name"):
        assert live["x"] is held
    shadow.redo()
    assert picture(live) == after


@pytest.mark.parametrize("name", list(CHANGES))
def test_what_was_changed_since_the_failure_is_left_alone(name: str) -> None:
    source, change, more = CHANGES[name]
    live, shadow = _changed(source, change)
    shadow.settle()
    exec(more, live)
    since = picture({name: value for name, value in live.items() if name in ("x", "late")})

    shadow.undo()

    assert picture({name: value for name, value in live.items() if name in ("x", "late")}) == since


@pytest.mark.parametrize("name", [name for name in CHANGES if not name.startswith("name")])
def test_only_what_a_step_changed_is_named(name: str) -> None:
    source, change, _ = CHANGES[name]

    assert _changed(source, "")[1].changed() == []
    assert _changed(source, change)[1].changed()


@pytest.mark.parametrize(
    ("make", "shows"),
    [
        ("a = np.zeros((2, 2)); x = pd.DataFrame(a, copy=False)", False),
        ("x = pd.DataFrame({'x': [1.0, 2.0], 'y': [0, 1]}); a = x['x'].values", False),
        (
            "x = pd.DataFrame({'x': [1.0, 2.0], 'y': [0, 1]}); s = x['x']; del s; a = memoryview(x.x.values)",
            False,
        ),
        ("x = pd.DataFrame({'x': [1.0, 2.0]})", True),
    ],
)
def test_what_a_step_writes_to_a_frame_is_seen_where_it_would_be_without_a_shadow(
    make: str, *, shows: bool
) -> None:
    def written(*, shadowed: bool) -> list[Any]:
        live: dict[str, Any] = {"np": np, "pd": pd}
        exec(make, live)
        shadow = Shadow(live, ["x"], shows=shows)
        if shadowed:
            shadow.take()
        exec("a = a if 'a' in globals() else x['x'].values\nx.iloc[0, 0] = 9.0", live)
        seen: list[Any] = np.asarray(live["a"]).tolist()
        return seen

    assert written(shadowed=True) == written(shadowed=False)


@pytest.mark.parametrize(
    "made",
    [
        "x = pd.DataFrame({'a': [1.0, 2.0], 'b': [3, 4], 'c': ['x', 'y']})",
        "x = pd.DataFrame(np.random.rand(4, 3)); x['z'] = 1.0; y = x[[0, 1]]; z = x['z']; t = x.iloc[1:]",
        "x = pd.DataFrame({'a': pd.Categorical(['x']), 'd': pd.date_range('2024', periods=1)})",
        "x = pd.Series([1, None], dtype='Int64')",
        "import pickle; x = pickle.loads(pickle.dumps(pd.DataFrame({'a': [1.0, 2.0]}), 5))",
    ],
)
def test_a_frame_that_only_frames_share_is_not_copied(made: str) -> None:
    live: dict[str, Any] = {"np": np, "pd": pd}
    exec(made, live)

    assert not frame_kinds.is_seen(live["x"])


@pytest.mark.parametrize(
    ("version", "copies", "seen"), [("2.3.3", False, True), ("2.3.3", True, False), ("3.1.1", False, False)]
)
def test_where_pandas_writes_in_place_the_elements_are_copied(
    monkeypatch: pytest.MonkeyPatch, version: str, copies: bool, seen: bool
) -> None:
    monkeypatch.setattr(pd, "__version__", version)
    monkeypatch.setattr(pd, "options", SimpleNamespace(mode=SimpleNamespace(copy_on_write=copies)))

    assert frame_kinds.is_seen(pd.DataFrame({"a": [1.0]})) is seen


@pytest.mark.parametrize("limit", [None, 4])
def test_what_a_step_did_to_what_a_function_keeps_is_undone(limit: int | None) -> None:
    live: dict[str, Any] = {"__name__": "__main__", "limit": limit}
    exec("import functools\n@functools.lru_cache(limit)\ndef x(n): return [n]\nfirst = x(1)", live)
    shadow = Shadow(live, ["x"])
    shadow.take()
    exec("x(1).append(2); x(5).append(6)", live)
    shadow.settle()

    shadow.undo()

    assert (live["x"](1), live["x"](5), live["first"]) == ([1], [5], [1])
    assert (live["x"](1) is live["first"]) is (limit is None)


def test_an_object_that_a_deleted_name_held_is_put_back_while_it_lives() -> None:
    live: dict[str, Any] = {"__name__": "__main__"}
    exec("class C: pass\nx = C(); kept = [x]", live)
    shadow = Shadow(live, ["x"], ["x"])
    shadow.take()
    assert not shadow.holds("x")
    exec("del x", live)
    shadow.settle()

    shadow.undo()

    assert shadow.whole
    assert live["x"] is live["kept"][0]


def test_an_object_that_died_with_its_name_cannot_be_put_back() -> None:
    live: dict[str, Any] = {"__name__": "__main__"}
    exec("class C: pass\nx = C()", live)
    died = weakref.ref(live["x"])
    shadow = Shadow(live, ["x"], ["x"])
    shadow.take()
    del live["x"]
    assert died() is None

    shadow.settle()

    assert not shadow.whole


def test_what_takes_itself_out_of_a_registry_does_so_after_the_undo_too() -> None:
    class Node:
        pass

    registry: dict[int, weakref.ref[Node]] = {}

    def add(node: Node) -> None:  # as matplotlib's transforms note their parents
        key = id(node)
        registry[key] = weakref.ref(node, lambda _, pop=registry.pop: pop(key))

    kept, made = Node(), Node()
    add(kept)
    before = dict(registry)
    shadow = Shadow({"registry": registry}, ["registry"])
    shadow.take()
    add(made)
    shadow.settle()

    shadow.undo()
    assert registry.keys() == {id(kept), id(made)}, "it lives, and its callback counts on the entry"
    del shadow, made  # an error in the callback would fail this test

    assert registry == before


def test_a_task_that_waits_for_a_queue_is_woken_after_the_undo_too() -> None:
    async def steps() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue()
        done: list[int] = []

        async def work() -> None:
            while True:
                done.append(await queue.get())

        async def step() -> None:
            queue.put_nowait(10)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        shadow = Shadow({"queue": queue, "done": done}, ["queue", "done"])
        shadow.take()
        await step()
        assert done == [10]
        shadow.settle()
        shadow.undo()
        assert done == []
        await step()
        task.cancel()
        return done

    assert asyncio.run(steps()) == [10]


def test_an_array_too_large_to_copy_cannot_be_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback, "COPIED_BYTES", 100)
    fits, exceeds = {"x": np.zeros(100, "u1")}, {"x": [np.zeros(60, "u1"), np.zeros(41, "u1")]}

    shadows = [Shadow(live, ["x"]) for live in (fits, exceeds)]
    for shadow in shadows:
        shadow.take()

    assert [shadow.whole for shadow in shadows] == [True, False]


def test_more_objects_than_can_be_kept_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback, "_MANY", 3)
    shadow = Shadow({"x": [[[[[1]]]]]}, ["x"])

    shadow.take()

    assert not shadow.whole
    assert not shadow.holds("x")
    assert shadow.changed() == []


def test_other_namespaces_are_undone_with_it_and_given_up_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, expected in ((500, {"a": [1]}), (0, {"a": [1, 2], "late": 1})):
        monkeypatch.setattr(rollback, "_MANY", most)
        module: dict[str, Any] = {"a": [1]}
        shadow = Shadow({"x": [[1]]}, ["x"], beside=[Shadow(module, ["a"])])
        shadow.take()
        module["a"].append(2)
        module["late"] = 1
        shadow.settle()

        shadow.undo()

        assert shadow.whole is bool(most)
        assert module == expected
        shadow.redo()
        assert module == {"a": [1, 2], "late": 1}


def test_what_a_weak_reference_watches_is_not_kept_alive() -> None:
    live: dict[str, Any] = {"__name__": "__main__"}
    exec("import weakref\nclass C: pass\nx = [C()]\nw = weakref.ref(x[0])", live)
    shadow = Shadow(live, ["x"])

    shadow.take()
    live["x"].clear()

    assert not shadow.whole
    assert live["w"]() is None


def test_a_name_bound_to_another_while_a_weak_reference_watches_shows() -> None:
    live: dict[str, Any] = {"x": np.zeros(1), "y": np.zeros(1)}
    watched = weakref.ref(live["x"])
    shadow = Shadow(live, ["x", "y"])
    shadow.take()
    assert not shadow.keeps_watched()

    live["y"] = None
    assert not shadow.keeps_watched()
    live["x"] = None

    assert shadow.keeps_watched()
    shadow.give_up()
    assert watched() is None


@pytest.mark.parametrize("lets_go", ["x = None", "x.clear()", "del x"])
def test_what_has_a_last_word_and_was_let_go_shows(lets_go: str) -> None:
    live: dict[str, Any] = {"__name__": "__main__"}
    exec("said = []\nclass C:\n    def __del__(self): said.append(1)\nx = [C()]", live)
    shadow = Shadow(live, ["x"])
    shadow.take()
    assert not shadow.keeps_watched()

    exec(lets_go, live)

    assert (shadow.keeps_watched(), live["said"]) == (True, [])
    shadow.give_up()
    assert live["said"] == [1]


def test_everything_that_can_change_is_met_once_and_closed_types_are_not_looked_into() -> None:
    inner: list[Any] = [1]
    root: dict[str, Any] = {"a": inner, "b": (inner, {2})}
    inner.append(root)

    assert [id(each) for each in reached(root, lambda _: False)] == list(
        map(id, [root, inner, root["b"], root["b"][1]])
    )
    assert [id(each) for each in reached(root, lambda cls: cls is tuple)] == list(
        map(id, [root, inner, root["b"]])
    )


def test_what_belongs_to_a_library_has_no_content_of_its_own() -> None:
    assert kind_of(5) is None
    assert kind_of(object()) is None
    assert kind_of(pd.Series([1])) is not None


def test_an_abstract_class_knows_its_own_when_a_step_that_asked_it_was_undone() -> None:
    live: dict[str, Any] = {"__name__": "__main__"}
    exec("import abc\nclass A(abc.ABC): pass\n@A.register\nclass V: pass", live)
    shadow = Shadow(live, list(live))
    shadow.take()
    exec("isinstance(V(), A)", live)
    shadow.settle()

    shadow.undo()

    assert isinstance(live["V"](), live["A"])


def test_what_a_thread_leads_to_in_the_front_end_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        lines = 0

    stream = Stream()
    monkeypatch.setattr("sys.stderr", stream)
    live: dict[str, Any] = {"__name__": "__main__", "held": [stream]}
    shadow = Shadow(live, list(live))
    shadow.take()
    stream.lines = 5
    shadow.settle()

    shadow.undo()

    assert stream.lines == 5


def test_a_proxy_of_what_is_dead_keeps_nothing_from_being_undone() -> None:
    live: dict[str, Any] = {"__name__": "__main__"}
    exec("import weakref\nclass C: pass\nx = [weakref.proxy(C()), [1]]", live)
    shadow = Shadow(live, ["x"])
    shadow.take()

    live["x"][1].append(2)
    shadow.settle()
    shadow.undo()

    assert live["x"][1] == [1]
