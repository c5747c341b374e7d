"""Who observes an object of `traitlets`, such as a widget: its own way of being pickled leaves them out."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["set_observed", "with_observers"]

_ALL = None  # stands for `traitlets.All`


def with_observers(obj: Any, value: Any) -> Any:
    """`value`, what pickle makes of `obj`, with what `obj.observe` has been given."""
    observers = _observers(obj) if type(value) is tuple and value[3:] in ((), (None, None)) else []
    return (*value[:2], (value[2], observers), None, None, set_observed) if observers else value


def set_observed(obj: Any, state: tuple[Any, list[tuple[str | None, str | None, Any]]]) -> None:
    """Put its state back, then those who observe it, in their order."""
    from traitlets import All  # noqa: PLC0415 - the object's own library

    attributes, observers = state
    obj.__setstate__(attributes)
    for name, kind, handler in observers:
        obj._add_notifiers(handler, All if name is _ALL else name, All if kind is _ALL else kind)


def _observers(obj: Any) -> list[tuple[str | None, str | None, Any]]:
    traitlets = sys.modules.get("traitlets")
    if traitlets is None or not isinstance(obj, traitlets.HasTraits):
        return []
    return [
        (_ALL if name is traitlets.All else name, _ALL if kind is traitlets.All else kind, handler)
        for name, kinds in obj._trait_notifiers.items()
        for kind, handlers in kinds.items()
        for handler in handlers
        if not isinstance(handler, traitlets.EventHandler)  # its class registers those
    ]
