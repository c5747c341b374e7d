"""The test suite's own promise: nothing is left out in silence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
LEFT_OUT = """
import pytest

def test_skipped():
    pytest.skip("needs a browser")

@pytest.mark.xfail(reason="known fault")
def test_expected_to_fail():
    assert False
"""
LEFT_OUT_MODULE = 'import pytest\npytest.skip("needs a database", allow_module_level=True)\n'


def run(folder: Path, source: str, *, require_all: bool) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "test_it.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {**os.environ, "KITARU_NB_REQUIRE_ALL": "1" if require_all else ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:zarr", str(folder)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_left_out_tests_are_listed_by_reason(tmp_path: Path) -> None:
    result = run(tmp_path, LEFT_OUT, require_all=False)

    assert result.returncode == 0
    assert "    1  needs a browser\n" in result.stdout
    assert "    1  expected to fail: known fault\n" in result.stdout


def test_where_everything_must_run_a_left_out_test_fails(tmp_path: Path) -> None:
    result = run(tmp_path, LEFT_OUT, require_all=True)

    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    assert "2 failed" in result.stdout
    assert "needs a browser" in result.stdout


def test_where_everything_must_run_a_left_out_module_fails(tmp_path: Path) -> None:
    result = run(tmp_path, LEFT_OUT_MODULE, require_all=True)

    assert result.returncode != 0
    assert "needs a database" in result.stdout


def test_each_test_has_a_store_of_its_own(tmp_path: Path) -> None:
    assert Path(os.environ["KITARU_NB_HOME"]).is_relative_to(tmp_path)
