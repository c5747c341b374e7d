"""The benchmarks run, at sizes at which they say nothing; how fast anything is, no test asserts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import inside, objects
from benchmarks.__main__ import WORKLOADS, main
from benchmarks.kinds import KINDS
from benchmarks.measure import installed
from benchmarks.runner import Found, run, table
from benchmarks.ways import COMMON, synced
from benchmarks.workload import Absent, Options, Round, Turn, Workload
from tests.further import further
from tests.llm_pythons import llm_python
from tests.s3_server import s3_options

TINY = Options(
    cells=3,
    steps=2,
    items=50,
    repeats=5,
    headless_cells=2,
    notebooks=2,
    mebibytes=1,
    big_mebibytes=1,
    big_cells=2,
    rows=100,
    checkpoints=4,
    percent=1,
    tiny=3,
    resumed=2,
    calls=4,
    submissions=1,
)
# A kernel each is all there is time for, so the contestants are spread over the workloads.
CHOSEN = {
    "trivial": "joblib",
    "array": "cloudpickle",
    "frame": "plain",
    "digest": "cycles",
    "plain-cells": "in a checkpoint",
    "headless": "papermill --engine kitaru",
    "batch": "kitaru, warm",
    "first-cell": "local",
    "start": "%load_ext kitaru_nb",
    "calls": "served",
    "gc": "gc",
    "tap": "llm3, plain",
    "value-image": "kitaru's store",
    "value-small": "pickle5",
}
PROVE_IT = {"trivial", "array", "digest", "agent", "start", "calls", "gc", "tap", "objects", "value-small"}


@pytest.mark.parametrize(
    "workload",
    [w if w.name in PROVE_IT else further(w) for w in WORKLOADS],
    ids=lambda workload: workload.name,
)
def test_a_workload_runs_and_its_figures_are_judged(
    workload: Workload, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if workload.name == "objects":
        options = s3_options(request.getfixturevalue("s3_server").endpoint)
        monkeypatch.setattr(objects, "_server", lambda: options)  # one server is enough
    contestant = CHOSEN.get(workload.name, "kitaru")
    baseline = workload.contestants[0]

    if workload.name == "tap":
        llm_python("llm3")  # skips the test where it has not been made
    turn = workload.turn(contestant, TINY, tmp_path)
    judged = workload.judge({baseline: turn, contestant: turn})

    assert contestant in workload.contestants
    assert judged[contestant]
    assert all(isinstance(figure, float | int) for figure in judged[contestant].values())


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        (kind, name)
        for kind in KINDS
        for name, way in {**COMMON, **KINDS[kind].ways}.items()
        if not way.needs or installed(way.needs)  # the libraries of `make bench` are only there
    ],
)
def test_a_way_of_others_gives_back_what_it_kept(kind: str, way: str, tmp_path: Path) -> None:
    chosen = {**COMMON, **KINDS[kind].ways}[way]
    value = KINDS[kind].make(max(1, KINDS[kind].size // 1000))
    path = tmp_path / "kept"

    for _ in range(2):  # over what is there
        chosen.save(value, path)
        synced(path)

    assert KINDS[kind].use(chosen.load(path)) == KINDS[kind].use(value)


def test_a_value_that_came_back_as_another_one_is_noticed() -> None:
    with pytest.raises(ValueError, match=r"it was 3\.0 and is 2\.0"):
        inside.use("short-texts", ["ab"], 3.0)


def test_a_family_of_workloads_is_chosen_by_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def noted(workload: Workload, _options: Options, **_rest: object) -> Found:
        asked.append(workload.name)
        return Found(workload, 1)

    monkeypatch.setattr(command, "run", noted)

    main(["--only", "values", "--only", "tiny"])

    assert asked == [*(f"value-{kind}" for kind in KINDS), "tiny"]


def test_the_command_prints_a_table_and_writes_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "figures.json"

    code = main(["--only", "digest", "--runs", "2", "--items", "20", "--json", str(record)])

    said = capsys.readouterr().out
    (found,) = json.loads(record.read_text(encoding="utf-8"))["workloads"]
    assert code == 0
    assert "digest: " in said
    assert set(found["figures"]["dicts"]["digest x pickle"]) == {"median", "lowest", "highest"}


def test_contestants_take_turns_and_are_compared_within_a_round() -> None:
    turns: list[str] = []
    costs: Mapping[str, list[float]] = {"plain": [1, 10, 2], "ours": [2, 11, 3]}

    def turn(contestant: str, _options: Options, folder: Path) -> Turn:
        assert list(folder.iterdir()) == []
        turns.append(contestant)
        if contestant == "gone":
            raise Absent("does not install here: no wheel")
        if contestant == "broken":
            raise RuntimeError("it broke")
        return {"cost": costs[contestant][turns.count(contestant) - 1]}

    def judge(found: Round) -> Round:
        return {name: {"over plain": turn["cost"] - found["plain"]["cost"]} for name, turn in found.items()}

    contestants = ("plain", "ours", "gone", "broken", "unwanted")
    workload = Workload("w", "work", "little", contestants, turn, judge)

    found = run(workload, Options(without=frozenset({"unwanted"})), rounds=3)

    assert turns == ["plain", "ours", "gone", "broken", "plain", "ours", "plain", "ours"]
    assert found.figures["ours"]["over plain"] == (1, 1, 1)
    assert found.absent == {"gone": "does not install here: no wheel", "unwanted": "left out"}
    assert found.failed == {"broken": "it broke"}
    assert "gone: does not install here: no wheel" in table(found)
    assert "broken FAILED: it broke" in table(found)
