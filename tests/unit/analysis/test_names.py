"""The names of a cell."""

from __future__ import annotations

import ast
import builtins
import symtable
import types

import pytest
from hypothesis import given

from kitaru_nb.analysis.code_names import function_names
from kitaru_nb.analysis.names import CellNames, names_of
from kitaru_nb.errors import UsageError
from tests.unit.analysis.programs import NAMES, programs


def names(source: str) -> CellNames:
    return names_of(ast.parse(source))


def reads(source: str) -> set[str]:
    return set(names(source).reads) - set(dir(builtins))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1; y = x + 1", ""),
        ("y = x + 1; x = 1", "x"),
        ("x += 1", "x"),
        ("x.a = 1", "x"),
        ("x[0] += y", "x y"),
        ("x[i] = 1", "x i"),
        ("del x", "x"),
        ("x = 1; del x", ""),
        ("if a: x = 1\nx", "a x"),
        ("if a: x = 1\nelse: x = 2\nx", "a"),
        ("if a: x = 1\nelse: raise b\nx", "a b"),
        ("for x in y: z = x\nz", "y z"),
        ("for x in y: pass\nelse: z = 1\nz", "y"),
        ("for x in [1, 2]: z = x\nz", ""),
        ("while True:\n    z = f()\n    if z: break\nz", "f"),
        ("while a:\n    z = 1\nz", "a z"),
        ("try: x = f()\nexcept E: pass\nx", "f E x"),
        ("try: x = f()\nexcept E: raise\nx", "f E"),
        ("try: x = f()\nexcept E: x = 1\nx", "f E"),
        ("try: pass\nfinally: x = 1\nx", ""),
        ("try: f()\nexcept E as x: pass\nx", "f E x"),
        ("with f() as x: y = 1\nx, y", "f y"),
        ("with f() as (x, y): pass\nx", "f x"),
        ("def g(a, b=c, *d, e: h=i) -> j: return a, k, l\nl = 1", "c h i j k l"),
        ("def g():\n    x = 1\n    def h(): return x, y\n    return h", "y"),
        ("def g():\n    global x\n    x += 1", "x"),
        ("def g():\n    x = 1\n    def h():\n        global x\n        return x", "x"),
        ("x = 1\ndef g(): return x", ""),
        ("def g(): return x\nx = 1", "x"),
        ("class C(B, k=m):\n    x = 1\n    y = x\n    def f(self): return x", "B m x"),
        ("class C:\n    x = 1\n    y = x", ""),
        ("class C:\n    if a: x = 1\n    y = x", "a x"),
        ("class C:\n    x = 1\n    del x\n    y = x", "x"),
        ("class C:\n    def f(self): return __x", "__x _C__x"),
        ("class C:\n    x = 1\n    z = [x for _ in y]", "x y"),
        ("[x for x in y if z]", "y z"),
        ("[x for x in x]", "x"),
        ("[(w := v) for v in y]\nw", "y w"),
        ("(x := 1) + x", ""),
        ("x + (x := 1)", "x"),
        ("a and (x := 1)\nx", "a x"),
        ("{1: x, (x := 2): 3}", "x"),
        ("lambda a, b=c: a + b + d", "c d"),
        ("f'{x!r:>{w}}'", "x w"),
        ("x: T = 1", "T"),
        ("x: T", "T"),
        ("@d\ndef f(): pass", "d"),
        ("match x:\n    case C(a=y) if z: y\n    case m.k: pass\n    case _: y", "x C z m y"),
        ("match x:\n    case {'a': y, **r}: pass\n    case [y, *r]: pass\n    case y: r = 1\ny, r", "x"),
        ("import a.b, c as d\nfrom e import f\na, d, f", ""),
        ("assert x, y\nz = 1", "x y"),
        ("async with f() as g: await h\nasync for i in j: pass", "f h j"),
        ("def f():\n    exec = 1\n    return exec", ""),
        ("x = yield_", "yield_"),
        ("df.query('a > @limit')", "df"),
    ],
)
def test_reads_are_names_whose_earlier_value_can_matter(source: str, expected: str) -> None:
    assert reads(source) == set(expected.split())


def test_words_a_library_may_look_up_count_when_they_are_bound() -> None:
    found = names(
        "own = 1\nduckdb.sql('select * from frame join own')\ndf.query('a > @limit', c=b)\nprint('other')"
    )

    assert found.inputs({"frame", "own", "limit", "other", "df"}) >= {"frame", "limit", "df", "b"}
    assert not {"own", "other"} & found.inputs({"frame", "own", "limit", "other"})
    assert "frame" in names("q = 'select * from frame'\nduckdb.sql(q)").inputs({"frame"})


@pytest.mark.parametrize(
    "source",
    [
        "exec('x')",
        "eval('x')",
        "globals()['x']",
        "locals()",
        "vars()",
        "dir()",
        "e = eval",
        "__import__('m')",
        "from m import *",
        "import __main__",
        "import builtins",
        "from builtins import exec as run",
        "f.__globals__",
        "sys._getframe()",
        "from sys import _getframe as g",
        "inspect.currentframe()",
        "inspect.stack()",
        "sys.modules['__main__']",
        "get_ipython().user_ns",
        "get_ipython().run_line_magic('run', 'a.py')",
        "importlib.reload(m)",
        "get_ipython().system('echo {x}')",
        "get_ipython().run_cell_magic('bash', '--out x', 'ls')",
        "get_ipython().run_cell_magic('writefile', '{name}.py', 'x = 1')",
        "get_ipython().run_cell_magic('capture', '--out x', 'y')",
        "get_ipython().run_cell_magic('capture', 'x', '!echo {y}')",
        "get_ipython().run_cell_magic('capture', 'x', '%run a.py')",
        "ip = get_ipython()",
        "def f(): return globals()",
        "get_ipython().run_cell_magic('time', '', 'x = eval(y)')",
        "[locals() for _ in x]",
    ],
)
def test_what_may_touch_any_name_is_dynamic(source: str) -> None:
    assert names(source).dynamic


@pytest.mark.parametrize(
    "source",
    [
        "vars(x)",
        "dir(x)",
        "model.eval()",
        "def f(): return locals()",
        "np.stack(x)",
        "getattr(x, 'y')",
        "import sys",
        "get_ipython().run_line_magic('matplotlib', 'inline')",
        "get_ipython().system('pip install x')",
        "get_ipython().run_cell_magic('bash', '', 'ls')",
        "get_ipython().run_cell_magic('writefile', '-a helper.py', 'x = eval(y)')",
        "get_ipython().run_cell_magic('capture', '', '%pip install -q x\\nif y:\\n    !ls -l\\n')",
        "from x import y",
    ],
)
def test_what_only_looks_dynamic_is_not(source: str) -> None:
    assert not names(source).dynamic


def test_the_body_of_a_timed_cell_is_read_as_python() -> None:
    found = names("get_ipython().run_cell_magic('time', '', 'x = y + 1\\n')\nx")

    assert found.reads == {"x", "y"}
    assert found.writes == {"x"}
    assert not found.dynamic


def test_a_capture_binds_its_name_and_its_body_is_read_as_python() -> None:
    found = names("get_ipython().run_cell_magic('capture', '--no-stderr kept', 'x = y + 1\\n!ls\\n')\nkept")

    assert found.reads == {"y"}
    assert found.writes == {"x", "kept"}
    assert not found.dynamic


def test_writes_deletes_and_what_is_certain() -> None:
    found = names(
        "a = 1\nif x: b = 2\nfor c in y: pass\ntry: d = 1\nexcept E as e: pass\ndel f\n"
        "[(g := 1) for _ in z]\n"
        "def h():\n    global i\n    i = 1\nimport j.k"
    )

    assert found.writes == {"a", "b", "c", "d", "e", "g", "h", "i", "j"}
    assert found.deletes == {"e", "f"}
    assert found.certain == {"a", "f", "h", "j"}
    assert found.imports == {"j.k"}


def test_a_name_that_fails_the_cell_when_unbound_is_required() -> None:
    assert names("for r in rows: pass\nprint(r)").required == {"r", "rows"}
    assert names("try: x\nexcept NameError: pass").required == set()
    assert names("with quiet: x").required == {"quiet"}
    assert names("def f(): return x\nf()").required == set()
    assert names("id + 1").required == set()
    assert names("list(x for _ in y)").required == {"y"}


def test_a_sum_of_a_thousand_terms_is_followed() -> None:
    assert reads("z = " + " + ".join(["x"] * 900)) == {"x"}


def test_code_nested_too_deeply_is_told() -> None:
    deep: ast.expr = ast.Name("x", ast.Load())
    for _ in range(5000):
        deep = ast.UnaryOp(ast.Not(), deep)

    with pytest.raises(UsageError) as caught:
        names_of(ast.Module([ast.Expr(deep)], []))

    assert caught.value.kind == "too-deep"


@given(programs())
def test_every_global_that_python_resolves_is_known(source: str) -> None:
    found = names(source)
    seen: set[str] = set()
    tables = [symtable.symtable(source, "<cell>", "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            top = table.get_type() == "module"
            if (symbol.is_global() or top) and (
                symbol.is_referenced() or symbol.is_assigned() or symbol.is_imported()
            ):
                seen.add(symbol.get_name())

    known = found.reads | found.writes | found.deletes
    assert seen & set(NAMES) <= known | ({"a", "b", "c"} if ": int" in source else set())
    assert known & set(NAMES) <= seen | {n for n in NAMES if "class" in source}


def code_of(source: str) -> types.CodeType:
    return compile(source, "<cell>", "exec")


def test_names_of_a_function_hold_those_of_code_nested_in_it() -> None:
    found = function_names(
        code_of(
            "def f():\n    import m.n as o\n    class C:\n        def g(s): return [lambda: K for _ in L]"
        )
    )

    assert {"K", "L"} <= found.names
    assert not found.dynamic
    assert "m.n" in found.imports


@pytest.mark.parametrize(
    "source",
    [
        "v = importlib.import_module('lz.sub').V",
        "v = __import__('lz.sub').V",
        "name = 'lz.sub'\nv = import_module(name)",
        "def load():\n    return import_module('lz.sub')\nv = load()",
    ],
)
def test_a_module_imported_by_the_text_of_its_name_counts(source: str) -> None:
    found = names_of(ast.parse(source))

    assert "lz.sub" in found.imports


def test_a_function_that_imports_a_module_by_the_text_of_its_name_counts() -> None:
    code = compile("def load():\n    return import_module('lz.sub')", "cell", "exec")

    assert "lz.sub" in function_names(code).imports


@pytest.mark.parametrize(
    "body", ["eval(x)", "globals()", "x.__globals__", "import builtins", "sys._getframe(1)", "get_ipython()"]
)
def test_a_function_that_may_touch_any_name_is_dynamic(body: str) -> None:
    assert function_names(code_of(f"def f(x):\n    {body}")).dynamic


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("f, g = g, f", {"f", "g"}),
        ("def f(): return f() + x", set()),
        ("f = deco(f)", {"deco", "f"}),
        ("def f(v=x): return y", {"x"}),
        ("h = lambda: x\nclass C:\n    y = z\n    def m(self): return w", {"z"}),
        ("list(x for x in y if z)", {"list", "y"}),
    ],
)
def test_what_a_cell_itself_reads_and_not_only_its_functions(source: str, expected: set[str]) -> None:
    found = names(source)

    assert found.direct == expected
    assert found.direct <= found.reads


@pytest.mark.parametrize(
    ("source", "reads", "writes"),
    [
        ("x: int = y", {"y"}, {"x"}),
        ("x: int", set(), set()),
        ("x.a: z = y", {"x", "y"}, set()),
        ("x[k]: z", {"x", "k"}, set()),
    ],
)
def test_a_name_with_an_annotation_is_bound_where_it_is_given_a_value(
    source: str, reads: set[str], writes: set[str]
) -> None:
    found = names(source)

    assert found.reads - {"int", "z"} == reads
    assert found.writes == writes


@pytest.mark.parametrize(
    ("source", "quoted"),
    [
        ("def f(a: 'Row', *b: list['Rows']) -> 'Out | None': pass", {"Row", "Rows", "Out", "None"}),
        ("x: 'Row'", {"Row"}),
        ("class Row:\n    next: 'Row'", set()),
        ("def f(a: Literal['train', 'test']): pass", set()),
        ("def f(a: 't.Literal[\"train\"] | Row'): pass", {"t", "Literal", "Row"}),
        ("def f(a: t.Annotated['Row', 'one of train']): pass", {"Row"}),
    ],
)
def test_an_annotation_in_quotes_names_what_it_names_without(source: str, quoted: set[str]) -> None:
    assert names_of(ast.parse(source)).embedded == quoted
