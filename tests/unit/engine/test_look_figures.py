"""Figures of matplotlib are known to be unchanged without a digest, and each change in them is seen."""

from __future__ import annotations

import builtins
import gc
import random
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from kitaru_nb.engine import namespace as namespace_module
from kitaru_nb.engine.namespace import Namespace

_START = """
def heard(event): pass
fig, ax = plt.subplots()
line, = ax.plot([1, 2, 3., 4, 5])
image = ax.imshow(np.eye(3))
other, beside = plt.subplots()
y = np.arange(5.)
dots = beside.scatter([1, 2], [3, 4], c=[1, 2])
bar = other.colorbar(dots)
"""
_CHANGES = """
ax.plot(np.arange(3) + k)
ax.set_title(f"t{k}")
line.set_ydata(np.arange(5) * k)
line._y[0] += 1
ax.legend([f"a{k}"])
fig.savefig(io.BytesIO())
plt.close(fig)
ax.cla()
ax.set_xlim(-k, k)
ax.callbacks.connect("xlim_changed", heard)
fig.canvas.mpl_connect("button_press_event", heard)
fig.set_size_inches(3 + k, 3)
image.get_array()[0, 0] += 1
other.dpi = 50 + k
ax.add_patch(plt.Rectangle((0, 0), 1, k))
ax.lines[-1].remove()
dots.set_offsets(np.ones((2, 2)) * k)
dots.norm.vmin = -k
beside.set_yscale("log")
beside.yaxis.set_major_formatter(lambda value, place: f"{value}{k}")
twin = beside.twinx()
parts = {"fig": fig, "dots": dots}
z = line.get_ydata(orig=False)[1:]
polar = plt.figure().add_subplot(projection="polar")
current = plt.gca()
"""


@pytest.fixture
def figures() -> Iterator[Namespace]:
    mpl.use("agg")
    import io  # noqa: PLC0415 - for the namespace alone

    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    live: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins, "np": np, "plt": plt, "io": io}
    exec(_START, live)
    yield Namespace(live)
    plt.close("all")


def test_unchanged_figures_are_not_digested_again(
    figures: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures.observe()
    exec("fig.savefig(io.BytesIO())\nother.savefig(io.BytesIO())\nlone = y", figures.live)
    seen = figures.observe()
    alone = namespace_module.digest_values

    def digest(values: dict[str, object], *, namespace: dict[str, Any]) -> Any:
        assert not {"fig", "other"} & values.keys()
        return alone(values, namespace=namespace)

    monkeypatch.setattr(namespace_module, "digest_values", digest)

    assert figures.observe().groups == seen.groups


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.further) for n in range(1, 12))])
def test_whatever_changes_in_a_figure_is_seen(figures: Namespace, seed: int) -> None:
    chosen = random.Random(seed)
    figures.observe()
    changes = _CHANGES.strip().splitlines()

    for _ in range(10):
        figures.live["k"] = chosen.randrange(1, 20)
        try:
            exec(chosen.choice(changes), figures.live)
        except Exception:  # noqa: BLE001 - what it wants to change may be gone
            continue
        gc.collect()  # who is dead but not collected yet is still told of changes
        assert figures.observe().groups == Namespace(figures.live).observe().groups
