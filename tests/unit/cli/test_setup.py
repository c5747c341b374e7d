"""`doctor` as a person reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb.cli.main import main
from kitaru_nb.stacks import doctor


def test_each_setting_is_told_in_its_own_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_examine_kernels", lambda _found: None)
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KITARU_NB_BUDGET", "1.5")
    monkeypatch.setenv("KITARU_NB_KEEP_DAYS", "3")
    monkeypatch.setenv("KITARU_NB_LEASE", "20")

    main(["doctor"])

    told = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if "(KITARU_NB_" in line}
    assert told["budget"].split()[1:] == ["$1.50", "(KITARU_NB_BUDGET)"]
    assert told["keep_days"].split()[1:3] == ["3", "days"]
    assert told["lease"].split()[1:3] == ["20", "s"]
