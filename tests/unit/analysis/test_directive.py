"""The `%%checkpoint` line."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitaru_nb.analysis.directive import (
    Directive,
    checked_name,
    directive_of,
    find_directive,
    mark_source,
    parse_directive,
    parse_duration,
)
from kitaru_nb.errors import UsageError


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%%checkpoint", Directive()),
        ("%%checkpoint load", Directive(name="load")),
        ("  %%checkpoint\tload  ", Directive(name="load")),
        ("%%checkpoint --fresh load", Directive(name="load", fresh=True)),
        ("%%checkpoint 'two words' --all", Directive(name="two words", all=True)),
        ('%%checkpoint "don\'t stop 🚀"', Directive(name="don't stop 🚀")),
        (
            "%%checkpoint 数据 --reuse --strict --strict-env --trust",
            Directive(name="数据", reuse=True, strict=True, strict_env=True, trust=True),
        ),
        ("%%checkpoint e\u0301", Directive(name="\u00e9")),
        ("%%checkpoint 2024", Directive(name="2024")),
        ("%%checkpoint latest", Directive(name="latest")),
        ("%%checkpoint --retries 3 a --timeout=10m", Directive(name="a", retries=3, timeout=600.0)),
        (
            "%%checkpoint --budget 2.50 --exclude a,b --exclude c",
            Directive(budget=2.5, exclude=("a", "b", "c")),
        ),
        (
            r"%%checkpoint a --depends C:\data\x.csv,https://x.org/y",
            Directive(name="a", depends=(r"C:\data\x.csv", "https://x.org/y")),
        ),
    ],
)
def test_a_directive_says_what_was_typed(line: str, expected: Directive) -> None:
    assert parse_directive(line) == expected


@pytest.mark.parametrize(
    ("line", "kind", "says"),
    [
        ("%%checkpoint --fersh", "unknown-option", "--fresh"),
        ("%%checkpoint a --", "unknown-option", "--fresh"),
        ("%%checkpoint --retries", "bad-option", "--retries 3"),
        ("%%checkpoint --retries --fresh", "bad-option", "--retries 3"),
        ("%%checkpoint --retries -1", "bad-option", "`-1`"),
        ("%%checkpoint --retries ٣", "bad-option", "--retries 3"),
        ("%%checkpoint --retries 1 --retries 2", "bad-option", "twice"),
        ("%%checkpoint --timeout 10x", "bad-option", "--timeout 10m"),
        ("%%checkpoint --timeout 0", "bad-option", "--timeout 10m"),
        ("%%checkpoint --budget nan", "bad-option", "--budget 2.50"),
        ("%%checkpoint --budget inf", "bad-option", "--budget 2.50"),
        ("%%checkpoint --budget 1e9", "bad-option", "--budget 2.50"),
        ("%%checkpoint --exclude a, b", "bad-option", "without blanks"),
        ("%%checkpoint --exclude a.b", "bad-option", "`a.b` is not a name"),
        ("%%checkpoint --fresh=yes", "bad-option", "--fresh"),
        ("%%checkpoint a b", "bad-name", "'a b'"),
        ("%%checkpoint a # later", "bad-syntax", "line of its own"),
        ('%%checkpoint ""', "bad-name", "empty"),
        ('%%checkpoint "  "', "bad-name", "empty"),
        ('%%checkpoint " a"', "bad-name", "blank"),
        ("%%checkpoint a/b", "bad-name", "%%checkpoint a-b"),
        ("%%checkpoint ../../etc", "bad-name", "`/`"),
        ("%%checkpoint ..", "bad-name", "folder"),
        ("%%checkpoint -x", "bad-name", "option"),
        ("%%checkpoint a\x00b", "bad-name", "U+0000"),
        ("%%checkpoint a\u202eb", "bad-name", "U+202E"),
        ("%%checkpoint a\ud800b", "bad-name", "U+D800"),
        ("%%checkpoint " + "x" * 300, "bad-name", "300 characters"),
        ("%%checkpoint don't", "bad-syntax", "quote"),
    ],
)
def test_a_directive_that_cannot_be_taken_says_why_and_what_to_type(line: str, kind: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_directive(line)

    assert caught.value.kind == kind
    assert says in str(caught.value)
    assert caught.value.hint
    assert str(caught.value).isprintable() or "\n" in str(caught.value)


def test_a_proposed_name_can_be_taken() -> None:
    for name in ("a/b", "/", "x" * 300, "-a", " a ", "..", "🚀/"):
        with pytest.raises(UsageError) as caught:
            checked_name(name)

        assert parse_directive(caught.value.hint).name


@given(st.text(max_size=110))
def test_any_name_is_kept_or_refused_and_survives_a_reference(name: str) -> None:
    try:
        kept = checked_name(name)
    except UsageError:
        return

    assert checked_name(kept) == kept
    assert f"ex_1/{kept}#2/rows".split("/") == ["ex_1", f"{kept}#2", "rows"]
    assert len(f"{kept}#2".split("#")) == 2


@given(st.text(max_size=60))
def test_any_line_parses_or_is_a_usage_error(text: str) -> None:
    try:
        parse_directive("%%checkpoint " + text)
    except UsageError as error:
        assert error.kind in {"unknown-option", "bad-option", "bad-name", "bad-syntax"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45", 45),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("0.5", 0.5),
    ],
)
def test_durations_are_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "1m1h", "1 h", "-1", "1e3", "0s", "1hh", "nan", "1.h", "٣", "9" * 400]
)
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 # the caller words it
        parse_duration(text)


@pytest.mark.parametrize(
    ("source", "name", "line"),
    [
        ("%%checkpoint a\nx = 1", "a", 1),
        ("# why\n\n  # more\n%%checkpoint a", "a", 4),
        ("%%checkpoint a\r\nx = 1\r\n", "a", 1),
    ],
)
def test_the_first_line_of_code_can_be_a_directive(source: str, name: str, line: int) -> None:
    found = find_directive(source)

    assert found is not None
    assert (found.name, found.line) == (name, line)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "\n",
        "x = 1\n%%checkpoint a",
        "%%checkpoint?",
        "%%checkpoint??",
        "%%checkpoint a?",
        "%%checkpoints a",
        "%checkpoint a",
        "%%time\n%%checkpoint a",
        "# %%checkpoint a",
    ],
)
def test_other_cells_have_no_directive_and_are_left_as_they_are(source: str) -> None:
    lines = source.splitlines(keepends=True)

    assert find_directive(source) is None
    assert mark_source(lines) is lines


@pytest.mark.parametrize(
    "source",
    [
        "%%checkpoint a --fresh\nx = 1\n",
        "# first\n\n%%checkpoint 'a \"b\" 🚀'\nx = 1\ny = 2",
        "%%checkpoint a\nfrom __future__ import annotations\nx: int = 1\n",
        '%%checkpoint a\n"""Text."""\nx = 1\n',
        "%%checkpoint a",
        "%%checkpoint a\n",
        "%%checkpoint a\nawait x\n",
    ],
)
def test_the_mark_carries_the_directive_and_keeps_every_line_in_place(source: str) -> None:
    lines = source.splitlines(keepends=True)
    directive = find_directive(source)

    marked = mark_source(lines)
    found, tree = directive_of(ast.parse("".join(marked)))

    assert found == directive
    assert found is not None
    assert directive is not None
    assert found.line == directive.line
    assert len(marked) == len(lines)
    assert marked[directive.line :] == lines[directive.line :]
    assert mark_source(marked) is marked
    blank = "".join([*lines[: directive.line - 1], "\n", *lines[directive.line :]])
    assert ast.dump(tree, include_attributes=True) == ast.dump(ast.parse(blank), include_attributes=True)


def test_a_future_import_below_the_mark_compiles() -> None:
    marked = "".join(mark_source(["%%checkpoint a\n", "from __future__ import annotations\n", "x: y = 1\n"]))

    compile(marked, "<cell>", "exec")


def test_a_cell_magic_below_is_handed_on_and_nothing_else_is() -> None:
    def cell_magic(lines: list[str]) -> list[str]:
        return [f"magic({''.join(lines)!r})\n"]

    with_magic = mark_source(["%%checkpoint a\n", "\n", "%%time\n", "x = 1\n"], cell_magic=cell_magic)
    without = mark_source(["%%checkpoint a\n", "x = 1\n", "%%time\n"], cell_magic=cell_magic)

    assert with_magic == ["'%%checkpoint a'\n", "\n", "magic('%%time\\nx = 1\\n')\n"]
    assert without == ["'%%checkpoint a'\n", "x = 1\n", "%%time\n"]


def test_a_wrong_directive_is_marked_and_told_when_it_is_met() -> None:
    marked = mark_source(["%%checkpoint --fersh\n", "x = 1\n"])

    with pytest.raises(UsageError, match="--fersh"):
        directive_of(ast.parse("".join(marked)))


def test_the_tree_that_was_given_is_not_changed() -> None:
    tree = ast.parse("'%%checkpoint a'\nx = 1")

    directive_of(tree)

    assert len(tree.body) == 2
