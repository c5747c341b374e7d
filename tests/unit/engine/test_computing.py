"""Settings that change what libraries compute are an input of whatever reaches the library."""

from __future__ import annotations

import decimal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import sklearn

from kitaru_nb.engine.computing import COMPUTING, libraries_of, settings_of
from kitaru_nb.engine.process import Process
from kitaru_nb.engine.reasons import condition_reasons
from kitaru_nb.model.checkpoint import Draft
from tests.unit.engine.kernel import RAN, RESTORED, Start


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before, options = np.geterr(), sklearn.get_config()
    with decimal.localcontext(), mpl.rc_context(), pd.option_context("mode.string_storage", "auto"):
        yield
    np.seterr(**before)  # type: ignore[arg-type] # numpy's own words
    sklearn.set_config(**options)


SET = {
    "decimal": ("from decimal import Decimal\nd = [Decimal(1)]", "x = d[0] / 3", {"prec": 6}),
    "numpy": ("import numpy as np\na = np.zeros(1)", "x = a + 1", {"over": "raise"}),
    "pandas": ("import pandas as pd\nf = pd.Series([1])", "x = f + 1", {"mode.string_storage": "python"}),
    "matplotlib": ("from matplotlib import colors", "x = colors.to_rgb('C0')", {"figure.dpi": 33.0}),
    "sklearn": ("import sklearn", "x = sklearn.__version__", {"transform_output": "pandas"}),
}


def _put(library: str, settings: dict[str, Any]) -> None:
    match library:
        case "decimal":
            decimal.getcontext().prec = settings["prec"]
        case "numpy":
            np.seterr(**settings)
        case "pandas":
            pd.set_option(*next(iter(settings.items())))
        case "matplotlib":
            mpl.rcParams.update(settings)
        case _:
            sklearn.set_config(**settings)


@pytest.mark.parametrize("library", SET)
def test_a_setting_counts_for_a_step_that_reaches_the_library_without_a_word_of_it(
    start: Start, library: str
) -> None:
    before, step, settings = SET[library]

    def turn(*, setting: bool = False) -> tuple[str, Draft]:
        kernel = start()
        kernel.plain(before)
        if setting:
            _put(library, settings)
        return kernel.cell(step, step="a"), kernel.last.draft

    turns = [turn(), turn(), turn(setting=True), turn(setting=True)]

    assert [became for became, _ in turns] == [RAN, RESTORED, RAN, RESTORED]
    assert [text for _, _, text, _, _ in condition_reasons(turns[1][1], turns[2][1])] == [
        f"settings of `{library}` that change what it computes were different"
    ]


def test_a_setting_that_a_step_makes_does_not_run_it_again_in_the_next_kernel(start: Start) -> None:
    cells = ("import numpy as np\nnp.seterr(over='raise')", "x = np.zeros(2) + 1")
    start().cells(*cells)
    np.seterr(over="warn")

    assert start().cells(*cells) == [RESTORED] * 2
    assert np.geterr()["over"] == "raise"


TURN = """
import sys
from pathlib import Path
for name in sys.argv[2:]:
    __import__(name)
from tests.unit.engine.kernel import Kernel
kernel = Kernel(Path(sys.argv[1]), settings={"paranoid": False}).take_over()
print(kernel.cells(*CELLS))
"""
CELLS = (
    "import numpy as np, decimal\nx = np.arange(3.0)\nd = decimal.Decimal(1)",
    "y = x.sum()",
    "import pandas as pd\nf = pd.DataFrame({'y': [y]})",
    "z = f.sum(), d / 3",
)


def test_when_a_library_is_loaded_is_no_reason_to_run_a_step_again(tmp_path: Path) -> None:
    def turn(*loaded: str) -> str:
        code = TURN.replace("CELLS", repr(CELLS))
        words = [sys.executable, "-c", code, str(tmp_path / "home"), *loaded]
        done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path.cwd())
        return done.stdout.strip()

    turns = [turn("IPython"), turn("numpy", "pandas", "decimal"), turn("json")]

    assert turns == [repr([RAN] * 4), repr([RESTORED] * 4), repr([RESTORED] * 4)]


@pytest.mark.parametrize("library", COMPUTING)
def test_nothing_is_set_in_a_library_that_is_as_it_begins(library: str) -> None:
    with warnings.catch_warnings():
        warnings.resetwarnings()  # the tests' own make them errors
        assert settings_of(library, Process().snapshot()) == {}
    assert settings_of(library, {}) == {}


@pytest.mark.parametrize(
    ("library", "state", "expected"),
    [
        (
            "torch",
            {"dtype": "float64", "grad": True, "threads": 3, "deterministic": False},
            {"dtype": "float64"},
        ),
        ("sklearn", {"transform_output": "default", "display": "text"}, {}),
        ("numpy", {"over": "raise", "under": "ignore"}, {"over": "raise"}),
    ],
)
def test_what_is_printed_and_how_many_threads_there_are_is_no_setting_that_computes(
    library: str, state: object, expected: object
) -> None:
    assert settings_of(library, {COMPUTING[library][0]: state}) == expected


@pytest.mark.parametrize(
    ("value", "library"),
    [
        (np.zeros(1), "numpy"),
        ({"a": pd.Series([1])}, "pandas"),
        ([decimal.Decimal(1)], "decimal"),
        (decimal.Decimal, "decimal"),
        (subprocess.run, "subprocess"),
    ],
)
def test_a_value_leads_to_the_package_that_it_is_of(value: object, library: str) -> None:
    assert library in libraries_of([value], [])


def test_large_containers_are_not_looked_into_and_modules_are_known_by_their_package() -> None:
    assert libraries_of([[np.zeros(1)] * 101], ["os.path"]) == {"builtins", "os"}
