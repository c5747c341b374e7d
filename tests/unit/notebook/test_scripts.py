"""Scripts that cells run with ``%run``: what they leave behind is stored and counts like the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.notebook.shell import Start


@pytest.fixture(autouse=True)
def _in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


RUN = "%%checkpoint run\n%run other.py"
USE = "%%checkpoint use\ny = g(2), K().v()"
SCRIPT = """
seen = []
A = {}
class K:
    def v(self): return A
def g(x):
    seen.append(x)
    return x + A
"""


def test_functions_of_a_script_come_back_on_the_variables_that_they_share(start: Start) -> None:
    Path("other.py").write_text(SCRIPT.replace("{}", "1"), "utf-8")
    first = start()
    for source in (RUN, USE):
        first.run(source).raise_error()
    other = start()

    for source in (RUN, USE):
        other.run(source).raise_error()

    assert other.hooks.last_status["status"] == "restored"
    assert (other["y"], other["seen"]) == ((3, 1), [2])
    assert other["g"](3) == 4
    assert other["seen"] is other["g"].__globals__["seen"]
    assert other["seen"] == [2, 3]


def test_an_edited_script_is_run_again_with_what_uses_its_functions(start: Start) -> None:
    Path("other.py").write_text(SCRIPT.replace("{}", "1"), "utf-8")
    first = start()
    for source in (RUN, USE):
        first.run(source).raise_error()
    Path("other.py").write_text(SCRIPT.replace("{}", "2"), "utf-8")
    other = start()

    for source in (RUN, USE):
        other.run(source).raise_error()

    assert other["y"] == (4, 2)


@pytest.mark.parametrize("plain", ["%run -i other.py", "__file__ = 'other.py'\nimport scripts_project"])
def test_the_notebook_is_no_module_of_the_project(start: Start, tmp_path: Path, plain: str) -> None:
    """Else each restored step would put all variables back as they were when it was recorded."""
    Path("scripts_project.py").write_text("Z = 1", "utf-8")
    Path("other.py").write_text("import scripts_project", "utf-8")
    cells = [f"%%checkpoint mark\n{plain}", "%%checkpoint last\nlast = 1"]
    first = start()
    for source in ("import sys; sys.path.insert(0, '')", "q = [1]", *cells):
        first.run(source).raise_error()
    other = start()

    for source in ("import sys; sys.path.insert(0, '')", "q = [2]", *cells):
        other.run(source).raise_error()

    assert other.hooks.last_status["status"] == "restored"
    assert other["q"] == [2]
