"""Tables of costs, as HTML."""

from __future__ import annotations

from kitaru_nb.engine.costs import By, CostRow
from kitaru_nb.notebook.shown import as_html, cost_html

HOSTILE = "<img src=x onerror=alert(1)>"


def test_costs_are_a_table_and_a_plot_and_text_is_text() -> None:
    rows = [CostRow(HOSTILE, calls=2, cost=0.5, saved=0.25, served=1), CostRow("free", calls=1, unpriced=1)]

    page = cost_html(By.MODEL, rows)

    assert "$0.5000" in page
    assert "no price +" in page
    assert 'aria-label="Cost by model"' in page
    assert page.count("<rect") == 2
    assert "missing in the cost: calls 1" in page
    assert "<img" not in page


def test_many_costs_are_cut_and_it_says_so() -> None:
    days = [CostRow(f"2026-03-{day:02d}", calls=1, cost=1.0) for day in range(1, 32)] + [
        CostRow("2026-04-01", calls=1, cost=9.0)
    ]

    page = cost_html(By.DAY, days)

    assert "2026-04-01" in page, "of days the newest are shown"
    assert "2026-03-02" not in page
    assert "and 2 more" in page


def test_a_verb_that_is_words_alone_stays_words() -> None:
    for words in (["executions"], ["show", "--json"], ["cost", "--json"], ["cost", "--tag", "x"], []):
        assert as_html(words, "said\n") is None
    assert as_html(["show"], "one paragraph\n") is None
