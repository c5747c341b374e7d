"""The public surface: widening it is always a visible line in a diff."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kitaru_nb

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "python.md"
PUBLIC = [
    "Client",
    *("Secret", "ZarrStore", "budget", "channel", "checkpoint", "current_execution", "errors", "flow"),
    *(
        "gather",
        "idempotency_key",
        "load",
        "log",
        "once",
        "record_usage",
        "replay",
        "resource",
        "save",
        "steps",
    ),
    *("stream", "testing", "wait"),
]


def test_the_public_names_are_the_recorded_ones() -> None:
    assert kitaru_nb.__all__ == PUBLIC


def test_the_public_names_are_those_of_the_reference_page() -> None:
    headings = re.findall(r"^## `(?:kitaru_nb\.)?(\w+)", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(headings) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_found_and_says_what_it_is(name: str) -> None:
    value = getattr(kitaru_nb, name)

    assert name in dir(kitaru_nb)
    assert inspect.getdoc(value)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_class_is_found_again_after_its_file_moves(name: str) -> None:
    value = getattr(kitaru_nb, name)

    if isinstance(value, type):
        assert value.__module__ == "kitaru_nb"


def test_every_error_is_found_where_its_name_says() -> None:
    homes = {getattr(kitaru_nb.errors, name).__module__ for name in kitaru_nb.errors.__all__}

    assert homes == {"kitaru_nb.errors"}


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no attribute `no_such_name`"):
        kitaru_nb.no_such_name  # noqa: B018 - looking it up is the act


def test_the_version_is_the_installed_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", kitaru_nb.__version__)


def test_the_package_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "kitaru_nb", "--help"]

    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 0
    assert "kitaru-nb" in result.stdout
