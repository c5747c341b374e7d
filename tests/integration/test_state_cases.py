"""Small notebooks whose state must be the same after a kill: many of them share each kernel."""

# ruff: noqa: E501, ISC004 - cells as they are typed

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.kernel import Kernel, Ran


@dataclass(frozen=True)
class Case:
    """Cells (a plain one starts with ``# plain``), and what expressions show in the end."""

    cells: tuple[str, ...]
    shows: Mapping[str, str] = field(default_factory=dict)


RESTORED = {
    "every way to bind a name": Case(
        (
            "for i1 in range(3): pass\n(w1 := 5)\n*s1, t1 = range(3)\nexec('e1 = 1')\nglobals()['g1'] = 2\n"
            "match {'k': [1, 2]}:\n    case {'k': [first1, *rest1]}: pass\n"
            "setattr(__import__('__main__'), 'm1', 3)",
        ),
        {"(i1, w1, s1, t1, e1, g1, first1, rest1, m1)": "(2, 5, [0, 1], 2, 1, 2, 1, [2], 3)"},
    ),
    "every way to delete one": Case(
        (
            "a2 = b2 = c2 = d2 = 1",
            "del a2\nglobals().pop('b2')\nexec('del c2')\ndelattr(__import__('__main__'), 'd2')",
        ),
        {"[n for n in ('a2', 'b2', 'c2', 'd2') if n in globals()]": "[]"},
    ),
    "a plain cell changes what a checkpoint made": Case(
        ("a3 = [1]; n3 = 0", "# plain\na3.append('plain'); n3 += 1; w3 = a3", "b3 = len(a3); n3 += 10"),
        {"(a3, n3, b3, w3 is a3)": "([1, 'plain'], 11, 2, True)"},
    ),
    "an alias made two checkpoints later": Case(
        (
            "a4 = {'x': [1]}",
            "other4 = 1",
            "c4 = a4['x']; deep4 = [[a4]]",
            "c4.append(2)\ndeep4[0][0]['x'].append(3)",
        ),
        {"(a4, c4 is a4['x'], deep4[0][0] is a4)": "({'x': [1, 2, 3]}, True, True)"},
    ),
    "nodes that refer to each other, swapped": Case(
        (
            "class N5:\n    def __init__(s, v): s.v, s.next = v, None\n"
            "x5, y5 = N5(1), N5(2); x5.next, y5.next = y5, x5; both5 = [x5, y5]",
            "x5, y5 = y5, x5\nboth5.append(x5.next)",
        ),
        {"(x5.v, y5.next is x5, both5[0] is y5, both5[2] is y5)": "(2, True, True, True)"},
    ),
    "a closure, a default and a name hold one list": Case(
        (
            "buf6 = []\ndef mk6(b):\n    def w(x, d=b):\n        b.append(x); d.append(-x); return b\n"
            "    return w\nw6 = mk6(buf6)",
            "w6(1)",
            "# plain\nbuf6.append('p')",
            "_ = w6(2)",
        ),
        {"(buf6, w6.__defaults__[0] is buf6)": "([1, -1, 'p', 2, -2], True)"},
    ),
    "attributes of functions and classes": Case(
        (
            "def f7(): f7.n += 1; return f7.n\nf7.n = 0; f7.log = []\nclass A7: reg = {}; lst = f7.log\ng7 = f7",
            "f7(); g7(); f7.log.append('a'); A7.reg['f'] = f7",
        ),
        {"(f7.n, g7 is f7, A7.lst is f7.log, A7.reg['f'] is f7, f7.log)": "(2, True, True, True, ['a'])"},
    ),
    "views of one array": Case(
        (
            "import numpy as np\na8 = np.arange(6.0).reshape(2, 3); v8 = a8[1]; t8 = a8.T",
            "v8 += 10\nt8[0, 0] = -1",
            "a8.setflags(write=False)",
        ),
        {
            "(a8.tolist(), np.shares_memory(v8, a8), np.shares_memory(t8, a8), a8.flags.writeable)": (
                "([[-1.0, 1.0, 2.0], [13.0, 14.0, 15.0]], True, True, False)"
            )
        },
    ),
    "old and new instances of a class that was defined again": Case(
        (
            "class A9:\n    def who(s): return 1\na9 = A9(); all9 = [a9]",
            "class A9:\n    def who(s): return 2\nb9 = A9()",
            "all9.append(b9); who9 = [x.who() for x in all9]",
        ),
        {
            "(who9, isinstance(all9[0], A9), isinstance(all9[1], A9), all9[1] is b9)": (
                "([1, 2], False, True, True)"
            )
        },
    ),
    "sentinels and singletons": Case(
        (
            "class One10:\n    made = None\n    def __new__(c):\n        if c.made is None: c.made = super().__new__(c)\n"
            "        return c.made\nNONE10 = object()\ndef get10(v=NONE10): return 'none' if v is NONE10 else v\n"
            "cfg10 = {'n': NONE10, 'o': One10()}",
            "seen10 = cfg10['n'] is NONE10",
        ),
        {
            "(get10(), cfg10['n'] is NONE10, One10() is cfg10['o'], get10.__defaults__[0] is NONE10)": (
                "('none', True, True, True)"
            )
        },
    ),
    "dispatch, registries and bound methods": Case(
        (
            "import functools\nREG11 = {}\ndef reg11(f): REG11[f.__name__] = f; return f\n@reg11\ndef one11(): return 1\n"
            "@functools.singledispatch\ndef sd11(x): return 'o'\nL11 = []; add11 = L11.append",
            "@reg11\ndef two11(): return 2\n@sd11.register(int)\ndef _of_int11(x): return 'i'\nadd11(5)",
        ),
        {
            "(sorted(REG11), REG11['one11'] is one11, sd11(1), sd11('a'), L11, add11.__self__ is L11)": (
                "(['one11', 'two11'], True, 'i', 'o', [5], True)"
            )
        },
    ),
    "a variable and an import path taken away again": Case(
        (
            "import os, sys\nos.environ['KT_CASE'] = '1'; sys.path.append('/kt/case')",
            "del os.environ['KT_CASE']; sys.path.remove('/kt/case')",
        ),
        {"('KT_CASE' in os.environ, '/kt/case' in sys.path)": "(False, False)"},
    ),
    "an attribute of a library, set and then changed in place": Case(
        ("import string\nstring.kt_words = [1]", "string.kt_words.append(2)"),
        {"string.kt_words": "[1, 2]"},
    ),
    "what a cell sets on a frame": Case(
        (
            "import pandas as pd\nd15 = pd.DataFrame({'a': [1]}); d15.note = 'raw'",
            "d15.note = 'clean'; s15 = d15['a']; s15.tags = [1]",
            "n15 = d15.note, s15.tags",
        ),
        {"(n15, d15.note, s15.tags is n15[1], list(d15))": "(('clean', [1]), 'clean', True, ['a'])"},
    ),
    "classes of attrs": Case(
        (
            "import attrs\nbig16 = [0] * 9\n@attrs.define\nclass A16:\n    x: int\n    y: list = attrs.Factory(list)\n"
            "a16 = A16(1)",
            "a16.y.append(a16); b16 = attrs.evolve(a16, x=2)",
            "# plain\nbig16.append(1)",
            "c16 = A16(3)\nbig16.append(2)",
        ),
        {
            "(a16.y[0] is a16, b16.y is a16.y, isinstance(c16, A16), len(big16), A16(4))": (
                "(True, True, True, 11, A16(x=4, y=[]))"
            )
        },
    ),
    "a class that wants arguments when it is made": Case(
        (
            "import jinja2\nt17 = jinja2.Template('{{ x }}!'); n17 = 1",
            "r17 = t17.render(x=n17)",
            "u17 = r17 * 2",
        ),
        {"(n17, r17, u17)": "(1, '1!', '1!1!')"},
    ),
    "a step that read a connection": Case(
        (
            "import sqlite3\ncon14 = sqlite3.connect(':memory:'); made14 = 1",
            "rows14 = con14.execute('select 7').fetchall()",
            "sum14 = rows14[0][0] + made14",
        ),
        {"(rows14, sum14)": "([(7,)], 8)"},
    ),
    "settings of the shell": Case(
        (
            "%load_ext autoreload\n%autoreload 2\n%config Completer.use_jedi = False",
            "%xmode Minimal\nget_ipython().ast_node_interactivity = 'last_expr_or_assign'",
        ),
        {
            "(get_ipython().magics_manager.registry['AutoreloadMagics']._reloader.check_all, "
            "get_ipython().Completer.use_jedi, get_ipython().InteractiveTB.mode, "
            "get_ipython().ast_node_interactivity)": "(True, False, 'Minimal', 'last_expr_or_assign')"
        },
    ),
    "what is logged, and how": Case(
        (
            "import logging, sys\nlogging.basicConfig(level=logging.INFO, format='%(message)s', force=True)",
            "def keep20(record): return 'noise' not in record.getMessage()\n"
            "logging.getLogger('httpx').addFilter(keep20); logging.disable(logging.DEBUG)",
            "hand20 = logging.StreamHandler(sys.stdout); logging.getLogger('of.20').addHandler(hand20)",
        ),
        {
            "(logging.root.level, [h.formatter._fmt for h in logging.root.handlers if type(h) is logging.StreamHandler])": (
                "(20, ['%(message)s'])"
            ),
            "(logging.getLogger('httpx').filters == [keep20], logging.root.manager.disable)": "(True, 10)",
            "logging.getLogger('of.20').handlers == [hand20]": "True",
        },
    ),
    "what is warned of, and how numbers are shown": Case(
        (
            "import warnings, numpy as np\nwarnings.filterwarnings('ignore', 'kt21', UserWarning)\n"
            "np.set_printoptions(precision=2, suppress=True)",
        ),
        {
            "(str(np.array([2 / 3])), [f[0] for f in warnings.filters if 'kt21' in str(f[1])])": (
                "('[0.67]', ['ignore'])"
            )
        },
    ),
    "bars that frames show, and options of xarray": Case(
        (
            "import pandas as pd, xarray as xr\nfrom tqdm import tqdm\ntqdm.pandas(desc='kt', disable=True)\n"
            "_ = xr.set_options(keep_attrs=True)",
        ),
        {
            "(pd.Series([1, 2]).progress_apply(lambda x: x + 1).tolist(), xr.get_options()['keep_attrs'])": (
                "([2, 3], True)"
            )
        },
    ),
    "an import from the future, which holds for the cells after it": Case(
        (
            "from __future__ import annotations",
            "def f99(x: int) -> str: ...",
            "# plain\ndef g99(x: int): ...",
            "h99 = 1",
        ),
        {"(f99.__annotations__, g99.__annotations__)": "({'x': 'int', 'return': 'str'}, {'x': 'int'})"},
    ),
    "an import and a class that objects need to be loaded": Case(
        (
            "import hashlib\nclass K100:\n    def __init__(s, v): s.v = v\n"
            "    def __hash__(s): return hashlib.md5(s.v.encode()).digest()[0]\n"
            "    def __eq__(s, o): return isinstance(o, K100) and s.v == o.v\nd100 = {K100('a'): 1}",
            "d100[K100('b')] = 2",
        ),
        {"(len(d100), d100[K100('a')])": "(2, 1)"},
    ),
    "memory of frames that arrays see": Case(
        (
            "import numpy as np, pandas as pd\na101 = np.zeros((2, 2)); f101 = pd.DataFrame(a101, copy=False)\n"
            "g101 = pd.DataFrame({'x': [1.0, 2.0], 'y': [0, 1]}); v101 = g101['x'].values",
            "f101.iloc[0, 0] = 5; g101.loc[0, 'x'] = 9.0",
            "w101 = g101['x'].to_numpy(); g101.loc[1, 'x'] = 7.0; seen101 = w101.tolist()",
        ),
        {"(a101.tolist(), v101.tolist(), seen101)": "([[5.0, 0.0], [0.0, 0.0]], [9.0, 7.0], [9.0, 7.0])"},
    ),
    "an index of a column's memory": Case(
        (
            "import pandas as pd\ni102 = pd.Index([1, 2]); s102 = pd.Series(i102)",
            "m102 = pd.Series([3, 4]); j102 = pd.Index(m102)",
            "r102 = (i102.tolist(), j102.tolist())",
        ),
        {
            "(s102.__setitem__(0, 9), m102.__setitem__(0, 9), i102.tolist(), j102.tolist())[2:]": "([1, 2], [3, 4])"
        },
    ),
}


def test_state_is_the_same_when_all_cells_run_again_and_when_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [(f"{name}-{n}", cell) for name, case in RESTORED.items() for n, cell in enumerate(case.cells)]
    expected = {name: dict(case.shows) for name, case in RESTORED.items()}

    with _kernel(tmp_path, monkeypatch, "1") as kernel:
        failed = [ran.evalue for ran in (_run(kernel, cell, source) for cell, source in cells) if not ran.ok]
        live = _shown(kernel)
        kernel.kill()
    with _kernel(tmp_path, monkeypatch, "77") as kernel:
        ran_again = [cell for cell, source in cells if _is_run_anew(kernel, cell, source)]
        after_run_all = _shown(kernel)
        kernel.kill()
    with _kernel(tmp_path, monkeypatch, "3000") as kernel:
        kernel.run("%resume")
        after_resume = _shown(kernel)

    assert failed == []
    assert live == expected
    assert ran_again == []
    assert after_run_all == expected
    assert after_resume == expected


EDITED = {
    "a default": ("def f$(x, d=[1]): return x + d[0]", "def f$(x, d=[2]): return x + d[0]", "r$ = f$(1)"),
    "an attribute of a class": (
        "class C$:\n    n = 1\no$ = C$()",
        "class C$:\n    n = 2\no$ = C$()",
        "r$ = o$.n",
    ),
    "a decorator's order": (
        "def a$(f): return lambda x: f(x) + 1\ndef b$(f): return lambda x: f(x) * 2\n@a$\n@b$\ndef f$(x): return x",
        "def a$(f): return lambda x: f(x) + 1\ndef b$(f): return lambda x: f(x) * 2\n@b$\n@a$\ndef f$(x): return x",
        "r$ = f$(1)",
    ),
    "a name that was not there": ("u$ = 1", "u$ = 1; may$ = 2", "r$ = globals().get('may$')"),
    "a name made of text": ("y$ = 1", "y$ = 2", "r$ = '{y$}'.format(**globals())"),
    "the fold of a time": (
        "import datetime as dt\nx$ = dt.datetime(2024, 1, 1)",
        "import datetime as dt\nx$ = dt.datetime(2024, 1, 1, fold=1)",
        "r$ = x$.fold",
    ),
    "two that were one": ("x$ = [[1]] * 2", "x$ = [[1], [1]]", "r$ = x$[0] is x$[1]"),
    "a class that a pickle names": (
        "import pickle\nclass P$:\n    n = 1\nb$ = pickle.dumps(P$())",
        "import pickle\nclass P$:\n    n = 2\nb$ = pickle.dumps(P$())",
        "r$ = pickle.loads(b$).n",
    ),
    "a class that its base leads to": (
        "class B$: pass\nclass D$(B$):\n    n = 1",
        "class B$: pass\nclass D$(B$):\n    n = 2",
        "r$ = [c.n for c in B$.__subclasses__()]",
    ),
    "a class in an annotation in quotes": (
        "import typing\nclass Q$:\n    n = 1\ndef f$(x: 'list[Q$]'): pass",
        "import typing\nclass Q$:\n    n = 2\ndef f$(x: 'list[Q$]'): pass",
        "r$ = typing.get_type_hints(f$)['x'].__args__[0].n",
    ),
    "a name in a text that is evaluated": (
        "import pandas as pd\nd$ = pd.DataFrame({'a': [1, 2]}); n$ = 0; q$ = 'a > @n$'",
        "import pandas as pd\nd$ = pd.DataFrame({'a': [1, 2]}); n$ = 1; q$ = 'a > @n$'",
        "r$ = len(d$.query(q$))",
    ),
    "what is set on a frame": (
        "import pandas as pd\nd$ = pd.DataFrame({'a': [1]}); d$.note = 'x'",
        "import pandas as pd\nd$ = pd.DataFrame({'a': [1]}); d$.note = 'y'",
        "r$ = d$.note",
    ),
    "the notes of a dtype": (
        "import numpy as np\na$ = np.zeros(1, np.dtype('i4', metadata={'unit': 'm'}))",
        "import numpy as np\na$ = np.zeros(1, np.dtype('i4', metadata={'unit': 's'}))",
        "r$ = dict(a$.dtype.metadata)",
    ),
    "a variable that a class of the notebook asks for": (
        "import os\nfrom dataclasses import dataclass, field\nos.environ['KT_A$'] = 'small'\n@dataclass\nclass C$:\n    m: str = field(default_factory=lambda: os.environ['KT_A$'])",
        "import os\nfrom dataclasses import dataclass, field\nos.environ['KT_A$'] = 'large'\n@dataclass\nclass C$:\n    m: str = field(default_factory=lambda: os.environ['KT_A$'])",
        "r$ = C$().m",
    ),
    "arguments that are parsed": (
        "import sys\nsys.argv = ['t', '--x', '1']",
        "import sys\nsys.argv = ['t', '--x', '2']",
        "import argparse\np$ = argparse.ArgumentParser(); p$.add_argument('--x'); r$ = p$.parse_args().x",
    ),
}
KEPT = {
    "a comment": ("def f$(x): return x+1", "# why\ndef f$( x ):\n    return (x + 1)", "r$ = f$(1)"),
    "another order of a set": ("x$ = {'a', 'b', 'cc'}", "x$ = {'cc', 'b', 'a'}", "r$ = len(x$)"),
    "a name nobody reads": ("k$ = 1\nu$ = 1", "k$ = 1\nu$ = 2", "r$ = k$"),
    "a loop's own variable": ("y$ = 1", "y$ = 2", "r$ = [y$ for y$ in (5, 6)]"),
    "a class that no annotation in quotes names": (
        "class Q$: pass\ndef f$(x: 'int'): return 1",
        "class Q$:\n    n = 2\ndef f$(x: 'int'): return 1",
        "r$ = f$(1)",
    ),
    "a class beside the ones that are asked for": (
        "class B$: pass\nclass D$(B$): pass\nclass C$: pass",
        "class B$: pass\nclass D$(B$): pass\nclass C$:\n    n = 2",
        "r$ = [c.__name__ for c in B$.__subclasses__()]",
    ),
    "a frame that was shown": (
        "import pandas as pd\nt$ = pd.date_range('2024', periods=2, tz='Europe/Berlin'); w$ = pd.Series([1]).rolling(1)",
        "import pandas as pd\nt$ = pd.date_range('2024', periods=2, tz='Europe/Berlin'); w$ = pd.Series([1]).rolling(1)\n"
        "_ = repr(t$), w$.sum()",
        "r$ = len(t$), w$.window",
    ),
}


def test_what_changes_the_result_runs_a_step_again_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = {name: [part.replace("$", str(n)) for part in case] for n, (name, case) in enumerate(_edits())}

    with _kernel(tmp_path, monkeypatch, "1") as kernel:
        for name, (before, _, step) in cases.items():
            kernel.run(before, cell=f"{name}-plain")
            assert _is_run_anew(kernel, name, step)
        kernel.kill()
    with _kernel(tmp_path, monkeypatch, "77") as kernel:
        ran = []
        for name, (_, after, step) in cases.items():
            kernel.run(after, cell=f"{name}-plain")
            ran += [name] if _is_run_anew(kernel, name, step) else []

    assert ran == list(EDITED)


BY_HAND = {
    "a generator": ("g1 = (i for i in range(9))", "v1 = next(g1)", "v1", "1"),
    "an open file": (
        "open('lines.txt', 'w').write('a\\nb\\n'); fh2 = open('lines.txt')",
        "v2 = fh2.readline()",
        "v2",
        "'b\\n'",
    ),
    "a connection": (
        "import sqlite3\nc3 = sqlite3.connect(':memory:'); _ = c3.execute('create table t (a)')",
        "c3.execute('insert into t values (1)'); v3 = c3.execute('select sum(a) from t').fetchone()",
        "v3",
        "(2,)",
    ),
    "a context variable": (
        "import contextvars, multiprocessing\ncv4 = contextvars.ContextVar('cv4', default=0)",
        "v4 = cv4.get() + 1; _ = cv4.set(v4)",
        "v4",
        "2",
    ),
    "a file that it adds to and reads": (
        "_ = open('added.txt', 'w').write('')",
        "_ = open('added.txt', 'a').write('x'); v7 = open('added.txt').read()",
        "v7",
        "'xx'",
    ),
    "a counter": ("n5 = 0", "n5 += 1", "n5", "2"),
    "a closure": (
        "def mk6():\n    n = 0\n    def f():\n        nonlocal n; n += 1; return n\n    return f\nf6 = mk6()",
        "v6 = f6()",
        "v6",
        "2",
    ),
}


def test_a_step_run_twice_by_hand_gives_what_it_gives_without_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}

    with _kernel(tmp_path, monkeypatch, "1") as kernel:
        for name, (setup, step, shows, _) in BY_HAND.items():
            kernel.run(setup, cell=f"{name}-plain")
            for _ in range(2):
                _run(kernel, name, step)
            found[name] = kernel.run(shows).result

    assert found == {name: result for name, (_, _, _, result) in BY_HAND.items()}


@pytest.mark.further
def test_a_cell_that_runs_finds_files_as_the_cells_before_it_left_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [
        ("write", "_ = open('out.txt', 'w').write('1')"),
        ("plain", "# plain\np = open('out.txt').read()"),
        ("read", "t = open('out.txt').read()"),
        ("rewrite", "_ = open('out.txt', 'w').write('2')"),
    ]
    edited = [(name, source + " + '!'" if name == "read" else source) for name, source in cells]
    with _kernel(tmp_path, monkeypatch, "1") as kernel:
        for name, source in cells:
            _run(kernel, name, source)
        kernel.kill()

    with _kernel(tmp_path, monkeypatch, "77") as kernel:
        ran = [name for name, source in edited if _is_run_anew(kernel, name, source)]
        found = kernel.run("(p, t, open('out.txt').read())").result
    with _kernel(tmp_path, monkeypatch, "3000") as kernel:
        ran_of_the_first = [name for name, source in cells if _is_run_anew(kernel, name, source)]
        found_of_the_first = kernel.run("(p, t, open('out.txt').read())").result

    assert (ran, found) == (["read"], "('1', '1!', '2')")
    assert (ran_of_the_first, found_of_the_first) == ([], "('1', '1', '2')")


@pytest.mark.further
def test_a_module_imported_by_a_name_that_is_put_together_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = "import importlib\nv = importlib.import_module('hel' + 'per').V"
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "helper.py").write_text("V = 1")
    with _kernel(tmp_path, monkeypatch, "1") as kernel:
        _run(kernel, "step", step)
        kernel.kill()
    (tmp_path / "w" / "helper.py").write_text("V = 20")

    with _kernel(tmp_path, monkeypatch, "77") as kernel:
        _run(kernel, "step", step)

        assert kernel.run("v").result == "20"


@pytest.mark.further
def test_a_file_counts_that_a_library_reads_past_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("polars")
    cells = {
        "reads": "import polars as pl\ndef load(): return pl.read_csv('parts/a.csv')\nlazy = pl.scan_csv('parts/*.csv')",
        "one": "one = load()['a'].to_list()",
        "all": "every = lazy.collect()['a'].to_list()",
        "none": "none = pl.DataFrame({'parts': [1]})['parts'].sum()",
    }
    (tmp_path / "w" / "parts").mkdir(parents=True)
    (tmp_path / "w" / "parts" / "a.csv").write_text("a\n1\n")
    with _kernel(tmp_path, monkeypatch, "1") as kernel:
        for cell, source in cells.items():
            assert _is_run_anew(kernel, cell, source)
        kernel.kill()
    with _kernel(tmp_path, monkeypatch, "77") as kernel:
        again = [cell for cell, source in cells.items() if _is_run_anew(kernel, cell, source)]
        kernel.kill()
    (tmp_path / "w" / "parts" / "b.csv").write_text("a\n2\n")

    with _kernel(tmp_path, monkeypatch, "3000") as kernel:
        anew = [cell for cell, source in cells.items() if _is_run_anew(kernel, cell, source)]

        assert (again, kernel.run("every").result) == ([], "[1, 2]")
        assert "none" not in anew
        assert "one" not in anew


@pytest.mark.further
def test_a_failed_cell_leaves_environment_and_import_path_to_its_next_run_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = "found = (os.getcwd() == here, 'KT_HALF' in os.environ, '/kt/half' in sys.path, gone in sys.path)"

    with _kernel(tmp_path, monkeypatch, "1") as kernel:
        _run(kernel, "before", "import os, sys\nhere = os.getcwd(); gone = sys.path[-1]")
        failed = _run(
            kernel,
            "step",
            "os.chdir('..'); os.environ['KT_HALF'] = '1'; sys.path.append('/kt/half'); sys.path.remove(gone); 1 / 0",
        )
        _run(kernel, "step", look)

        assert failed.ename == "ZeroDivisionError"
        assert kernel.run("found").result == "(True, False, False, True)"


@pytest.mark.further
def test_a_failed_cell_leaves_modules_to_its_next_run_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = {
        "load": "import helper\na = helper.Node()",
        "use": "b = helper.Node(); c = helper.draw()",
        "patch": "import textwrap\nown = textwrap.shorten\ntextwrap.shorten = lambda *a: own(*a) + '!'\nd = textwrap.shorten('x', 5)",
    }
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "helper.py").write_text(
        "import itertools, random\nids, log, chance = itertools.count(), [], random.Random(1)\n"
        "def draw(): return chance.random()\n"
        "class Node:\n    made = {}\n"
        "    def __init__(s): s.id = next(ids); log.append(s.id); Node.made[s.id] = s"
    )

    with _kernel(tmp_path, monkeypatch, "1") as kernel:
        for cell, source in cells.items():
            assert _run(kernel, cell, source + "\n1 / 0").ename == "ZeroDivisionError"
            assert _run(kernel, cell, source).ok
        found = kernel.run("(a.id, b.id, helper.log, list(helper.Node.made), d)").result
        drawn = kernel.run("import random\nc == random.Random(1).random()").result

    assert (found, drawn) == ("(0, 1, [0, 1], [0, 1], 'x!')", "True")


@pytest.mark.further
def test_a_failed_cell_is_refused_where_a_variable_of_a_module_cannot_be_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "lines.py").write_text("rows = iter([1, 2, 3])")

    with _kernel(tmp_path, monkeypatch, "1") as kernel:
        _run(kernel, "load", "import lines")
        _run(kernel, "step", "row = next(lines.rows)\n1 / 0")
        again = _run(kernel, "step", "row = next(lines.rows)")

    assert again.ename == "ConflictError"
    assert "`lines.rows`" in again.evalue


@pytest.mark.further
def test_who_draws_from_the_generators_of_the_process_goes_on_doing_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("scipy")
    holds = (
        "import random\nimport numpy as np\nfrom numpy.random import rand\nfrom random import gauss, random as draw\n"
        "from scipy.stats import norm\nown = random._inst; normal = norm(); other = np.random.RandomState(3); first = rand()"
    )
    draws = (
        "np.random.seed(5); random.seed(5); found = rand(), normal.rvs(), draw(), gauss(0, 1), own.random()"
    )
    alike = (
        "a, b = np.random.RandomState(5), random.Random(5)\n"
        "(found == (a.rand(), a.normal(), b.random(), b.gauss(0, 1), b.random()), other.rand())"
    )
    with _kernel(tmp_path, monkeypatch, "1") as kernel:
        _run(kernel, "holds", holds)
        kernel.run(draws)
        live = kernel.run(alike).result
        kernel.kill()

    with _kernel(tmp_path, monkeypatch, "77") as kernel:
        anew = _is_run_anew(kernel, "holds", holds)
        kernel.run(draws)
        restored = kernel.run(alike).result
    with _kernel(tmp_path, monkeypatch, "3000") as kernel:
        kernel.run("%resume")
        kernel.run(draws)
        resumed = kernel.run(alike).result

    assert not anew
    assert live == restored == resumed == "(True, 0.5507979025745755)"


@pytest.mark.further
def test_cells_that_seed_one_after_the_other_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = {
        "first": "import numpy as np\nnp.random.seed(0); a = np.random.rand()",
        "second": "np.random.seed(1); b = np.random.rand()",
        "third": "import random\nrandom.seed(3); c = random.random()",
        "fourth": "random.seed(4)\nd = random.random(), np.random.rand()",
    }
    with _kernel(tmp_path, monkeypatch, "1") as kernel:
        for cell, source in cells.items():
            assert _is_run_anew(kernel, cell, source)
        kernel.kill()

    with _kernel(tmp_path, monkeypatch, "77") as kernel:
        again = [cell for cell, source in cells.items() if _is_run_anew(kernel, cell, source)]
        kernel.kill()
    with _kernel(tmp_path, monkeypatch, "3000") as kernel:
        kernel.run("# plain\nimport random\nrandom.seed(7)")
        seeded = [cell for cell, source in cells.items() if _is_run_anew(kernel, cell, source)]

    assert again == []
    assert "first" not in seeded


@pytest.mark.further
def test_a_figure_is_drawn_on_with_the_backend_that_a_cell_has_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    cells = {
        "make": "import matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as plt\nfig, ax = plt.subplots(); ax.plot([1, 2])",
        "draw": "plt.plot([3, 4]); plt.xlabel('k');",
        "look": "found = matplotlib.get_backend(), len(ax.lines), ax.get_xlabel(), plt.get_fignums(), plt.gcf() is fig",
    }
    with _kernel(tmp_path, monkeypatch, "1") as kernel:
        _run(kernel, "make", cells["make"])
        kernel.kill()

    with _kernel(tmp_path, monkeypatch, "77") as kernel:
        anew = [cell for cell, source in cells.items() if _is_run_anew(kernel, cell, source)]
        restored = kernel.run("found").result
        kernel.kill()
    with _kernel(tmp_path, monkeypatch, "3000") as kernel:
        kernel.run("%resume")
        kernel.run(cells["look"])
        resumed = kernel.run("found").result

    assert anew == ["draw", "look"]
    assert restored == resumed == "('agg', 2, 'k', [1], True)"


def _edits() -> list[tuple[str, tuple[str, str, str]]]:
    return [*EDITED.items(), *KEPT.items()]


def _kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: str) -> Kernel:
    (tmp_path / "w").mkdir(exist_ok=True)
    monkeypatch.setenv("PYTHONHASHSEED", seed)
    return Kernel(tmp_path / "home", notebook=tmp_path / "w" / "cases.ipynb", cwd=tmp_path / "w")


def _run(kernel: Kernel, cell: str, source: str) -> Ran:
    return kernel.run(source if source.startswith("# plain") else f"%%checkpoint\n{source}", cell=cell)


def _is_run_anew(kernel: Kernel, cell: str, source: str) -> bool:
    said = _run(kernel, cell, source).said
    return not source.startswith("# plain") and "restored" not in said


def _shown(kernel: Kernel) -> dict[str, dict[str, str | None]]:
    return {
        name: {expression: kernel.run(expression).result for expression in case.shows}
        for name, case in RESTORED.items()
    }
