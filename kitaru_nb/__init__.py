"""Durable notebooks: two words in a cell, and its result survives the kernel.

In a notebook::

    %load_ext kitaru_nb

    %%checkpoint
    model = fit(rows)

Public names are found on first use, so that importing this package loads nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from kitaru_nb import errors as errors
    from kitaru_nb import testing as testing
    from kitaru_nb.artifacts.resource import resource as resource
    from kitaru_nb.artifacts.secret import Secret as Secret
    from kitaru_nb.engine.channel import channel as channel
    from kitaru_nb.engine.checkpoint import checkpoint as checkpoint
    from kitaru_nb.engine.futures import gather as gather
    from kitaru_nb.engine.meter import budget as budget
    from kitaru_nb.engine.meter import record_usage as record_usage
    from kitaru_nb.engine.positions import steps as steps
    from kitaru_nb.engine.primitives import current_execution as current_execution
    from kitaru_nb.engine.primitives import idempotency_key as idempotency_key
    from kitaru_nb.engine.primitives import log as log
    from kitaru_nb.engine.primitives import once as once
    from kitaru_nb.engine.primitives import save as save
    from kitaru_nb.engine.primitives import stream as stream
    from kitaru_nb.stacks.flows import flow as flow
    from kitaru_nb.stacks.open import ZarrStore as ZarrStore
    from kitaru_nb.stacks.open import load as load
    from kitaru_nb.stacks.records import Client as Client
    from kitaru_nb.stacks.replaying import replay as replay
    from kitaru_nb.stacks.waits import wait as wait

    __version__: str

_HOMES = {
    "Client": "kitaru_nb.stacks.records:Client",
    "Secret": "kitaru_nb.artifacts.secret:Secret",
    "ZarrStore": "kitaru_nb.stacks.open:ZarrStore",
    "budget": "kitaru_nb.engine.meter:budget",
    "channel": "kitaru_nb.engine.channel:channel",
    "checkpoint": "kitaru_nb.engine.checkpoint:checkpoint",
    "current_execution": "kitaru_nb.engine.primitives:current_execution",
    "errors": "kitaru_nb.errors",
    "flow": "kitaru_nb.stacks.flows:flow",
    "gather": "kitaru_nb.engine.futures:gather",
    "idempotency_key": "kitaru_nb.engine.primitives:idempotency_key",
    "load": "kitaru_nb.stacks.open:load",
    "log": "kitaru_nb.engine.primitives:log",
    "once": "kitaru_nb.engine.primitives:once",
    "record_usage": "kitaru_nb.engine.meter:record_usage",
    "replay": "kitaru_nb.stacks.replaying:replay",
    "resource": "kitaru_nb.artifacts.resource:resource",
    "save": "kitaru_nb.engine.primitives:save",
    "steps": "kitaru_nb.engine.positions:steps",
    "stream": "kitaru_nb.engine.primitives:stream",
    "testing": "kitaru_nb.testing",
    "wait": "kitaru_nb.stacks.waits:wait",
}
"""Where each public name lives: ``module`` for a module, ``module:attribute`` for the rest."""

__all__ = [
    "Client",
    "Secret",
    "ZarrStore",
    "budget",
    "channel",
    "checkpoint",
    "current_execution",
    "errors",
    "flow",
    "gather",
    "idempotency_key",
    "load",
    "log",
    "once",
    "record_usage",
    "replay",
    "resource",
    "save",
    "steps",
    "stream",
    "testing",
    "wait",
]


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Make a notebook durable; IPython calls this for ``%load_ext kitaru_nb``."""
    from kitaru_nb.stacks.loading import nothing_collected  # noqa: PLC0415 - only a kernel needs it

    with nothing_collected():
        from kitaru_nb.notebook.extension import load  # noqa: PLC0415 - as above

        load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Take the hooks out again; IPython calls this for ``%unload_ext kitaru_nb``."""
    from kitaru_nb.notebook.extension import unload  # noqa: PLC0415 - as above

    unload(ipython)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where Jupyter Server finds the extension: records over REST, and live updates."""
    return [{"module": "kitaru_nb.server.app"}]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value = importlib.import_module("importlib.metadata").version("kitaru-nb")
    elif name in _HOMES:
        module, _, attribute = _HOMES[name].partition(":")
        value = importlib.import_module(module)
        value = getattr(value, attribute) if attribute else value
    else:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`", name=name, obj=None)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
