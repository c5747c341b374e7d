from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kitaru_nb.model import execution
from kitaru_nb.model.execution import current_owner, default_output, is_alive

NOW = datetime.now(UTC)
BEFORE = NOW - timedelta(days=3650)  # before any boot

on_linux = pytest.mark.skipif(not Path("/proc/uptime").exists(), reason="only Linux tells boots apart")


def test_the_default_output_stands_beside_the_notebook() -> None:
    assert default_output("/work/train.ipynb") == "/work/train.out.ipynb"


def test_this_process_is_alive_and_one_that_has_its_number_again_is_not() -> None:
    assert is_alive(current_owner()) is True
    if Path("/proc/self/stat").exists():
        assert is_alive(replace(current_owner(), process_start=1)) is False


@on_linux
def test_an_owner_of_an_earlier_boot_is_dead() -> None:
    owner = replace(current_owner(), boot_id="another")

    assert is_alive(owner) is False
    assert is_alive(owner, last_sign=BEFORE) is False


@on_linux
def test_an_owner_on_another_machine_that_is_called_the_same_cannot_be_seen() -> None:
    assert is_alive(replace(current_owner(), boot_id="another"), last_sign=NOW) is None


@on_linux
@pytest.mark.parametrize("mine", ["", "pid:[4026532001]"])
@pytest.mark.parametrize("theirs", ["", "pid:[4026532002]"])
def test_an_owner_in_a_container_that_is_called_as_its_host_cannot_be_seen(
    monkeypatch: pytest.MonkeyPatch, mine: str, theirs: str
) -> None:
    boot = current_owner().boot
    monkeypatch.setattr(execution, "_boot_id", lambda: f"{boot}/{mine}" if mine else boot)
    owner = replace(current_owner(), boot_id=f"{boot}/{theirs}" if theirs else boot)

    assert is_alive(owner, last_sign=NOW) is (None if mine != theirs else True)
    assert owner.boot == boot


@on_linux
def test_an_owner_in_a_container_that_was_started_again_is_dead_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boot = current_owner().boot
    monkeypatch.setattr(execution, "_boot_id", lambda: f"{boot}/pid:[4026532001]")

    assert is_alive(replace(current_owner(), boot_id=f"{boot}/pid:[4026532002]"), last_sign=BEFORE) is False
