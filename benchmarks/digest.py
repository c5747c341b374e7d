"""What looking at 100,000 small objects in one name costs, beside pickling them in the same process."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import spread, timed
from benchmarks.workload import Options, Round, Turn, Workload
from kitaru_nb.analysis.names import names_of
from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.groups import alias_groups
from kitaru_nb.engine.namespace import Namespace

__all__ = ["DIGEST"]

_REPEATS = 3


def _dicts(count: int) -> object:
    return [{"id": n, "name": f"item {n}", "score": n / 7, "tags": ["a", "b"]} for n in range(count)]


def _sets(count: int) -> object:
    return [{n, n + 1, f"item {n}"} for n in range(count)]


def _cycles(count: int) -> object:
    nodes: list[dict[str, Any]] = [{"id": n} for n in range(count)]
    for node, following in zip(nodes, [*nodes[1:], *nodes[:1]], strict=True):
        node["next"] = [following["id"]]
        node["self"] = node
    return nodes


def _texts(count: int) -> object:
    return [f"item {n}" for n in range(count)]


_MAKE: dict[str, Callable[[int], object]] = {
    "dicts": _dicts,
    "sets": _sets,
    "cycles": _cycles,
    "texts": _texts,
}


def _turn(contestant: str, options: Options, folder: Path) -> Turn:  # noqa: ARG001 - writes nothing
    live: dict[str, Any] = {"__name__": "__main__", "kept": _MAKE[contestant](options.items)}
    values = {"kept": live["kept"]}
    tree = ast.parse("for item in kept:\n    item.update(seen=True)\nlen(kept)")
    looked = Namespace(live)
    looked.observe()
    parts: dict[str, Callable[[], object]] = {
        "pickle": partial(pickle.dumps, live["kept"], 5),
        "analysis": partial(names_of, tree),
        "groups": partial(alias_groups, values, namespace=live),
        "digest": partial(digest_values, values, namespace=live),
        "first look": lambda: Namespace(live).observe(),
        "next look": looked.observe,
    }
    return {part: spread([timed(work)[1] for _ in range(_REPEATS)])[0] for part, work in parts.items()}


def _judge(found: Round) -> Round:
    return {
        contestant: {
            "pickle.dumps ms": turn["pickle"] * 1e3,
            "analysis ms": turn["analysis"] * 1e3,
            "grouping x pickle": turn["groups"] / turn["pickle"],
            "digest x pickle": turn["digest"] / turn["pickle"],
            "first look at the namespace x pickle": turn["first look"] / turn["pickle"],
            "next look x pickle": turn["next look"] / turn["pickle"],
        }
        for contestant, turn in found.items()
    }


DIGEST = Workload(
    name="digest",
    title="analysis, grouping and digest of many small objects in one name, CPU in one process",
    aim="about twice a pickle",
    contestants=tuple(_MAKE),
    turn=_turn,
    judge=_judge,
)
