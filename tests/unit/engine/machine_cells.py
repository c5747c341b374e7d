"""The cells that the state machine puts together.

A template names what it wants its names to hold: ``{l}`` a name that holds a list, ``{d}`` a dict,
``{i}`` an instance of one of the notebook's classes, ``{s}`` a set, ``{q}`` an array, ``{p}`` a
frame, ``{r}`` a generator of random numbers, ``{w}`` what can be called and is no class; ``{x}``,
``{y}`` and ``{z}`` any name. Where no name holds such a thing, any other will do: then the cell
fails, which is a case, too. ``{f}`` and ``{g}`` are names of functions, ``{n}`` is a number.

``@@`` becomes another number in each cell: a function or class that is defined again exactly as it
was counts as the same one, so that what is restored belongs to the one the notebook has now.
"""

# ruff: noqa: E501 - a cell is read as a cell

from __future__ import annotations

import collections
import random
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["FIRST", "TEMPLATES", "cell_source"]

Pick = Callable[[Sequence[Any]], Any]

FIRST = """
import array, collections, contextlib, copy, dataclasses, enum, functools, io, itertools, os, random
import string, types, weakref
import numpy as np, pandas as pd

random.seed(1)
np.random.seed(1)
a, b, c = [[0], 1], {'k': [2]}, 3
d = [a[0], b]

def f(v=None):
    return v

def g(v=None):
    a.append(v)

class C:
    def __init__(self, v):
        self.v = v
"""

_BIND = [
    "{x} = {n}",
    "{x} = [{n}]",
    "{x} = {{'k': [{n}]}}",
    "{x} = ({n}, [{n}])",
    "{x} = set('ab'[:{n}])",
    "{x}, {y} = {y}, {x}",
    "for {x} in range({n}): pass",
    "for {x} in {l}: {z} = {x}",
    "if {n} > 1: {x} = [{n}]",
    "exec('{x} = [{n}]')",
    "globals()['{x}'] = [{n}]",
    "({x} := [{n}]).append({y})",
    "*{x}, {y} = {l}",
    "{x}, *{y} = {l}, {n}",
    "match {d}:\n    case {{'k': {x}}}: pass",
    "match {l}:\n    case [{x}, *{y}]: pass",
    "while True:\n    {x} = {l}\n    break",
    "{x} = eval('[{y}, {n}]')",
    "{x} = [{y} for {y} in ({z}, {n})]",
    "{x} = [[q for q in (p, {y})] for p in ({z},)]",
    "{x} = {{k: [v, {y}] for k, v in {d}.items()}}",
    "locals()['{x}'] = {y}",
    "setattr(__import__('types').SimpleNamespace(), 'q', {x})",
    "{x}: list = [{n}]",
]

_ALIAS = [
    "{x} = {y}",
    "{x} = [{y}, {y}]",
    "{x} = {{'k': {y}}}",
    "{x} = ({n}, {y})",
    "{x} = {f}",
    "{x} = [{f}, {y}]",
    "{x} = {l}[0]",
    "{x} = {d}['k']",
    "{x} = {y}\n{x} += [{n}]",
    "{x} = copy.copy({y})",
    "{x} = copy.deepcopy({y})",
]

_CHANGE = [
    "{l}.append({n})",
    "{l}[0].append({n})",
    "{d}['k'].append({n})",
    "{d}['k'] = {y}",
    "{l}[0] = {y}",
    "{l} += [{n}]",
    "{l}[-1].append({n})\n{y} = {n}",
    "{l}.append({l})",
    "{l}.reverse()",
    "{l}.sort(key=lambda each: type(each).__name__)",
    "{l}[:] = [{y}]",
    "{l} *= 2",
    "{x} = {l}.pop()",
    "{l}.insert(0, {y})",
    "{l}.clear()",
    "{d}.pop('k')",
    "{d}.setdefault('q', []).append({n})",
    "{d} |= {{'z': {y}}}",
    "{x} = {{'k': {y}}}\n{x}['own'] = {x}",
    "{s}.add({n})",
    "{s} |= {{{n}, 'c'}}",
    "{s}.discard({n})",
    "for each in list({l}): each.append({n})",
]

_DELETE = ["del {x}", "del {l}[0]", "{x} = {y}\ndel {y}", "del {d}['k']", "globals().pop('{x}')"]

_FUNCTIONS = [
    "def {f}(v=None, u='@@'):\n    return [v, {n}]",
    "def {f}(v=None, u='@@'):\n    return {x}",
    "def {f}(v=None, u='@@'):\n    {l}.append({n})",
    "def {f}(v=None, u='@@'):\n    global {x}\n    {x} = [v]",
    "def {f}(v=None, u='@@'):\n    return {g}(v)",
    "def {f}(v={x}, u='@@'):\n    return v",
    "def {f}(v=None, u='@@', kept=[{n}]):\n    kept.append({n})\n    return kept",
    "def m():\n    kept = [{n}]\n    def {f}(v=None, u='@@'):\n        kept.append(v)\n        return kept\n    return {f}\n{f} = m()",
    "{f} = lambda v=None, u='@@': {x}",
    "{f}.note = {x}",
    "{x} = {f}({y})",
    "{x} = {f}()",
    "{f}({x})",
    "{f}()",
    "{x} = {f}.__defaults__",
    "{f}.__defaults__ = ({x}, '@@')",
    "{f}.__defaults__[0].append({n})",
    "{f}.other = {g}",
    "{g}.other = {f}",
    "{f}, {g} = {g}, {f}",
    "{x} = {f}.__closure__[0].cell_contents",
    "def m(k={x}):\n    def {f}(v=None, u='@@'):\n        nonlocal k\n        k = [k, v]\n        return k\n    def {g}(v=None, u='@@'):\n        return k\n    return {f}, {g}\n{f}, {g} = m()",
    "def {f}(v=None, *, k={x}, u='@@'):\n    return k",
    "def {f}(v: {x} = None, u='@@') -> 'note':\n    'about @@'\n    return v",
    "{f}.__code__ = {g}.__code__",
    "{f}.__dict__.update(more={x})",
    "del {f}.note",
    "{x} = {f}.__get__({y})",
    "{x} = {l}.append",
    "{w}({n})",
    "{x} = {w}",
    "def {f}(v=None, u='@@', n={n}):\n    return [n] if n < 1 else [{f}(v, u, n - 1), v]",
    "{x} = [lambda v=None, i=i: (i, v) for i in range({n})]",
    "def m(u='@@'):\n    return [lambda v=None: (i, v) for i in range({n})]\n{x} = m()",
    "def {f}(v=None, u='@@'):\n    def inner():\n        global {y}\n        {y} = v\n    inner()",
    "exec('def {f}(v=None, u=\"@@\"): return {x}')",
    "{x} = functools.partial({f}, {y})",
    "{x} = functools.partial({f}, v={y})",
    "{f} = functools.lru_cache(lambda v=None, u='@@': {n})",
    "@functools.wraps({g})\ndef {f}(v=None, u='@@'):\n    return {x}",
    "def deco(h, u='@@'):\n    def inner(v=None):\n        inner.count = getattr(inner, 'count', 0) + 1\n        return h(v)\n    return inner\n{f} = deco({f})",
    "async def h(v=None, u='@@'):\n    return [{x}, v]\n{y} = await h({n})",
    "{x} = await h({y})",
    "def {f}(v=None, u='@@'):\n    def each():\n        yield {x}\n        yield v\n    return list(each())",
    "{x} = [{f}, {g}]\n{f} = {g}",
    "kept = [{f}]\ndel {f}",
    "{f} = kept[0]",
]

_CLASSES = [
    "class C:\n    u = '@@'\n    shared = [{n}]\n    def __init__(self, v):\n        self.v = v",
    "class C:\n    u = '@@'\n    def __init__(s, v):\n        s.v = v\n    def own(s):\n        return {x}",
    "{x} = C({y})",
    "{x} = C([{n}])",
    "{i}.v = {y}",
    "{i}.v.append({n})",
    "{x} = {i}.own()",
    "{x} = {i}.own",
    "{x} = {i}.v",
    "C.shared.append({n})",
    "C.made = {x}",
    "class D(C):\n    u = '@@'",
    "{x} = D({y})",
    "{x} = isinstance({y}, C)",
    "C.{f} = {f}",
    "C.f = lambda self, v=None, u='@@': {x}",
    "{x} = C({y}).__dict__",
    "{x} = [c for c in ({y}, C)]",
    "class C(C):\n    u = '@@'",
    "class C:\n    u = '@@'\n    __slots__ = ('v', 'w')\n    def __init__(self, v): self.v = v",
    "@dataclasses.dataclass\nclass C:\n    v: object = None\n    w: list = dataclasses.field(default_factory=list)\n    u: str = '@@'",
    "@dataclasses.dataclass(frozen=True)\nclass C:\n    v: object = None\n    u: str = '@@'",
    "class C(enum.Enum):\n    A = {n}\n    B = 'u@@'\n{x} = C.A",
    "C = collections.namedtuple('C', 'v w', defaults=[{n}])",
    "class C:\n    u = '@@'\n    def __init__(self, v): self._v = v\n    @property\n    def v(self): return self._v\n    @v.setter\n    def v(self, v): self._v = [v]\n    @classmethod\n    def make(cls, v): return cls(v)\n    @staticmethod\n    def still(v): return [v, {x}]",
    "class C:\n    u = '@@'\n    count = 0\n    def __init__(self, v):\n        self.v = v; C.count += 1",
    "class M(type):\n    u = '@@'\n    def __call__(cls, *a): cls.called = [*getattr(cls, 'called', []), {n}]; return super().__call__(*a)\nclass C(metaclass=M):\n    def __init__(self, v): self.v = v",
    "class C:\n    u = '@@'\n    def __init__(self, v): self.v = v\n    def __getattr__(self, k):\n        if k[:2] == '__': raise AttributeError(k)\n        return [k]",
    "class C(list):\n    u = '@@'\n    def __init__(self, v): self.append(v); self.v = self",
    "class C(dict):\n    u = '@@'\n    def __init__(self, v): self['k'] = v; self.v = v",
    "class C(str):\n    u = '@@'\n    def __init__(self, v): self.v = [v]",
    "class C:\n    u = '@@'\n    def __init__(self, v): self.v = v\n    @functools.cached_property\n    def own(self): return [self.v]",
    "class C:\n    u = '@@'\n    def __init__(self, v): self.v = v\n    def __eq__(self, o): return type(o) is C\n    def __hash__(self): return {n}",
    "class C:\n    u = '@@'\n    one = None\n    def __new__(cls, v=None):\n        if cls.one is None: cls.one = super().__new__(cls)\n        return cls.one\n    def __init__(self, v): self.v = v",
    "{i}.__class__ = C",
    "{i}.__dict__['w'] = {y}",
    "del {i}.v",
    "vars({i}).update(v={y})",
    "{x} = C.make({y})",
    "{x} = type({i})",
    "{x} = {i}\n{x}.w = {i}",
    "C.{f} = staticmethod({f})",
    "C.p = property({f})",
    "{x} = {i}.p",
    "D.shared = [{n}]",
    "{x} = type('T', (C,), {{'u': '@@', 'more': {y}}})",
    "class D(C):\n    u = '@@'\n    def __init__(self, v): super().__init__(v); self.w = [v]",
    "class E(ValueError):\n    u = '@@'\ntry:\n    raise E({x})\nexcept E as e:\n    {y} = e.args",
    "class C:\n    u = '@@'\n    def __init__(self, v): self.v = v\n    class Inner:\n        def __init__(self, v): self.v = v\n{x} = C.Inner({y})",
    "{x} = {{{i}: {y}}}",
    "{x} = {{{i}, {n}}}",
]

_OTHERS = [
    "try:\n    {x} = {y}[0]\nfinally:\n    {z} = [{x}]",
    "try:\n    raise ValueError({x})\nexcept ValueError as {y}:\n    {z} = {y}",
    "try:\n    try:\n        {y}.nope\n    except AttributeError as e:\n        raise KeyError({z}) from e\nexcept KeyError as e2:\n    {x} = e2",
    "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    {x} = [e, {y}]",
    "with contextlib.suppress(TypeError, AttributeError):\n    {x} = [{n}]\n    {y}.nope({z})",
    "{x} = iter({l})",
    "next({x})",
    "{x} = (i for i in [{n}])\n{x} = list({x})",
    "{x} = itertools.repeat({y}, {n})",
    "{x} = enumerate(list({l}))",
    "{x} = zip(list({l}), [{n}, 2])",
    "{x} = reversed({l})",
    "{x} = collections.deque([{y}], maxlen=3)",
    "{x}.appendleft({n})",
    "{x} = collections.defaultdict(list, k=[{n}])",
    "{d}['q'].append({y})",
    "{x} = collections.OrderedDict(k={y}, q={n})",
    "{x}.move_to_end('k')",
    "{x} = collections.Counter('ab'[:{n}])",
    "{d}['a'] += 1",
    "{x} = collections.ChainMap({d}, {{'q': {y}}})",
    "{x} = types.SimpleNamespace(v={y})",
    "{x}.v = {y}",
    "{x} = types.MappingProxyType({d}) if isinstance({d}, dict) else {n}",
    "{x} = {d}.items() if type({d}) is dict else {n}",
    "{x} = types.ModuleType('made')\n{x}.v = {y}",
    "{x} = weakref.ref({i})",
    "{x} = weakref.WeakValueDictionary(k={i})",
    "{x} = bytearray(b'ab')",
    "{x} = array.array('i', [{n}])",
    "{x} = io.StringIO('ab')\n{x}.read({n})",
    "{x}.write('q')",
    "{x} = frozenset({{{n}, ({n}, 'z')}})",
    "{x} = slice({n}, {y})",
    "{x} = object()",
    "{x} = [{y}, object()]",
    "random.seed({n})",
    "{x} = random.random()",
    "{x} = random.Random({n})",
    "{x} = {r}.random()",
    "np.random.seed({n})",
    "{x} = np.random.rand(2)",
    "{x} = np.random.default_rng({n})",
    "random.shuffle({l})",
    "os.environ['KT_X'] = '{n}'",
    "{x} = os.environ.get('KT_X')",
    "os.environ.pop('KT_X', None)",
    "string.kt = {n}",
    "string.kt = str({x})[:9]",
    "{x} = string.kt",
    "del string.kt",
]

_ARRAYS = [
    "{x} = np.arange({n} + 4)",
    "{x} = {q}[1:]",
    "{x} = {q}[::2]",
    "{x} = {q}[::-1]",
    "{x} = np.array([{y}, None], dtype=object)[:1]",
    "{x} = np.zeros((2, {n} + 1), order='F')",
    "{x} = {q}.T",
    "{q}[0] += {n}",
    "{q}[...] = {n}",
    "{q} += 1",
    "np.add({q}, 1, out={q})",
    "{x} = {q}.reshape(-1)",
    "{x} = {q}.view('u1')",
    "{x} = memoryview({q}).cast('B')[1:]",
    "{q}.flags.writeable = False",
    "{x} = {{'a': {q}, 'b': {q}[1:]}}",
    "{x} = np.zeros(2, [('p', 'i4'), ('q', 'f8')])",
    "{x} = {q}['p']",
    "{x} = np.ma.array([1, {n}], mask=[0, 1])\n{y} = {x}[1:]\n{z} = {x}.reshape(-1)",
    "{x} = np.broadcast_to({q}, (2, *{q}.shape))",
    "{q}.sort()",
    "{x} = {q}[{q} > 1]",
    "{x} = pd.DataFrame({{'a': [1, {n}], 'b': ['x', None]}})",
    "{p}['c'] = {n}",
    "{p}.loc[0, 'a'] = {n}",
    "{x} = {p}['a']",
    "{x} = {p}[['a']]",
    "{p}.drop(columns='b', inplace=True)",
    "{p}.attrs['k'] = {y}",
    "{x} = {p}['a'].to_numpy()",
    "{p}.index = [5, {n}]",
    "{p}.rename(columns={{'a': 'z'}}, inplace=True)",
    "{p}.sort_values('a', ascending=False, inplace=True)",
    "{p}['o'] = [{l}, {l}]",
    "{x} = {p}\n{x}['d'] = {n}",
    "{x} = {p}.copy(deep=False)",
    "{x} = pd.DataFrame(np.zeros((2, 2)), copy=False)",
]

_ENDS = [
    "{x}",
    "len({x})",
    "type({x}).__name__",
    "{x} = [{n}]\n1 / 0",
    "{l}.append({n})\n1 / 0",
    "{x}[0] = {n}\n1 / 0",
    "{f}.note = [{n}]\ndel {x}\n1 / 0",
    "{l}.append({n})\nraise KeyboardInterrupt",
    "{x} = {y}\n{x}[0] = {n}\nraise KeyboardInterrupt",
    "{i}.v = {y}\nC.late = [{n}]\n1 / 0",
    "{d}['k'] = {y}\ndel {d}\n1 / 0",
    "{q}[0] = {n}\n1 / 0",
    "{p}['late'] = {n}\n1 / 0",
    "def {f}(v=None, u='@@'): return [v]\n{x} = {f}(1)\n1 / 0",
]

TEMPLATES = [*_BIND, *_ALIAS, *_CHANGE, *_DELETE, *_FUNCTIONS, *_CLASSES, *_OTHERS, *_ARRAYS, *_ENDS]

_ANY = "abcd"
_HOLD: Mapping[str, Callable[[Any], bool]] = {
    "l": lambda value: isinstance(value, list),
    "d": lambda value: isinstance(value, dict | types.MappingProxyType | collections.ChainMap),
    "s": lambda value: isinstance(value, set),
    "i": lambda value: type(value).__module__ == "__main__" and not isinstance(value, type),
    "q": lambda value: type(value) is np.ndarray,
    "p": lambda value: isinstance(value, pd.DataFrame),
    "r": lambda value: isinstance(value, random.Random | np.random.Generator),
    "w": lambda value: callable(value) and not isinstance(value, type),
}


def cell_source(pick: Pick, live: Mapping[str, object]) -> str:
    """The source of one more cell for a notebook whose names hold what they hold in `live`."""
    template: str = pick(TEMPLATES)
    chosen = {name: pick(_ANY) for name in ("x", "y", "z") if f"{{{name}}}" in template}
    chosen |= {name: pick("fg") for name in ("f", "g") if f"{{{name}}}" in template}
    chosen |= {"n": pick(range(4))} if "{n}" in template else {}
    for name, fits in _HOLD.items():
        if f"{{{name}}}" in template:
            chosen[name] = pick([held for held in _ANY if fits(live.get(held))] or _ANY)
    return template.format(**chosen)
