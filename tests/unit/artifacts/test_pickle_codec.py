"""Values go through a real second process with another hash seed and come back as they were."""

# ruff: noqa: E501 - cells are quoted as they are typed

from __future__ import annotations

import importlib
import os
import pickle
import sqlite3
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kitaru_nb.artifacts import pickle_codec
from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.groups import alias_groups
from kitaru_nb.artifacts.marker import Marker, is_marker
from kitaru_nb.artifacts.pickle_codec import PickleCodec
from kitaru_nb.errors import UnstorableError

_PROCESS = """
import linecache, pickle, sys, traceback, types
from kitaru_nb.artifacts.digest import digest_values, walk_digest
from kitaru_nb.artifacts.pickle_codec import PickleCodec
from kitaru_nb.artifacts.ties import Tie, tied

def cell(source, name, space):
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), space)

def space_for(name):
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    return main.__dict__

codec = PickleCodec()
role, here, there = sys.argv[1:]
cases, out = pickle.load(open(here, "rb")), {}
for name, case in cases.items():
    space = space_for(name)
    try:
        if role == "save":
            cell(case["define"], f"<{name}>", space)
            values = {n: v for n, v in space.items() if not n.startswith("__")}
            done = codec.encode(values, namespace=space)
            out[name] = {
                "meta": dict(done.meta), "buffers": [bytes(b) for b in done.buffers], "check": case["check"],
                "unstorable": dict(done.unstorable), "digest": digest_values(values, namespace=space),
                "walk": walk_digest(values, namespace=space), "error": "",
            }
        else:
            if case["error"]:
                continue
            space["K"] = "rebound"
            values = codec.decode(case["meta"], lambda i: memoryview(case["buffers"][i]), namespace=space)
            out[name] = {"digest": digest_values(values, namespace=space),
                         "walk": walk_digest(values, namespace=space), "error": ""}
            space.pop("K")
            space.update(values)
            again = codec.encode(values, namespace=space)
            held = [memoryview(bytearray(b)) for b in again.buffers]
            cell(case["check"], f"<check {name}>", space)
            with tied(Tie.RESTORED):
                twice = codec.decode(again.meta, held.__getitem__, namespace=space)
            out[name]["third"] = digest_values(twice, namespace=space)
    except BaseException:
        out.setdefault(name, {})["error"] = traceback.format_exc()
pickle.dump(out, open(there, "wb"))
"""


@dataclass(frozen=True)
class Case:
    define: str
    check: str
    digest: bool = True


CASES = {
    "aliases": Case("a = [1]\nb = {'x': a}\nc = (a, a)", "assert b['x'] is a is c[0] is c[1]"),
    "cycle": Case("a = []\na.append(a)", "assert a[0] is a"),
    "self in dict in tuple": Case("d = {}\nt = (d,)\nd['t'] = t", "assert d['t'] is t and t[0] is d"),
    "sets": Case(
        "s = {'a', 'b', 'longer text', ('x', 1), 3, None}\nf = frozenset(['p', 'q'])\nn = {frozenset({'u', 'v'}), f}",
        "assert f in n and len(s) == 6 and 'a' in s",
    ),
    "numbers": Case(
        "v = [True, 1, 1.0, -0.0, float('nan'), float('inf'), 10**400, 1j]",
        "import math\nassert v[0] is True and math.copysign(1, v[3]) == -1 and math.isnan(v[4]) and v[6] == 10**400",
    ),
    "live globals": Case("K = 3\ndef f(x): return x * K\n", "assert f(2) == 6\nK = 10\nassert f(2) == 20"),
    "mutual recursion": Case(
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)",
        "assert even(10)",
    ),
    "shared cell": Case(
        "def pair():\n    n = 0\n    def inc():\n        nonlocal n\n        n += 1\n    def get(): return n\n"
        "    return inc, get\ninc, get = pair()\ninc()",
        "inc()\nassert get() == 2",
    ),
    "self-recursive closure": Case(
        "def outer():\n    def rec(n): return 1 if n < 2 else n * rec(n - 1)\n    return rec\nr = outer()",
        "assert r(5) == 120 and r.__closure__[0].cell_contents is r",
    ),
    "empty cell": Case(
        "def outer():\n    def get(): return later\n    if 0: later = 1\n    return get\ng = outer()",
        "try:\n    g()\nexcept NameError: pass\nelse: assert 0",
    ),
    "defaults": Case(
        "shared = [0]\ndef f(x, d=shared, *, k={'a': 1}):\n    'doc'\n    d.append(x)\n    return d\nf(1)\nf.note = 'n'",
        "assert f(2) is shared and shared == [0, 1, 2] and f.__kwdefaults__ == {'k': {'a': 1}}\n"
        "assert f.__doc__ == 'doc' and f.note == 'n' and f.__module__ == '__main__'",
    ),
    "decorator": Case(
        "import functools\nlog = []\ndef deco(f):\n    log.append(1)\n    @functools.wraps(f)\n"
        "    def w(*a): return f(*a) + 1\n    return w\n@deco\ndef g(x): return x",
        "assert log == [1] and g(1) == 2 and g.__wrapped__(1) == 1 and g.__name__ == 'g'",
    ),
    "lambda in dict": Case("ops = {'+': lambda a, b: a + b}", "assert ops['+'](1, 2) == 3"),
    "getsource": Case(
        "def f(x):\n    # why\n    return x\n", "import inspect\nassert '# why' in inspect.getsource(f)"
    ),
    "async and generator functions": Case(
        "import asyncio\nasync def a(): return 1\ndef g():\n    yield 1\n",
        "assert asyncio.run(a()) == 1 and list(g()) == [1]",
    ),
    "lru_cache": Case(
        "import functools\ncalls = []\n@functools.lru_cache(maxsize=7)\ndef fib(n):\n    calls.append(n)\n"
        "    return n if n < 2 else fib(n - 1) + fib(n - 2)\nfib(5)",
        "assert fib.cache_info().maxsize == 7 and fib.cache_info().currsize == 0\nassert fib(10) == 55",
    ),
    "local lru_cache": Case(
        "import functools\ndef make():\n    @functools.cache\n    def f(n): return n if n < 2 else f(n - 1) + f(n - 2)\n"
        "    return f\nf = make()",
        "assert f(10) == 55 and f.__wrapped__.__closure__[0].cell_contents is f",
    ),
    "partial": Case(
        "import functools, operator\ndef add(a, b): return a + b\np = functools.partial(add, 1)\nm = operator.attrgetter('x')",
        "assert p(2) == 3 and p.func is add",
    ),
    "singledispatch": Case(
        "import functools\n@functools.singledispatch\ndef show(x): return 'any'\n@show.register\ndef _int(x: int): return 'int'",
        "assert show(1) == 'int' and show('') == 'any'\n@show.register\ndef _s(x: str): return 'str'\nassert show('') == 'str'",
    ),
    "contextmanager": Case(
        "import contextlib\n@contextlib.contextmanager\ndef cm():\n    yield 5\n",
        "with cm() as v: assert v == 5",
    ),
    "class": Case(
        "class A:\n    reg = []\n    def __init__(self): self.v = K\n    def m(self): return K\n"
        "    @property\n    def p(self): return __class__\n    @classmethod\n    def c(cls): return cls\n"
        "    @staticmethod\n    def s(): return 1\nclass B(A):\n    def m(self): return ('b', super().m())\n"
        "K = 1\na, b = A(), B()\nA.reg.append(a)",
        "K = 2\nassert type(a) is A and isinstance(b, A) and b.m() == ('b', 2) and a.p is A and B.c() is B\n"
        "assert A.reg[0] is a and a.s() == 1 and A.__module__ == '__main__'\nassert type(A()) is A",
    ),
    "slots": Case(
        "class S:\n    __slots__ = ('x', '__y')\n    def __init__(self): self.x = 1; self.__y = 2\n    def y(self): return self.__y\ns = S()",
        "assert s.x == 1 and s.y() == 2\ntry:\n    s.z = 1\nexcept AttributeError: pass\nelse: assert 0",
    ),
    "dataclass": Case(
        "import dataclasses\n@dataclasses.dataclass\nclass D:\n    a: int\n    b: list = dataclasses.field(default_factory=list)\nd = D(1)\n"
        "@dataclasses.dataclass(frozen=True, slots=True, order=True)\nclass F:\n    x: int = 3\nf = F()",
        "assert dataclasses.asdict(d) == {'a': 1, 'b': []} and D(1) == d and D(2).b is not D(2).b\n"
        "assert dataclasses.fields(D)[0].default is dataclasses.MISSING and f == F(3) and f < F(4) and hash(f)\n"
        "@dataclasses.dataclass\nclass E(D):\n    c: int = 1\nassert E(1, [2], 3).c == 3",
    ),
    "enum": Case(
        "import enum\nclass Color(enum.Enum):\n    RED = 1\n    GREEN = 2\n    ROT = 1\n    def hi(self): return self.name + '!'\n"
        "class P(enum.Enum):\n    E = (1, 2)\n    def __init__(self, m, r): self.m, self.r = m, r\n"
        "class Fl(enum.Flag):\n    A = enum.auto()\n    B = enum.auto()\nclass I(enum.IntEnum):\n    X = 5\n"
        "c = Color.GREEN\nboth = Fl.A | Fl.B",
        "assert c is Color.GREEN and Color(2) is c and c.hi() == 'GREEN!' and Color.ROT is Color.RED\n"
        "assert list(Color) == [Color.RED, Color.GREEN] and P.E.r == 2 and both == Fl.A | Fl.B and I.X == 5\n"
        "assert Color['ROT'] is Color.RED",
    ),
    "namedtuple": Case(
        "import collections, typing\nP = collections.namedtuple('P', 'x y', defaults=[2])\n"
        "class Q(typing.NamedTuple):\n    a: int\n    b: str = 's'\np, q = P(1), Q(1)",
        "assert p == (1, 2) and p.x == 1 and type(p) is P and p._replace(x=5).x == 5 and q.b == 's' and Q(3).a == 3",
    ),
    "exceptions": Case(
        "class E(Exception):\n    def __init__(self, code, text): super().__init__(text); self.code = code\n"
        "kept = E(5, 'bad')\nkept.__cause__ = ValueError('why')\no = OSError(2, 'no', 'f')",
        "assert kept.code == 5 and kept.args == ('bad',) and str(kept.__cause__) == 'why' and o.filename == 'f'\n"
        "try: raise kept\nexcept E: pass",
    ),
    "abc": Case(
        "import abc\nclass Base(abc.ABC):\n    @abc.abstractmethod\n    def f(self): ...\nclass Impl(Base):\n    def f(self): return 1\n"
        "class Other: pass\nBase.register(Other)\ni = Impl()",
        "assert isinstance(i, Base) and i.f() == 1 and issubclass(Other, Base)\ntry: Base()\nexcept TypeError: pass\nelse: assert 0",
    ),
    "generic": Case(
        "import typing\nT = typing.TypeVar('T')\nclass Box(typing.Generic[T]):\n    def __init__(self, v: T): self.v = v\nb = Box[int](3)\nal = typing.List[int]",
        "assert b.v == 3 and isinstance(b, Box) and Box[str] is not None and al == typing.List[int]",
    ),
    "typed dict made by a call": Case(
        "import typing\nT = typing.TypedDict('T', {'a': int})\nt = T(a=1)",
        "assert T(a=2) == {'a': 2} and T.__annotations__ == {'a': int} and type(T) is typing._TypedDictMeta",
    ),
    "views of a dict": Case(
        "d = {'a': 1}\nk, v, i = d.keys(), d.values(), d.items()\nimport collections\no = collections.OrderedDict(a=1)\nok = o.keys()\n"
        "class D(dict): pass\ns = D(a=1)\nsv = s.values()",
        "d['b'] = o['b'] = s['b'] = 2\nassert list(k) == list(ok) == ['a', 'b'] and list(v) == list(sv) == [1, 2] and ('b', 2) in i",
    ),
    "iterators over a dict that has another size since": Case(
        "d, e = {'a': 1, 'b': 2}, {'a': 1, 'b': 2}\ni, j = iter(d), iter(e.items())\nnext(i)\nd['c'] = 3",
        "def fails(it):\n    try: next(it)\n    except RuntimeError: return True\n"
        "assert list(d) == ['a', 'b', 'c'] and fails(i) and fails(i) and next(j) == ('a', 1)",
    ),
    "views of the array that owns the memory": Case(
        "import numpy as np\na = np.zeros(4)\nv = a[1:]\nw = v[::-1]\nt = np.zeros((2, 2), 'M8[s]')\ntt = t.T\nr = np.ones(3)\nr.flags.writeable = False\nrv = r[:2]",
        "assert v.base is a and w.base is a and tt.base is t and rv.base is r\nv[0] = 3\nassert a[1] == 3 == w[-1]",
    ),
    "instances hashed by value in a cycle": Case(
        "class N:\n    def __init__(self, k): self.first = []; self.k = k; self.s = set(); self.d = {self: 1}\n"
        "    def __hash__(self): return hash(self.k)\n    def __eq__(self, other): return self.k == other.k\n"
        "a, b = N('a'), N('b')\na.s.add(b)\nb.s.add(a)",
        "assert b in a.s and a in b.s and N('b') in a.s and a.d[a] == 1 and list(vars(a)) == ['first', 'k', 's', 'd']",
    ),
    "hooks do not run again": Case(
        "class Plugin:\n    seen = []\n    def __init_subclass__(cls, **kw): Plugin.seen.append(cls.__name__)\nclass X(Plugin): pass\n"
        "class Meta(type):\n    made = []\n    def __new__(m, n, b, d): m.made.append(n); return super().__new__(m, n, b, d)\n"
        "class Y(metaclass=Meta): pass\nx, y = X(), Y()",
        "assert Plugin.seen == ['X'] and Meta.made == ['Y'] and type(Y) is Meta and X.__bases__ == (Plugin,)\n"
        "class Z(Plugin): pass\nassert Plugin.seen == ['X', 'Z']",
    ),
    "redefined class": Case(
        "class A:\n    def m(self): return 'old'\nold = A()\nclass A:\n    def m(self): return 'new'\nnew = A()",
        "assert old.m() == 'old' and new.m() == 'new' and type(old) is not A and type(new) is A",
    ),
    "descriptors and properties": Case(
        "class D:\n    def __set_name__(self, o, n): self.n = n\n    def __get__(self, i, o): return self.n\nclass A:\n    d = D()\na = A()",
        "assert a.d == 'd'",
    ),
    "cached_property": Case(
        "import functools\nclass A:\n    @functools.cached_property\n    def p(self): return [1]\na = A()\na.p",
        "assert a.p == [1]\nassert A().p == [1]",
    ),
    "subclasses of builtins": Case(
        "class L(list):\n    tag = 1\nclass M(dict):\n    def __missing__(self, k): return k\nclass S(set): pass\nclass T(tuple): pass\nclass N(int): pass\n"
        "l, m, s, t, n = L([1]), M(a=1), S({'p', 'q'}), T((1, 2)), N(5)\nl.extra = l",
        "assert type(l) is L and l.extra is l and m['z'] == 'z' and s == {'p', 'q'} and type(t) is T and n + 1 == 6",
    ),
    "collections": Case(
        "import collections\nd = collections.defaultdict(list, a=[1])\nq = collections.deque([1, {'s', 't'}], maxlen=3)\n"
        "o = collections.OrderedDict(a=1)\nc = collections.Counter('hello')\nch = collections.ChainMap(d, o)",
        "assert d['new'] == [] and q.maxlen == 3 and c['l'] == 2 and ch.maps[0] is d",
    ),
    "methods": Case(
        "class A:\n    def m(self): return self\na = A()\nm = a.m\nl = [1]\nap = l.append",
        "assert m() is a\nap(2)\nassert l == [1, 2]",
    ),
    "modules and imports": Case(
        "import json, os.path as p\nfrom math import sin\nfrom collections import OrderedDict as OD",
        "assert json.dumps(1) == '1' and p.join and sin(0) == 0 and OD",
    ),
    "namespace itself": Case("me = globals()", "assert me is globals()", digest=False),
    "own globals dict": Case(
        "scope = {'base': 5}\nexec('def f(): return base', scope)\nf = scope['f']",
        "scope['base'] = 6\nassert f() == 6 and f.__globals__ is scope",
        digest=False,
    ),
    "locks": Case(
        "import threading\nclass Client:\n    def __init__(self): self.lock = threading.Lock(); self.r = threading.RLock(); self.e = threading.Event(); self.c = threading.Condition(); self.calls = 3\n"
        "c = Client()\nc.e.set()\nimport logging\nlg = logging.getLogger('x.y')",
        "with c.lock, c.r, c.c: pass\nassert c.calls == 3 and c.e.is_set() and lg is logging.getLogger('x.y')",
    ),
    "executor, contextvar, queue": Case(
        "from concurrent.futures import ThreadPoolExecutor\nimport contextvars, queue\npool = ThreadPoolExecutor(3)\n"
        "var = contextvars.ContextVar('v', default=1)\nvar.set([2])\nnone = contextvars.ContextVar('w')\nq = queue.Queue()\nq.put(1)",
        "assert pool.submit(int, '5').result() == 5 and var.get() == [2] and q.get() == 1\n"
        "try: none.get()\nexcept LookupError: pass\nelse: assert 0",
        digest=False,
    ),
    "weak references": Case(
        "import weakref\nclass A: pass\na = A()\nr = weakref.ref(a)\nw = weakref.WeakValueDictionary(k=a)\nk = weakref.WeakKeyDictionary({a: 1})",
        "assert r() is a and w['k'] is a and k[a] == 1",
    ),
    "mappingproxy": Case(
        "import types\nd = {'a': 1}\np = types.MappingProxyType(d)", "d['b'] = 2\nassert p['b'] == 2"
    ),
    "iterators": Case(
        "i = iter([1, 2, 3])\nnext(i)\ne = enumerate('ab')\nz = zip([1], [2])",
        "assert list(i) == [2, 3] and list(e)[1] == (1, 'b')",
        digest=False,
    ),
    "streams": Case(
        "import io, sys\ns = io.StringIO('abc')\ns.read(1)\nb = io.BytesIO(b'x')\nout = sys.stdout\nba = bytearray(b'xy')\nmv = memoryview(ba)",
        "assert s.read() == 'bc' and out is sys.stdout\nba[0] = 65\nassert mv[0] == 65",
    ),
    "dates and the like": Case(
        "import datetime, decimal, fractions, uuid, pathlib, re, random\nv = [datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc), decimal.Decimal('1.10'), "
        "fractions.Fraction(1, 3), uuid.UUID(int=5), pathlib.Path('a/b'), re.compile('x+'), range(3), slice(1, None)]\nr = random.Random(3)\nr.random()\nsame = random.Random(3)\nsame.random()",
        "assert v[1] == decimal.Decimal('1.10') and v[4].name == 'b' and r.random() == same.random()",
    ),
    "sentinel": Case("MISSING = object()\ndef f(x=MISSING): return x is MISSING", "assert f() and not f(1)"),
    "array views": Case(
        "import numpy as np\nb = np.arange(24.).reshape(4, 6)\nrow, step, neg, T, i8 = b[1:3], b[::2, ::3], b[::-1], b.T, b.view('i8')\n"
        "bc, diag, zero = np.broadcast_to(b[0], (3, 6)), b.diagonal(), b[0:0]\nwin = np.lib.stride_tricks.sliding_window_view(b[0], 3)\n"
        "rec = np.zeros(3, [('a', 'i4'), ('b', 'f8')])\nfld = rec['b']",
        "b[1, 0] = 99\nb[0, 0] = 77\nassert row[0, 0] == 99 and T[0, 1] == 99 and neg[2, 0] == 99 and step[0, 0] == 77 and bc[2, 0] == 77\n"
        "assert win[0, 0] == 77 and not bc.flags.writeable and T.flags.f_contiguous and zero.shape == (0, 6)\n"
        "rec['b'][0] = 5\nassert fld[0] == 5 and i8.dtype == 'i8' and diag[0] == 77",
    ),
    "arrays of objects that lead to themselves": Case(
        "import numpy as np\nd = []\nwhole = np.array([d, None, 1, (2, 3)], dtype=object)\nfirst = whole[:1]\nd.append(first)\n"
        "own = np.empty((2, 2), object, order='F')\nown[0, 0], own[1, 0], own[1, 1] = own, own.T, [own]\nown.flags.writeable = False\nempty = np.array([], dtype=object)\nzero = np.array(None)",
        "assert first[0] is d and d[0] is first and whole[0] is d and np.shares_memory(whole, first) and whole[3] == (2, 3)\n"
        "assert own[0, 0] is own and own[1, 1][0] is own and own[0, 1] is None and own[1, 0].shape == (2, 2) and own[1, 0][0, 0] is own\n"
        "assert own.flags.f_contiguous and not own.flags.writeable and own[1, 0].flags.writeable and empty.shape == (0,) and zero.shape == ()",
    ),
    "arrays of every layout": Case(
        "import numpy as np\nb = np.arange(24.).reshape(4, 6)\nv = [np.asfortranarray(b), b[::2, ::3].copy()[::2], b.astype('>f4')[:, ::-2], np.array(5), np.zeros((0, 3)), "
        "np.array(['x', 'yy']), np.array(['2020-01-01'], 'M8[D]'), np.array([True]), np.array([b'a']), np.ones((2, 1, 3), 'u1'), np.float64(3), np.broadcast_to(np.float32(2), (1000, 1000))]\n"
        "ro = np.arange(3)\nro.flags.writeable = False\nobj = np.array([[1], None, 'x'], dtype=object)\nalias = obj[0]\nbig = np.arange(50000.)\nlone = np.arange(100.)[::10]",
        "assert v[0].flags.f_contiguous and v[2].dtype == '>f4' and v[3].shape == () and v[6].dtype == 'M8[D]'\n"
        "assert not ro.flags.writeable and obj[0] is alias and big[-1] == 49999 and lone[-1] == 90\nbig[0] = 1\nlone[0] = 2",
    ),
    "frames": Case(
        "import pandas as pd, numpy as np\ndf = pd.DataFrame({'i': [1, 2], 'f': [1., None], 's': ['x', None], 'c': pd.Categorical(['u', 'v'])}, index=pd.Index(['p', 'q'], name='n'))\n"
        "df.attrs['a'] = 1\nsame = df\nshallow = df.copy(deep=False)\ncol = df['f']\nnp_col = df['i'].to_numpy()\narr = np.zeros((3, 2))\non = pd.DataFrame(arr, copy=False)\n"
        "idx = pd.date_range('2020', periods=3, tz='UTC')\ndfo = pd.DataFrame({'o': [[1], {}]})\ninner = dfo.loc[0, 'o']",
        "assert same is df and df.attrs == {'a': 1} and df.loc['p', 's'] == 'x' and df.index.name == 'n' and dfo.loc[0, 'o'] is inner\n"
        "shallow.iloc[0, 0] = 9\nassert df.iloc[0, 0] == 1 and np_col[0] == 1\ncol.iloc[0] = 7\nassert df.iloc[0, 1] == 1.0\narr[0, 0] = 5\nassert on.iloc[0, 0] == 5",
    ),
    "model": Case(
        "import numpy as np\nfrom sklearn.linear_model import LinearRegression\nfrom sklearn.ensemble import RandomForestRegressor\n"
        "X = np.arange(20.).reshape(10, 2)\ny = X[:, 0]\nm = LinearRegression().fit(X, y)\nf = RandomForestRegressor(3, random_state=0).fit(X, y)\np = m.predict(X)\npf = f.predict(X)",
        "assert np.allclose(m.predict(X), p) and np.allclose(f.predict(X), pf)",
    ),
    "pydantic": Case(
        "import pydantic\nclass M(pydantic.BaseModel):\n    a: int\n    b: list[str] = []\nm = M(a='3')",
        "assert m.a == 3 and M(a=1).b == [] and isinstance(m, M)\ntry: M(a='x')\nexcept pydantic.ValidationError: pass\nelse: assert 0",
    ),
    "figure": Case(
        "import matplotlib\nmatplotlib.use('agg')\nimport matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1, 2])",
        "assert fig.axes[0] is ax",
        digest=False,
    ),
    "dataclasses that name each other": Case(
        "import dataclasses\n@dataclasses.dataclass\nclass A: x: int = 1\n@dataclasses.dataclass\nclass B: many: list[A]\none, other = dataclasses.fields(A)[0], dataclasses.fields(B)[0]",
        "assert one.metadata is other.metadata and one.metadata == {} and dataclasses.fields(A)[0] is one",
    ),
    "what a figure tells others": Case(
        "import matplotlib\nmatplotlib.use('agg')\nimport matplotlib.pyplot as plt\nfrom matplotlib.widgets import Slider\nfrom matplotlib.backend_bases import MouseEvent\n"
        "fig, ax = plt.subplots()\nseen, sc = [], ax.scatter([1, 2], [1, 2], c=[1, 2])\nbar = fig.colorbar(sc)\nax.callbacks.connect('xlim_changed', lambda a: seen.append(a.get_xlim()))\n"
        "class Cursor:\n    n = 0\n    def move(self, event): self.n += 1\ncursor = Cursor()\ncid = fig.canvas.mpl_connect('motion_notify_event', cursor.move)\n"
        "slid, slider = [], Slider(plt.subplots()[1], 'a', 0, 9)\nslider.on_changed(slid.append)",
        "sc.set_clim(0, 9); assert bar.ax.get_ylim() == (0, 9), bar.ax.get_ylim()\nax.set_xlim(0, 5); assert seen[-1:] == [(0, 5)], seen\nslider.set_val(3); assert slid == [3], slid\n"
        "event = MouseEvent('motion_notify_event', fig.canvas, 1, 1); event._process(); assert cursor.n == 1\nfig.canvas.mpl_disconnect(cid); event._process(); assert cursor.n == 1",
        digest=False,
    ),
    "generators of numpy": Case(
        "import numpy as np\nr = np.random.default_rng(3)\nr.random()\nold = np.random.RandomState(1)",
        "assert r.random() == np.random.default_rng(3).random(2)[1]",
    ),
    "deep": Case("d = []\nfor _ in range(300): d = [d]", "n = 0\nwhile d: d = d[0]; n += 1\nassert n == 300"),
    "unstorable parts": Case(
        "import sqlite3, threading\nclass Agent: pass\na = Agent()\na.history = [1]\na.conn = sqlite3.connect(':memory:')\ng = (i for i in [1])\nm = [map(str, g), 1]\nfine = {'x': a.history}",
        "from kitaru_nb.artifacts.marker import is_marker\nassert is_marker(a.conn) and a.history is fine['x'] and is_marker(g) and is_marker(m[0]) and m[1] == 1\n"
        "from kitaru_nb.errors import UnstorableError\ntry: a.conn.execute('x')\nexcept UnstorableError as e: assert '`a`' in str(e) and 'sqlite3.Connection' in str(e)\nelse: assert 0",
        digest=False,
    ),
    "observed traits": Case(
        "import traitlets\nlog = []\nclass T(traitlets.HasTraits):\n    a = traitlets.Int(1)\n    b = traitlets.Int(1)\n    @traitlets.observe('a')\n    def own(self, change): log.append('own')\nt, u = T(a=2), T()\nt.observe(lambda change: log.append(change['name']))\nt.observe(lambda change: log.append('b alone'), 'b')\nlink = traitlets.link((t, 'b'), (u, 'b'))",
        "log.clear(); t.a = 5; t.b = 6; assert log == ['own', 'a', 'b alone', 'b'], log; assert u.b == 6; u.b = 7; assert t.b == 7",
    ),
    "attributes under a name": Case(
        "import argparse\nargs = argparse.Namespace(lr=0.1)\ncfg = vars(args)\nclass P: pass\np = P(); p.x = [1]; held = p.__dict__; other = P(); other.x = p.x",
        "cfg['lr'] = 0.5; assert args.lr == 0.5; args.lr = 2; assert cfg['lr'] == 2; p.y = 1; assert held['y'] == 1 and p.x is held['x'] is other.x and type(p) is P; other.y = 3; assert held['y'] == 1",
    ),
}


def _run(folder: Path, role: str, given: Any, seed: str) -> dict[str, Any]:
    here, there = folder / f"{role}.in", folder / f"{role}.out"
    here.write_bytes(pickle.dumps(given))
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", _PROCESS, role, str(here), str(there)]
    subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[3])
    return pickle.loads(there.read_bytes())


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    folder = tmp_path_factory.mktemp("processes")
    given = {name: {"define": case.define, "check": case.check} for name, case in CASES.items()}
    saved = _run(folder, "save", given, "1")
    restored = _run(folder, "load", saved, "2")
    return {name: (saved[name], restored.get(name, {"error": ""})) for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_a_value_is_the_same_in_a_second_process(name: str, outcomes: dict[str, tuple[Any, Any]]) -> None:
    saved, restored = outcomes[name]

    assert not saved["error"], saved["error"]
    assert not restored["error"], restored["error"]
    assert restored["third"] == restored["digest"] or not CASES[name].digest
    if CASES[name].digest:
        assert (restored["digest"], restored["walk"]) == (saved["digest"], saved["walk"])


def _round_trip(**values: object) -> dict[str, Any]:
    done = PickleCodec().encode(values, namespace=globals())
    return PickleCodec().decode(done.meta, lambda i: done.buffers[i], namespace=globals())


def test_an_index_and_a_column_come_back_with_memory_of_their_own() -> None:
    pd = pytest.importorskip("pandas")
    column = pd.Series(np.arange(100_000))
    group = {"column": column, "index": pd.Index(column)}
    before = digest_values(group, namespace=globals())

    back = _round_trip(**group)
    after = digest_values(back, namespace=globals())
    back["column"][0] = -1

    assert after == before
    assert back["index"][0] == 0, "as before, where a write copies what an index has, too"


def test_large_buffers_stay_beside_the_stream_without_a_copy() -> None:
    values = {"a": np.zeros(100_000), "b": np.ones(10)}

    done = PickleCodec().encode(values, namespace=globals())

    assert [b.nbytes for b in done.buffers[1:]] == [800_000]
    assert np.shares_memory(np.frombuffer(done.buffers[1]), values["a"])


def test_an_array_from_read_only_bytes_comes_back_writable() -> None:
    done = PickleCodec().encode({"a": np.zeros(100_000)}, namespace=globals())

    back = PickleCodec().decode(done.meta, lambda i: memoryview(bytes(done.buffers[i])), namespace=globals())

    back["a"][0] = 5  # type: ignore[index] # an array
    assert back["a"][0] == 5  # type: ignore[index] # an array


COLUMNS: dict[str, tuple[list[object], object]] = {
    "object": ([[1], [2]], [3]),
    "Int64": ([1, 2], 3),
    "category": (["a", "b"], "b"),
    "str": (["a", "b"], "c"),
    "boolean": ([True, True], False),
}


def _of_copy_on_write() -> Any:
    pd = pytest.importorskip("pandas")
    if int(pd.__version__.partition(".")[0]) < 3:
        pytest.skip("only from pandas 3 on is no frame written through another")
    return pd


@pytest.mark.parametrize("dtype", COLUMNS)
def test_who_writes_to_a_column_after_a_restore_changes_no_other_frame(dtype: str) -> None:
    pd = _of_copy_on_write()
    values, other = COLUMNS[dtype]
    frame = pd.DataFrame({"a": pd.Series(values, dtype=dtype), "b": [[0], [0]]})
    group = {"frame": frame, "column": frame["a"], "again": frame[:]}
    before = digest_values(group, namespace=globals())

    back = _round_trip(**group)
    after = digest_values(back, namespace=globals())
    back["column"].iat[0] = other
    back["frame"].iat[1, 0] = other

    assert after == before
    assert [back["column"][0], back["frame"]["a"][1]] == [other, other]
    assert [back["column"][1], back["frame"]["a"][0], *back["again"]["a"]] == [*values[::-1], *values]


def test_a_column_has_the_index_that_a_name_holds_after_a_restore_too() -> None:
    pd = _of_copy_on_write()
    frame = pd.DataFrame({"a": ["x", "y"]})
    column = frame["a"]

    back = _round_trip(frame=frame, column=column, index=column.index)

    assert back["column"].index is back["index"]


def test_a_frame_of_another_library_shares_nothing_with_its_columns_that_is_seen() -> None:
    pd = _of_copy_on_write()

    class Map(pd.DataFrame):  # type: ignore[name-defined, misc] # of whichever pandas there is
        @property
        def _constructor(self) -> Any:
            return Map

    frame = Map({"a": np.arange(3), "b": pd.array([1, 2, 3], "Int64")})
    group = {"frame": frame, "a": frame["a"], "b": frame["b"]}

    assert digest_values(group, namespace=globals()) == digest_values(
        _round_trip(**group), namespace=globals()
    )
    assert {"frame"} in alias_groups(group, namespace=globals())


def test_an_array_of_objects_is_still_the_one_that_its_frame_looks_into() -> None:
    pd = _of_copy_on_write()
    array = np.empty((1, 2), object)
    array[0, 0], array[0, 1] = [1], [2]
    frame = pd.DataFrame(array, copy=False)

    back = _round_trip(array=array, frame=frame)
    back["array"][0, 0] = 9

    assert back["frame"].iat[0, 0] == 9


LOOKS = """
made = []
class Looks:
    def __init__(self, held):
        self.held = held
    def __setstate__(self, state):
        made.append(1)
        self.__dict__.update(state)
        self.rows = len(self.held)  # a marker has no length
class LastWord(Looks):
    def __del__(self):
        made.append(2)
"""


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A module of a library whose classes look at what they are given back."""
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    (tmp_path / "looks_of_a_library.py").write_text(LOOKS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("looks_of_a_library")
    del sys.modules["looks_of_a_library"]


def test_what_cannot_be_loaded_around_a_marker_is_one_and_the_rest_of_its_group_is_back(looks: Any) -> None:
    kept = [1]

    back = _round_trip(looks=[looks.Looks(iter(()) for _ in kept), kept], kept=kept)

    assert is_marker(back["looks"])
    assert back["kept"] == [1]


class _OfTheNotebook:
    loaded = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        _OfTheNotebook.loaded += 1


@pytest.mark.parametrize("beside", [_OfTheNotebook, lambda: bytes(17 << 20), lambda: None])
def test_nothing_is_loaded_for_a_try_that_has_an_effect_or_much_memory(
    looks: Any, beside: Callable[[], Any]
) -> None:
    value = beside()
    cls = looks.Looks if value is not None else looks.LastWord
    values = {"x": [cls(iter(()) for _ in [1]), value]}

    PickleCodec().encode(values, namespace=globals())

    assert (_OfTheNotebook.loaded, looks.made) == (0, [])


def test_what_cannot_be_stored_is_named_for_every_name_that_leads_to_it() -> None:
    conn = sqlite3.connect(":memory:")
    values = {"agent": {"conn": conn}, "conn": conn, "fine": [1]}

    done = PickleCodec().encode(values, namespace=globals())

    assert set(done.unstorable) == {"agent", "conn"}
    assert done.unstorable["conn"].startswith("sqlite3.Connection: ")
    conn.close()


def test_an_object_that_cannot_be_rebuilt_around_a_marker_becomes_one() -> None:
    back = _round_trip(m=[map(str, (i for i in [1])), 7])

    assert is_marker(back["m"][0])
    assert back["m"][1] == 7


class _Hub:
    """Objects that each lead to all the others, as those of a figure do."""

    def __init__(self, held: object) -> None:
        self.held = held
        self.parts = [_Part(self) for _ in range(100)]
        self.told = [part.tell for part in self.parts]


@dataclass(eq=False)
class _Part:
    hub: _Hub

    def tell(self) -> int:
        return len(self.hub.parts)


@pytest.mark.parametrize("together", [True, False])
def test_a_graph_beside_what_cannot_be_stored_is_not_walked_once_for_each_of_its_objects(
    monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    connection = sqlite3.connect(":memory:")
    hub = _Hub(connection if together else None)
    sizes: list[int] = []
    plain = pickle_codec._pass

    def counted(*arguments: Any, **options: Any) -> Any:
        done = plain(*arguments, **options)
        sizes.append(len(done.stream))
        return done

    monkeypatch.setattr(pickle_codec, "_pass", counted)
    monkeypatch.setattr(pickle_codec, "_MOST_TRIED", 10_000)
    found = PickleCodec().encode({"hub": hub, "connection": connection}, namespace=globals())

    assert "connection" in found.unstorable
    assert ("hub" in found.unstorable) is together
    assert len(sizes) < 80
    connection.close()


def test_looking_for_what_cannot_be_stored_leaves_live_classes_alone() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("class A:\n    reg = []\n", space)
    registry = space["A"].reg
    generator = (i for i in [1])

    PickleCodec().encode({"A": space["A"], "m": [map(space["A"], generator)]}, namespace=space)

    assert space["A"].reg is registry


def test_a_marker_stays_a_marker() -> None:
    back = _round_trip(conn=Marker("conn", "sqlite3.Connection", "no"))

    assert is_marker(back["conn"])


def test_a_module_within_a_compiled_one_is_that_of_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, part = types.ModuleType("compiled"), types.ModuleType("part")
    compiled.__spec__ = ModuleSpec("compiled", ExtensionFileLoader("compiled", "compiled.so"))
    compiled.part = part  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "compiled", compiled)
    codec = PickleCodec()

    done = codec.encode({"p": part}, namespace={})

    assert codec.decode(done.meta, done.buffers.__getitem__, namespace={})["p"] is part


def test_a_class_restored_twice_is_one_class() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("class A: pass\na = A()", space)
    done = PickleCodec().encode({"a": space["a"]}, namespace=space)

    first = PickleCodec().decode(done.meta, lambda i: done.buffers[i], namespace=space)["a"]
    second = PickleCodec().decode(done.meta, lambda i: done.buffers[i], namespace=space)["a"]

    assert type(first) is type(second) is space["A"]


def test_a_chain_that_leads_both_ways_too_far_is_a_clear_error() -> None:
    class Node:
        pass

    first = last = Node()
    for _ in range(20_000):
        last.next = Node()  # type: ignore[attr-defined] # made here
        last.next.previous = last  # type: ignore[attr-defined] # made here
        last = last.next  # type: ignore[attr-defined] # made here

    with pytest.raises(UnstorableError, match="`chain` cannot be stored: its objects are nested too deeply"):
        PickleCodec().encode({"chain": first}, namespace=globals())


def test_lists_nested_five_thousand_deep_come_back() -> None:
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]

    back = _round_trip(deep=deep)["deep"]

    depth = 0
    while back:
        (back,) = back
        depth += 1
    assert depth == 5_000


def test_a_file_backed_array_is_opened_again_on_its_file(tmp_path: Path) -> None:
    array = np.memmap(tmp_path / "data", "f8", "w+", shape=(3,))
    array[:] = 5

    back = _round_trip(m=array)["m"]

    back[0] = 7
    assert type(back) is np.memmap
    assert array[0] == 7


def test_a_file_backed_array_whose_file_changed_is_a_marker(tmp_path: Path) -> None:
    array = np.memmap(tmp_path / "data", "f8", "w+", shape=(3,))
    done = PickleCodec().encode({"m": array}, namespace=globals())
    array[1] = 9

    back = PickleCodec().decode(done.meta, lambda i: done.buffers[i], namespace=globals())

    assert is_marker(back["m"])


def test_what_every_stream_begins_with_is_made_once() -> None:
    small, namespace = {"number": 1, "text": "abc" * 40, "numbers": [0.5, 1.5]}, globals()
    codec = PickleCodec()
    first = codec.encode({"x": small}, namespace=namespace)
    called: list[str] = []

    def note(frame: Any, event: str, _argument: object) -> None:
        if event == "call":
            called.append(frame.f_code.co_name)

    outer = sys.getprofile()
    sys.setprofile(note)
    try:
        again = codec.encode({"x": small, "y": [namespace]}, namespace=namespace)
    finally:
        sys.setprofile(outer)

    opening = bytes(again.buffers[0][: again.grows_from])
    assert opening == bytes(first.buffers[0][: first.grows_from])
    assert called.count("reducer_override") == 2  # asked which name comes next, and nothing else
    assert codec.decode(again.meta, again.buffers.__getitem__, namespace=namespace)["y"][0] is namespace


class _RefusesError(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("no")


def test_an_error_whose_cause_cannot_be_stored_comes_back_with_one_that_says_so() -> None:
    kept, group = KeyError(1), ExceptionGroup("both", [_RefusesError(2), ValueError(3)])
    kept.__cause__ = _RefusesError(2)
    done = PickleCodec().encode({"kept": kept, "group": group}, namespace={})
    back = PickleCodec().decode(done.meta, lambda i: done.buffers[i], namespace={})

    assert set(done.unstorable) == {"kept", "group"}
    assert type(back["kept"].__cause__) is UnstorableError
    assert back["kept"].args == (1,)
    assert [type(each) for each in back["group"].exceptions] == [UnstorableError, ValueError]
