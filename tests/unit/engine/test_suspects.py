"""What a step may have set in the process without that being seen."""

# ruff: noqa: NPY002 - numpy's global generator is what is put back

from __future__ import annotations

import gc
import logging
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kitaru_nb.analysis.modules import LocalModule
from kitaru_nb.engine.process import Process
from kitaru_nb.engine.suspects import GENERATORS, may_set
from kitaru_nb.model.artifact import Digest
from tests.unit.engine.kernel import RAN, RESTORED, Start, cell_of


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    process = Process()  # the same one puts back: it knows how it found what was at its default
    before = process.snapshot()
    yield
    os.environ.pop("KT_SET", None)
    process.apply({part: value for part, value in before.items() if part not in ("path", "env")})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import random\nrandom.seed(3)", GENERATORS),
        ("rng.bit_generator.state = s; torch.manual_seed(1)", GENERATORS),
        ("seeded = 1; exceeds = 2", set()),
        ("seed = 7\nrng = np.random.default_rng(seed); fit(rows, random_state=seed)", set()),
        ("from random import seed\nf = seed\nf(3)", GENERATORS),
        ("seed(3)", GENERATORS),
        ("@seed\ndef go(): pass", GENERATORS),
        ("set_seed(seed)", GENERATORS),
        ("import sys\nsys.path.append('x')", {"path"}),
        ("import os\nos.path.join('a', 'b')", set()),
        ("os.environ['A'] = '1'", set()),
        ("os.environ[name] = '1'", {"env"}),
        ("os.environ.update(A='1')", {"env"}),
        ("get_ipython().run_line_magic('env', 'A=1')", {"env"}),
        ("logging.basicConfig(level=10)", {"logging", "setting log handlers"}),
        ("warnings.simplefilter('ignore')", {"warnings"}),
        (
            "gc.disable()",
            {"setting gc", "setting faulthandler", "logging", "setting log handlers", "setting log disable"},
        ),
        ("get_ipython().run_line_magic('config', 'Completer.use_jedi = False')", {"setting shell"}),
        ("config = pandas.read_csv('a')", set()),
        ("tqdm.pandas()", {"setting tqdm for pandas"}),
        ("pd.options.display.max_rows = 3", {"pandas options"}),
        ("getattr(np, 'seterr')(all='ignore')", {"setting numpy errors"}),
        ("x: int = 3\ny: str", {"annotation x", "annotation y"}),
    ],
)
def test_the_parts_that_code_may_set(source: str, expected: set[str]) -> None:
    assert may_set(cell_of(source), [], []) == expected


def _seed() -> None:
    random.seed(1)


class _Sets:
    __module__ = "__main__"

    def filters(self) -> None:
        warnings.simplefilter("ignore")

    @classmethod
    def limit(cls) -> None:
        sys.setrecursionlimit(9)


def test_the_code_that_a_cell_reaches_counts(tmp_path: Path) -> None:
    helper = tmp_path / "helper.py"
    helper.write_text("import numpy\ndef quiet(): numpy.seterr(all='ignore')\n", "utf-8")

    assert may_set(cell_of("go()"), [_seed], []) == GENERATORS
    assert may_set(cell_of("list(map(seed, [3]))"), [random.seed], []) == GENERATORS
    assert may_set(cell_of("go()"), [_Sets], []) == {"warnings", "recursion limit"}
    assert may_set(cell_of("go()"), [_SetsMore()], []) == {"warnings", "recursion limit"}
    assert may_set(cell_of("go()"), [], [LocalModule(helper, Digest("d"))]) == {"setting numpy errors"}


SETTINGS: dict[str, tuple[str, Callable[[], Any], Callable[[], object]]] = {
    "a seed": ("import random\nrandom.seed(3)", random.random, lambda: random.seed(5)),
    "a seed in a function": (
        "def go():\n    import numpy as np\n    np.random.seed(3)\ngo()",
        np.random.random,
        lambda: np.random.seed(5),
    ),
    "a filter": (
        "import warnings\nwarnings.simplefilter('ignore')",
        lambda: warnings.filters[0][0],
        warnings.resetwarnings,
    ),
    "a level": (
        "import logging\nlogging.getLogger('kt').setLevel(10)",
        lambda: logging.getLogger("kt").level,
        lambda: logging.getLogger("kt").setLevel(0),
    ),
    "an entry of the path": (
        "import sys\nif '/kt' not in sys.path: sys.path.append('/kt')",
        lambda: "/kt" in sys.path,
        lambda: sys.path.remove("/kt"),
    ),
    "a variable": (
        "import os\nos.environ.update(KT_SET='1')",
        lambda: os.environ.get("KT_SET"),
        lambda: os.environ.pop("KT_SET"),
    ),
    "an option": (
        "import pandas as pd\npd.set_option('display.max_rows', 7)",
        lambda: pd.get_option("display.max_rows"),
        lambda: pd.reset_option("display.max_rows"),
    ),
    "a switch": ("import gc\ngc.disable()", gc.isenabled, gc.enable),
    "by a way that no word tells": (
        "import random\ngetattr(random, 's' + 'eed')(3)",
        random.random,
        lambda: random.Random.seed(random._inst, 5),
    ),
}


class _SetsMore(_Sets):
    __module__ = "__main__"


_Sets.own = _Sets  # type: ignore[attr-defined] # a class may hold itself


@pytest.mark.parametrize("name", list(SETTINGS))
def test_what_an_edited_cell_set_once_more_is_set_in_the_next_kernel(start: Start, name: str) -> None:
    source, probe, reset = SETTINGS[name]
    edited = f"{source}\nedited = 1"
    first = start()
    first.cell("import random, numpy as np\nrandom.seed(1); np.random.seed(1)", step="before")
    first.cell(source, step="set")
    assert first.cell(edited, step="set") == RAN
    expected = probe()
    reset()

    second = start()
    second.cell("import random, numpy as np\nrandom.seed(1); np.random.seed(1)", step="before")
    second.cell(edited, step="set")

    assert probe() == expected


def test_a_cell_that_set_something_once_is_restored_where_it_is_set(start: Start) -> None:
    source = SETTINGS["a filter"][0]
    kernel = start()
    kernel.cell(source, step="set")
    kernel.cell(f"{source}\nedited = 1", step="set")

    assert kernel.cell(f"{source}\nedited = 1", step="set") == RESTORED


def test_a_cell_that_set_an_attribute_when_it_was_restored_may_be_edited(start: Start) -> None:
    start().cell("import json\njson.kt_set = 1", step="set")
    vars(sys.modules["json"]).pop("kt_set")
    kernel = start()
    assert kernel.cell("import json\njson.kt_set = 1", step="set") == RESTORED
    vars(sys.modules["json"]).pop("kt_set")

    assert kernel.cell("x = 1", step="set") == RAN


def test_what_an_import_has_set_is_no_reason_to_run_its_cell_in_the_next_kernel(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    library = tmp_path_factory.mktemp("site-packages")
    (library / "kt_noisy.py").write_text("import warnings\nwarnings.filterwarnings('ignore', 'noise')\n")
    sys.path.insert(0, str(library))
    kernel = start()
    before = list(warnings.filters)
    kernel.cell("import kt_noisy\nx = 1", step="a")
    kernel.cell("import kt_noisy\nx = 1\ny = 2", step="a")  # edited: now it changes nothing of the kind
    kernel.stop()
    warnings.filters[:] = before
    sys.modules.pop("kt_noisy")

    assert start().cell("import kt_noisy\nx = 1\ny = 2", step="a") == RESTORED
