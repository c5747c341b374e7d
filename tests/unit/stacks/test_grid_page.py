from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kitaru_nb.errors import KernelError
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus, Identity
from kitaru_nb.stacks.grid import Point
from kitaru_nb.stacks.grid_page import FilePage, NoPage, markup_of, page_beside
from kitaru_nb.stacks.grid_rows import Row, counted, exit_of, status_of
from kitaru_nb.stacks.outcome import Exit, Outcome

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"


def row(number: int, status: ExecutionStatus, **more: object) -> Row:
    known = Execution(
        ExecutionId(f"ex_{number}"),
        Identity(),
        status,
        NOW,
        ended_at=NOW,
        duration=2.0,
        cost=0.5,
        reason="ValueError: no",
    )
    values = {"alpha": number}
    return Row(**{"point": Point(number, values), "output": f"/x/{number}.ipynb", "execution": known, **more})  # type: ignore[arg-type]


def ended(status: ExecutionStatus, code: Exit) -> Outcome:
    return Outcome(status, code, ExecutionId("ex_1"))


class Tags(HTMLParser):
    """Every element of a page with its attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_nothing_of_a_record_is_markup_in_the_page() -> None:
    hostile = row(
        1,
        ExecutionStatus.FAILED,
        point=Point(1, {HOSTILE: HOSTILE}, f"/x/{HOSTILE}.ipynb"),
        metrics={HOSTILE: HOSTILE},
        saved=(HOSTILE,),
        output=f"/x/javascript:alert(1){HOSTILE}.ipynb",
        error=KernelError(HOSTILE),
    )

    page = Tags(markup_of([hostile], title=HOSTILE, tag=HOSTILE, folder=Path("/x")))

    names = {name for name, _ in page.found}
    assert not names & {"script", "img", "iframe", "object", "form"}
    attributes = {name for _, attrs in page.found for name in attrs}
    assert not any(name.startswith("on") for name in attributes)
    assert page.text.count("<script>alert(1)</script>") >= 5


def test_links_are_relative_and_lead_nowhere_else(tmp_path: Path) -> None:
    name = "javascript:alert(1) #?.ipynb"
    (tmp_path / name).touch()
    (tmp_path / name.replace(".ipynb", ".html")).touch()

    text = markup_of(
        [row(1, ExecutionStatus.COMPLETED, output=str(tmp_path / name))], title="", tag="", folder=tmp_path
    )

    links = [attrs["href"] for tag, attrs in Tags(text).found if tag == "a"]
    assert links == [
        "./javascript%3Aalert%281%29%20%23%3F.ipynb",
        "./javascript%3Aalert%281%29%20%23%3F.html",
    ]


def test_the_page_tells_each_point_and_why_one_did_not_complete() -> None:
    rows = [
        row(1, ExecutionStatus.COMPLETED, metrics={"score": 0.25}, kept=True),
        row(2, ExecutionStatus.FAILED, metrics={"score": 1.0}),
        Row(Point(3, {"alpha": 3})),
    ]

    text = markup_of(rows, title="nb.ipynb", tag="grid:ab", folder=Path("/x"))

    told = Tags(text).text
    for expected in ("grid:ab", "$1.00", "0.25", "earlier", "ValueError: no", "pending"):
        assert expected in told
    assert "--share:1.000" in text
    assert "http-equiv='refresh'" not in text


def test_the_page_of_a_grid_that_runs_loads_itself_again() -> None:
    running = row(1, ExecutionStatus.RUNNING, running=True)

    assert "http-equiv='refresh'" in markup_of([running], title="", tag="", folder=Path("/x"))


def test_a_page_that_somebody_else_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    output = str(tmp_path / "a.ipynb")

    page = page_beside([output], title="", tag="")
    page.write([])

    assert (tmp_path / "index.html").read_text() == "mine"
    assert page.path == tmp_path / "index.kitaru-nb.html"
    assert page.path.exists()


def test_its_own_page_is_written_anew(tmp_path: Path) -> None:
    output = str(tmp_path / "a.ipynb")
    page_beside([output], title="one", tag="").write([])

    page_beside([output], title="two", tag="").write([])

    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    assert "<title>two</title>" in (tmp_path / "index.html").read_text()


def test_outputs_in_several_folders_or_elsewhere_have_no_page() -> None:
    for outputs in (["/a/x.ipynb", "/b/x.ipynb"], ["s3://a/x.ipynb"], ["/a/x.ipynb", "s3://a/x"], [None], []):
        assert isinstance(page_beside(outputs, title="", tag=""), NoPage)


def test_a_page_that_cannot_be_written_says_so_and_ends_nothing(tmp_path: Path) -> None:
    page = FilePage(tmp_path / "gone" / "index.html", title="", tag="")

    page.write([])

    assert "could not be written: No such file" in page.problem


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (row(1, ExecutionStatus.COMPLETED, kept=True), 0),
        (row(1, ExecutionStatus.COMPLETED, outcome=ended(ExecutionStatus.COMPLETED, Exit.COMPLETED)), 0),
        (row(1, ExecutionStatus.FAILED, outcome=ended(ExecutionStatus.FAILED, Exit.TIMED_OUT)), 124),
        (row(1, ExecutionStatus.WAITING, outcome=ended(ExecutionStatus.WAITING, Exit.WAITING)), 75),
        (row(1, ExecutionStatus.INTERRUPTED, lost="killed"), 138),
        (Row(Point(1), error=KernelError("no", kind="no-process")), 1),
    ],
)
def test_a_point_asks_for_the_exit_code_of_a_run(given: Row, code: int) -> None:
    assert exit_of(given, suspend_exit=None, stopped=None) == code


def test_a_point_that_waits_may_have_another_exit_code() -> None:
    waits = row(1, ExecutionStatus.WAITING, outcome=ended(ExecutionStatus.WAITING, Exit.WAITING))

    assert exit_of(waits, suspend_exit=0, stopped=None) == 0
    assert exit_of(Row(Point(1)), suspend_exit=0, stopped=15) == 143


def test_points_are_counted_by_status() -> None:
    rows = [row(1, ExecutionStatus.COMPLETED), row(2, ExecutionStatus.INTERRUPTED), Row(Point(3))]

    assert counted(rows) == {"completed": 1, "failed": 0, "waiting": 0, "interrupted": 1, "pending": 1}
    assert status_of(Row(Point(1), running=True)) == "running"
