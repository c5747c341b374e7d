"""HTML for notebooks: text stays text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from kitaru_nb.engine import markup
from tests.unit.server.test_hostile import HOSTILE

ALLOWED = {"div", "span", "table", "thead", "tbody", "tr", "th", "td", "svg", "text", "rect"}


class Seen(HTMLParser):
    """The tags, the attributes and the text of a piece of HTML."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_a_text_holds_is_text(text: str) -> None:
    page = markup.block(
        markup.text(text),
        markup.strong(text),
        markup.table((text, "b"), [(text, text)]),
        markup.bars([(text, 1.0, text)], title=text),
    )

    seen = Seen(page)

    assert seen.tags <= ALLOWED
    assert not {name for name in seen.attributes if name.startswith("on") or name in ("href", "src")}
    shown = "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
    assert seen.words.count(shown) >= 4
    assert page.isascii() or all(c.isprintable() or c in "\n\t" for c in page)


def test_a_table_leaves_out_what_is_empty_and_marks_a_status() -> None:
    page = markup.table(("name", "cost", "status"), [("load", "", "completed"), ("fit", "", "failed")])

    assert "cost" not in page
    assert "--jp-success-color1" in page
    assert "--jp-error-color1" in page


def test_bars_are_as_long_as_their_share_and_none_where_there_is_nothing() -> None:
    page = markup.bars([("a", 4.0, "$4"), ("b", 1.0, "$1"), ("c", 0.0, "$0")], title="Cost")

    assert [part.split('"')[0] for part in page.split('" width="')[1:]] == ["240.0", "60.0", "0.0"]
    assert 'aria-label="Cost"' in page
    assert markup.bars([("a", 0.0, "$0")], title="Cost") == ""
    assert markup.bars([], title="Cost") == ""
