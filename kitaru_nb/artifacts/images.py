"""PIL images, stored with their pixels beside the pickle stream.

An image pickles itself as one large `bytes` among a few numbers. Left in the stream these would
be copied once more, looked through for secrets, and copied again when they are read.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

__all__ = ["is_image", "pixels_beside"]

_PIXELS = 4  # their place in the state of every image: info, mode, size, palette, pixels


def is_image(cls: type) -> bool:
    """Whether `cls` is PIL's image or a class below it."""
    module = sys.modules.get("PIL.Image")
    return module is not None and issubclass(cls, module.Image)


def pixels_beside(reduced: Any) -> Any:
    """`reduced`, an image as it pickles itself, with its pixels as a buffer."""
    state = reduced[2] if len(reduced) > 2 else None
    if type(state) is not list or len(state) <= _PIXELS or type(state[_PIXELS]) is not bytes:
        return reduced
    state = [*state[:_PIXELS], pickle.PickleBuffer(state[_PIXELS]), *state[_PIXELS + 1 :]]
    return *reduced[:2], state, *reduced[3:]
