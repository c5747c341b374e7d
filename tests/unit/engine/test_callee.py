"""What a recorded function reaches: through decorators, arguments, containers, instances and modules."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kitaru_nb import checkpoint
from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.engine.callee import callee_of
from tests.unit.engine.test_calls import attempts, defined
from tests.unit.engine.turns import Attempts

__all__ = ["attempts"]

CP: dict[str, Any] = {"cp": checkpoint}


@pytest.mark.parametrize(
    ("source", "call"),
    [
        (
            (
                "def deco(fn):\n @functools.wraps(fn)\n def w(*a): return fn(*a) + K\n return w\n"
                "@deco\n@cp\ndef g(x): return x\n@cp\ndef f(x): return g(x)"
            ),
            "f(1)",
        ),
        ("class C:\n def h(self): return k()\n @cp\n def m(self): return self.h()", "C().m()"),
        (
            (
                "class C:\n @classmethod\n def h(cls): return k()\n"
                " @classmethod\n @cp\n def m(cls): return cls.h()"
            ),
            "C.m()",
        ),
        ("def cb(x): return x + k()\n@cp\ndef f(fn): return fn(1)", "f(cb)"),
        ("def cb(x): return x + K\n@cp\ndef f(fns): return fns['a'](1)", "f({'a': cb})"),
        ("@functools.lru_cache\ndef g(x): return k()\n@cp\ndef f(x): return g(x)", "f(1)"),
        ("def g(x): return k()\nD = {'a': g}\n@cp\ndef f(x): return D['a'](x)", "f(1)"),
        ("def g(x): return k()\nD = (g,)\n@cp\ndef f(x): return D[0](x)", "f(1)"),
        ("class C:\n def m(self): return k()\nc = C()\n@cp\ndef f(): return c.m()", "f()"),
        (
            (
                "@functools.singledispatch\ndef g(x): return 0\n@g.register\ndef _(x: int): return k()\n"
                "@cp\ndef f(x): return g(x)"
            ),
            "f(1)",
        ),
        (
            "class C:\n @functools.cached_property\n def v(self): return k()\n@cp\ndef f(): return C().v",
            "f()",
        ),
        ("class C:\n n = K\n def up(self): self.n += 1; return self.n\n@cp\ndef f(): return C().up()", "f()"),
        ("N = K\n@cp\ndef f():\n global N\n N += 1\n return N", "f()"),
        ("L = [K]\n@cp\ndef f():\n L.append(1)\n return L[0]", "f()"),
        ("@cp\ndef f(x, seen=[K]):\n seen.append(x)\n return seen[0]", "f(1)"),
    ],
)
def test_an_edit_of_what_a_call_leads_to_makes_it_anew(attempts: Attempts, source: str, call: str) -> None:
    whole = f"import functools\nK = %d\ndef k(): return K\n{source}"
    one, other = defined(whole % 1, **CP), defined(whole % 2, **CP)
    plain = defined(whole % 2, cp=lambda function: function)

    with attempts.attempt():
        eval(call, one)
    with attempts.attempt():
        found = eval(call, other)

    assert found == eval(call, plain)


@pytest.mark.parametrize(
    ("source", "call", "left"),
    [
        ("L = []\ndef cb(x): L.append(x); return x\n@cp\ndef f(fn): return fn(1)", "f(cb)", "L"),
        ("N = 0\ndef cb(x):\n global N\n N += 1\n return x\n@cp\ndef f(fn): return fn(1)", "f(cb)", "N"),
        ("L = []\nclass C:\n def h(self): L.append(1)\n@cp\ndef f(c): c.h()", "f(C())", "L"),
        ("class C:\n n = 0\n@cp\ndef f(): C.n += 1; return C.n", "[f(), f()]", "C.n"),
        ("class C: pass\n@cp\ndef f(): C.made = [1]; return 1", "f()", "C.made"),
    ],
)
def test_what_a_call_changes_by_way_of_others_is_put_back(
    attempts: Attempts, source: str, call: str, left: str
) -> None:
    one, other = defined(source, **CP), defined(source, **CP)

    with attempts.attempt():
        first = eval(call, one)
    with attempts.attempt():
        second = eval(call, other)

    assert second == first
    assert eval(left, other) == eval(left, one)
    assert len(attempts.engine.journal.steps_within(attempts.execution.id)) == call.count("f(")


def test_a_default_that_calls_change_makes_no_other_call_in_a_later_attempt(attempts: Attempts) -> None:
    space = defined("def f(x, seen=[]):\n seen.append(x)\n return list(seen)")
    f = checkpoint(space["f"])

    first, second, _ = attempts.twice(lambda: [f(1), f(2)])

    assert first == second == [[1], [1, 2]]


def test_a_decorated_function_takes_what_its_decorator_takes(attempts: Attempts) -> None:
    space = defined(
        "import functools\ndef inject(fn):\n @functools.wraps(fn)\n"
        " def w(*a): return fn('given', *a)\n return w\n"
        "@cp\n@inject\ndef f(first, x): return first, x",
        **CP,
    )

    first, second, _ = attempts.twice(lambda: space["f"](5))

    assert first == second == ("given", 5)


def test_attributes_of_a_class_are_told_apart_by_identity(attempts: Attempts) -> None:
    space = defined("class C: pass\ndef f(): return repr(C.w)")
    f = checkpoint(space["f"])
    found = []

    with attempts.attempt():
        for value in (1, True, np.zeros(2), np.ones(2)):
            space["C"].w = value
            found.append(f())

    assert found == ["1", "True", "array([0., 0.])", "array([1., 1.])"]


def test_what_a_module_makes_with_its_first_use_makes_no_other_call(
    attempts: Attempts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "_made = None\ndef get():\n global _made\n if _made is None: _made = {'n': 1}\n return _made\n"
    (tmp_path / "lazily.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    counts = []

    for _ in range(2):
        monkeypatch.delitem(sys.modules, "lazily", raising=False)
        space = defined(
            "@cp\ndef f(x): return get()['n'] + x", get=importlib.import_module("lazily").get, **CP
        )
        with attempts.attempt():
            assert [space["f"](x) for x in (1, 2, 1)] == [2, 3, 2]
        counts.append(len(attempts.engine.journal.steps_within(attempts.execution.id)))

    assert counts == [3, 3]


def test_a_function_of_a_script_reaches_the_same_in_a_worker_that_was_spawned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And where a command goes on with the script's flow, whose main module has that name, too."""
    source = """
import attrs, enum, functools
@attrs.frozen
class Frozen:
    x: int
class Flag(enum.IntFlag):
    A = 1
class Registered:
    known = {}
    def __init_subclass__(cls): Registered.known[cls.__name__] = cls
class One(Registered):
    @functools.lru_cache
    def cached(self): return __name__
def call(n): return Frozen(n), Flag.A, One().cached()
"""
    found = []
    for name in ("__main__", "__mp_main__"):
        main = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, main)
        exec(source, vars(main))
        look = callee_of(main.call).look()
        reads = {key: digest_values({"": value}, namespace=vars(main)) for key, value in look.reads.items()}
        found.append((look.code, sorted(look.data), sorted(look.bindings), sorted(look.classes), reads))

    assert found[0] == found[1]
