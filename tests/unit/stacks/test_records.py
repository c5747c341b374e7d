"""What programs see of the record."""

from __future__ import annotations

from pathlib import Path

import pytest

import kitaru_nb as kt
from kitaru_nb.errors import NotFoundError, UsageError
from kitaru_nb.stacks.records import Client


@kt.checkpoint
def double(x: int) -> int:
    return 2 * x


@kt.flow
def job(x: int) -> int:
    return double(x) + 1


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KITARU_NB_CONFIG", str(tmp_path / "config"))
    return tmp_path


def test_a_client_sees_what_ran_and_loads_what_it_stored(home: Path) -> None:
    assert job(3) == 7
    client = Client()

    (execution,) = client.executions(status="completed")
    shown = client.execution(execution["id"])

    assert execution["flow"].endswith(":job")
    assert [checkpoint["name"] for checkpoint in shown["checkpoints"]] == ["double"]
    assert client.load(client.artifacts()[0]["ref"]) == 6
    assert client.cost() == []
    assert client.waits() == []


def test_a_client_of_another_stack_loads_what_is_stored_there(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = home / "other"
    (home / "config").mkdir()
    (home / "config" / "stacks.toml").write_text(
        f'[stacks.other]\nlauncher = "local"\n'
        f'journal = "sqlite:///{other}/journal.db"\nstore = "file://{other}/store"\n'
    )
    job(3)
    monkeypatch.setenv("KITARU_NB_STACK", "other")
    job(5)
    monkeypatch.delenv("KITARU_NB_STACK")
    here, there = Client(), Client(stack="other")

    assert here.load("latest/double/result") == 6
    assert there.load("latest/double/result") == 10
    assert there.load(there.artifacts()[0]["ref"]) == 10


def test_what_is_not_there_is_said(home: Path) -> None:
    with pytest.raises(NotFoundError):
        Client().executions()
    job(1)

    with pytest.raises(UsageError, match="no status"):
        Client().executions(status="done")
    with pytest.raises(UsageError, match="`since` is `'1h'`"):
        Client().executions(since="1h")  # type: ignore[arg-type] # as users try it
    with pytest.raises(UsageError, match="by `week`"):
        Client().cost(by="week")
    with pytest.raises(NotFoundError):
        Client().execution("ex_none")
