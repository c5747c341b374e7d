"""A data frame cleaned in place, given features, fitted and plotted in 15 cells."""

from __future__ import annotations

from pathlib import Path

from benchmarks.contestants import KEEPERS, Cell
from benchmarks.notebook import play, restore
from benchmarks.workload import Options, Round, Turn, Workload

__all__ = ["FRAME"]

_IMPORTS = """import matplotlib
matplotlib.use('agg')
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression"""


def _cells(rows: int) -> list[Cell]:
    def on_df(code: str) -> Cell:
        return Cell(code, reads=("df",), gives=("df",))

    return [
        Cell(_IMPORTS),
        Cell("rng = np.random.default_rng(3)", gives=("rng",)),
        Cell(
            f"df = pd.DataFrame(rng.standard_normal(({rows}, 10)), columns=[f'c{{i}}' for i in range(10)])",
            reads=("rng",),
            gives=("df",),
        ),
        on_df("df.loc[df['c0'] > 3, 'c0'] = 3.0"),
        on_df("df['c1'] = df['c1'].clip(-3, 3)"),
        on_df("df.loc[df['c2'].abs() < 0.01, 'c2'] = 0.0"),
        on_df("df['f0'] = df['c0'] * df['c1']"),
        on_df("df['f1'] = df['c2'] ** 2"),
        on_df("df['f2'] = df['c3'] - df['c4']"),
        on_df("df['f3'] = df['c5'].rolling(5, min_periods=1).mean()"),
        on_df("df['f4'] = (df['c6'] > 0).astype('float64')"),
        Cell("summary = df.describe()\nsummary", reads=("df",), gives=("summary",)),
        Cell(
            "features = [f'f{i}' for i in range(5)]\nmodel = LinearRegression().fit(df[features], df['c9'])",
            reads=("df",),
            gives=("features", "model"),
        ),
        Cell(
            "score = model.score(df[features], df['c9'])\nscore",
            reads=("model", "df", "features"),
            gives=("score",),
        ),
        Cell("fig, ax = plt.subplots()\nax.hist(df['f0'].to_numpy()[:100_000], bins=50)\nfig", reads=("df",)),
    ]


def _turn(contestant: str, options: Options, folder: Path) -> Turn:
    cells = _cells(options.rows)
    use = "float(df['f0'].sum() + score)"
    played = play(contestant, cells, folder, asked=use)
    return {**played, **restore(contestant, cells, folder, use=use, expected=played["asked"])}


def _judge(found: Round) -> Round:
    plain = found["plain"]
    judged = {}
    for contestant, turn in found.items():
        judged[contestant] = {
            "CPU s": turn["cpu"],
            "CPU x plain": turn["cpu"] / plain["cpu"],
            "wall x plain": turn["wall"] / plain["wall"],
            "disk GB": turn["disk"] / 1e9,
            "peak memory x plain": turn["peak"] / plain["peak"] if plain["peak"] else 0.0,
        }
        if "restore" in turn:
            judged[contestant] |= {"restore s": turn["restore"], "first use s": turn["use"]}
    return judged


FRAME = Workload(
    name="frame",
    title="a data frame cleaned, given features, fitted and plotted in 15 cells",
    aim="2M x 10: at most 1.25x plain, 0.8 GB, back in 2 s",
    contestants=KEEPERS,
    turn=_turn,
    judge=_judge,
    full=True,
)
