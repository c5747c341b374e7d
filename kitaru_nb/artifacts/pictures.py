"""Pictures of PIL, stored with their pixels beside the pickle stream: numbers, which hold no text."""

from __future__ import annotations

import pickle
from typing import Any

from kitaru_nb.artifacts.anew import Unstorable

__all__ = ["is_picture", "reduce_picture"]

_DATA = 4  # where the pixels are in the state that PIL gives and takes
_LEAST = 5


def is_picture(cls: type) -> bool:
    """Whether `cls` is one of PIL's own classes of pictures."""
    return cls.__module__.partition(".")[0] == "PIL" and any(
        base.__module__ == "PIL.Image" and base.__qualname__ == "Image" for base in cls.__mro__
    )


def reduce_picture(picture: Any) -> Any:
    """What PIL gives for a picture, with its pixels as a buffer; PIL makes it again as ever."""
    try:
        value = picture.__reduce_ex__(5)
    except Exception as error:  # a picture whose file is closed or gone, say
        raise Unstorable(f"{error}" or type(error).__name__) from error
    if len(value) < 3 or not isinstance(value[2], list) or len(value[2]) < _LEAST:
        return value
    state = list(value[2])
    if type(state[_DATA]) is bytes:
        state[_DATA] = pickle.PickleBuffer(state[_DATA])
    return (*value[:2], state, *value[3:])
