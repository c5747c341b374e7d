"""What a cell says it depends on: files, folders, patterns and web addresses."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from kitaru_nb.engine.declared import declared, looked_up
from kitaru_nb.engine.why import explain
from kitaru_nb.errors import UsageError
from tests.unit.engine.kernel import RAN, RESTORED, Start


class Site(ThreadingHTTPServer):
    """One page, whose content and ETag can be changed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.content, self.tag, self.status = b"one", "", 200
        self.asked: list[tuple[str, str | None]] = []
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/rows.csv"


class _Page(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append((self.headers["Host"], self.headers["Authorization"]))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.content)))
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.shutdown()
    site.server_close()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("1")
    (tmp_path / "data" / "notes.txt").write_text("1")
    return tmp_path / "data"


@pytest.mark.parametrize("depends", ["data/*.csv", "data", "data/**/*.csv"])
def test_a_pattern_or_folder_counts_with_its_names_and_what_its_files_hold(
    start: Start, data: Path, depends: str
) -> None:
    kernel, source = start(), f"%%checkpoint load --depends {depends}\nn = 1"
    became = [kernel.cell(source), kernel.cell(source)]

    (data / "a.csv").write_text("2")
    became.append(kernel.cell(source))
    (data / "b.csv").write_text("1")
    became.append(kernel.cell(source))
    reason = str(explain(kernel.engine.journal, kernel.last))
    became.append(kernel.cell(source))

    assert became == [RAN, RESTORED, RAN, RAN, RESTORED]
    assert str(data) in reason


def test_a_file_that_the_pattern_does_not_name_is_none_of_it(start: Start, data: Path) -> None:
    kernel, source = start(), "%%checkpoint load --depends data/*.csv\nn = 1"
    kernel.cell(source)

    (data / "notes.txt").write_text("2")

    assert kernel.cell(source) == RESTORED


def test_a_cell_that_writes_into_the_folder_it_depends_on_is_restored(start: Start, data: Path) -> None:
    source = "%%checkpoint load --depends data\nwith open('data/out.csv', 'w') as f:\n    f.write('x')"
    start().cell(source)
    kernel = start()

    assert kernel.cell(source) == RESTORED
    (data / "a.csv").write_text("2")
    assert kernel.cell(source) == RAN


def test_a_folder_counts_also_where_the_cell_reads_one_file_of_it_itself(start: Start, data: Path) -> None:
    kernel, source = (
        start(),
        "%%checkpoint load --depends data\nwith open('data/a.csv') as f:\n    n = f.read()",
    )
    kernel.cell(source)

    (data / "notes.txt").write_text("2")

    assert kernel.cell(source) == RAN


def test_an_address_counts_with_what_it_gives(start: Start, site: Site) -> None:
    kernel, source = start(), f"%%checkpoint load --depends {site.address}\nn = 1"
    became = [kernel.cell(source), kernel.cell(source)]

    site.content = b"two"
    became.append(kernel.cell(source))
    reason = str(explain(kernel.engine.journal, kernel.last))
    became.append(kernel.cell(source))

    assert became == [RAN, RESTORED, RAN, RESTORED]
    assert f"what is at `{site.address}` has changed" in reason
    assert kernel.last.draft.outside == (), "our own look is no doing of the cell"


def test_an_etag_tells_without_the_content(site: Site) -> None:
    site.tag = '"v1"'
    one = looked_up({"it": site.address})

    site.content = b"two"
    same = looked_up({"it": site.address})
    site.tag = '"v2"'
    other = looked_up({"it": site.address})

    assert one == same != other


def test_a_weak_etag_tells_nothing(site: Site) -> None:
    site.tag = 'W/"v1"'
    one = looked_up({"it": site.address})

    site.content = b"two"

    assert looked_up({"it": site.address}) != one


@pytest.mark.parametrize("status", [404, 500])
def test_an_address_that_does_not_answer_is_an_error_before_the_cell_runs(
    start: Start, site: Site, status: int
) -> None:
    kernel, site.status = start(), status

    with pytest.raises(UsageError) as refused:
        kernel.cell(f"%%checkpoint load --depends {site.address}\nn = 1")

    assert refused.value.kind == "unreadable-address"
    assert "n" not in kernel.live


def test_no_password_and_no_query_of_an_address_is_on_record() -> None:
    found = declared(["https://me:secret@x.org/a?sig=1", "https://x.org/a?sig=2"]).addresses

    assert found == {
        "https://x.org/a": "https://me:secret@x.org/a?sig=1",
        "https://x.org/a#2": "https://x.org/a?sig=2",
    }


def test_a_user_and_password_are_given_to_the_server_and_are_no_part_of_its_name(site: Site) -> None:
    host = f"127.0.0.1:{site.server_port}"

    looked_up(declared([f"http://ana:p%40ss@{host}/rows.csv"]).addresses)

    assert site.asked == [(host, "Basic YW5hOnBAc3M=")]


def test_no_part_of_a_password_is_told_where_an_address_cannot_be_asked() -> None:
    found = declared(["http://ana:sec@ret@x.org:rows/a.csv?sig=12"]).addresses

    with pytest.raises(UsageError) as refused:
        looked_up(found)

    assert list(found) == ["http://x.org:rows/a.csv"]
    assert refused.value.kind == "unreadable-address"
    assert not any(part in str(refused.value) for part in ("sec", "ret", "12"))


@pytest.mark.parametrize(
    ("word", "kind"),
    [("s3://bucket/rows.csv", "bad-option"), ("nowhere/*.csv", "unknown-file"), ("nowhere", "unknown-file")],
)
def test_what_cannot_be_looked_at_is_refused(data: Path, word: str, kind: str) -> None:
    with pytest.raises(UsageError) as refused:
        declared([word])

    assert refused.value.kind == kind


def test_a_dependence_that_is_added_makes_the_cell_run_and_is_named(start: Start, data: Path) -> None:
    kernel = start()
    kernel.cell("%%checkpoint load\nn = 1", step="a")

    became = kernel.cell("%%checkpoint load --depends data/*.csv\nn = 1", step="a")

    assert became == RAN
    assert "`--depends data/*.csv` was added" in str(explain(kernel.engine.journal, kernel.last))
