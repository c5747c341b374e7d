"""Which of all the faults are tried: the same each time where `CI` is set, others whenever it is run by hand.

What CI says is then about the change at hand. ``KITARU_NB_TEST_SEED`` repeats what a run has found.
"""

from __future__ import annotations

import os
import random

__all__ = ["SEED"]


def _chosen() -> int:
    told = os.environ.get("KITARU_NB_TEST_SEED")
    if told:
        return int(told)
    return 1 if "CI" in os.environ else random.randrange(1 << 30)


SEED = _chosen()
