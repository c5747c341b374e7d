"""What the values a cell reads lead to."""

from __future__ import annotations

import functools
import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.analysis import modules
from kitaru_nb.analysis.modules import is_local_file, is_local_module, local_modules, module_digest
from kitaru_nb.analysis.reach import Reach, reach
from kitaru_nb.errors import UsageError


def notebook(source: str, **values: Any) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "__main__", **values}
    exec(compile(textwrap.dedent(source), "<cell>", "exec"), namespace)
    return namespace


def names(namespace: dict[str, Any], *read: str) -> set[str]:
    return set(reach(frozenset(read), namespace, is_local=lambda _: False).names)


@pytest.mark.parametrize(
    "source",
    [
        "def start(): return K",
        "def h(): return K\nown = {'h': h}\nexec('def f(): return h()', own)\nstart = own['f']",
        "import types\nstart = types.ModuleType('start')\ndef helper(): return K\nstart.run = helper",
        "def start(): return helper()\ndef helper(): return K",
        "def start(x: 'K'): pass",
        "def start() -> list['K']: pass",
        "import typing\nstart = typing.List['K']",
        "class start:\n    x: 'K'",
        "class B: pass\nclass D(B):\n    def run(self): return K\ndef start(): return B.__subclasses__()",
        "text = 'select * from K'\ndef start(con): return con.sql(text)",
        "start = lambda: (lambda: K)()",
        "def make(f):\n    def inner(): return f()\n    return inner\nstart = make(lambda: K)",
        "def start(x=lambda: K): return x()",
        "def start(*, x=lambda: K): return x()",
        "def helper(): return K\nstart = [1, {'a': (2, {helper})}]",
        "import functools\ndef helper(a): return K\nstart = functools.partial(helper, 1)",
        "import functools\nstart = functools.partial(max, key=lambda _: K)",
        "import functools\n@functools.lru_cache\ndef start(): return K",
        "import functools\n@functools.wraps(len)\ndef start(): return K",
        "class start:\n    def run(self): return K",
        "class start:\n    @property\n    def run(self): return K",
        "class start:\n    @staticmethod\n    def run(): return K",
        "class start:\n    @classmethod\n    def run(cls): return K",
        "import functools\nclass start:\n    @functools.cached_property\n    def run(self): return K",
        "class Base:\n    def run(self): return K\nclass start(Base): pass",
        "class Meta(type):\n    def run(self): return K\nclass start(metaclass=Meta): pass",
        "class A:\n    def run(self): return K\nstart = A()",
        "class A:\n    def run(self): return K\nstart = A().run",
        "class A:\n    __slots__ = ('f',)\nstart = A()\nstart.f = lambda: K",
        "class A: pass\nstart = A()\nstart.f = [lambda: K]",
        "class A:\n    def run(self): return K\nclass start:\n    part = A()",
        "import dataclasses\n@dataclasses.dataclass\nclass start:\n    f: object = lambda: K",
        "import collections\nstart = collections.defaultdict(lambda: K)",
        "import types\nstart = types.SimpleNamespace(f=lambda: K)",
        "def helper(): yield K\nstart = helper()",
        "def start(df): return df.query('a > @K')",
        "def start():\n    class Inner:\n        value = K\n    return Inner",
        "import enum\nclass start(enum.Enum):\n    A = 1\n    def run(self): return K",
    ],
)
def test_a_global_read_by_code_that_a_value_leads_to_is_found(source: str) -> None:
    namespace = notebook(source, K=5, other=6)

    found = names(namespace, "start")

    assert "K" in found
    assert "other" not in found


def test_a_project_module_that_asks_for_subclasses_is_led_to_those_of_the_notebook(tmp_path: Path) -> None:
    (tmp_path / "kt_plugins.py").write_text("class Base: pass\ndef found(): return Base.__subclasses__()\n")
    module = types.ModuleType("kt_plugins")
    module.__file__ = str(tmp_path / "kt_plugins.py")
    exec(compile((tmp_path / "kt_plugins.py").read_text(), module.__file__, "exec"), vars(module))
    sys.modules["kt_plugins"], spec = module, types.SimpleNamespace()
    module.__spec__ = spec  # type: ignore[assignment] # as an import leaves one
    namespace = notebook("class Mine(kt_plugins.Base): pass\nclass Other: pass", kt_plugins=module)

    found = reach({"kt_plugins"}, namespace, is_local=lambda each: each is module)

    del sys.modules["kt_plugins"]
    assert found.names == {"kt_plugins", "Mine"}


def test_names_of_the_cell_that_are_bound_to_nothing_are_kept() -> None:
    assert names({}, "absent", "print") == {"absent", "print"}


def test_a_function_that_evaluates_code_makes_everything_reachable() -> None:
    namespace = notebook("def start(text): return eval(text)\ndef helper(): return K", K=1, data=[])

    found = reach({"start"}, namespace, is_local=lambda _: False)

    assert found.dynamic
    assert {"K", "data", "helper"} <= found.names


def test_a_method_called_eval_is_not_the_builtin() -> None:
    namespace = notebook("def start(model): return model.eval()")

    assert reach({"start"}, namespace, is_local=lambda _: False) == Reach(frozenset({"start"}))


def test_hostile_values_are_never_asked_anything() -> None:
    namespace = notebook(
        """
        def refuse(*args, **kwargs): raise AssertionError("user code ran")
        class Meta(type):
            __hash__ = __eq__ = __instancecheck__ = __subclasscheck__ = refuse
            __getattr__ = refuse
        class Hostile(metaclass=Meta):
            __hash__ = __eq__ = __bool__ = __len__ = __iter__ = __repr__ = refuse
            __getattr__ = refuse
            __class__ = property(refuse)
            def __getattribute__(self, name): raise AssertionError("user code ran")
            def run(self): return K
        class Lying(type(__import__("sys"))):
            def __getattribute__(self, name): raise AssertionError("user code ran")
        start = [Hostile(), Hostile(), {1: Lying("lying")}]
        """,
        K=1,
    )

    assert "K" in names(namespace, "start")


def test_cycles_and_the_namespace_itself_end_the_walk() -> None:
    namespace = notebook("start = []\nstart.append(start)\nother = lambda: K", K=1)
    namespace["start"].append(namespace)

    assert names(namespace, "start") == {"start"}


def test_a_deep_structure_does_not_exhaust_the_stack() -> None:
    deep: list[Any] = [lambda: None]
    for _ in range(10_000):
        deep = [deep]

    assert names({"deep": deep}, "deep") == {"deep"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def files(folder: Path, **sources: str) -> None:
    for name, source in sources.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


def local(folder: Path, namespace: dict[str, Any], *read: str, imports: tuple[str, ...] = ()) -> set[str]:
    found = reach(
        read, namespace, is_local=functools.partial(is_local_module, roots=[folder]), imports=imports
    )
    return set(found.modules)


def test_project_modules_and_what_they_import_are_reached(project: Path) -> None:
    files(
        project, kt_a="import kt_b\ndef f(): return kt_b.g()\n", kt_b="def g():\n    import kt_c\n", kt_c=""
    )

    assert local(project, notebook("import kt_a"), "kt_a") == {"kt_a", "kt_b", "kt_c"}
    assert local(project, notebook("from kt_a import f"), "f") == {"kt_a", "kt_b", "kt_c"}
    assert local(project, notebook("def start():\n    import kt_b"), "start") == {"kt_b", "kt_c"}


def test_an_import_of_the_cell_counts_before_and_after_it_ran(project: Path) -> None:
    files(project, ktpkg__one="from . import two\nfrom .two import x\n", ktpkg__two="x = 1\n")
    (project / "ktpkg" / "__init__.py").write_text("")
    imports = ("ktpkg", "ktpkg.one", "json", "no_such_module")

    before = local(project, {}, imports=imports)
    after = local(project, notebook("import ktpkg.one, json"), imports=imports)

    assert before == after == {"ktpkg", "ktpkg.one", "ktpkg.two"}


def test_instances_and_classes_of_project_modules_are_reached(project: Path) -> None:
    files(project, kt_d="class C: pass\n")
    namespace = notebook("from kt_d import C\nc = [C()]")

    assert local(project, namespace, "C") == local(project, namespace, "c") == {"kt_d"}


def test_installed_and_standard_modules_are_not_the_projects(project: Path) -> None:
    installed = project / "env" / "lib" / "site-packages"
    files(installed, kt_e="")
    module = types.ModuleType("kt_e")
    module.__file__ = str(installed / "kt_e.py")

    assert not is_local_module(module, [project])
    assert not is_local_module(textwrap, [Path("/")])
    assert not is_local_module(sys, [Path("/")])
    assert not is_local_module(modules, [Path(modules.__file__).parents[2]])


def test_a_file_is_the_projects_where_it_really_is(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages"
    files(installed, kt_there="")
    files(project, kt_here="")
    (installed / "kt_here.py").symlink_to(project / "kt_here.py")
    (project / "kt_there.py").symlink_to(installed / "kt_there.py")
    (installed / "kt_folder").symlink_to(project, target_is_directory=True)
    monkeypatch.chdir(project)

    assert is_local_file(installed / "kt_here.py", [project])
    assert is_local_file(installed / "kt_folder" / "kt_here.py", [project])
    assert is_local_file("kt_here.py", [project])
    assert not is_local_file("kt_there.py", [project, tmp_path])
    monkeypatch.chdir(installed)
    assert not is_local_file("kt_there.py", [project])


def test_a_comment_in_a_module_does_not_change_its_digest_and_code_does(project: Path) -> None:
    digests = []
    for source in ("x = 1\n", "x  =  1  # one\n", "x = 2\n", "x = = 2\n"):
        files(project, kt_f=source)
        digests.append(
            local_modules(["kt_f"], functools.partial(is_local_module, roots=[project]))["kt_f"].digest
        )

    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_an_edit_does_not_change_what_a_loaded_module_is(project: Path) -> None:
    files(project, kt_g="x = 1\n")
    module = notebook("import kt_g")["kt_g"]
    before = module_digest(module)

    files(project, kt_g="x = 22\n")

    assert module_digest(module) == before
    notebook("import importlib, kt_g\nimportlib.reload(kt_g)")
    assert module_digest(module) != before


def test_a_module_without_source_is_told_by_name() -> None:
    with pytest.raises(UsageError, match="`sys` has no source file") as caught:
        module_digest(sys)

    assert caught.value.kind == "no-source"
