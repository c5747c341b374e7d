"""Variables in a magic's words: ``{name}`` and ``$name``, and nothing that would have to be run.

IPython evaluates whatever stands in braces. A word of ours may hold a name out of a store that
somebody sent, so our magics opt out of that, and put in plain values of plain names themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

__all__ = ["filled", "filled_words"]

_VARIABLE = re.compile(r"\{([^\W\d]\w*)\}|\$([^\W\d]\w*)")
_PLAIN = (str, int, float, PurePath)


def filled(word: str, namespace: Mapping[str, Any]) -> str:
    """`word` with the texts, numbers and paths that names in it hold; what is nothing of these stays."""

    def value(match: re.Match[str]) -> str:
        found = namespace.get(match[1] or match[2])
        return str(found) if isinstance(found, _PLAIN) else match[0]

    return _VARIABLE.sub(value, word)


def filled_words(words: Iterable[str], namespace: Mapping[str, Any]) -> list[str]:
    """The same for several; each stays one word, whatever a value holds."""
    return [filled(word, namespace) for word in words]
