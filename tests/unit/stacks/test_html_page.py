from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from kitaru_nb.errors import UsageError
from kitaru_nb.stacks import html_page
from kitaru_nb.stacks.html_page import need_nbconvert, page_of, write_html

bs4 = pytest.importorskip("bs4")
pytest.importorskip("nbconvert")

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)><a href='javascript:alert(1)'>x</a>"
    "<iframe srcdoc='<script>alert(1)</script>'></iframe><svg onload=alert(1)></svg>"
    "<style>@import url(http://example.com)</style><base href='http://example.com'>"
)

# As pandas writes one.
TABLE = (
    "<style scoped>.dataframe { color: red }</style><table border='1' class='dataframe'><thead><tr><th></th>"
    "<th>a</th></tr></thead><tbody><tr><th>0</th><td>a cell of a table</td></tr></tbody></table>"
)


def shown(**data: Any) -> Any:
    output = nbformat.v4.new_output("display_data", data={k.replace("_", "/", 1): v for k, v in data.items()})
    output["metadata"] = {"image/png": {"width": "1 onload=alert(1)"}}
    return output


def notebook() -> nbformat.NotebookNode:
    nb = nbformat.v4.new_notebook()
    code = nbformat.v4.new_code_cell("print('the source')", metadata={"tags": ["x' onclick='alert(1)"]})
    code.outputs = [
        shown(text_html=f"{TABLE}{HOSTILE}"),
        shown(application_javascript="alert(1)"),
        shown(text_markdown=HOSTILE),
        shown(image_png="iVBORw0KGgo="),
        nbformat.v4.new_output("display_data", data={"image/svg+xml": f"<svg>{HOSTILE}</svg>"}),
        nbformat.v4.new_output("display_data", data={"text/vnd.mermaid": HOSTILE}),
        nbformat.v4.new_output(
            "display_data",
            data={
                "application/vnd.jupyter.widget-view+json": {"model_id": "</script>"},
                "text/plain": "a bar",
            },
        ),
        nbformat.v4.new_output("stream", text=f"printed {HOSTILE}"),
        nbformat.v4.new_output("error", ename="E", evalue=HOSTILE, traceback=[HOSTILE]),
    ]
    nb.cells = [code, nbformat.v4.new_markdown_cell(HOSTILE), nbformat.v4.new_raw_cell(HOSTILE)]
    nb.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"x": "</script>" + HOSTILE}}
    nb.metadata["title"] = HOSTILE
    return nb


def test_nothing_in_the_page_runs_or_is_fetched() -> None:
    page = bs4.BeautifulSoup(page_of(notebook(), f"{HOSTILE}.ipynb"), features="html.parser")

    assert page.find_all(["script", "iframe", "object", "embed", "base", "link", "form", "svg"]) == []
    for element in page.find_all(True):
        assert not [name for name in element.attrs if name.lower().startswith("on")], element
        assert str(element.get("src", "data:")).startswith("data:"), element
        assert "width" not in element.attrs, "a notebook's metadata is nowhere in the page"
        assert not any("alert(1)" in str(value) for value in element.attrs.values()), element
        assert not str(element.get("href", "#")).strip().lower().startswith(("javascript", "data")), element
    policy = page.head.find("meta")
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith("default-src 'none'")


def test_what_the_cells_showed_is_there() -> None:
    page = bs4.BeautifulSoup(page_of(notebook(), "a.ipynb"), features="html.parser")

    text = page.get_text()
    for expected in ("the source", "printed <script>alert(1)</script>", "a bar"):
        assert expected in text
    assert page.select_one("table.dataframe > tbody > tr > td").get_text() == "a cell of a table"
    assert "color: red" not in text
    assert {str(image["src"])[:15] for image in page.find_all("img", src=True)} == {
        "data:image/png;",
        "data:image/svg+",
    }


def test_a_page_is_beside_its_notebook_and_what_keeps_it_from_there_is_told(tmp_path: Path) -> None:
    nbformat.write(notebook(), tmp_path / "a.out.ipynb")

    assert write_html(str(tmp_path / "a.out.ipynb")) == ""
    assert "a cell of a table" in (tmp_path / "a.out.html").read_text()
    assert "No such file" in write_html(str(tmp_path / "b.ipynb"))
    assert write_html("s3://bucket/a.ipynb") == ""


def test_a_notebook_that_is_none_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("{}")

    assert "could not be made" in write_html(str(tmp_path / "a.ipynb"))


def test_without_nbconvert_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_page, "find_spec", lambda _name: None)

    with pytest.raises(UsageError) as caught:
        need_nbconvert()

    assert "kitaru-nb[html]" in caught.value.hint
