"""Variables that are nearly called as settings are."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb.cli.main import main
from kitaru_nb.stacks.misnamed import misnamed


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("KITARU_NB_BUDGTE", "KITARU_NB_BUDGET"),
        ("KITARU_NB_MAXBYTES", "KITARU_NB_MAX_BYTES"),
        ("KITARU_NB_HOEM", "KITARU_NB_HOME"),
        ("KITARU_NB_KEEP_DAY", "KITARU_NB_KEEP_DAYS"),
    ],
)
def test_a_mistyped_setting_is_named_with_the_one_that_is_meant(variable: str, meant: str) -> None:
    assert misnamed({variable: "5"}) == {variable: meant}


@pytest.mark.parametrize(
    "variable",
    [
        "KITARU_NB_BUDGET",
        "KITARU_NB_CONFIG",
        "KITARU_NB_NOTIFY_URL",
        "KITARU_NB_DB_PASSWORD",
        "KITARU_BUDGET",
    ],
)
def test_what_is_a_setting_or_the_users_own_is_not(variable: str) -> None:
    assert misnamed({variable: "5"}) == {}


def test_a_run_and_doctor_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KITARU_NB_BUDGTE", "5")

    main(["run", str(tmp_path / "none.ipynb")])
    of_run = capsys.readouterr().err
    main(["doctor"])
    of_doctor = capsys.readouterr().out

    assert "`KITARU_NB_BUDGTE`" in of_run
    assert "`KITARU_NB_BUDGET`" in of_run
    assert "there is no setting `KITARU_NB_BUDGTE`" in of_doctor
