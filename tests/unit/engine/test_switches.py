"""Settings of the interpreter and of libraries: seen when they differ, and put back."""

# ruff: noqa: NPY002, ISC004 - numpy's global generator is what is put back; a cell is one string

from __future__ import annotations

import asyncio
import calendar
import csv
import decimal
import faulthandler
import gc
import locale
import logging
import multiprocessing
import os
import random
import resource
import signal
import socket
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.colors as mpl_colors
import numpy as np
import pandas as pd
import pytest

from kitaru_nb.engine import parts
from kitaru_nb.engine.process import Process
from tests.unit.engine.kernel import RESTORED, Kernel


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    process = Process()
    process.hear(SPOKEN_OF)
    before = process.snapshot()
    yield
    process.apply({part: value for part, value in before.items() if part not in ("path", "env")})


SPOKEN_OF = "umask setrlimit field_size_limit addLevelName captureWarnings setbufsize setfirstweekday"


def mask() -> int:
    found = os.umask(0o022)
    os.umask(found)
    return found


CELLS: dict[str, tuple[str, Callable[[], Any]]] = {
    "gc": (
        "import gc\ngc.disable()\ngc.set_threshold(500, 5, 5)",
        lambda: (gc.isenabled(), gc.get_threshold()),
    ),
    "signal": (
        "import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)",
        lambda: signal.getsignal(signal.SIGUSR1),
    ),
    "locale": ("import locale\nlocale.setlocale(locale.LC_ALL, 'C.UTF-8')", lambda: locale.setlocale(0)),
    "faulthandler": (
        "import faulthandler\n(faulthandler.disable if faulthandler.is_enabled() else faulthandler.enable)()",
        faulthandler.is_enabled,
    ),
    "interval": ("import sys\nsys.setswitchinterval(0.0125)", sys.getswitchinterval),
    "digits": ("import sys\nsys.set_int_max_str_digits(5000)", sys.get_int_max_str_digits),
    "recursion": ("import sys\nsys.setrecursionlimit(4321)", sys.getrecursionlimit),
    "policy": (
        "import asyncio\nasyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())",
        lambda: type(asyncio.events._event_loop_policy),  # type: ignore[attr-defined]
    ),
    "start method": (
        "import multiprocessing\nmultiprocessing.set_start_method('spawn', force=True)",
        lambda: multiprocessing.get_start_method(allow_none=True),
    ),
    "timeout": ("import socket\nsocket.setdefaulttimeout(7.5)", socket.getdefaulttimeout),
    "umask": ("import os\nos.umask(0o027)", mask),
    "limit": (
        "import resource\nsoft, hard = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, hard))\ndel soft, hard",
        lambda: resource.getrlimit(resource.RLIMIT_CORE)[0],
    ),
    "numpy errors": ("import numpy as np\nnp.seterr(divide='raise')", lambda: np.geterr()["divide"]),
    "letters of colors": (
        "import matplotlib.colors as m\n_ = m.to_rgb('k')\nm.colorConverter.colors['k'] = (0.1, 0.2, 0.3)",
        lambda: mpl_colors.to_rgb("k"),
    ),
    "decimal": (
        "import decimal\ndecimal.getcontext().traps[decimal.Inexact] = True\ndecimal.getcontext().Emax = 99",
        lambda: (decimal.getcontext().traps[decimal.Inexact], decimal.getcontext().Emax),
    ),
    "all logging below a level": (
        "import logging\nlogging.disable(logging.INFO)",
        lambda: logging.root.manager.disable,
    ),
    "name of a log level": (
        "import logging\nlogging.addLevelName(15, 'KT-TRACE')",
        lambda: logging.getLevelName(15),
    ),
    "captured warnings": (
        "import logging\nlogging.captureWarnings(True)",
        lambda: logging._warnings_showwarning is not None,  # type: ignore[attr-defined]
    ),
    "csv field size": ("import csv\n_ = csv.field_size_limit(10**7)", csv.field_size_limit),
    "numpy buffer": ("import numpy as np\n_ = np.setbufsize(16384)", np.getbufsize),
    "first weekday": ("import calendar\ncalendar.setfirstweekday(6)", calendar.firstweekday),
    "log handler": (
        "import logging, sys\nh = logging.StreamHandler(sys.stderr)\n"
        "h.setFormatter(logging.Formatter('{message}', style='{'))\nh.setLevel(30)\n"
        "logging.getLogger('switches.of.a.test').addHandler(h)\ndel h",
        lambda: [
            (h.level, h.formatter and h.formatter._fmt)
            for h in logging.getLogger("switches.of.a.test").handlers
        ],
    ),
}


@pytest.mark.parametrize(("source", "read"), CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("how", ["restored", "resumed"])
def test_a_setting_that_a_cell_made_holds_after_a_restore(
    tmp_path: Path, source: str, read: Callable[[], Any], how: str
) -> None:
    before = read()
    process = Process()
    process.hear(source)
    found = process.snapshot()
    Kernel(tmp_path / "home").cell(source)
    made = read()
    process.apply({part: value for part, value in found.items() if part not in ("path", "env", "cwd")})
    assert read() == before

    again = Kernel(tmp_path / "home").take_over()
    if how == "restored":
        assert again.cell(source) == RESTORED
        problems = again.restored.problems
    else:
        problems = again.session.resume().restored.problems

    assert read() == made
    assert problems == []


def test_what_the_front_end_chose_is_no_part_of_the_notebook() -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        state = Process().snapshot()

        assert state["setting signals"] is None
        assert state["setting asyncio policy"] is None
    finally:
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)


def test_a_setting_that_was_switched_back_is_put_back_as_it_was_found() -> None:
    process = Process()
    gc.disable()
    off = process.snapshot()
    gc.enable()
    on = process.snapshot()

    assert process.apply({"setting gc": off["setting gc"]}) == []
    assert not gc.isenabled()
    assert process.apply({"setting gc": on["setting gc"]}) == []
    assert gc.isenabled()


def test_a_setting_that_cannot_be_made_is_named() -> None:
    (said,) = Process().apply({"setting locale": "xx_NO.SUCH"})

    assert said.startswith("setting locale was not put back")


# What is seen without reading

CHANGES: dict[str, str] = {
    **{name: source for name, (source, _) in CELLS.items()},
    "limit": "import resource\nsoft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))",
    "policy": "import asyncio\nclass Own(asyncio.DefaultEventLoopPolicy): pass\n"
    "asyncio.set_event_loop_policy(Own())",
    "random": "import random\nrandom.random()",
    "numpy random": "import numpy as np\nnp.random.random()",
    "folder": "import os\nos.chdir('/')",
    "path": "import sys\nsys.path.append('/nowhere')",
    "environment": "import os\nos.environ['SEEN_BY_A_TEST'] = '1'",
    "level": "import logging\nlogging.getLogger('switches.of.a.test').setLevel(17)",
    "propagation": "import logging\nlogging.getLogger('switches.of.a.test').propagate = False",
    "handler's level": "import logging\nlogging.getLogger('kept.by.a.test').handlers[0].setLevel(17)",
    "warnings": "import warnings\nwarnings.simplefilter('error', ImportWarning)",
    "numpy options": "import numpy as np\nnp.set_printoptions(precision=3)",
    "pandas options": "import pandas as pd\npd.set_option('display.max_rows', 7)",
}


@pytest.mark.parametrize("source", CHANGES.values(), ids=CHANGES)
def test_every_change_makes_another_state_and_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("SEEN_BY_A_TEST", "0")
    monkeypatch.setattr(logging.getLogger("kept.by.a.test"), "handlers", [logging.NullHandler()])
    process = Process()
    process.hear(source)
    before = process.snapshot()

    assert process.snapshot() is before
    exec(source, {})
    after = process.snapshot()

    assert after != before
    assert process.snapshot() is after


def test_a_library_that_is_loaded_meanwhile_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["decimal"]
    monkeypatch.delitem(sys.modules, "decimal")
    process = Process()
    before = process.snapshot()
    monkeypatch.setitem(sys.modules, "decimal", module)

    assert "decimal" not in before
    assert "decimal" in process.snapshot()


def test_a_handler_that_was_taken_out_is_not_held() -> None:
    logger, process = logging.getLogger("switches.of.a.test"), Process()
    handler = logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    process.snapshot()
    seen = weakref.ref(handler)

    logger.removeHandler(handler)
    del handler
    gc.collect()

    assert seen() is None


def test_the_state_of_a_generator_is_exact_after_each_kind_of_draw() -> None:
    process = Process()
    draws: list[Callable[[], object]] = [
        random.random,
        lambda: random.gauss(0, 1),
        lambda: random.gauss(0, 1),  # the second half of a pair: no new bits
        lambda: random.seed(3),
        lambda: random.setstate(random.Random(4).getstate()),
        np.random.random,
        np.random.randn,
        np.random.randn,
        lambda: np.random.seed(3),
        lambda: np.random.binomial(10, 0.5),
        lambda: np.random.shuffle([1, 2, 3]),
        lambda: np.random.set_state(np.random.RandomState(5).get_state()),
    ]
    for draw in draws:
        draw()
        state = process.snapshot()
        assert state["random"] == random.getstate()
        assert state["numpy"] == parts.PARTS["numpy"][1](np.random)


def test_memory_is_only_looked_at_where_it_is_the_state() -> None:
    assert parts._shows_random()
    assert parts._shows_numpy(np.random)


def test_options_and_environment_are_seen_without_being_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process()
    process.snapshot()

    with pd.option_context("display.max_rows", 7):
        assert process.snapshot()["pandas options"]["display."]["max_rows"] == 7
    monkeypatch.setenv("NEW_OF_TEST", "1")
    assert process.snapshot()["env"]["NEW_OF_TEST"] == "1"
    monkeypatch.setenv("NEW_OF_TEST", "2")
    assert process.snapshot()["env"]["NEW_OF_TEST"] == "2"


def test_a_generator_of_another_kind_is_not_put_back_and_that_is_said() -> None:
    with pytest.MonkeyPatch.context() as patch:
        legacy = np.random.RandomState(np.random.PCG64(1))  # type: ignore[arg-type]
        patch.setattr(np.random.mtrand, "_rand", legacy)
        patch.setattr(np.random, "get_state", legacy.get_state)

        state = Process().snapshot()

    assert state["numpy"] is None
    assert "numpy" in Process().apply({"numpy": None})[0]
