"""SIGKILL at any instant: the notebook ends as an uninterrupted run does, and pays nothing twice."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest

from tests.integration.kernel import Kernel

PAY = "def pay(name):\n    with open('paid', 'a') as f:\n        f.write(name + '\\n')\n"
CELLS = [
    ("plain", "import numpy as np, pandas as pd, time\n" + PAY + "log = []\nalias = log"),
    ("load", "%%checkpoint load\npay('load')\nframe = pd.DataFrame({'a': np.arange(20_000), 'b': np.arange(20_000) % 7})\nlog.append('load')"),
    ("clean", "%%checkpoint clean\npay('clean')\nframe['c'] = frame.a * frame.b\nframe = frame[frame.b != 3]\nlog.append('clean')"),
    ("array", "%%checkpoint array\npay('array')\nbig = np.arange(2_000_000, dtype='f8')\ntime.sleep(.03)\nlog.append('array')"),
    ("class", "%%checkpoint class\npay('class')\nclass Model:\n    def __init__(self):\n        self.w = np.zeros(3)\n        self.seen = log\n    def fit(self, x):\n        self.w = self.w + x\n        return self\nlog.append('class')"),
    ("fit", "%%checkpoint fit\npay('fit')\nmodel = Model().fit(np.array([1., 2., 3.]))\nmodels = {'best': model}\nlog.append('fit')"),
    ("inplace", "%%checkpoint inplace\npay('inplace')\nbig[:1000] *= 2\nmodel.fit(1.0)\ntime.sleep(.03)\nlog.append('inplace')"),
    ("function", "%%checkpoint function\npay('function')\ndef scale(x, by=[10]):\n    by.append(len(log))\n    return x * by[0] * FACTOR\nFACTOR = 3\nlog.append('function')"),
    ("use", "%%checkpoint use\npay('use')\nscaled = scale(big[:5])\nlog.append('use')"),
    ("random", "%%checkpoint random\npay('random')\nnp.random.seed(7)\ndraws = np.random.rand(4)\nlog.append('random')"),
    ("draw", "%%checkpoint draw\npay('draw')\nmore = np.random.rand(4)\ndel draws\nlog.append('draw')"),
    ("group", "%%checkpoint group\npay('group')\nmeans = frame.groupby('b').c.mean()\nlog.append('group')"),
    ("end", "%%checkpoint end\npay('end')\nresult = (float(means.sum()), model.w.tolist(), more.tolist())\nlog.append('end')\nresult"),
]  # fmt: skip
STATE = (
    "import hashlib\n"
    "(log, alias is log, model.seen is log, models['best'] is model, isinstance(model, Model), model.w.tolist(),"
    " hashlib.sha256(big.tobytes()).hexdigest(), frame.shape, int(frame.c.sum()), list(frame.columns), scaled.tolist(),"
    " scale.__defaults__, 'draws' in dir(), more.tolist(), means.tolist(), result, scale(1), float(np.random.rand()))"
)


def start(place: Path) -> Kernel:
    return Kernel(place / "home", notebook=place / "work" / "nb.ipynb", cwd=place / "work")


def run_all(kernel: Kernel) -> None:
    for name, source in CELLS:
        ran = kernel.run(source, cell=name)
        assert ran.ok, (name, ran.evalue, ran.traceback)


def paid(place: Path) -> list[str]:
    return (place / "work" / "paid").read_text().split()


def make(place: Path) -> Path:
    (place / "work").mkdir(parents=True)
    return place


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = make(tmp_path_factory.mktemp("uninterrupted") / "run")
    with start(place) as kernel:
        run_all(kernel)
        state = kernel.run(STATE).result
    assert state is not None
    assert paid(place) == [name for name, _ in CELLS[1:]]
    return state



@pytest.mark.parametrize("way", ["resume", "run all"])
@pytest.mark.parametrize("seed", range(10))
def test_a_killed_notebook_ends_as_an_uninterrupted_one(tmp_path: Path, uninterrupted: str, seed: int, way: str) -> None:
    place = make(tmp_path / "run")
    chance = random.Random(f"{way}{seed}")
    done: list[str] = []
    with start(place) as first:
        doomed = chance.randrange(1, len(CELLS))
        for name, source in CELLS[:doomed]:
            assert first.run(source, cell=name).ok
            done.append(name)
        request = first.send(CELLS[doomed][1], cell=CELLS[doomed][0])
        time.sleep(chance.uniform(0, 0.12))  # the instant is what is being varied, nothing waits for it
        first.kill()

    with start(place) as second:
        if doomed > 1:
            assert "interrupted" in second.loaded.said, second.loaded
        if way == "resume" and doomed > 1:
            resumed = second.run("%resume")
            assert resumed.ok, resumed
            last = re.search(r"as of `(\w+)`", resumed.said)
            assert last is not None, resumed
            at = [name for name, _ in CELLS].index(last[1]) + 1
            assert at in (doomed, doomed + 1)
            for name, source in CELLS[at:]:
                ran = second.run(source, cell=name)
                assert ran.ok, (name, ran.evalue)
        else:
            run_all(second)
        state = second.run(STATE)

    assert state.result == uninterrupted, state
    counts = {name: paid(place).count(name) for name in done if name != "plain"}
    assert set(counts.values()) <= {1}, counts


@pytest.mark.parametrize(
    "point", ["before-extent-write", "after-extent-write", "before-flush", "after-flush", "before-commit", "inside-commit", "after-commit"]
)
def test_a_kernel_killed_inside_a_save_loses_nothing_committed(
    tmp_path: Path, uninterrupted: str, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make(tmp_path / "run")
    with start(place) as first:
        for name, source in CELLS[:3]:
            assert first.run(source, cell=name).ok
        assert first.run(f"import os; os.environ['KITARU_NB_CRASH_AT'] = {point!r}").ok
        died = first.run(CELLS[3][1], cell=CELLS[3][0])
        assert died.status == "dead", died

    with start(place) as second:
        run_all(second)
        state = second.run(STATE)

    assert state.result == uninterrupted, state
    assert [paid(place).count(name) for name in ("load", "clean")] == [1, 1]
