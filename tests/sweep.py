"""How much is tried at random: a little, and always the same, or what ``KITARU_NB_TEST_STEPS`` asks for."""

from __future__ import annotations

import os
import random

__all__ = ["ASKED", "seeds"]

ASKED = int(os.environ.get("KITARU_NB_TEST_STEPS") or 0)


def seeds(length: int, few: int) -> range:
    """The seeds of sessions of about `length` steps: `few`, or for what is asked, then others each time."""
    begin = random.randrange(1 << 30) if ASKED else 0
    return range(begin, begin + max(few, ASKED // length))
