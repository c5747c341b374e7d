"""`diff`: two executions in the terminal, as JSON, and as a page that needs nothing else."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import kitaru_nb as kt
from kitaru_nb.cli.main import main
from kitaru_nb.stacks.comparing import compared
from kitaru_nb.stacks.flows import here
from kitaru_nb.stacks.settings import resolve
from tests.unit.engine.kernel import Kernel

HOSTILE = "<script>alert(1)</script>"


def picture(colour: str) -> str:
    file = io.BytesIO()
    Image.new("RGB", (2, 2), colour).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def shown(text: str, colour: str) -> list[dict[str, Any]]:
    return [
        {"output_type": "stream", "name": "stdout", "text": text},
        {
            "output_type": "display_data",
            "data": {"text/plain": "<Figure size 640x480>", "image/png": picture(colour)},
            "metadata": {},
        },
    ]


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two executions; of four steps one is equal, one has another input, one another plot, one is new."""
    home = tmp_path / "home"
    monkeypatch.setenv("KITARU_NB_HOME", str(home))
    found: list[str] = []
    for rate, colour in ((1, "red"), (2, "blue")):
        kernel = Kernel(home, notebook=tmp_path / f"{rate}.ipynb")
        kernel.cell("%%checkpoint load\nimport numpy as np\nrows = np.arange(3.0)", step="a")
        kernel.plain(f"rate = {rate}")
        kernel.cell("%%checkpoint train\nmodel = {'w': rows * rate, 'note': '" + HOSTILE + "'}", step="b")
        kernel.cell("%%checkpoint plot\n'plotted'", step="c", outputs=shown("drawn\n", colour))
        if rate == 2:
            kernel.cell("%%checkpoint more\nn = 1", step="d")
        found.append(kernel.last.execution)
        kernel.stop()
    return found


def test_the_terminal_says_where_they_part_and_what_differs(
    ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", *ids]) == 0

    said = capsys.readouterr().out
    assert "the first difference is in `train`" in said
    assert "w: 2 of 3 elements differ, by 2 at most" in said
    assert "it reads another rate" in said
    assert "output picture 1" in said
    assert re.search(r"^more  only in the second \(completed, .* s\)$", said, re.MULTILINE)
    assert "1 step is the same" in said
    assert "\x1b" not in said, "no colours into a pipe"


def test_on_a_terminal_both_sides_have_colours(ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", terminal)

    main(["diff", *ids])

    assert f"\x1b[31m- {ids[0]}" in terminal.getvalue()
    assert f"\x1b[32m+ {ids[1]}" in terminal.getvalue()


def test_an_execution_does_not_differ_from_itself(ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["diff", ids[0], ids[0]])

    assert capsys.readouterr().out.endswith("no step differs\n")


def test_as_json_it_is_one_document(ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["diff", *ids, "--json"])

    found = json.loads(capsys.readouterr().out)
    steps = {step["name"]: step for step in found["steps"]}
    assert (found["a"]["id"], found["b"]["id"], found["first_difference"]) == (*ids, "train")
    assert [step["same"] for step in found["steps"]] == [True, False, False, False]
    assert (steps["more"]["only"], steps["more"]["a"]) == ("b", None)
    assert [(each["what"], each["name"]) for each in steps["train"]["differences"]] == [
        ("input", "rate"),
        ("value", "model"),
    ]
    (plot,) = steps["plot"]["differences"]
    assert (plot["what"], plot["name"], plot["kind"]) == ("output", "picture 1", "picture")


class Page(html.parser.HTMLParser):
    """The tags of a page, and what they lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]


def test_the_page_needs_nothing_else_and_runs_nothing(ids: list[str], tmp_path: Path) -> None:
    target = tmp_path / "diff.html"

    assert main(["diff", *ids, "--html", str(target)]) == 0

    text = target.read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "Content-Security-Policy" in text
    assert [base64.b64decode(each.removeprefix("data:image/png;base64,")) for each in page.sources] == [
        base64.b64decode(picture("red")),
        base64.b64decode(picture("blue")),
    ]
    assert "The first difference is in <code>train</code>" in text
    assert "The same in both: <code>load</code>" in text


def test_a_page_that_cannot_be_written_is_an_error(
    ids: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["diff", *ids, "--html", str(tmp_path / "no" / "such" / "page.html"), "--json"])

    assert code == 1
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "output-not-written"


def test_a_notebook_displays_the_same_without_a_script(ids: list[str]) -> None:
    found = compared(resolve(), *ids)

    page = Page(found["text/html"])
    assert page.tags >= {"table", "img", "pre"}
    assert "script" not in page.tags
    assert found["text/plain"].endswith("the first difference is in `train`")


def test_what_anybody_says_is_a_picture_may_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("KITARU_NB_HOME", str(home))
    found = []
    for name, data in (("a", "no base64"), ("b", picture("red"))):
        kernel = Kernel(home, notebook=tmp_path / f"{name}.ipynb")
        output = {"output_type": "display_data", "data": {"image/png": data}, "metadata": {}}
        kernel.cell("%%checkpoint plot\n1", step="a", outputs=[output])
        found.append(kernel.last.execution)
        kernel.stop()

    assert main(["diff", *found]) == 0
    assert "output picture 1" in capsys.readouterr().out


@kt.flow
def keeping(value: str) -> str:
    kt.save("report", value)
    return value


def test_what_is_kept_beside_the_steps_is_told_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    found = []
    for value in ("text", HOSTILE):
        keeping(value)
        found.append(here.engine().journal.execution("latest").id)
    capsys.readouterr()

    assert main(["diff", *found]) == 0
    assert main(["diff", *found, "--html", str(tmp_path / "d.html")]) == 0

    said = capsys.readouterr().out
    assert "the first difference is in `saved value report`\n\nsaved value report\n  value\n" in said
    assert "result of keeping\n  value\n    - 'text'" in said
    page = (tmp_path / "d.html").read_text(encoding="utf-8")
    assert "<code>result of keeping</code>" in page
    assert "script" not in Page(page).tags
    assert "the first difference is in `saved value report`" in compared(resolve(), *found)["text/plain"]
