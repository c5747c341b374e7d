"""What lies directly inside objects, as the garbage collector tells it."""

from __future__ import annotations

import gc
import operator
import sys
from itertools import chain, compress, repeat
from typing import Any

__all__ = ["EMBEDDED", "referents"]


def _with_embedded(*objects: object) -> list[Any]:
    """The same where an object holds the values of its ``__dict__`` itself, as it does since Python 3.13.

    The collector meets them with the object then, and says that the dict holds nothing.
    """
    found = gc.get_referents(*objects)
    dicts = [*compress(objects, map(operator.is_, map(type, objects), repeat(dict)))]
    silent: Any = compress(dicts, map(operator.not_, map(gc.get_referents, dicts)))
    found += chain.from_iterable(map(dict.values, silent))
    return found


EMBEDDED = sys.version_info >= (3, 13)
"""Whether an object may hold the values of its ``__dict__`` itself."""

referents = _with_embedded if EMBEDDED else gc.get_referents
"""The objects that `objects` refer to, one after the other, in no promised order; one may come twice."""
