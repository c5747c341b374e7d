"""Cases that `make test-all` adds to those of `make test`: see the marker `further` in pyproject.toml."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

__all__ = ["further", "further_in"]

Suite = TypeVar("Suite", bound=type)


def further(*values: Any, id: str | None = None) -> Any:  # noqa: A002 - as `pytest.param` has it
    """The values of a further case of a parametrised test."""
    return pytest.param(*values, id=id, marks=pytest.mark.further)


def further_in(*names: str) -> Callable[[Suite], Suite]:
    """Marks tests that a class has from its suite: other classes prove the same with them.

    What a suite's method is marked with, it is in every class; so each is given a method of its own.
    """

    def mark(suite: Suite) -> Suite:
        for name in names:
            setattr(suite, name, pytest.mark.further(_own(getattr(suite, name))))
        return suite

    return mark


def _own(inherited: Callable[..., None]) -> Callable[..., None]:
    def test(self: Any, bench: Any) -> None:
        inherited(self, bench)

    return test
