"""Every kind of value: what a plain run gives, `%resume` and restored steps give too.

A row is the source of some cells and an expression. The cells run in a plain dict, and as
steps of a kernel that then dies; the expression must give the same in the plain dict, after a
resume, and after the same cells were restored one by one. Rows in `LOST` say what cannot come
back: there the name holds a marker, and the restore report names it.
"""

# ruff: noqa: E501, ISC004 - a row is read as a row

from __future__ import annotations

import ast
import builtins
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.artifacts import instances
from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.errors import ConflictError
from tests.unit.engine.kernel import RESTORED, Start, run_source

# name: cells, divided by lines of dashes; then the expression
ROWS: dict[str, tuple[str, str]] = {
    # containers and identity
    "alias": ("a = [1]\n---\nb = a", "b is a, (b.append(2), a)[1]"),
    "alias in a later cell": ("a = [[1]]\n---\nx = 1\n---\nb = a[0]", "b is a[0]"),
    "shared part": ("p = [1]\na = {'p': p}\n---\nb = {'q': p}", "a['p'] is b['q'] is p"),
    "equal and distinct": ("a = [1]\n---\nb = [1]", "a is b, a == b"),
    "list in itself": ("a = [1]\na.append(a)", "a[1] is a, len(a)"),
    "dict in itself": ("a = {}\na['a'] = a", "a['a'] is a"),
    "tuple in a cycle": ("a = ([],)\na[0].append(a)", "a[0][0] is a"),
    "dict order": ("d = {'b': 1, 'a': 2}\n---\nd['c'] = d.pop('b')", "list(d.items())"),
    "set of frozensets": ("s = {frozenset('ab'), frozenset()}", "sorted(map(sorted, s))"),
    "an object as key": ("class K: pass\nk = K()\nd = {k: 1}\ns = {k}", "d[k], k in s, next(iter(d)) is k"),
    "hash by value in a cycle": (
        "class K:\n    def __init__(s, n): s.n = n\n    def __hash__(s): return hash(s.n)\n"
        "    def __eq__(s, o): return s.n == o.n\nk = K(1)\nk.own = {k: [k]}",
        "k.own[K(1)][0] is k",
    ),
    "int subclass": ("class I(int):\n    pass\ni = I(3)\ni.note = [1]", "type(i) is I, i + 1, i.note"),
    "str subclass": ("class S(str):\n    pass\ns = S('x')\ns.n = 1", "type(s) is S, s, s.n"),
    "tuple subclass": ("class T(tuple):\n    pass\nt = T([1, [2]])\nt.n = t[1]", "t, t.n is t[1], type(t) is T"),
    "list subclass": ("class L(list):\n    pass\nl = L([1])\nl.n = l", "type(l) is L, list(l), l.n is l"),
    "dict subclass": (
        "class D(dict):\n    def __missing__(s, k): return k\nd = D(a=1)\nd.x = 2",
        "d['zz'], d['a'], d.x, type(d) is D",
    ),
    "set subclass": ("class S(set):\n    pass\ns = S('ab')\ns.x = [1]", "sorted(s), s.x, type(s) is S"),
    "defaultdict": (
        "from collections import defaultdict\nd = defaultdict(list)\nd['a'].append(1)",
        "(d['b'].append(2), dict(d))[1], d.default_factory",
    ),
    "defaultdict of a function": (
        "from collections import defaultdict\nn = 3\ndef make(): return [n]\nd = defaultdict(make)",
        "d['x'], d.default_factory is make",
    ),
    "defaultdict of a lambda": (
        "from collections import defaultdict\nd = defaultdict(lambda: defaultdict(int))\nd['a']['b'] += 1",
        "d['a']['b'], d['q']['r']",
    ),
    "OrderedDict": (
        "from collections import OrderedDict\no = OrderedDict(a=1, b=2)\no.move_to_end('a')\no.note = 1",
        "list(o.items()), o.note",
    ),
    "attributes of a Counter": ("from collections import Counter\nclass K(Counter): pass\nk = K('aab'); k.note = [1]; n = k.note", "type(k) is K, k['a'], k.note is n"),
    "attributes of a defaultdict": ("from collections import defaultdict\nclass D(defaultdict): pass\nd = D(list, a=[1]); d.note = [1]; n = d.note\n---\nn.append(2)", "d.note is n, d['b'], d['a'], n"),
    "attributes of a date": ("import datetime as dt\nclass T(dt.datetime): pass\nt = T(2024, 1, 1); t.note = [1]", "type(t) is T, t.isoformat(), t.note"),
    "dict with a method of its own": ("log = []\nclass D(dict):\n    def __setitem__(s, k, v): log.append(k); super().__setitem__(k, v * 2)\nd = D(); d['a'] = 1\n---\nd['b'] = 2", "type(d) is D, dict(d), log"),
    "Counter with an __init__ of its own": ("from collections import Counter\nclass K(Counter):\n    def __init__(s, name, **k):\n        super().__init__(**k); s.name = name\nk = K('words', a=2)", "dict(k), k.name"),
    "slots of an exception": ("class E(Exception): __slots__ = ('n',)\ne = E('x'); e.n = [2]; n = e.n", "e.args, e.n is n"),
    "attributes under a name": ("import argparse\na = argparse.Namespace(x=1)\nd = vars(a)", "(d.update(x=2), a.x)[1], d is vars(a)"),
    "bound super": ("class A:\n    def f(s): return 'A'\nclass B(A):\n    def f(s): return 'B'\nb = B(); s = super(B, b)", "s.f(), s.__self__ is b"),
    "Counter": ("from collections import Counter\nc = Counter('aab')\n---\nc['z'] -= 2", "dict(c), c.most_common()"),
    "deque": ("from collections import deque\nd = deque([1, 2, 3], maxlen=3)\nd.append(d)", "d.maxlen, d[-1] is d"),
    "ChainMap": (
        "from collections import ChainMap\na = {'x': 1}\nc = ChainMap(a, {'y': 2})\n---\na['z'] = 3",
        "c['z'], c.maps[0] is a, dict(c.new_child({'x': 0}))",
    ),
    "UserDict": ("from collections import UserDict\nu = UserDict(a=[1])\nv = u.data", "u.data is v, u['a']"),
    "SimpleNamespace": (
        "from types import SimpleNamespace as N\nn = N(a=[1])\nn.own = n\nb = n.a",
        "n.own is n, n.a is b",
    ),
    "mappingproxy of another": ("from types import MappingProxyType as P\na = {'x': 1}\np = P(a); q = P(p)\n---\na['y'] = 2", "dict(q), (a.update(z=1), 'z' in q)[1]"),
    "mappingproxy": (
        "from types import MappingProxyType as P\na = {'x': 1}\np = P(a)\n---\na['y'] = 2",
        "dict(p), (a.update(z=1), 'z' in p)[1]",
    ),
    "dict views": ("d = {'a': 1}\nk = d.keys(); v = d.values()\n---\nd['b'] = 2", "list(k), list(v)"),
    "bytearray": ("b = bytearray(b'ab')\nc = b\n---\nb[0] = 99", "c is b, bytes(c)"),
    "memoryview of a bytearray": ("b = bytearray(b'abc')\nm = memoryview(b)\n---\nm[0] = 99", "bytes(b), (m.__setitem__(1, 7), bytes(b))[1]"),
    "part of a memoryview": ("b = bytearray(b'abcdef')\nm = memoryview(b)[2:4]", "bytes(m), (m.__setitem__(0, 33), bytes(b))[1]"),
    "memoryview of bytes": ("m = memoryview(b'abcdef')[1:3]", "bytes(m), m.readonly"),
    "array.array": ("import array\na = array.array('d', [1, 2])\nb = a\n---\na.append(3)", "b is a, list(b), b.typecode"),
    "ctypes array": ("import ctypes\na = (ctypes.c_int * 3)(1, 2, 3)\n---\na[0] = 9", "list(a)"),
    "ctypes structure": (
        "import ctypes\nclass P(ctypes.Structure):\n    _fields_ = [('x', ctypes.c_int), ('y', ctypes.c_double)]\np = P(1, 2.5)",
        "p.x, p.y, type(p) is P",
    ),
    "slice and range": ("s = slice(1, [2], None)\nr = range(0, 9, 2)\nt = s.stop", "s.stop is t, r[2]"),
    "Ellipsis and others": ("a = [..., NotImplemented, None, int, len]", "a[0] is ..., a[1] is NotImplemented, a[3:]"),
    "sentinel": ("MISSING = object()\ndef get(x=MISSING): return x is MISSING\nd = {'m': MISSING}", "get(), d['m'] is MISSING, get(object())"),
    "sentinel in a later cell": ("MISSING = object()\n---\nd = [MISSING]\n---\ndef get(x=MISSING): return x", "d[0] is MISSING is get()"),
    # numbers, text, time
    "floats": ("a = [0.1, -0.0, float('inf'), 5e-324]", "a, str(a[1])"),
    "big integers": ("a = -(10 ** 5000)", "a.bit_length(), a % 997"),
    "bool and int": ("a = [True, 1, 1.0, 1 + 0j]", "a"),
    "text": ("a = 'e\\u0301\\ud800', '', b'\\0'", "a"),
    "Decimal": ("from decimal import Decimal as D\na = [D('1.10'), D('NaN'), D('-0')]", "a"),
    "decimal context": ("import decimal\nc = decimal.Context(prec=5, rounding=decimal.ROUND_UP)\nx = c.divide(1, 3)", "c.prec, c.divide(2, 3), x"),
    "Fraction": ("from fractions import Fraction\nf = Fraction(1, 3)", "f + 1"),
    "aware datetime": (
        "import datetime as dt, zoneinfo\nz = zoneinfo.ZoneInfo('Europe/Berlin')\n"
        "t = dt.datetime(2024, 10, 27, 2, 30, tzinfo=z, fold=1)",
        "t.isoformat(), t.fold, t.tzinfo is z, t.utcoffset()",
    ),
    "fixed offset": ("import datetime as dt\nt = dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2), 'X'))", "t, t.tzname()"),
    "own tzinfo": (
        "import datetime as dt\nclass Z(dt.tzinfo):\n    def utcoffset(s, t): return dt.timedelta(hours=s.h)\n    def dst(s, t): return None\n"
        "z = Z(); z.h = 3\nt = dt.datetime(2024, 1, 1, tzinfo=z)",
        "t.isoformat(), t.tzinfo.h, z.h",
    ),
    "Path": ("from pathlib import Path, PurePosixPath\np = Path('a') / 'b'\nq = [p, PurePosixPath('/x')]", "q, q[0] == p"),
    "uuid": ("import uuid\nu = uuid.UUID(int=5)", "u, u.hex"),
    "re pattern": ("import re\np = re.compile('(a+)', re.I)\nq = {'p': p}", "p.findall('xAa'), p.flags, q['p'] == p"),
    "ip address": ("import ipaddress\na = ipaddress.ip_network('10.0.0.0/8')", "a.num_addresses"),
    "complex": ("a = complex(-0.0, float('nan'))", "a"),
    # functions
    "global of a function": ("n = 1\ndef f(): return n\n---\nn = 5", "f()"),
    "later name": ("def f(): return g()\n---\ndef g(): return 7", "f()"),
    "mutual recursion": (
        "def even(n): return n == 0 or odd(n - 1)\n---\ndef odd(n): return n != 0 and even(n - 1)",
        "even(10), odd(7)",
    ),
    "mutual recursion in a closure": (
        "def make():\n    def even(n): return n == 0 or odd(n - 1)\n    def odd(n): return n != 0 and even(n - 1)\n    return even, odd\ne, o = make()",
        "e(10), o(7)",
    ),
    "function alias": ("def f(): return 1\n---\ng = f\n---\nl = [f, g]", "g is f is l[0] is l[1]"),
    "function kept and redefined": ("def f(): return 1\n---\nkept = [f]\n---\ndef f(): return 2", "f(), kept[0]()"),
    "kept, aliased and redefined": ("def f(): return 1\n---\nkept = [f]; g = f\n---\ndef f(): return 2", "f(), g(), kept[0] is g"),
    "kept twice and redefined": ("def f(): return 1\n---\na = [f]\n---\nb = [f]\n---\ndef f(): return 2", "a[0] is b[0], a[0](), f()"),
    "kept twice and deleted": ("def f(): return 1\n---\na = [f]\n---\nb = [f]\n---\ndel f", "a[0] is b[0], a[0]()"),
    "attribute that is a later function": ("def f(): return 1\n---\ndef g(): return 2\n---\nf.other = g", "f.other is g, f.other()"),
    "attribute both ways": ("def f(): return 1\ndef g(): return 2\nf.o = g\ng.o = f", "f.o is g, g.o is f"),
    "attribute that is a later function of the cell": ("def f(): return 1\ndef g(): return 2\nf.other = g", "f.other is g, f.other()"),
    "attribute both ways, in two cells": ("def f(): return 1\ndef g(): return 2\nf.o = g\n---\nx = 1\n---\nx = 2\n---\ng.o = f\n---\nx = 3", "f.o is g, g.o is f"),
    "three in a circle": ("def f(): pass\ndef g(): pass\nclass C: pass\nf.o = g; g.o = C; C.o = f\n---\nk = [g]\n---\ng.n = [1]", "f.o is g is k[0], g.o is C, C.o is f, k[0].n"),
    "a circle that is opened": ("def f(): pass\ndef g(): pass\nf.o = g; g.o = f\n---\nx = 1\n---\ndel f.o\n---\nf.n = 1", "g.o is f, hasattr(f, 'o'), g.o.n"),
    "alias bound late, then redefined": ("def f(): return 1\n---\nkept = [f]\n---\ng = f\n---\ndef f(): return 2", "f(), kept[0] is g"),
    "alias bound late, redefined, changed": ("def f(): return 1\n---\nkept = [f]\n---\ng = f\n---\ndef f(): return 2\n---\ng.note = [1]", "kept[0] is g, kept[0].note"),
    "class alias bound late, then redefined": ("class C: x = 1\n---\na = C()\n---\nD = C\n---\nclass C: x = 2\n---\nb = D()", "type(a) is D is type(b), a.x, D is C"),
    "kept by two at different times": ("def f(): return 1\n---\na = {'f': f}\n---\nf.n = 1\n---\nb = [f]\n---\ng = f\n---\ndef f(): return 2", "a['f'] is b[0] is g, g.n"),
    "function attributes": ("def f(): pass\n---\nf.calls = [1]\nc = f.calls", "f.calls is c"),
    "default that is mutable": ("def f(x, kept=[]):\n    kept.append(x)\n    return kept\n---\nf(1)", "f(2)"),
    "default shared with a name": ("k = []\ndef f(x, kept=k): kept.append(x)\n---\nf(1)", "k, f.__defaults__[0] is k"),
    "keyword default": ("k = {}\ndef f(*, a=k, b=2): return a, b", "f()[0] is k, f()[1]"),
    "annotations": ("def f(x: 'int', y: list[int] = None) -> str: 'doc'", "f.__annotations__, f.__doc__"),
    "closure": ("def m():\n    n = 0\n    def up():\n        nonlocal n\n        n += 1\n        return n\n    return up\nu = m()\n---\nu()", "u(), u()"),
    "closures that share a cell": (
        "def m():\n    n = [0]\n    def up(): n[0] += 1\n    def get(): return n\n    return up, get\nup, get = m()\n---\nup()",
        "(up(), get())[1], get() is get()",
    ),
    "shared rebound cell": (
        "def m():\n    n = 0\n    def up():\n        nonlocal n\n        n += 1\n    def get(): return n\n    return up, get\nup, get = m()\n---\nup()",
        "(up(), get())[1]",
    ),
    "lambda": ("n = 2\ndouble = lambda x: n * x\nfs = [lambda i=i: i for i in range(3)]", "double(4), [f() for f in fs]"),
    "lambdas in a loop": ("def m(): return [lambda: i for i in range(3)]\nfs = m()", "[f() for f in fs]"),
    "recursive lambda": ("fact = lambda n: 1 if n < 2 else n * fact(n - 1)", "fact(5)"),
    "wraps": (
        "import functools\ndef deco(f):\n    @functools.wraps(f)\n    def inner(*a): return f(*a) + 1\n    return inner\n@deco\ndef f(x): 'd'; return x",
        "f(1), f.__name__, f.__wrapped__(1), f.__doc__",
    ),
    "decorator with state": (
        "def count(f):\n    def inner(): inner.n += 1; return f()\n    inner.n = 0\n    return inner\n@count\ndef f(): return 'x'\n---\nf()",
        "(f(), f.n)",
    ),
    "class as decorator": (
        "class Reg:\n    def __init__(s): s.known = {}\n    def __call__(s, f): s.known[f.__name__] = f; return f\nreg = Reg()\n---\n@reg\ndef f(): return 1",
        "reg.known['f'] is f, f()",
    ),
    "decorated, and stored by its class as a name": ("import functools\nclass W:\n    def __init__(s, f): functools.update_wrapper(s, f); s.n = 0\n    def __call__(s): s.n += 1; return s.__wrapped__()\n    def __reduce__(s): return s.__qualname__\n@W\ndef f(): return 7\n---\nf(); g = [f]", "g[0] is f, f(), f.n, type(f) is W"),
    "class of no module": ("C = type('C', (), {'x': 1}); C.__module__ = None\nc = C()\n---\nc.a = [1]", "c.a, c.x, type(c) is C"),
    "registry of functions": ("known = {}\ndef reg(f): known[f.__name__] = f; return f\n---\n@reg\ndef a(): return 1\n---\n@reg\ndef b(): return a()", "known['a'] is a, known['b']()"),
    "partial": ("from functools import partial\nk = []\ndef f(a, b): a.append(b); return a\np = partial(f, k)\np.note = 1", "p(1) is k, p.func is f, p.note"),
    "partial in itself": ("from functools import partial\np = partial(print, 1)\np.own = p", "p.own is p"),
    "partialmethod": ("from functools import partialmethod\nclass C:\n    def f(s, a, b): return a, b\n    g = partialmethod(f, 1)\nc = C()", "c.g(2)"),
    "lru_cache": ("import functools\ncalls = []\n@functools.lru_cache(maxsize=4)\ndef f(x): return x + 1\n---\nf(1)", "f(2), f.cache_parameters()"),
    "singledispatch": (
        "import functools\n@functools.singledispatch\ndef f(x): return 'any'\n---\n@f.register\ndef _f(x: int): return 'int'\n---\n@f.register(list)\ndef _l(x): return 'list'",
        "f(1), f([]), f('')",
    ),
    "singledispatch of a class": (
        "import functools\n@functools.singledispatch\ndef f(x): return 'any'\nclass C: pass\n---\nf.register(C, lambda x: 'C')",
        "f(C()), f(1)",
    ),
    "singledispatchmethod": (
        "import functools\nclass C:\n    @functools.singledispatchmethod\n    def f(s, x): return 'any'\n    @f.register\n    def _(s, x: int): return 'int'\nc = C()",
        "c.f(1), c.f('')",
    ),
    "operator": ("import operator as o\na = [o.itemgetter(1, 0), o.attrgetter('real'), o.methodcaller('upper')]", "a[0]('xy'), a[1](3), a[2]('q')"),
    "bound method": ("class C:\n    def f(s): return s\nc = C()\n---\nm = c.f", "m.__self__ is c, m() is c, m.__func__ is C.f"),
    "bound method of a builtin": ("l = []\n---\nadd = l.append\n---\nadd(1)", "(add(2), l)[1], add.__self__ is l"),
    "classmethod as value": ("class C:\n    n = 1\n    @classmethod\n    def f(c): return c\n---\nm = C.f", "m() is C"),
    "async function": ("import asyncio\nasync def f(): return 1\nasync def g():\n    yield 1\n    yield await f()", "asyncio.run(f())"),
    "generator function": ("def g(n):\n    for i in range(n): yield i", "list(g(3))"),
    "getsource": ("def f():\n    return 1", "f.__code__.co_firstlineno, f.__qualname__, f.__module__"),
    "code object": ("c = compile('1 + x', '<q>', 'eval')\nx = 2", "eval(c)"),
    "function of its own globals": ("d = {'n': 4}\nexec('def f(): return n', d)\nf = d['f']\n---\nd['n'] = 5", "f(), f.__globals__ is d"),
    "builtin": ("p = print\nl = len\nm = max", "p is print, l, m([1, 3])"),
    "method of a type": ("a = str.upper, dict.get, list.__add__", "a[0]('x'), a[1]({1: 2}, 1)"),
    # classes
    "class and instance": ("class C:\n    n = 1\n    def f(s): return s.n\n---\nc = C()\n---\nC.n = 5", "type(c) is C, c.f(), isinstance(c, C)"),
    "instance of the old class": ("class C:\n    n = 1\n---\nc = C()\n---\nclass C:\n    n = 2", "c.n, isinstance(c, C), C().n"),
    "instances of the old class": ("class C:\n    n = 1\n---\na = C()\n---\nb = [C()]\n---\nclass C:\n    n = 2", "type(a) is type(b[0]), a.n, type(a) is C"),
    "bases in other cells": ("class A:\n    def f(s): return 'A'\n---\nclass B(A):\n    def f(s): return super().f() + 'B'\n---\nb = B()", "b.f(), B.__mro__[1] is A, isinstance(b, A)"),
    "redefined base": ("class A:\n    x = 1\n---\nclass B(A): pass\n---\nclass A:\n    x = 2", "B.x, issubclass(B, A), A.x"),
    "class attribute shared": ("log = []\nclass C:\n    log = log\n---\nC.log.append(1)", "C.log is log, log"),
    "class attribute changed": ("class C:\n    made = []\n    def __init__(s): C.made.append(s)\n---\na = C()\n---\nb = C()", "C.made[0] is a, C.made[1] is b"),
    "class that holds itself": ("class C: pass\nC.own = C\nC.all = [C()]", "C.own is C, type(C.all[0]) is C"),
    "__slots__": ("class C:\n    __slots__ = ('a', '__b', 'c')\n    def __init__(s): s.a = [1]; s.__b = s.a\n    def b(s): return s.__b\nc = C()", "c.a is c.b(), hasattr(c, 'c'), hasattr(c, '__dict__')"),
    "slots and dict": ("class A:\n    __slots__ = ('x',)\nclass B(A): pass\nb = B()\nb.x = [1]; b.y = b.x", "b.x is b.y, vars(b)"),
    "slot that is weak": ("import weakref\nclass A:\n    __slots__ = ('__weakref__', 'x')\na = A(); a.x = 1", "weakref.ref(a)() is a, a.x"),
    "property": ("class C:\n    @property\n    def x(s): return s._x\n    @x.setter\n    def x(s, v): s._x = v * 2\nc = C()\nc.x = 2", "c.x, (setattr(c, 'x', 5), c.x)[1]"),
    "cached_property": ("from functools import cached_property\nclass C:\n    @cached_property\n    def x(s): return [1]\nc = C()\n---\na = c.x\n---\na.append(2)", "c.x is a, 'x' in vars(c), C().x"),
    "descriptor with a dict": (
        "class D:\n    def __set_name__(s, o, n): s.n = n; s.held = {}\n    def __get__(s, o, t): return s if o is None else s.held.get(id(o) and s.n)\n"
        "    def __set__(s, o, v): s.held[s.n] = v\nclass C:\n    x = D()\nc = C()\n---\nc.x = [1]",
        "c.x, C.x.held, C.x.n",
    ),
    "static and class methods": ("class C:\n    @staticmethod\n    def s(x): return x\n    @classmethod\n    def c(cls): return cls\nf = C.s", "C.s(1), C.c() is C, f is C.s"),
    "nested class": ("class A:\n    class B:\n        x = 1\nb = A.B()", "type(b) is A.B, b.x, A.B.__qualname__"),
    "local class": ("def m(n):\n    class L:\n        def get(s): return n\n    return L\nL = m(3)\nl = L()", "l.get(), type(l) is L"),
    "class decorator": ("def deco(c): c.tag = c.__name__; return c\n@deco\nclass C: pass", "C.tag"),
    "metaclass": ("class M(type):\n    def hi(c): return c.__name__\nclass C(metaclass=M): pass\nc = C()", "type(C) is M, C.hi(), type(c) is C"),
    "metaclass with registry": (
        "class M(type):\n    known = []\n    def __new__(m, n, b, d):\n        c = super().__new__(m, n, b, d); m.known.append(c); return c\nclass A(metaclass=M): pass\n---\nclass B(A): pass",
        "[c.__name__ for c in M.known], M.known[0] is A, M.known[1] is B",
    ),
    "metaclass __call__ singleton": (
        "class M(type):\n    made = {}\n    def __call__(c, *a):\n        if c not in c.made: c.made[c] = super().__call__(*a)\n        return c.made[c]\nclass C(metaclass=M):\n    def __init__(s): s.n = [0]\n---\na = C()\n---\nb = C()",
        "a is b is C(), a.n is C().n",
    ),
    "__init_subclass__": (
        "class A:\n    known = []\n    def __init_subclass__(c, **k): A.known.append((c, k)); super().__init_subclass__()\n---\nclass B(A, tag=1): pass\n---\nclass D(B): pass",
        "[(c.__name__, k) for c, k in A.known], A.known[0][0] is B, A.known[1][0] is D",
    ),
    "__init_subclass__ outside": (
        "known = {}\nclass A:\n    def __init_subclass__(c): known[c.__name__] = c\n---\nclass B(A): pass\n---\nb = B()",
        "list(known), known['B'] is B is type(b)",
    ),
    "singleton": (
        "class S:\n    _instance = None\n    def __new__(c):\n        if c._instance is None: c._instance = super().__new__(c); c._instance.n = []\n        return c._instance\n---\na = S()\n---\na.n.append(1)",
        "S() is a is S._instance, S().n",
    ),
    "singleton made later": (
        "class S:\n    _instance = None\n    @classmethod\n    def get(c):\n        if c._instance is None: c._instance = c()\n        return c._instance\n---\nx = 1\n---\na = [S.get()]",
        "S.get() is a[0]",
    ),
    "attribute dict": ("class A(dict):\n    def __init__(s, **k): super().__init__(**k); s.__dict__ = s\na = A(x=[1])\n---\na.y = 2", "a['y'], a.x is a['x'], vars(a) is a"),
    "__new__ that counts": ("made = []\nclass C:\n    def __new__(c): made.append(c.__name__); return super().__new__(c)\nc = C()", "made, type(c) is C"),
    "borg": ("class B:\n    shared = {}\n    def __init__(s): s.__dict__ = s.shared\na = B()\n---\nb = B()\n---\na.x = 1", "b.x, vars(a) is vars(b) is B.shared"),
    "__dict__ of another": ("class A: pass\na = A(); b = A(); a.x = [1]\nb.__dict__ = a.__dict__\n---\nb.y = 2", "a.y, b.x is a.x, vars(a) is vars(b)"),
    "hash by value where dicts are shared": (
        "class A: pass\na = A(); b = A(); b.__dict__ = a.__dict__\n"
        "class K:\n    def __init__(s, n): s.n = n\n    def __hash__(s): return hash(s.n)\n"
        "    def __eq__(s, o): return s.n == o.n\nk = K(1)\nk.own = {k: [k]}",
        "k.own[K(1)][0] is k",
    ),
    "dict with methods where dicts are shared": (
        "class A: pass\na = A(); b = A(); b.__dict__ = a.__dict__\n"
        "class D(dict):\n    def __setitem__(s, k, v): super().__setitem__(k, v * 2)\nd = D(); d['a'] = 1; e = D()\ne.__dict__ = d.__dict__",
        "type(d) is D, dict(d), (setattr(d, 'x', 1), e.x)[1]",
    ),
    "__getattr__": ("class P:\n    def __init__(s): s.d = {'x': 1}\n    def __getattr__(s, n):\n        try: return s.__dict__['d'][n]\n        except KeyError: raise AttributeError(n)\np = P()", "p.x, hasattr(p, 'y')"),
    "__getattr__ that recurses": ("class P:\n    def __init__(s, o): s.o = o\n    def __getattr__(s, n): return getattr(s.o, n)\np = P([1])", "p.copy()"),
    "__setattr__ that refuses": ("class F:\n    def __init__(s): object.__setattr__(s, 'x', [1])\n    def __setattr__(s, n, v): raise AttributeError(n)\nf = F()\ny = f.x", "f.x is y"),
    "__eq__ that raises": ("class E:\n    def __eq__(s, o): raise ValueError\n    __hash__ = object.__hash__\ne = E()\nl = [e, e]", "l[0] is l[1] is e"),
    "__eq__ of arrays": ("class V:\n    def __init__(s): s.v = [1]\n    def __eq__(s, o): return [True, False]\nv = V()", "v.v"),
    "__bool__ that raises": ("class B:\n    def __bool__(s): raise TypeError\nb = B()\nl = {'b': b}", "l['b'] is b"),
    "__len__ that raises": ("class B:\n    def __len__(s): raise TypeError\n    x = 1\nb = B()", "b.x"),
    "__class__ that lies": ("class Proxy:\n    def __init__(s, o): s.o = o\n    __class__ = property(lambda s: type(s.o))\np = Proxy([1])", "isinstance(p, list), type(p) is Proxy, p.o"),
    "__del__": ("gone = []\nclass D:\n    def __del__(s): gone.append(1)\nd = D()", "gone, type(d) is D"),
    "__new__ with arguments": ("class C:\n    def __new__(c, a): s = super().__new__(c); s.a = a; return s\nc = C([1])", "c.a"),
    "__getnewargs__": ("class T(tuple):\n    def __new__(c, a, b): return super().__new__(c, (a, b))\n    def __getnewargs__(s): return tuple(s)\nt = T(1, 2)", "t, type(t) is T"),
    "__reduce__": ("class R:\n    def __init__(s, a): s.a = a; s.b = None\n    def __reduce__(s): return R, (s.a,), {'b': s.b}\nr = R([1])\nr.b = r.a", "r.a is r.b"),
    "__copy__": ("class C:\n    def __deepcopy__(s, m): raise TypeError\n    x = [1]\nc = C()\nc.y = c.x", "c.y is C.x"),
    "frozen dataclass": ("from dataclasses import dataclass, field\n@dataclass(frozen=True, order=True)\nclass P:\n    x: int\n    y: list = field(default_factory=list, compare=False)\np = P(1)\n---\np.y.append(2)", "p, p < P(2), hash(p) == hash(P(1)), P.__match_args__"),
    "slots dataclass": ("from dataclasses import dataclass, fields\n@dataclass(slots=True, frozen=True)\nclass P:\n    x: int\n    y: int = 2\np = P(1)", "p, [f.name for f in fields(P)], hasattr(p, '__dict__')"),
    "keyword dataclass": ("from dataclasses import dataclass, KW_ONLY, replace, asdict, InitVar\n@dataclass\nclass P:\n    x: int\n    _: KW_ONLY\n    y: int = 2\np = P(1, y=3)", "replace(p, x=5), asdict(p)"),
    "NamedTuple": ("from typing import NamedTuple\nclass N(NamedTuple):\n    x: int\n    y: str = 'd'\n    def both(s): return s.x, s.y\nn = N(1)", "n, n.both(), n._replace(x=2), type(n) is N, N._field_defaults"),
    "namedtuple": ("from collections import namedtuple\nN = namedtuple('N', 'a b', defaults=[0])\nn = N([1])\nm = n.a", "n.a is m, n._asdict(), type(n) is N"),
    "TypedDict": ("from typing import TypedDict\nclass T(TypedDict, total=False):\n    a: int\nt = T(a=1)", "t, T.__total__, T.__annotations__"),
    "Protocol": ("from typing import Protocol, runtime_checkable\n@runtime_checkable\nclass P(Protocol):\n    def go(self): ...\nclass C:\n    def go(self): pass\nc = C()", "isinstance(c, P), isinstance(1, P)"),
    "Generic": ("from typing import Generic, TypeVar\nT = TypeVar('T')\nclass Box(Generic[T]):\n    def __init__(s, v): s.v = v\nIB = Box[int]\nb = IB(1)", "type(b) is Box, IB.__args__, IB.__origin__ is Box, Box.__parameters__[0] is T"),
    "typing objects": ("import typing as t\na = t.Optional[int], t.Literal['a', 1], t.Callable[[int], str], list[int], int | None, t.Annotated[int, 'x']\nNew = t.NewType('New', int)", "a, New(3), New.__name__"),
    "TypeVar": ("import typing as t\nT = t.TypeVar('T', bound=int)\nP = t.ParamSpec('P')\nA = dict[str, T]", "A.__parameters__[0] is T, T.__bound__, P.__name__"),
    "Enum": ("import enum\nclass E(enum.Enum):\n    A = 1\n    B = [2]\n    C = 1\n    def f(s): return s.name\ne = E.B\nd = {E.A: 1}", "e is E.B, E.C is E.A, d[E(1)], e.f(), list(E), E['A'] is E.A"),
    "Flag": ("import enum\nclass F(enum.Flag):\n    R = enum.auto()\n    W = enum.auto()\nf = F.R | F.W", "f, F.R in f, F(3) == f, ~F.R, F(3) is f"),
    "IntEnum, StrEnum": ("import enum\nclass I(enum.IntEnum):\n    A = 1\nclass S(enum.StrEnum):\n    X = enum.auto()\nx = [I.A, S.X]", "x[0] is I.A, x[0] + 1, x[1] is S.X, f'{S.X}'"),
    "enum with attributes": ("import enum\nclass P(enum.Enum):\n    A = (1, 2)\n    def __init__(s, a, b): s.a = a\nP.A.note = [1]\np = P.A", "p is P.A, p.a, p.note"),
    "enum members that are code": ("import enum\nclass E(enum.Enum):\n    A = 1\n    @enum.member\n    def f(): return 3\n    @enum.member\n    class C: n = 4\ne = E.f", "e is E.f, e.value(), E.C.value.n, len(E)"),
    "enum member in a later cell": ("import enum\nclass E(enum.Enum):\n    A = 1\n---\ne = [E.A]\n---\nf = {E.A: e}", "e[0] is E.A, f[E.A] is e"),
    "ABC": ("import abc\nclass A(abc.ABC):\n    @abc.abstractmethod\n    def f(s): ...\nclass B(A):\n    def f(s): return 1\nb = B()", "isinstance(b, A), A.__abstractmethods__, b.f()"),
    "ABC registry": ("import abc\nclass A(abc.ABC): pass\n---\nclass X: pass\nA.register(X)\n---\nA.register(int)", "isinstance(X(), A), isinstance(1, A), isinstance('', A)"),
    "registered with a library's ABC": ("import collections.abc as c\nclass X: pass\nc.Sized.register(X)\n---\nx = X()", "isinstance(x, c.Sized), issubclass(X, c.Sized)"),
    "__subclasshook__": ("import abc\nclass A(abc.ABC):\n    @classmethod\n    def __subclasshook__(c, o): return hasattr(o, 'go')\nclass G:\n    go = 1\ng = G()", "isinstance(g, A)"),
    "context manager": ("import contextlib\n@contextlib.contextmanager\ndef cm():\n    yield 1\nclass C(contextlib.ContextDecorator):\n    def __enter__(s): return s\n    def __exit__(s, *a): pass\nc = C()", "cm().__enter__(), c.__enter__() is c"),
    "type()": ("T = type('T', (), {'x': [1]})\nt = T()\ny = T.x", "type(t) is T, t.x is y"),
    "class in a list only": ("cs = [type('A', (), {'n': i}) for i in range(2)]\n---\nos = [c() for c in cs]", "[type(o) is c for o, c in zip(os, cs)], os[1].n"),
    "class alias": ("class C: pass\n---\nD = C\n---\nd = D()", "D is C is type(d)"),
    "operator overloads": ("class V:\n    def __init__(s, x): s.x = x\n    def __add__(s, o): return V(s.x + o.x)\n    __radd__ = __add__\n    def __getitem__(s, i): return i\nv = V(1)", "(v + v).x, v[2]"),
    "super and __class__": ("class A:\n    def f(s): return __class__\nclass B(A):\n    def f(s): return super().f(), __class__\nb = B()", "b.f()[0] is A, b.f()[1] is B"),
    "class with a method added": ("class C: pass\nc = C()\n---\ndef f(s): return s\n---\nC.f = f", "c.f() is c, C.f is f"),
    "instance __dict__ order": ("class C: pass\nc = C(); c.b = 1; c.a = 2\n---\ndel c.b; c.b = 3", "list(vars(c))"),
    "instance with a method": ("class C: pass\nc = C()\nc.f = lambda: c\nc.g = c.f", "c.f() is c, c.g is c.f"),
    "two instances and each other": ("class N: pass\na = N()\n---\nb = N(); b.o = a; a.o = b", "a.o is b, b.o is a"),
    "tree with parents": ("class N:\n    def __init__(s, p=None):\n        s.p = p; s.c = []\n        if p: p.c.append(s)\nr = N()\n---\nx = N(r)\n---\ny = N(x)", "r.c[0] is x, x.c[0] is y, y.p.p is r"),
    "observer": ("class S:\n    def __init__(s): s.subs = []\nclass O:\n    def __init__(s): s.got = []\n    def on(s, e): s.got.append(e)\ns = S(); o = O()\n---\ns.subs.append(o.on)\n---\n[f(1) for f in s.subs]", "([f(2) for f in s.subs], o.got)[1]"),
    # type parameters and aliases, from Python 3.12 on
    "alias of a type": ("class C: pass\ntype Row = list[C]\ntype Rows = list[Row]\n---\ndef f(x: Row): return x", "Row.__value__.__args__[0] is C, Rows.__value__.__args__[0] is Row is f.__annotations__['x'], Row"),
    "alias of itself": ("type Json = dict[str, Json] | list[Json] | str\ntype Tree[T] = T | list[Tree[T]]", "Json.__value__.__args__[1].__args__[0] is Json, Tree.__value__.__args__[0] is Tree.__type_params__[0], Tree[int]"),
    "alias of a later name": ("type A = B\n---\nclass B: n = 1\n---\nclass B: n = 2", "A.__value__ is B, A.__value__.n"),
    "alias in a class": ("class C:\n    N = int\n    type Ns = list[N]\n    def f[T: Ns](s, x: T) -> T: return x\n---\nC.N = str", "C.Ns.__value__, C.f.__type_params__[0].__bound__ is C.Ns"),
    "alias in a function": ("def m():\n    type L = list[L] | int\n    def f(x: L) -> L: return x\n    return f, L\nf, L = m()", "f.__annotations__['x'] is L is L.__value__.__args__[0].__args__[0]"),
    "type parameters": ("def f[T: 'int', U: (int, str), **P, *Ts](x: T, *a: *Ts) -> T: return x", "f.__type_params__, f.__type_params__[0] is f.__annotations__['x'], [getattr(t, '__bound__', 0) for t in f.__type_params__], f.__type_params__[1].__constraints__"),
    "type parameter of a later name": ("def f[T: B](x: T) -> T: return x\n---\nclass B: pass", "f.__type_params__[0].__bound__ is B"),
    "generic class": ("class A[T: A]:\n    def __init__(s, x): s.x = x\n    def get(s) -> T: return s.x\nclass B[U](A[U]): pass\n---\nb = B[int]([1])", "A.__type_params__[0].__bound__ is A, A.get.__annotations__['return'] is A.__parameters__[0], b.__orig_class__, B.__orig_bases__"),
    "generic named tuple": ("import typing as t\nT = t.TypeVar('T')\nclass N(t.NamedTuple, t.Generic[T]):\n    x: T\nn = N(1)", "n, N.__orig_bases__[1].__args__[0] is T, N.__parameters__, N[int]"),
    "default of a type parameter": ("class A[T: (int, str) = int, **P = [int]]: pass", "[t.__default__ for t in A.__type_params__], A.__type_params__[0].__constraints__"),
    # iterators
    "range iterator": ("i = iter(range(5))\n---\nnext(i)", "list(i)"),
    "list iterator within its list": ("l = [1, 2, 3]\ni = iter(l)\nnext(i)\nl.insert(0, i)\nb = reversed(l)\nnext(b)\nl.append(b)", "next(i), l[0] is i, l[-1] is b, next(b)"),
    "iterator beyond the end": ("l = [1, 2]\nb = reversed(l)\n---\nl.clear()\n---\nl.extend([7, 8, 9])", "list(b)"),
    "generic alias": ("a = list[int]; b = dict['p', 'q']", "a, b, b.__origin__"),
    "types of views and iterators": ("a = [type(iter([])), type({}.items()), type(vars(int))]", "a"),
    "list iterator": ("l = [1, 2, 3]\ni = iter(l)\n---\nnext(i)\n---\nl.append(4)", "list(i)"),
    "dict iterator": ("d = {'a': 1, 'b': 2}\ni = iter(d.items())\n---\nnext(i)", "list(i)"),
    "set iterator": ("i = iter({7})", "list(i)"),
    "reversed": ("i = reversed([1, 2, 3])\nnext(i)", "list(i)"),
    "enumerate and zip": ("l = [1, 2, 3]\ne = enumerate(l, 5)\nz = zip(l, 'abc')\n---\nnext(e); next(z)", "list(e), list(z)"),
    "iterators that share": ("i = iter([1, 2, 3, 4])\nz = zip(i, i)\n---\nnext(z)", "next(i), list(z)"),
    "map and filter": ("def f(x): return x * 2\nm = map(f, [1, 2]); g = filter(None, [0, 3])\n---\nnext(m)", "list(m), list(g)"),
    "itertools": ("import itertools as t\nc = t.count(3); y = t.cycle('ab'); h = t.chain([1], [2, 3])\n---\nnext(c); next(y); next(h)", "next(c), next(y), list(h)"),
    "itertools of more": ("import itertools as t\np = t.product('ab', [1, 2]); a = t.accumulate([1, 2, 3]); s = t.islice('abcd', 1, 4)\nr = t.repeat(1, 3)\n---\nnext(p); next(a); next(s)", "list(p), list(a), list(s), list(r)"),
    "own iterator": ("class I:\n    def __init__(s): s.n = 0\n    def __iter__(s): return s\n    def __next__(s): s.n += 1; return s.n\ni = I()\n---\nnext(i)", "next(i)"),
    "callable iterator": ("l = [3, 2, 1]\ni = iter(l.pop, 3)\n---\nnext(i)", "next(i), l"),
    # files and buffers in memory
    "BytesIO": ("import io\nb = io.BytesIO(b'abcdef')\nc = b\n---\nb.read(2)", "b.tell(), b.read(), c is b"),
    "StringIO": ("import io\ns = io.StringIO('ab\\ncd')\n---\ns.readline()", "s.tell(), s.read()"),
    "csv writer": ("import io, csv\ns = io.StringIO()\nrows = [['a', 1]]", "rows"),
    "closed file": (
        "with open('f.txt', 'w', encoding='utf-8') as f:\n    f.write('a')\nwith open('f.txt', 'rb') as g: pass",
        "f.closed, f.name, f.mode, f.encoding, repr(f), g.closed, g.name, g.mode, type(g)",
    ),
    "closed file without a buffer": (
        "g = open('f.bin', 'ab', buffering=0)\ng.close()",
        "g.closed, g.name, g.mode, type(g), repr(g)",
    ),
    # exceptions
    "exception": ("class E(ValueError):\n    def __init__(s, code, *, why): super().__init__(code); s.why = why\ntry: raise E(3, why=[1])\nexcept E as x: e = x", "e.args, e.why, type(e) is E, str(e)"),
    "cause and context": (
        "try:\n    try: 1 / 0\n    except ZeroDivisionError as x: raise KeyError('k') from x\nexcept KeyError as x: e = x\ne.add_note('n')\ncause = e.__cause__",
        "type(e.__cause__), e.__context__ is cause is e.__cause__, e.__suppress_context__, e.__notes__, e.args",
    ),
    "context only": ("try:\n    try: 1 / 0\n    except ZeroDivisionError: [][1]\nexcept IndexError as x: e = x", "type(e.__context__), e.__cause__, e.__suppress_context__"),
    "exception group": ("g = ExceptionGroup('g', [ValueError(1), TypeError('x')])\ng.add_note('a')\nf = g.exceptions[0]", "g.message, f is g.exceptions[0], g.__notes__, repr(g)"),
    "OSError": ("e = OSError(2, 'no', 'f.txt')\nu = UnicodeDecodeError('utf-8', b'x', 0, 1, 'why')\ns = StopIteration(5)\nx = SystemExit(3)", "type(e), e.errno, e.filename, u.object, s.value, x.code"),
    "exception with attributes": ("e = ValueError('x')\ne.data = [1]\nd = e.data\ne.own = e\nk = KeyError('k'); i = ImportError('m', name='n', path='p'); a = AttributeError('a', name='n', obj=d)", "e.data is d, e.own is e, i.name, i.path, a.name"),
    # weak
    "WeakValueDictionary": ("import weakref\nclass C: pass\nc = C()\nw = weakref.WeakValueDictionary(c=c)", "w['c'] is c, len(w)"),
    "WeakKeyDictionary": ("import weakref\nclass C: pass\nc = C()\nw = weakref.WeakKeyDictionary({c: [1]})", "w[c], len(w)"),
    "WeakSet": ("import weakref\nclass C: pass\nc = C()\nw = weakref.WeakSet([c])", "c in w, len(w)"),
    "weakref.ref": ("import weakref\nclass C: pass\nc = C()\nr = weakref.ref(c)", "r() is c"),
    "weak parent": ("import weakref\nclass N: pass\np = N(); k = N(); k.p = weakref.ref(p); p.k = [k]", "k.p() is p, p.k[0] is k"),
    "WeakMethod": ("import weakref\nclass C:\n    def f(s): return s\nc = C()\nr = weakref.WeakMethod(c.f)", "r()() is c"),
    "weakref.proxy": ("import weakref\nclass C:\n    x = [1]\nc = C()\np = weakref.proxy(c)", "p.x is c.x"),
    # process
    "module": ("import json, os.path as p\nimport xml.etree.ElementTree as E", "json.dumps(1), p.join('a', 'b'), E.__name__"),
    "module made by hand": ("import types\nm = types.ModuleType('m')\nm.x = [1]\ny = m.x", "m.x, m.__name__"),
    "module that is taken out again": ("import sys, types\nm = types.ModuleType('kinds_made'); sys.modules['kinds_made'] = m; m.x = [1]\n---\ndel sys.modules['kinds_made']\n---\ny = m.x", "m.x is y, m.x"),
    "environment": ("from os import environ\nd = {'env': environ}\ndef get(k, env=environ): return env.get(k)\n---\nx = get('HOME')", "environ is __import__('os').environ is d['env'] is get.__defaults__[0]"),
    "logger": ("import logging\nlog = logging.getLogger('my.kind')\nlog.setLevel(10)", "log is logging.getLogger('my.kind'), log.level"),
    "lock": ("import threading\nl = threading.Lock()\nr = threading.RLock()\nd = {'l': l}", "d['l'] is l, l.acquire(), r.acquire()"),
    "queue": ("import queue\nq = queue.Queue()\n---\nq.put([1])", "q.get_nowait(), q.empty()"),
    "random.Random": ("import random\nr = random.Random(3)\n---\nr.random()", "r.random(), r.randint(1, 9)"),
    "contextvars": ("import contextvars\nv = contextvars.ContextVar('v', default=3)", "v.get()"),
    "ElementTree": ("import xml.etree.ElementTree as E\nr = E.fromstring('<a x=\"1\"><b>t</b></a>')\nb = r[0]", "r[0] is b, E.tostring(r)"),
    "string.Template": ("import string\nt = string.Template('$x')", "t.substitute(x=1)"),
    "ast": ("import ast\nt = ast.parse('a + 1')", "ast.dump(t)"),
    "interned sharing": ("a = ['k' * 50] * 3\nb = a[0]", "a[0] is a[1]"),
}  # fmt: skip

NUMPY: dict[str, tuple[str, str]] = {
    "view": ("a = np.arange(9)\n---\nb = a[::2]\n---\nb[0] = 7", "a[0], np.shares_memory(a, b), (b.__setitem__(1, 5), a[2])[1]"),
    "view of a view": ("a = np.zeros((4, 4))\nb = a[1:]\nc = b[:, 1]\n---\nc[:] = 1", "a.sum(), np.shares_memory(a, c)"),
    "transpose": ("a = np.arange(6).reshape(2, 3)\nt = a.T\n---\nt[0, 0] = 9", "a[0, 0], t.flags.f_contiguous, np.shares_memory(a, t)"),
    "view of another dtype": ("a = np.zeros(4, 'f4')\nb = a.view('i4')\n---\nb[0] = 1", "a[0], b.dtype"),
    "overlapping views without their base": ("x = np.arange(10)\na = x[:6]; b = x[4:]\ndel x\n---\nb[0] = 99", "a[4], np.shares_memory(a, b)"),
    "views in a list": ("l = list(np.zeros((2, 3)))\n---\nl[0][0] = 1", "(l[1].__setitem__(0, 5), [x.tolist() for x in l])"),
    "orders": ("a = np.asfortranarray(np.arange(6).reshape(2, 3))\nb = a[:, ::-1]", "a.flags.f_contiguous, a.strides, b.strides, b.tolist()"),
    "broadcast": ("a = np.broadcast_to(np.arange(3), (2, 3))", "a.strides, a.flags.writeable, a.tolist()"),
    "read-only": ("a = np.arange(3)\na.flags.writeable = False", "a.flags.writeable"),
    "read-only view": ("a = np.arange(3)\nb = a.view()\nb.flags.writeable = False\n---\na[0] = 5", "b[0], b.flags.writeable, a.flags.writeable"),
    "structured": ("a = np.zeros(2, [('x', 'i4'), ('y', 'f8', (2,))])\nv = a['x']\n---\nv[0] = 3", "a, a.dtype, np.shares_memory(a, v)"),
    "void scalar": ("a = np.zeros(2, [('x', 'i4')])\nr = a[0]\n---\nr['x'] = 9", "a['x'].tolist(), r, type(r)"),
    "record array": ("a = np.rec.array([(1, 2.5)], names='a,b')", "a.a, type(a), a[0].b"),
    "object array with a cycle": ("a = np.empty(2, object)\na[0] = a; a[1] = [1]\nb = a[1]", "a[0] is a, a[1] is b"),
    "object array shared": ("l = [1]\na = np.array([l, None], object)\n---\nv = a[:1]", "a[0] is l, v[0] is l, np.shares_memory(a, v), (v.__setitem__(0, 2), a[0])[1]"),
    "0-d and empty": ("a = np.array(3.5); e = np.empty((0, 3), 'i2')", "a, a.shape, e.shape, e.dtype"),
    "scalars": ("a = np.float32(1.5), np.int8(-3), np.bool_(True), np.datetime64('2024-01-01'), np.str_('x')", "[type(x) for x in a], a"),
    "strings": ("a = np.array(['a', 'bcd'])\nb = np.array([b'x'], 'S3')", "a, b"),
    "datetimes": ("a = np.array(['2024-01-01', 'NaT'], 'M8[D]')\nd = a[0] - a", "a, d"),
    "big-endian": ("a = np.array([1, 2], '>i4')", "a.dtype.str, a.tolist()"),
    "views of a masked array": ("a = np.ma.array([1, 2, 3], mask=[0, 1, 0])\nb = a[1:]; c = a.reshape(-1)\n---\nb[1] = 9; c[0] = np.ma.masked", "a.tolist(), c.tolist(), np.shares_memory(a.data, b.data), np.shares_memory(a.mask, c.mask)"),
    "memoryview of a masked array": ("a = np.ma.array([1, 2, 3], mask=[0, 1, 0])\nm = memoryview(a)[1:]\n---\nm[0] = 9", "a.data.tolist(), type(a), m.tolist(), (m.__setitem__(1, 8), a[2])[1]"),
    "masked array": ("a = np.ma.array([1, 2, 3], mask=[0, 1, 0], fill_value=9)", "a.tolist(), a.fill_value, type(a)"),
    "matrix": ("a = np.matrix([[1, 2], [3, 4]])", "type(a), (a * a).tolist()"),
    "subclass that hands its attributes on": ("class Q(np.ndarray):\n    def __reduce__(s): r = super().__reduce__(); return r[0], r[1], (r[2], s.__dict__)\n    def __setstate__(s, t): super().__setstate__(t[0]); s.__dict__.update(t[1])\nq = np.arange(4).view(Q); q.unit = ['m']\n---\nv = q[1:3]\n---\nv[0] = 9", "q.tolist(), type(q) is Q, q.unit, np.shares_memory(q, v), (v.__setitem__(1, 8), q[2])[1]"),
    "subclass": ("class A(np.ndarray):\n    def __array_finalize__(s, o): s.info = getattr(o, 'info', None)\na = np.arange(3).view(A)\na.info = [1]", "type(a) is A, a.info, a.tolist()"),
    "subclasses that share": ("a = np.zeros(3, [('x', 'i4')])\nr = a.view(np.recarray)\nm = np.matrix([[1, 2]]); v = np.asarray(m)\n---\nr.x[0] = 5; v[0, 0] = 9", "a['x'].tolist(), type(r), m.tolist(), np.shares_memory(a, r), np.shares_memory(m, v), (r.x.__setitem__(1, 7), a['x'].tolist())"),
    "frombuffer of a bytearray": ("b = bytearray(8)\na = np.frombuffer(b, 'u1')\n---\na[0] = 5", "b[0], (b.__setitem__(1, 7), a[1])[1]"),
    "frombuffer of a part": ("b = bytearray(8)\na = np.frombuffer(b, 'u1', offset=4)\n---\na[0] = 5", "b[4], (b.__setitem__(5, 7), a[1])[1]"),
    "array over array.array": ("import array\nr = array.array('i', [1, 2])\na = np.frombuffer(r, 'i4')\n---\na[0] = 5", "r[0], (r.__setitem__(1, 7), a[1])[1]"),
    "asarray of a memoryview": ("b = bytearray(b'abcd')\nm = memoryview(b)\na = np.asarray(m)\n---\na[0] = 0", "b[0], m[0], (b.__setitem__(1, 1), a[1])[1]"),
    "ctypes as array": ("import ctypes\nc = (ctypes.c_int * 3)(1, 2, 3)\na = np.ctypeslib.as_array(c)\n---\na[0] = 9", "c[0], (c.__setitem__(1, 8), a[1])[1]"),
    "memoryview of an array": ("a = np.arange(4, dtype='u1')\nm = memoryview(a)\n---\nm[0] = 9", "a[0], (m.__setitem__(1, 8), a[1])[1]"),
    "resize": ("a = np.arange(3)", "a.flags.owndata, (a.resize(5, refcheck=False), a.tolist())[1]"),
    "resize in two dimensions": ("a = np.ones((2, 2))", "a.flags.owndata, (a.resize((3, 2), refcheck=False), a.tolist())[1]"),
    "Generator": ("g = np.random.default_rng(3)\nh = g\n---\ng.random()", "h is g, g.random(3).tolist()"),
    "RandomState": ("r = np.random.RandomState(3)\nr.rand()", "r.rand()"),
    "dtype": ("d = np.dtype([('a', 'i4')], metadata={'k': 1})\ne = np.dtype('f8')", "d, dict(d.metadata), e == np.dtype('f8')"),
    "ufunc": ("f = np.add\nv = np.vectorize(lambda x: x + 1)\np = np.poly1d([1, 2])", "f(1, 2), v([1, 2]).tolist(), p(3)"),
    "nditer results": ("i, j = np.meshgrid([1, 2], [3, 4], copy=False)", "i.tolist(), j.tolist()"),
    "array in a dict and a name": ("a = np.arange(4)\nd = {'a': a, 'v': a[1:]}\n---\nd['v'][0] = 9", "a[1], d['a'] is a"),
    "diagonal view": ("a = np.zeros((3, 3))\nd = np.einsum('ii->i', a)\n---\nd[:] = 1", "a.tolist(), np.shares_memory(a, d)"),
    "real and imaginary": ("a = np.zeros(3, complex)\nr = a.real; i = a.imag\n---\ni[:] = 2", "a, np.shares_memory(a, r)"),
    "as_strided": ("a = np.arange(6)\nw = np.lib.stride_tricks.sliding_window_view(a, 3, writeable=True)\n---\nw[0, 1] = 9", "w.tolist(), a.tolist(), np.shares_memory(a, w)"),
}  # fmt: skip

PANDAS: dict[str, tuple[str, str]] = {
    "frame": ("df = pd.DataFrame({'a': [1, 2], 'b': ['x', None]}, index=['r', 's'])\ndf.attrs['k'] = [1]\n---\ndf.loc['r', 'a'] = 5", "df.to_dict(), df.attrs, df.dtypes.to_dict()"),
    "frame and alias": ("df = pd.DataFrame({'a': [1, 2]})\nd = df\n---\nd['b'] = 3", "df is d, list(df)"),
    "frame over an array": ("a = np.zeros((2, 2))\ndf = pd.DataFrame(a, copy=False)\n---\na[0, 0] = 5", "df.iloc[0, 0], (a.__setitem__((1, 1), 7), df.iloc[1, 1])[1]"),
    "column of a frame": ("df = pd.DataFrame({'a': [1, 2]})\ns = df['a']\n---\ndf.loc[0, 'a'] = 9", "s.tolist(), df['a'].tolist()"),
    "values of a series": ("s = pd.Series([1, 2])\nv = s.to_numpy()\n---\nv = v.copy(); v[0] = 3", "s.tolist(), v.tolist()"),
    "categories": ("s = pd.Series(['a', 'b', 'a'], dtype='category')", "s.cat.categories.tolist(), s.cat.codes.tolist(), s.dtype"),
    "extension types": ("s = pd.Series([1, None], dtype='Int64'); t = pd.Series(['x', None], dtype='string')", "s.tolist(), t.tolist(), s.dtype, t.dtype"),
    "times": ("i = pd.date_range('2024-01-01', periods=3, tz='UTC', freq='D')\np = pd.Period('2024-01'); t = pd.Timestamp('2024-01-01', tz='Europe/Berlin')", "i, i.freq, p, t, pd.NaT"),
    "MultiIndex": ("i = pd.MultiIndex.from_product([['a', 'b'], [1, 2]], names=['x', 'y'])\ns = pd.Series(range(4), index=i)", "s.index.names, s.loc['b', 2]"),
    "groupby": ("df = pd.DataFrame({'k': [1, 1, 2], 'v': [1, 2, 3]})\ng = df.groupby('k')", "g.v.sum().to_dict()"),
    "pd.NA": ("a = [pd.NA, pd.NaT]", "a[0] is pd.NA, a[1] is pd.NaT"),
    "index of a frame": ("df = pd.DataFrame({'a': [1, 2]})\ni = df.index; c = df.columns\n---\ns = pd.Series([3, 4], index=i)\n---\ni.name = 'row'; c.name = 'column'", "df.index is i, s.index is i, df.columns is c, (setattr(i, 'name', 'x'), df.index.name, s.index.name)"),
    "objects in a frame": ("l = [1]\ndf = pd.DataFrame({'o': [l, l]})\n---\nl.append(2)", "df.o[0] is l, df.o[0] is df.o[1]"),
    "subclass with metadata": ("class F(pd.DataFrame):\n    _metadata = ['note']\n    @property\n    def _constructor(s): return F\nf = F({'a': [1]})\nf.note = [3]", "type(f) is F, f.note, type(f.head()) is F"),
}  # fmt: skip

LOST: dict[str, tuple[str, str]] = {
    "__getstate__ that leaves something out": ("class G:\n    def __init__(s): s.a = 1; s.b = 2\n    def __getstate__(s): return {'a': s.a}\n    def __setstate__(s, d): s.__dict__.update(d, b=0)\ng = G()", "g"),
    "generator": ("g = (i for i in range(3))\nx = [1]", "g"),
    "generator half consumed": ("def f():\n    yield 1\n    yield 2\ng = f()\n---\nnext(g)", "g"),
    "coroutine": ("async def f(): pass\nc = f()\nc.close()", "c"),
    "async generator": ("async def f(): yield 1\ng = f()", "g"),
    "connection": ("import sqlite3\nc = sqlite3.connect(':memory:')", "c"),
    "socket": ("import socket\ns = socket.socket()\ns.close()", "s"),
    "thread": ("import threading\nt = threading.Thread(target=print)", "t"),
    "anonymous mmap": ("import mmap\nm = mmap.mmap(-1, 10)", "m"),
    "frame": ("import sys\nf = sys._getframe()", "f"),
    "traceback": ("try: 1 / 0\nexcept ZeroDivisionError as e: t = e.__traceback__", "t"),
    "__reduce__ that raises": ("class C:\n    def __reduce__(s): raise RuntimeError('no')\nc = C()\nx = 1", "c"),
    "__getstate__ that raises": ("class C:\n    def __getstate__(s): raise RuntimeError('no')\nc = C()\nx = 1", "c"),
    "__reduce__ that gives nonsense": ("class C:\n    def __reduce__(s): return 5\nc = C()", "c"),
    "__class__ that raises": ("class C:\n    @property\n    def __class__(s): raise RuntimeError('no')\n    def __reduce__(s): raise RuntimeError('no')\nc = C()", "c"),
    "metaclass that raises": ("class M(type):\n    def __getattribute__(c, n):\n        if n[:2] != '__' or n in ('__reduce_ex__', '__getstate__'): raise RuntimeError('no')\n        return super().__getattribute__(n)\nclass C(metaclass=M):\n    def __reduce__(s): raise RuntimeError\nc = C()", "c"),
}  # fmt: skip

# The Python that has the syntax of a row.
_SINCE = dict.fromkeys(
    (
        *(
            "alias of a type",
            "alias of itself",
            "alias of a later name",
            "alias in a class",
            "alias in a function",
        ),
        *("type parameters", "type parameter of a later name", "generic class"),
    ),
    (3, 12),
) | {"default of a type parameter": (3, 13)}

_HEADS = {"numpy": "import numpy as np\n---\n", "pandas": "import numpy as np, pandas as pd\n---\n"}


def every_row() -> list[Any]:
    return list(_rows())


def _rows() -> Iterator[Any]:
    for module, rows in (("", ROWS), ("numpy", NUMPY), ("pandas", PANDAS)):
        for name, (source, expression) in rows.items():
            cells = (_HEADS.get(module, "") + source).split("\n---\n")
            if sys.version_info >= _SINCE.get(name, (3, 11)):
                yield pytest.param(cells, expression, id=f"{module} {name}".strip())


@pytest.fixture(autouse=True)
def _no_dict_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances._Given, "dicts", False)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # itertools' own about being pickled
        yield


def probe(expression: str, live: dict[str, Any]) -> str:
    return repr(eval(expression, live))


def uninterrupted(cells: list[str], expression: str) -> str:
    live: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
    for cell in cells:
        run_source(ast.parse(cell), live)
    return probe(expression, live)


@pytest.mark.parametrize(("cells", "expression"), every_row())
def test_a_value_comes_back_as_an_uninterrupted_run_has_it(
    start: Start, cells: list[str], expression: str
) -> None:
    expected = uninterrupted(cells, expression)

    kernel = start()
    kernel.cells(*cells, "unrelated = 1")

    # nothing changes when it is looked at
    assert {name for group in kernel.last.draft.groups for name in group.names} == {"unrelated"}
    assert probe(expression, kernel.live) == expected
    resumed = start()
    assert not resumed.session.resume().restored.lost
    assert probe(expression, resumed.live) == expected
    again = start()
    assert again.cells(*cells) == [RESTORED] * len(cells)
    assert probe(expression, again.live) == expected


# Nothing can set these back: the cell is refused, and says so.
_NOT_UNDONE = frozenset(
    {"ctypes array", "bound method of a builtin", "metaclass with registry", "observer"}
    | {"metaclass __call__ singleton", "ABC registry", "dict iterator", "enumerate and zip"}
    | {"itertools", "itertools of more", "callable iterator", "numpy void scalar"}
)


def _can_fail_once(row: Any) -> bool:
    """Whether its cells can be undone: what a cell takes out of `sys.modules` stays out."""
    return not any(cell.startswith("del sys.modules") for cell in row.values[0])


@pytest.mark.further
@pytest.mark.parametrize(("cells", "expression"), list(filter(_can_fail_once, _rows())))
def test_each_cell_fails_once_and_the_end_is_that_of_an_uninterrupted_run(
    start: Start, request: pytest.FixtureRequest, cells: list[str], expression: str
) -> None:
    row = request.node.callspec.id
    expected = uninterrupted(cells, expression)
    kernel = start()
    refused: list[str] = []

    for step, cell in enumerate(cells):
        with pytest.raises(ZeroDivisionError):
            kernel.cell(f"{cell}\n1 / 0", step=f"c{step}")
        try:
            kernel.cell(cell, step=f"c{step}")
        except ConflictError as error:
            refused.append(error.kind)
            break

    assert refused == (["half-done"] if row in _NOT_UNDONE else [])
    assert refused or probe(expression, kernel.live) == expected


@pytest.mark.parametrize(
    ("cells", "name"),
    [pytest.param(source.split("\n---\n"), name, id=kind) for kind, (source, name) in LOST.items()],
)
def test_what_cannot_come_back_is_a_marker_and_is_named(start: Start, cells: list[str], name: str) -> None:
    start().cells(*cells)

    resumed = start()
    restored = resumed.session.resume().restored

    assert is_marker(resumed[name])
    assert name in restored.lost
    assert set(restored.lost) <= {name, *(own for own in ("C", "M") if "raise RuntimeError" in cells[0])}


# The page that shows all this

PAGE = Path(__file__).parents[3] / "docs/reference/what-comes-back.md"
_INTRODUCTION = """# What comes back

Each row is an example that runs: its cells are checkpoints (`⏎` is a new line, `┊` the next cell), the kernel dies, and the expression must give what it gives in a kernel that never died: after `%resume`, after Run All, and without any later cell counting the value as changed. The page is made from the tests that do so (`tests/unit/engine/test_kinds.py`). For what cells do outside the namespace see [what is stored](../explanation/what-is-stored.md).
"""


def page() -> str:
    """The documentation page of every row."""
    parts = [_INTRODUCTION]
    parts += [_table(title, rows, "must hold after a restore") for title, rows in _sections()]
    lost = {kind: (source, f"`{name}`") for kind, (source, name) in LOST.items()}
    words = "The name holds a marker that says why, the restore report names it, and everything else is back."
    parts.append(_table("What cannot come back", lost, "holds a marker", words))
    return "\n".join(parts)


def _sections() -> Iterator[tuple[str, dict[str, tuple[str, str]]]]:
    text = Path(__file__).read_text("utf-8")
    headings = re.findall(r"^    # (.+)|^    \"(.+?)\": \(", text[: text.index("NUMPY: dict")], re.MULTILINE)
    found: dict[str, dict[str, tuple[str, str]]] = {}
    title = ""
    for heading, name in headings:
        title = heading[:1].upper() + heading[1:] or title
        if name in ROWS:
            found.setdefault(title, {})[name] = ROWS[name]
    assert sum(map(len, found.values())) == len(ROWS)
    yield from found.items()
    yield "Numpy", NUMPY
    yield "Pandas", PANDAS


def _table(title: str, rows: dict[str, tuple[str, str]], last: str, words: str = "") -> str:
    lines = [f"## {title}", "", *([words, ""] if words else [])]
    lines += [f"| kind | cells | {last} |", "| --- | --- | --- |"]
    for kind, (source, expression) in rows.items():
        shown = expression if expression.startswith("`") else _code(expression)
        lines.append(f"| {_plain(kind)} | {_code(source)} | {shown} |")
    return "\n".join([*lines, ""])


def _plain(text: str) -> str:
    return text.replace("|", r"\|").replace("_", r"\_").replace("*", r"\*").replace("<", "&lt;")


def _code(source: str) -> str:
    text = source.replace("\n---\n", " ┊ ").replace("\n", " ⏎ ").replace("|", r"\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def test_the_page_in_the_docs_shows_every_row() -> None:
    if os.environ.get("WRITE_PAGES"):
        PAGE.write_text(page(), "utf-8")

    assert PAGE.read_text("utf-8") == page(), "make it again: WRITE_PAGES=1"
