"""Going on with a script's flow from the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kitaru_nb.cli.main import main

SCRIPT = """
import kitaru_nb as kt

@kt.flow
def agent():
    raise ValueError("not yet")

if __name__ == "__main__":
    agent()
"""


def test_a_package_that_the_script_lacks_here_is_named_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "lacking_agent.py"
    script.write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, script], check=False, capture_output=True)
    script.write_text("import no_such_package_here\n" + SCRIPT)

    code = main(["resume"])

    said = capsys.readouterr().err
    assert code == 1
    assert "No module named 'no_such_package_here'" in said
    assert "-m pip install no_such_package_here" in said
