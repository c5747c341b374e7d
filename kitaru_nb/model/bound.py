"""What belongs to one process, and never to what is stored of a notebook."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["ProcessBound"]


class ProcessBound:
    """Base of what works in this process alone, or knows a key: it is never pickled."""

    __slots__ = ()

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        """Refuse it.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"a {type(self).__qualname__} works in this process alone")
