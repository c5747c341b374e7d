"""What cells change in the process, kept apart for two that share one."""

# ruff: noqa: NPY002 - cells draw from the global generator

from __future__ import annotations

import os
import random
import string
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

__all__ = ["Surroundings"]


class Surroundings:
    """What cells change in the process, which the kernel and the plain dict share here.

    One of the two has it while its cells run; meanwhile that of the other is kept.
    """

    def __init__(self) -> None:
        self.kept = self.begin()

    def begin(self) -> tuple[Any, ...]:
        """The process as a new one has it; gives that."""
        self.put((random.Random(0).getstate(), np.random.RandomState(0).get_state(), None, self))
        return self.take()

    def take(self) -> tuple[Any, ...]:
        return (
            random.getstate(),
            np.random.get_state(),
            os.environ.get("KT_X"),
            getattr(string, "kt", self),
        )

    def put(self, state: tuple[Any, ...]) -> None:
        drawn, drawn_by_numpy, variable, attribute = state
        random.setstate(drawn)
        np.random.set_state(drawn_by_numpy)
        os.environ.pop("KT_X", None)
        os.environ.update({"KT_X": variable} if variable is not None else {})
        vars(string).pop("kt", None)
        vars(string).update({"kt": attribute} if attribute is not self else {})

    @contextmanager
    def of_the_other(self) -> Iterator[None]:
        own = self.take()
        self.put(self.kept)
        try:
            yield
        finally:
            self.kept = self.take()
            self.put(own)

    def shown(self) -> dict[str, object]:
        drawn, drawn_by_numpy, variable, attribute = self.take()
        states = {"[random]": repr(drawn), "[numpy]": repr(drawn_by_numpy), "[KT_X]": variable}
        return states | ({"[string.kt]": attribute} if attribute is not self else {})
