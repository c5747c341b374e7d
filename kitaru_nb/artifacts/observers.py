"""Who observes an object of `traitlets` or matplotlib: their own way of being pickled leaves them out."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["may_be_observed", "set_observed", "with_observers"]

_ALL = None  # stands for `traitlets.All`


def with_observers(obj: Any, value: Any) -> Any:
    """`value`, what pickle makes of `obj`, with what `obj.observe` or `obj.connect` has been given."""
    if _is_registry(type(obj)):
        return _with_callbacks(obj, value)
    observers = _observers(obj) if type(value) is tuple and value[3:] in ((), (None, None)) else []
    return (*value[:2], (value[2], observers), None, None, set_observed) if observers else value


def may_be_observed(cls: type) -> bool:
    """Whether `with_observers` may have something to add for instances of `cls`."""
    return _is_registry(cls) or hasattr(cls, "observe")


def set_observed(obj: Any, state: tuple[Any, list[tuple[str | None, str | None, Any]]]) -> None:
    """Put its state back, then those who observe it, in their order."""
    from traitlets import All  # noqa: PLC0415 - the object's own library

    attributes, observers = state
    obj.__setstate__(attributes)
    for name, kind, handler in observers:
        obj._add_notifiers(handler, All if name is _ALL else name, All if kind is _ALL else kind)


def _is_registry(cls: type) -> bool:
    return cls.__name__ == "CallbackRegistry" and cls.__module__ == "matplotlib.cbook"


def _with_callbacks(registry: Any, value: Any) -> Any:
    """`value` with all that is to be told: else a colorbar, say, no longer follows what it is for."""
    told = {
        signal: {
            cid: function
            for cid, proxy in callbacks.items()
            if (function := proxy()) is not None
            and (cid in registry._pickled_cids or not _is_of_window(function))
        }
        for signal, callbacks in registry.callbacks.items()
    }
    return *value[:2], {**value[2], "callbacks": told}, *value[3:]


def _is_of_window(function: Any) -> bool:
    """Whether a callback belongs to the canvas, its window or its tools, which each process makes anew."""
    home = getattr(function, "__self__", None)
    homes = [function.__module__] if home is None else [cls.__module__ for cls in type(home).__mro__]
    return any(str(name).startswith(("matplotlib.backend", "matplotlib._pylab_helpers")) for name in homes)


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
