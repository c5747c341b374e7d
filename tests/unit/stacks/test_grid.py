from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.errors import UsageError
from kitaru_nb.stacks.grid import (
    Point,
    default_name,
    digest_of,
    filled_template,
    fitting_names,
    label_of,
    points_of,
    refuse_paths,
    refuse_shared,
)

SAFE = re.compile(r"[A-Za-z0-9+=_-][A-Za-z0-9+=_.-]*\Z")


def axis(name: str, *values: Any) -> list[dict[str, Any]]:
    return [{name: value} for value in values]


def refused(*arguments: Any) -> str:
    with pytest.raises(UsageError) as caught:
        points_of(*arguments)
    return caught.value.kind


def test_points_are_every_combination_for_each_notebook_in_order() -> None:
    points = points_of([axis("a", 1, 2), axis("b", "x", "y")], ["one.ipynb", "two.ipynb"])

    assert [point.number for point in points] == list(range(1, 9))
    assert [tuple(point.values.values()) for point in points[:4]] == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]
    assert [point.notebook for point in points] == ["one.ipynb"] * 4 + ["two.ipynb"] * 4


def test_several_notebooks_without_a_grid_are_a_point_each() -> None:
    assert points_of([], ["one.ipynb", "two.ipynb"]) == [Point(1, {}, "one.ipynb"), Point(2, {}, "two.ipynb")]


def test_a_parameter_that_two_factors_give_is_refused() -> None:
    assert refused([axis("a", 1), axis("a", 2)]) == "bad-grid"


def test_equal_points_are_refused_and_equal_looking_ones_are_not() -> None:
    assert refused([axis("a", 1, 1)]) == "bad-grid"
    assert len(points_of([axis("a", 1, "1", 1.0, True)])) == 4


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"alpha": 0.1}, "nb.alpha-0.1.out.ipynb"),
        ({"alpha": 1e-05, "model": "gpt-5"}, "nb.alpha-1e-05.model-gpt-5.out.ipynb"),
        ({"on": True, "of": None}, "nb.on-True.of-None.out.ipynb"),
        ({}, "nb.out.ipynb"),
    ],
)
def test_a_default_name_says_the_values(values: dict[str, Any], name: str) -> None:
    assert default_name(Point(1, values), "nb") == name


def test_what_is_no_file_name_is_changed_and_told_apart_by_a_digest() -> None:
    names = [default_name(Point(1, {"a": value}), "nb") for value in ("x/y", "x_y", "x y", "..", "é", "")]

    assert names[1] == "nb.a-x_y.out.ipynb"
    assert len(set(names)) == len(names)
    assert re.fullmatch(r"nb\.a-x_y\.[0-9a-f]{8}\.out\.ipynb", names[0])
    assert re.fullmatch(r"nb\.a-_\.[0-9a-f]{8}\.out\.ipynb", names[3])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(st.text(min_size=1, max_size=40), JSON, min_size=1, max_size=6), max_size=8))
def test_no_value_is_a_path_and_no_two_points_share_a_name(values: list[dict[str, Any]]) -> None:
    points = [Point(number, each) for number, each in enumerate(values, 1)]
    apart = {digest_of([Point(1, each)], {}): each for each in values}

    names = fitting_names(points, ["nb"] * len(points))

    assert all(SAFE.match(name) and ".." not in name and len(name) < 200 for name in names)
    assert len({name.casefold() for name in names}) == len(apart)


def test_names_that_differ_in_case_alone_are_told_apart() -> None:
    points = points_of([axis("model", "GPT", "gpt", "other")])

    names = fitting_names(points, ["nb"] * 3)

    assert names[2] == "nb.model-other.out.ipynb"
    assert len({name.casefold() for name in names}) == 3


def test_a_secret_is_in_no_name_and_no_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_TOKEN", "zk29-fjw8-PPq1-77aa")
    VAULT.forget()
    point = Point(1, {"service_token": "zk29-fjw8-PPq1-77aa"})

    told = default_name(point, "nb") + label_of(point)

    assert "zk29" not in told


def test_notebook_and_point_are_placeholders_unless_a_parameter_is_called_so() -> None:
    template = "out/{notebook}-{point}-{alpha:.2f}-{{x}}.ipynb"

    assert filled_template(template, Point(3, {"alpha": 1}), stem="a{b}") == (
        "out/a{{b}}-3-{alpha:.2f}-{{x}}.ipynb"
    )
    assert filled_template("{point}", Point(3, {"point": 7}), stem="nb") == "{point}"


@pytest.mark.parametrize("value", ["../x", "a/b", "..", "a\\b", "", "/etc/passwd", "a\0b"])
def test_a_value_that_would_be_a_path_is_refused_where_a_template_uses_it(value: str) -> None:
    point = Point(1, {"name": value, "n": 1})

    with pytest.raises(UsageError) as caught:
        refuse_paths("out/{name}.ipynb", point)

    assert caught.value.kind == "bad-output-name"
    refuse_paths("out/{n}.ipynb", point)


def test_two_points_with_one_output_are_refused_whatever_case_they_are_in() -> None:
    points = points_of([axis("a", 1, 2)])

    refuse_shared(points, ["a.ipynb", "b.ipynb"])
    with pytest.raises(UsageError) as caught:
        refuse_shared(points, ["A.ipynb", "a.ipynb"])

    assert caught.value.kind == "shared-output"
    assert "{a}" in caught.value.hint


def test_the_digest_is_that_of_the_points_and_what_is_told_besides() -> None:
    one = points_of([axis("a", 1, 2)])

    assert digest_of(one, {"stack": "x"}) == digest_of(points_of([axis("a", 1, 2)]), {"stack": "x"})
    others = [
        digest_of(one, {"stack": "y"}),
        digest_of(points_of([axis("a", 1, 3)]), {"stack": "x"}),
        digest_of(points_of([axis("a", 1, 2)], ["nb"]), {"stack": "x"}),
    ]
    assert digest_of(one, {"stack": "x"}) not in others
    assert len(set(others)) == 3
