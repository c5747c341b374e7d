"""Leaves until it is asked for what takes longer to load than a whole notebook takes to run.

`jsonschema` imports `rfc3987_syntax` where that is installed, as it is beside JupyterLab; it builds
the grammar of internationalized addresses then, which only a schema with the format ``iri`` asks
for. That was 1.0 s of the 2.6 s of CPU that `kitaru-nb run` took for a notebook of two cells.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

__all__ = ["defer_address_grammar"]

_NAME = "rfc3987_syntax"


def defer_address_grammar() -> None:
    """Let the module be loaded when it is first asked for anything, and not when it is imported.

    For a command or a worker, before anything imports `jsonschema`: in a kernel or a server it is
    theirs to say what is loaded.
    """
    if _NAME not in sys.modules and importlib.util.find_spec(_NAME) is not None:
        sys.modules[_NAME] = _Deferred(_NAME)


class _Deferred(ModuleType):
    def is_valid_syntax(self, term: str, value: str) -> bool:
        """Bound to `jsonschema` at its import: the one name that must not load the rest."""
        return bool(self._real().is_valid_syntax(term, value))

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)  # what the import system looks at
        return getattr(self._real(), name)

    def _real(self) -> ModuleType:
        if sys.modules.get(_NAME) is self:
            del sys.modules[_NAME]
        return importlib.import_module(_NAME)
