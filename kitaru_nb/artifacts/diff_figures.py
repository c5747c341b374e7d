"""Figures of matplotlib, compared by what they look like."""

from __future__ import annotations

import io
import weakref
from typing import Any

__all__ = ["drawn", "is_figure"]

_drawn: weakref.WeakKeyDictionary[Any, bytes] = weakref.WeakKeyDictionary()


def is_figure(value: object) -> bool:
    """Whether `value` is a figure of matplotlib's."""
    return any(
        cls.__module__ == "matplotlib.figure" and cls.__name__ == "Figure" for cls in type(value).__mro__
    )


def drawn(figure: Any) -> bytes:
    """A figure as PNG, the same bytes for what looks the same; drawn once."""
    known = _drawn.get(figure)
    if known is None:
        target = io.BytesIO()
        figure.savefig(target, format="png", metadata={"Software": None})
        known = _drawn[figure] = target.getvalue()
    return known
