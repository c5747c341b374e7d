"""A kernel whose cells are run in JupyterLab with the extension: what it says, and what it leaves to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kitaru_nb.engine.engine import Engine
from kitaru_nb.notebook.front import WAIT_MIME
from kitaru_nb.stacks.cell_states import TypedCell, cell_states
from kitaru_nb.stacks.flows import here
from tests.integration.kernel import Kernel, Ran
from tests.patience import PATIENCE

STEP = "%%checkpoint numbers\nnumbers = [1, 2, 3]\nprint('made')"
STANDING = "__import__('kitaru_nb.notebook.extension', fromlist=['x']).standing()"


class LabKernel(Kernel):
    """Sends what JupyterLab and Notebook 7 send with each cell, and no other front end."""

    def send(self, code: str, *, cell: str | None = None, **_: Any) -> str:
        content = {"code": code, "silent": False, "store_history": True, "stop_on_error": True}
        message = self.client.session.msg("execute_request", content)
        message["metadata"] = {
            "deletedCells": [],
            "recordTiming": False,
            **({"cellId": cell} if cell else {}),
        }
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def standing(self) -> str:
        request = self.client.execute("", silent=True, user_expressions={"it": STANDING})
        reply = self.client.get_shell_msg(timeout=PATIENCE)
        while reply["parent_header"].get("msg_id") != request:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
        return str(reply["content"]["user_expressions"]["it"]["data"]["text/plain"]).strip("'")


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    found = tmp_path / "train.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), found)
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "home"
    monkeypatch.setenv("KITARU_NB_HOME", str(found))
    return found


@pytest.fixture
def lab(home: Path, notebook: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabKernel]:
    monkeypatch.setenv("KITARU_NB_LAB", "1")
    with LabKernel(home, notebook=notebook) as kernel:
        yield kernel


def waiting(ran: Ran) -> dict[str, Any]:
    [data] = [output["data"] for output in ran.outputs if WAIT_MIME in output.get("data", {})]
    return dict(data)


def test_a_cell_says_nothing_that_a_badge_says(lab: LabKernel, home: Path, notebook: Path) -> None:
    ran = lab.run(STEP, cell="a")
    lab.kill()
    with LabKernel(home, notebook=notebook) as again:
        restored = again.run(STEP, cell="a")

    assert [output["output_type"] for output in ran.outputs] == ["stream"]
    assert restored.outputs == ran.outputs
    assert again.loaded.outputs == []  # the bar above the notebook tells of the last execution


def test_what_no_badge_can_say_is_still_said(lab: LabKernel) -> None:
    ran = lab.run("%%checkpoint opened\nnumbers = (n for n in [1, 2])", cell="a")

    assert "not stored: `numbers`" in ran.said


def test_another_front_end_of_the_same_server_is_told(
    home: Path, notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARU_NB_LAB", "1")

    with Kernel(home, notebook=notebook) as other:
        ran = other.run(STEP, cell="a")

    assert "kitaru: `numbers` saved" in ran.said


def test_a_wait_names_itself_and_says_no_more_to_the_extension(lab: LabKernel) -> None:
    lab.run("import kitaru_nb as kt", cell="a")

    ran = lab.run("kt.wait('Publish?', show='a draft', name='publish')", cell="b")

    data = waiting(ran)
    assert data[WAIT_MIME] == {"address": here.engine().journal.waits()[0].address}
    assert "%kitaru approve" in data["text/plain"]
    assert "Publish?" in data["text/html"]
    assert len(ran.outputs) == 1  # the form shows the draft
    assert (ran.status, ran.ename) == ("error", "Suspended")


def test_what_the_form_cannot_show_is_shown_above_it(lab: LabKernel) -> None:
    lab.run("import kitaru_nb as kt, fractions", cell="a")

    ran = lab.run("kt.wait('Publish?', show=fractions.Fraction(1, 3), name='publish')", cell="b")

    assert ran.outputs[0]["data"]["text/plain"] == "Fraction(1, 3)"
    assert waiting(ran)


@pytest.mark.parametrize(
    "show",
    ["numpy.arange(6).reshape(2, 3)", "pandas.DataFrame({'n': [1, 2]})", "pandas.Series([1.5, None])"],
)
def test_what_has_no_truth_is_shown_and_asked_about(lab: LabKernel, show: str) -> None:
    lab.run("import kitaru_nb as kt, numpy, pandas", cell="a")

    ran = lab.run(f"kt.wait('Publish?', show={show}, name='publish')", cell="b")

    assert "text/plain" in ran.outputs[0]["data"]
    assert waiting(ran)
    assert (ran.status, ran.ename) == ("error", "Suspended")


def test_a_picture_is_shown_once_by_the_form(lab: LabKernel) -> None:
    lab.run("import kitaru_nb as kt, PIL.Image", cell="a")

    ran = lab.run("kt.wait('Publish?', show=PIL.Image.new('RGB', (4, 4)), name='publish')", cell="b")

    assert len(ran.outputs) == 1
    assert waiting(ran)


def test_a_kernel_says_how_it_stands_to_a_wait(lab: LabKernel) -> None:
    assert lab.standing() == "new"
    lab.run("import kitaru_nb as kt", cell="a")
    lab.run("ok = kt.wait('Publish?', name='publish')", cell="b")
    assert lab.standing() == "waits"
    here.engine().journal.answer_wait(
        here.engine().journal.waits()[0].address, answer=True, by="ana@lab", source="cli"
    )

    lab.run("ok = kt.wait('Publish?', name='publish')", cell="b")

    assert lab.standing() == "went on"


def test_the_cell_that_loads_the_extension_is_no_news_to_what_reads_its_names(
    home: Path, notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARU_NB_LAB", "1")
    cells = [
        TypedCell("a", "%load_ext kitaru_nb\nfactor = 2"),
        TypedCell("b", "%%checkpoint doubled\ndoubled = 21 * factor"),
    ]
    with LabKernel(home, notebook=notebook, load=False) as kernel:
        for cell in cells:
            assert kernel.run(cell.source, cell=cell.id).ok

    engine: Engine = here.engine()
    states = cell_states(engine, str(notebook), cells)

    assert states["cells"]["b"]["status"] == "fresh"
