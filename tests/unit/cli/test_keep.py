"""`gc`, `pin` and `unpin` on a store of an earlier format, as people and programs type them."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import kitaru_nb
from kitaru_nb.cli.main import main
from kitaru_nb.errors import StoreError
from kitaru_nb.model.checkpoint import Group
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.testing import a_draft

GOLDEN = Path(__file__).parents[2] / "golden" / "format-1"


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The ids of a store's executions: `own` completed, `broken` failed."""
    shutil.copytree(GOLDEN, tmp_path / "home")
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    with closing(open_engine(Settings(home=tmp_path / "home"))) as engine:
        attempt, _ = engine.journal.start(Identity(notebook="/own.ipynb"), owner=current_owner())
        stored = engine.put({"own": [1, 2, 3]}, namespace={})
        group = Group(("own",), stored.artifact.digest, stored.artifact.digest)
        draft = a_draft("load", groups=(group,))
        draft = engine.trust.signed(draft, attempt.execution)
        engine.journal.commit(attempt, draft, artifacts=[stored.artifact], locations=stored.locations)
        engine.journal.finish(attempt, ExecutionStatus.COMPLETED)
    known = json.loads((GOLDEN / "expected.json").read_text())
    return {"own": attempt.execution, "broken": known["broken"][0]}


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What `kitaru-nb WORDS --json` prints."""
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("days", ["nan", "inf", "-1"])
def test_what_is_no_number_of_days_removes_nothing(
    ids: dict[str, str], capsys: pytest.CaptureFixture[str], days: str
) -> None:
    assert main(["gc", "--keep-days", days, "--json"]) == 2

    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "bad-argument"
    assert kitaru_nb.load("own", execution=ids["own"]) == [1, 2, 3]


def test_days_before_the_beginning_of_time_keep_everything(
    ids: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(capsys, "gc", "--keep-days", "1e9")["executions"] == []
    assert kitaru_nb.load("own", execution=ids["own"]) == [1, 2, 3]


def test_gc_removes_what_completed_and_keeps_what_failed(
    ids: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    planned = typed(capsys, "gc", "--keep-days", "0", "--dry-run")
    done = typed(capsys, "gc", "--keep-days", "0")
    again = typed(capsys, "gc", "--keep-days", "0")

    assert (planned["dry_run"], done["dry_run"]) == (True, False)
    assert ids["own"] in [each["id"] for each in done["executions"]]
    assert (planned["executions"], planned["artifacts"]) == (done["executions"], done["artifacts"])
    assert (again["executions"], again["artifacts"]) == ([], 0)
    assert kitaru_nb.load("point", execution=ids["broken"], trust=True).double() == 42
    with pytest.raises(StoreError, match="removed by gc"):
        kitaru_nb.load("own", execution=ids["own"])
    removed = [a for a in typed(capsys, "artifacts", ids["own"]) if "removed" in a]
    assert removed[0]["removed"]["policy"] == "keep_days=0"
    assert len(typed(capsys, "show", ids["own"])["checkpoints"]) == 1


def test_a_pinned_execution_is_left_alone(ids: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    first = typed(capsys, "pin", ids["own"])
    second = typed(capsys, "pin", ids["own"])
    kept = typed(capsys, "gc", "--keep-days", "0", "--max-bytes", "1kB")
    shown = main(["show", ids["own"]]), capsys.readouterr().out
    unpinned = typed(capsys, "unpin", ids["own"])
    gone = typed(capsys, "gc", "--keep-days", "0")

    assert first == {"execution": ids["own"], "pinned": True, "changed": True}
    assert second == {"execution": ids["own"], "pinned": True, "changed": False}
    assert ids["own"] not in [each["id"] for each in kept["executions"]]
    assert "pinned: its values are kept" in shown[1]
    assert unpinned["changed"]
    assert [each["id"] for each in gone["executions"]] == [ids["own"]]


def test_people_read_what_went_and_that_records_stay(
    ids: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gc"]) == 0
    young = capsys.readouterr().out
    assert main(["gc", "--keep-days", "0", "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert main(["gc", "--keep-days", "0"]) == 0
    done = capsys.readouterr().out
    assert main(["show", ids["own"]]) == 0
    shown = capsys.readouterr().out
    assert main(["artifacts", ids["own"]]) == 0
    listed = capsys.readouterr().out

    assert ids["own"] not in young
    assert "would be removed" in planned
    assert f"{ids['own']}: " in done
    assert "policy keep_days=0: the store took" in done
    assert "values were removed by gc on" in shown
    assert "under the policy keep_days=0" in listed


@pytest.mark.parametrize(
    "words", [["gc", "--max-bytes", "many"], ["gc", "--keep-days", "-1"], ["pin"], ["pin", "ex_nothing"]]
)
def test_what_cannot_be_meant_is_refused(ids: dict[str, str], words: list[str]) -> None:
    assert ids
    assert main(words) in (1, 2)
