"""Variables of the project's own modules are state of the notebook."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.engine import process
from kitaru_nb.engine import variables as module
from kitaru_nb.engine.variables import Variables
from kitaru_nb.model.artifact import Digest
from tests.unit.engine.kernel import RAN, RESTORED, Kernel

_numbers = itertools.count()
BUILT_IN = "_symtable"

LIB = """
import random
RUN = random.random()
CONF = {"lr": 1}
TOTAL = 0
class Box:
    made = plain = 0
    every = []
    def __init__(self):
        self.items = []
        Box.made += 1
        Box.every.append(Box.made)
BOX = Box()
def bump():
    global TOTAL
    TOTAL += 1
    return TOTAL
def lr(): return CONF["lr"]
"""


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], tuple[Kernel, str]]]:
    """Starts a process's turn at the notebook; the project's module is as its file says."""
    name = f"kt_variables_{next(_numbers)}"
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / f"{name}.py").write_text(LIB)
    monkeypatch.syspath_prepend(str(tmp_path / "w"))
    kernels: list[Kernel] = []

    def start() -> tuple[Kernel, str]:
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        for before in kernels:
            before.session._process.variables.remove()
        kernel = Kernel(
            tmp_path / "home", notebook=tmp_path / "w" / "nb.ipynb", settings={"paranoid": False}
        ).take_over()
        kernel.session._process.variables.install()
        kernels.append(kernel)
        return kernel, f"import {name} as lib\n"

    yield start
    for kernel in kernels:
        kernel.session._process.variables.remove()
        kernel.stop()
    sys.modules.pop(name, None)


CHANGES = {
    "an item": ("lib.CONF['lr'] = 2", "lib.CONF['lr'] = 3", "lib.lr()", 2, 3),
    "a global of a function": ("lib.bump()", "lib.bump(); lib.bump()", "lib.TOTAL", 1, 2),
    "an attribute": ("lib.TOTAL = 2", "lib.TOTAL = 3", "lib.TOTAL", 2, 3),
    "attributes of a class": (
        "b = lib.Box()",
        "b = [lib.Box(), lib.Box()]",
        "(lib.Box.made, list(lib.Box.every))",
        (2, [1, 2]),
        (3, [1, 2, 3]),
    ),
    "an object": ("lib.BOX.items.append(2)", "lib.BOX.items.append(3)", "list(lib.BOX.items)", [2], [3]),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_a_cell_left_in_a_module_of_the_project_is_put_back_and_counts(
    begin: Callable[[], tuple[Kernel, str]], case: str
) -> None:
    change, other, read, first, second = CHANGES[case]
    kernel, head = begin()
    kernel.cell(head + change, step="a")
    kernel.cell(f"r = {read}", step="r")

    kernel, head = begin()
    again = [kernel.cell(head + change, step="a"), kernel.cell(f"r = {read}", step="r")]
    new = kernel.cell(f"s = {read}", step="s")
    kernel, head = begin()
    kernel.session.resume()
    resumed = kernel.plain(read)
    kernel, head = begin()
    edited = [kernel.cell(head + other, step="a"), kernel.cell(f"r = {read}", step="r")]

    assert again == [RESTORED, RESTORED]
    assert (new, resumed) == (RAN, first)
    assert edited == [RAN, RAN]
    assert kernel["r"] == second


def test_what_differs_from_kernel_to_kernel_by_itself_makes_nothing_run(
    begin: Callable[[], tuple[Kernel, str]],
) -> None:
    for expected in (RAN, RESTORED):
        kernel, head = begin()
        kernel.plain(head + "run = lib.RUN")
        kernel.live.pop("run")

        assert kernel.cell("x = lib.lr()", step="x") == expected


def test_a_name_and_a_variable_that_hold_one_object_hold_one_after_a_restore(
    begin: Callable[[], tuple[Kernel, str]],
) -> None:
    kernel, head = begin()
    kernel.cell(head + "from lib_ import BOX".replace("lib_", head.split()[1]), step="a")
    kernel.cell("BOX.items.append(1)", step="b")

    kernel, head = begin()
    kernel.session.resume()

    assert kernel.plain("(BOX is lib.BOX, lib.BOX.items)") == (True, [1])


def test_what_a_failed_cell_left_in_a_module_is_undone_before_it_runs_again(
    begin: Callable[[], tuple[Kernel, str]],
) -> None:
    kernel, head = begin()
    kernel.plain(head)
    with pytest.raises(ZeroDivisionError):
        kernel.cell("lib.bump(); lib.BOX.items.append(1); lib.CONF['new'] = 1; 1 / 0", step="a")

    kernel.cell("lib.bump(); lib.BOX.items.append(2)", step="a")

    assert kernel.plain("(lib.TOTAL, lib.BOX.items, lib.CONF)") == (1, [2], {"lr": 1})


@pytest.mark.parametrize("way", ["module", "class"])
def test_what_a_failed_cell_left_in_a_class_of_a_module_is_undone_before_it_runs_again(
    begin: Callable[[], tuple[Kernel, str]], way: str
) -> None:
    kernel, head = begin()
    kernel.plain(head + f"from {head.split()[1]} import Box")
    box = {"module": "lib.Box", "class": "Box"}[way]
    half = f"{box}.made += 1; {box}.every.append(9); {box}.new = 1; del {box}.plain"
    with pytest.raises(ZeroDivisionError):
        kernel.cell(f"{half}; 1 / 0", step="a")

    kernel.cell(f"{box}.made += 1; {box}.every.append(2)", step="a")

    assert kernel.plain("(Box.made, Box.every, hasattr(Box, 'new'), Box.plain)") == (2, [1, 2], False, 0)


def test_what_instances_count_on_their_class_is_undone_with_the_cell_that_made_them(
    begin: Callable[[], tuple[Kernel, str]],
) -> None:
    kernel, head = begin()
    kernel.plain(head + f"from {head.split()[1]} import Box")
    with pytest.raises(ZeroDivisionError):
        kernel.cell("box = Box(); 1 / 0", step="a")

    kernel.cell("box = Box()", step="a")

    assert kernel.plain("(Box.made, Box.every)") == (2, [1, 2])


@pytest.mark.parametrize("back", ["import importlib; importlib.reload(lib)", "lib.CONF['lr'] = 1"])
def test_what_is_as_the_import_left_it_again_makes_nothing_run(
    begin: Callable[[], tuple[Kernel, str]], back: str
) -> None:
    kernel, head = begin()
    kernel.plain(head)
    kernel.plain("lib.CONF['lr'] = 2")
    kernel.cell("first = lib.lr()", step="first")
    kernel.plain(back)
    kernel.cell("second = lib.lr()", step="second")

    kernel, head = begin()
    kernel.plain(head)

    assert kernel.cell("second = lib.lr()", step="second") == RESTORED
    assert kernel.cell("first = lib.lr()", step="first") == RAN
    assert (kernel["first"], kernel["second"]) == (1, 1)


def test_other_finders_keep_their_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stands before Python's own for files is asked first; so is the one for built-in modules."""
    name = f"kt_found_{next(_numbers)}"
    for folder, said in (("files", "plain"), ("hook", "transformed")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text(f"SAID = {said!r}\n")
    (tmp_path / "files" / f"{BUILT_IN}.py").write_text("SAID = 'shadow'\n")

    class Hook(MetaPathFinder):
        def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
            return PathFinder.find_spec(fullname, [str(tmp_path / "hook")]) if fullname == name else None

    monkeypatch.setattr(sys, "meta_path", [Hook(), *sys.meta_path])
    monkeypatch.syspath_prepend(str(tmp_path / "files"))
    monkeypatch.delitem(sys.modules, BUILT_IN, raising=False)
    variables = Variables()

    variables.install()

    try:
        assert importlib.import_module(name).SAID == "transformed"
        assert not hasattr(importlib.import_module(BUILT_IN), "SAID")
    finally:
        variables.remove()
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.delitem(sys.modules, BUILT_IN, raising=False)


def test_a_large_value_is_read_once_for_each_look_and_a_change_in_place_is_seen(
    begin: Callable[[], tuple[Kernel, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, load = begin()
    kernel.cell(f"%%checkpoint load\n{load}lib.CONF['rows'] = bytearray(1000)")
    look, conf, read = kernel.session._process.snapshot, kernel["lib"].CONF, list[object]()
    before = look()

    def counted(values: Mapping[str, object], *, namespace: dict[str, Any]) -> Digest:
        read.extend(value for value in values.values() if value is conf)
        return digest_values(values, namespace=namespace)

    monkeypatch.setattr(process, "digest_values", counted)
    monkeypatch.setattr(module, "digest_values", counted)
    same = look()
    assert len(read) == 1
    conf["rows"][500] = 1
    other = look()

    assert same["attributes"] == before["attributes"]
    assert other["attributes"] != before["attributes"]
    assert len(read) == 2
    del conf["rows"]
    (held,) = (held for place, held in look()["attributes"].items() if place.endswith(":CONF"))
    assert held.imported, "it is as its import left it"
