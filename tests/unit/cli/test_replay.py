"""What is typed of a replay."""

from __future__ import annotations

import io

import pytest

from kitaru_nb.cli.replay import changes_typed
from kitaru_nb.errors import UsageError


def test_a_value_is_json_or_text() -> None:
    assert changes_typed(["n=1", "s=a b", "x.y=[1, null]", "e="]) == {
        "n": 1,
        "s": "a b",
        "x.y": [1, None],
        "e": "",
    }


def test_a_dash_reads_them_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"n": "1", "rows": {"a": 2}}'))

    assert changes_typed(["m=3", "-"]) == {"m": 3, "n": "1", "rows": {"a": 2}}


@pytest.mark.parametrize(
    ("changes", "read"),
    [
        (["n"], ""),
        (["=1"], ""),
        (["n=1", "n=2"], ""),
        (["-"], "[1]"),
        (["-"], ""),
        (["n=1", "-"], '{"n": 2}'),
    ],
)
def test_what_gives_no_name_one_value_is_refused(
    monkeypatch: pytest.MonkeyPatch, changes: list[str], read: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(read))

    with pytest.raises(UsageError) as told:
        changes_typed(changes)

    assert told.value.kind == "bad-change"
    assert told.value.hint
