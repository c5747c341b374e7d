"""Threads and callbacks that a step leaves: seen where they reach the notebook, and only there."""

# ruff: noqa: ISC004 - a cell of several lines is one string

from __future__ import annotations

import ast
import gc
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kitaru_nb.engine.cell import Cell
from kitaru_nb.engine.live import Live, ran_again
from tests.unit.engine.kernel import RAN, RESTORED, Kernel


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[Callable[[], None]]:
    """Makes the process as it was found, as a new one is."""
    hooks = sys.excepthook, sys.displayhook, threading.excepthook
    callbacks, meta, usr1 = list(gc.callbacks), list(sys.meta_path), signal.getsignal(signal.SIGUSR1)

    def reset() -> None:
        sys.excepthook, sys.displayhook, threading.excepthook = hooks
        gc.callbacks[:], sys.meta_path[:] = callbacks, meta
        signal.signal(signal.SIGUSR1, usr1)

    yield reset
    reset()


WORKER = (
    "import threading\n"
    "stop = threading.Event()\n"
    "def work():\n    stop.wait(200)\n"
    "thread = threading.Thread(target=work, daemon=True)\n"
    "thread.start()\n"
    "x = 1"
)


def test_a_cell_that_started_a_thread_runs_again_in_a_new_kernel_and_says_so(home: Path) -> None:
    first = Kernel(home)
    first.cell(WORKER)

    again = Kernel(home).take_over()
    plan = again.plan(WORKER)
    status = again.cell(WORKER)

    assert status == RAN
    assert ran_again(plan.pending.unmet) == ("it started thread `work`, which cannot be stored",)
    for kernel in (first, again):
        kernel["stop"].set()


def test_a_thread_of_a_library_that_was_given_code_of_the_notebook_counts(home: Path) -> None:
    source = (
        "import http.server, threading\n"
        "class Answer(http.server.BaseHTTPRequestHandler): pass\n"
        "server = http.server.HTTPServer(('127.0.0.1', 0), Answer)\n"
        "run = {'target': server.serve_forever, 'kwargs': {'poll_interval': 0.01}, 'daemon': True}\n"
        "thread = threading.Thread(**run)\n"
        "thread.start()"
    )
    first = Kernel(home)
    first.cell(source)

    plan = Kernel(home).take_over().plan(source)

    assert ran_again(plan.pending.unmet) == ("it started thread `serve_forever`, which cannot be stored",)
    first["server"].shutdown()
    first["server"].server_close()


def test_a_cell_whose_thread_still_runs_is_restored_in_the_same_kernel(home: Path) -> None:
    kernel = Kernel(home)
    kernel.cell(WORKER, step="a")
    thread, stop = kernel["thread"], kernel["stop"]
    assert kernel.cell(WORKER, step="a") == RESTORED
    assert kernel["stop"] is stop

    kernel["stop"].set()
    thread.join()

    assert kernel.cell(WORKER, step="a") == RAN
    kernel["stop"].set()


def test_a_cell_whose_thread_runs_with_names_that_have_changed_runs_again(home: Path) -> None:
    kernel = Kernel(home)
    kernel.cell(WORKER, step="a")
    stop = kernel["stop"]

    kernel.plain("x = 2")

    assert kernel.cell(WORKER, step="a") == RAN
    stop.set()
    kernel["stop"].set()


def test_a_resume_names_the_thread_that_is_not_running(home: Path) -> None:
    first = Kernel(home)
    first.cell(f"%%checkpoint serve\n{WORKER}")

    report = Kernel(home).take_over().session.resume()

    assert (
        "the thread `work` started by checkpoint `serve` is not running; run that cell again"
        in report.restored.problems
    )
    first["stop"].set()


def test_a_thread_that_has_ended_is_no_effect(home: Path) -> None:
    source = "import threading\nt = threading.Thread(target=lambda: None)\nt.start()\nt.join()\ndel t"
    Kernel(home).cell(source)

    assert Kernel(home).take_over().cell(source) == RESTORED


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import sys\ndef hook(*a): pass\nsys.excepthook = hook", "sys.excepthook"),
        ("import sys\nsys.displayhook = lambda value: None", "sys.displayhook"),
        ("import threading\nthreading.excepthook = lambda args: None", "threading.excepthook"),
        ("import signal\nsignal.signal(signal.SIGUSR1, lambda *a: None)", "signal.signal"),
        ("import gc\ngc.callbacks.append(lambda *a: None)", "gc.callbacks"),
        (
            "import sys\nclass Finder:\n    @staticmethod\n    def find_spec(*a): return None\n"
            "sys.meta_path.append(Finder)",
            "sys.meta_path",
        ),
        (
            "import logging\nclass Mine(logging.Handler):\n    def emit(self, record): pass\n"
            "logging.getLogger('of.a.test').addHandler(Mine())",
            "logging.Handler",
        ),
        (
            "import weakref\nclass Thing: pass\nthing = Thing()\ndef bye(): pass\n"
            "f = weakref.finalize(thing, bye)\nf.atexit = False",
            "weakref.finalize",
        ),
        (
            "import functools, gc\ndef seen(*a): pass\ngc.callbacks.append(functools.partial(seen, 'x'))",
            "gc.callbacks",
        ),
        ("import atexit\ndef bye(): pass\natexit.register(bye)", "atexit.register"),
    ],
)
def test_a_callback_that_reaches_the_notebook_is_named(
    home: Path, as_it_was: Callable[[], None], source: str, what: str
) -> None:
    kernel = Kernel(home)
    kernel.cell(source, step="a")
    (condition,) = [name for name in kernel.last.draft.conditions if name.startswith("live:")]
    assert condition == f"live:callback:{what}"
    assert kernel.cell(source, step="a") == RESTORED

    as_it_was()
    plan = Kernel(home).take_over().plan(source, step="a")

    assert ran_again(plan.pending.unmet) == (
        f"it registered code of the notebook with `{what}`, which cannot be stored",
    )


@pytest.mark.parametrize(
    ("adds", "takes"),
    [
        ("import gc\ndef look(*_): pass\ngc.callbacks.append(look)", "gc.callbacks.remove(look)"),
        (
            "import logging\nlog = logging.getLogger('taken')\nclass Own(logging.Handler): pass\n"
            "own = Own()\nlog.addHandler(own)",
            "log.removeHandler(own)",
        ),
    ],
    ids=["callback", "log handler"],
)
def test_a_cell_that_takes_away_a_callback_runs_again_where_that_is_in_place_again(
    home: Path, adds: str, takes: str
) -> None:
    first = Kernel(home)
    first.cells(adds, takes)

    again = Kernel(home).take_over()
    became = again.cells(adds, takes, takes)
    resumed = Kernel(home).take_over()
    resumed.session.resume()

    assert became == [RAN, RAN, RESTORED]
    assert _callbacks() == 0
    assert resumed.cell(takes) == RESTORED


def _callbacks() -> int:
    """How many of the notebook's are registered."""
    registered = [*gc.callbacks, *logging.getLogger("taken").handlers]
    return sum(getattr(each, "__module__", "") == "__main__" for each in registered)


def test_what_a_library_starts_and_registers_does_not_count(home: Path) -> None:
    live = Live({}, home.parent)
    live.begin()
    pool = ThreadPoolExecutor(1)
    waiting = threading.Event()
    pool.submit(waiting.wait, 20)
    idle = threading.Thread(target=waiting.wait, daemon=True)
    idle.start()
    gc.callbacks.append(print)

    left = live.left(Cell("x = 1", ast.parse("x = 1")))

    waiting.set()
    pool.shutdown()
    assert left == {}


def test_a_pool_that_runs_a_function_of_the_notebook_does_not_count(home: Path) -> None:
    source = (
        "from concurrent.futures import ThreadPoolExecutor\nimport threading\nstop = threading.Event()\n"
        "def work(): stop.wait(200)\npool = ThreadPoolExecutor(1)\njob = pool.submit(work)\ndel job"
    )
    kernel = Kernel(home)

    kernel.cell(source)

    kernel["stop"].set()
    kernel["pool"].shutdown()
    assert [name for name in kernel.last.draft.conditions if name.startswith("live:")] == []


def test_a_thread_class_a_timer_and_an_argument_of_the_notebook_count(home: Path) -> None:
    kernel = Kernel(home)

    kernel.cell(
        "import threading\nstop = threading.Event()\n"
        "class Worker(threading.Thread):\n    def run(self): stop.wait(200)\n"
        "a = Worker(daemon=True, name='mine')\na.start()\n"
        "def later(): pass\nb = threading.Timer(200, later)\nb.daemon = True\nb.start()"
    )

    found = sorted(name for name in kernel.last.draft.conditions if name.startswith("live:"))
    kernel["stop"].set()
    kernel["b"].cancel()
    assert found == ["live:thread:later", "live:thread:mine"]


CLASS = "class Point:\n    x = 1\ndef adapt(point): return str(point.x)\n"
KEPT = {
    "sqlite3.register_adapter": CLASS + "import sqlite3\nsqlite3.register_adapter(Point, adapt)",
    "copyreg.pickle": CLASS
    + "import copyreg\ndef reduce(point): return Point, ()\ncopyreg.pickle(Point, reduce)",
    "codecs.register_error": "import codecs\ncodecs.register_error('kt', lambda e: ('?', e.end))",
    "pkgutil.iter_importer_modules.register": (
        "import pkgutil\n@pkgutil.iter_importer_modules.register(bytes)\ndef own(x, prefix=''): return []"
    ),
}
KEPT_IN_A_PROJECT = {
    "ours.show.register": "import ours\n@ours.show.register(int)\ndef show_int(x): return 'int'",
    "ours.Shape.register": "from ours import Shape\nclass Square: pass\nShape.register(Square)",
}
OURS = """
import abc, functools
kept = []
class Shape(abc.ABC): pass
@functools.singledispatch
def show(x): return "any"
def register(function):
    kept.append(function)
    return function
"""
CALLED = {
    "csv.register_dialect": "import csv\ncsv.register_dialect('kt', delimiter='|')",
    "xml.etree.ElementTree.register_namespace": (
        "import xml.etree.ElementTree as ET\nET.register_namespace('kt', 'http://kt')"
    ),
    "mimetypes.add_type": "import mimetypes as m\nm.add_type('a/kt', '.kt')",
}


@pytest.mark.parametrize("called", [*KEPT, *CALLED])
def test_a_cell_whose_call_a_library_keeps_something_of_runs_again_and_says_so(
    home: Path, called: str
) -> None:
    source = {**KEPT, **CALLED}[called]
    Kernel(home).cell(source)

    again = Kernel(home).take_over()
    (problem,) = again.session.resume().restored.problems

    assert f"`{called}` is not in place; run that cell again" in problem
    assert called in str(ran_again(again.plan(source).pending.unmet))
    assert again.cell(source) == RAN


@pytest.mark.parametrize("called", KEPT_IN_A_PROJECT)
def test_so_does_one_whose_call_a_generic_or_abstract_class_of_the_project_keeps_something_of(
    home: Path, called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ours(home, monkeypatch)
    Kernel(home).cell(KEPT_IN_A_PROJECT[called])
    del sys.modules["ours"]

    again = Kernel(home).take_over()
    again.plain("import ours")
    assert again.cell(KEPT_IN_A_PROJECT[called]) == RAN


def test_what_a_registry_of_the_project_keeps_is_put_back_in_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import ours\n@ours.register\ndef f(): return 5"
    _ours(home, monkeypatch)
    kernel = Kernel(home)
    kernel.session._process.variables.install()
    kernel.cell(source)
    kernel.session._process.variables.remove()
    del sys.modules["ours"]

    again = Kernel(home).take_over()

    assert again.cell(source) == RESTORED
    again.plain("found = ours.kept == [f]")
    assert again["found"]


def _ours(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home.parent / "ours.py").write_text(OURS)
    monkeypatch.syspath_prepend(str(home.parent))
    monkeypatch.delitem(sys.modules, "ours", raising=False)


NOT_KEPT = {
    "an object of the notebook": (
        "class Book:\n    def register(s, f): s.f = f; return f\nbook = Book()\n"
        "@book.register\ndef f(): return 1"
    ),
    "a generic of the notebook": (
        "import functools\n@functools.singledispatch\ndef g(x): return 'any'\n"
        "@g.register\ndef _f(x: int): return 'int'"
    ),
    "an abstract class": ("import collections.abc\nclass S: pass\ncollections.abc.Sequence.register(S)"),
    "nothing of the notebook": "import codecs\ncodecs.register_error('kt-own', codecs.ignore_errors)",
}


@pytest.mark.parametrize("case", NOT_KEPT)
def test_a_registration_that_is_no_library_s_to_keep_is_no_reason_to_run_again(home: Path, case: str) -> None:
    Kernel(home).cell(NOT_KEPT[case])

    assert Kernel(home).take_over().cell(NOT_KEPT[case]) == RESTORED


def test_what_a_cell_gives_a_formatter_counts_and_what_a_library_gives_it_does_not(home: Path) -> None:
    printers: dict[type, object] = {}
    live = Live({}, home.parent, lambda: {"formatters['text/html']": printers})

    def left(source: str, kind: type) -> list[str]:
        live.begin()
        printers[kind] = str
        return list(live.left(Cell(source, ast.parse(source))))

    assert left("import shown", float) == []
    assert left("html.for_type(int, str)", int) == ["live:call:formatters['text/html'].for_type"]
