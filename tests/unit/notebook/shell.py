"""A notebook's shell in this process: IPython without a kernel, with the extension loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cloudpickle import cloudpickle
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from kitaru_nb.notebook import extension
from kitaru_nb.notebook.hooks import Hooks

__all__ = ["Shell", "Start"]


class Shell:
    """One kernel of a notebook; making the next one stands for a restart."""

    def __init__(self, kernel: Any = None) -> None:
        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.colors = "nocolor"
        cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.clear()
        cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.clear()
        self.ip = InteractiveShell(config=config)
        if kernel is not None:
            self.ip.kernel = kernel
        extension.load(self.ip)

    @property
    def hooks(self) -> Hooks:
        """The hooks of this shell."""
        return extension.hooks()

    def __getitem__(self, name: str) -> Any:
        return self.ip.user_ns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.ip.user_ns

    def run(self, source: str, cell_id: str | None = None) -> Any:
        """Run a cell; IPython's result of it."""
        return self.ip.run_cell(source, store_history=True, cell_id=cell_id)

    def error(self, source: str) -> BaseException:
        """The error a cell ends with."""
        result = self.run(source)
        error = result.error_before_exec or result.error_in_exec
        assert error is not None, source
        return error

    def stop(self) -> None:
        """Shut down in order."""
        extension.unload(self.ip)


Start = Callable[[], Shell]
"""Starts the notebook's next kernel."""
