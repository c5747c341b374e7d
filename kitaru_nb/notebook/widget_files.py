"""What the widgets bring to the front end: a module each, of a shared part and its own, and one style.

They are given as texts: given as paths they would be watched for changes by a thread.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["module", "style"]

_FOLDER = Path(__file__).parent / "widgets"


def module(name: str) -> str:
    """The JavaScript module whose own part is in the file `name`."""
    return f"{_text('elements.js')}\n{_text(name)}"


def style() -> str:
    """The rules of all of them."""
    return _text("widgets.css")


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
