"""A connection that broke while something was being recorded: whoever knows what to do does it again."""

from __future__ import annotations

from kitaru_nb.errors import StoreError

__all__ = ["LostConnectionError"]


class LostConnectionError(StoreError):
    """The connection broke inside a transaction, and nothing of that transaction is on record."""
