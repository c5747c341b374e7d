"""SIGKILL at any instant: the notebook ends as an uninterrupted run does, and pays nothing twice."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest

from tests.further import further
from tests.integration.kernel import Kernel, wait_for

PAY = "def pay(name):\n    with open('paid', 'a') as f:\n        f.write(name + '\\n')\n"
NOTEBOOK = """
%%checkpoint load
pay('load')
frame = pd.DataFrame({'a': np.arange(20_000), 'b': np.arange(20_000) % 7})
log.append('load')

%%checkpoint clean
pay('clean')
frame['c'] = frame.a * frame.b
frame = frame[frame.b != 3]
log.append('clean')

%%checkpoint array
pay('array')
big = np.arange(2_000_000, dtype='f8')
time.sleep(.03)
log.append('array')

%%checkpoint class
pay('class')
class Model:
    def __init__(self):
        self.w = np.zeros(3)
        self.seen = log
    def fit(self, x):
        self.w = self.w + x
        return self
log.append('class')

%%checkpoint fit
pay('fit')
model = Model().fit(np.array([1., 2., 3.]))
models = {'best': model}
log.append('fit')

%%checkpoint inplace
pay('inplace')
big[:1000] *= 2
model.fit(1.0)
time.sleep(.03)
log.append('inplace')

%%checkpoint function
pay('function')
def scale(x, by=[10]):
    by.append(len(log))
    return x * by[0] * FACTOR
FACTOR = 3
log.append('function')

%%checkpoint use
pay('use')
scaled = scale(big[:5])
log.append('use')

%%checkpoint random
pay('random')
np.random.seed(7)
draws = np.random.rand(4)
log.append('random')

%%checkpoint draw
pay('draw')
more = np.random.rand(4)
del draws
log.append('draw')

%%checkpoint group
pay('group')
means = frame.groupby('b').c.mean()
log.append('group')

%%checkpoint end
pay('end')
result = (float(means.sum()), model.w.tolist(), more.tolist())
log.append('end')
result
"""
"""Cells with a blank line between them."""
CELLS = [
    ("plain", "import numpy as np, pandas as pd, time\n" + PAY + "log = []\nalias = log"),
    *((cell.split()[1], cell) for cell in NOTEBOOK.strip().split("\n\n")),
]
STATE = (
    "import hashlib\n"
    "(log, alias is log, model.seen is log, models['best'] is model, isinstance(model, Model),"
    " model.w.tolist(), hashlib.sha256(big.tobytes()).hexdigest(), frame.shape, int(frame.c.sum()),"
    " list(frame.columns), scaled.tolist(), scale.__defaults__, 'draws' in dir(), more.tolist(),"
    " means.tolist(), result, scale(1), float(np.random.rand()))"
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
@pytest.mark.parametrize("seed", [1, *map(further, (0, *range(2, 10)))])
def test_a_killed_notebook_ends_as_an_uninterrupted_one(
    tmp_path: Path, uninterrupted: str, seed: int, way: str
) -> None:
    place = make(tmp_path / "run")
    chance = random.Random(f"{way}{seed}")
    done: list[str] = []
    with start(place) as first:
        doomed = chance.randrange(1, len(CELLS))
        for name, source in CELLS[:doomed]:
            assert first.run(source, cell=name).ok
            done.append(name)
        first.send(CELLS[doomed][1], cell=CELLS[doomed][0])
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
    "point",
    [
        further("before-extent-write"),
        further("after-extent-write"),
        further("before-flush"),
        further("after-flush"),
        "before-commit",
        "inside-commit",
        "after-commit",
    ],
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


KILLS = "%%checkpoint train\nimport os, signal\nx = 1\nos.kill(os.getpid(), signal.SIGKILL)"


def test_a_checkpoint_that_kills_the_kernel_three_times_is_held(tmp_path: Path) -> None:
    home, notebook = tmp_path / "home", tmp_path / "a.ipynb"
    for _ in range(3):
        with Kernel(home, notebook=notebook) as kernel:
            assert kernel.run(KILLS, cell="a").status == "dead"
    with Kernel(home, notebook=notebook) as kernel:
        held = kernel.run(KILLS, cell="a")
        other = kernel.run("%%checkpoint other\ny = 2", cell="b")
        asked_for = kernel.run(KILLS.replace("train", "train --fresh"), cell="a")
    with Kernel(home, notebook=notebook) as kernel:
        still = kernel.run(KILLS, cell="a")
        edited = kernel.run(KILLS.replace("signal.SIGKILL", "0"), cell="a")

    assert held.ename == "DivergenceError"
    assert "`train` is held: the kernel died 3 times" in held.evalue
    assert "--fresh" in "\n".join(held.traceback)
    assert other.ok
    assert asked_for.status == "dead"
    assert "the kernel died 4 times" in still.evalue
    assert edited.ok


LONG = """%%checkpoint long
import pathlib, time
pathlib.Path('began').touch()
time.sleep(wanted)
x = 1"""


@pytest.mark.further
def test_a_kernel_that_its_user_ends_has_not_died_of_its_cell(tmp_path: Path) -> None:
    home, notebook, began = tmp_path / "home", tmp_path / "a.ipynb", tmp_path / "began"
    for _ in range(3):
        with Kernel(home, notebook=notebook) as kernel:
            kernel.run("wanted = 600", cell="a")
            kernel.send(LONG, cell="b")
            wait_for(began)
            kernel.manager.shutdown_kernel()
        began.unlink()
    with Kernel(home, notebook=notebook) as kernel:
        kernel.run("wanted = 600", cell="a")
        request = kernel.send(LONG, cell="b")
        wait_for(began)
        kernel.interrupt()
        stopped = kernel.wait(request)

    assert stopped.ename == "KeyboardInterrupt"
