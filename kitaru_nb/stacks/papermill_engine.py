"""The papermill engine named ``kitaru``: ``papermill --engine kitaru in.ipynb out.ipynb``.

papermill imports every registered engine at its own start, so this module imports nothing
beyond the standard library: what runs a notebook is imported when one is run, and a fault
in it cannot keep papermill from starting.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["DEFAULT_KERNEL", "KitaruEngine"]

DEFAULT_KERNEL = "python3"
"""The kernel of a notebook that names none."""


class KitaruEngine:
    """Runs a notebook so that a later run of the same command goes on where this one died.

    Every cell is a checkpoint. The class has the interface of `papermill.engines.Engine`
    and does not derive from it, since importing papermill here would be circular.
    """

    @classmethod
    def execute_notebook(cls, nb: NotebookNode, kernel_name: str, **options: Any) -> NotebookNode:
        """Run `nb` and give it back executed; called by `papermill.execute_notebook`.

        A cell that raises leaves its error in the notebook, which papermill turns into a
        `PapermillExecutionError`. Any other end raises `worker.ExecutionStopped`, which ends
        the papermill command with the exit code that tells why.
        """
        from kitaru_nb.stacks.loading import nothing_collected  # noqa: PLC0415 - papermill loads this module at every start

        with nothing_collected():
            from kitaru_nb.stacks.worker import execute  # noqa: PLC0415 - as above

        return execute(nb, kernel_name, **options)

    @classmethod
    def nb_kernel_name(cls, nb: NotebookNode, name: str | None = None) -> str:
        """The kernel asked for, else the notebook's own, else python3 with a note on stderr."""
        chosen = name or nb.metadata.get("kernelspec", {}).get("name")
        if chosen:
            return str(chosen)
        print(f"kitaru: the notebook names no kernel, `{DEFAULT_KERNEL}` is used", file=sys.stderr)  # noqa: T201 - papermill shows warnings of its own only
        return DEFAULT_KERNEL

    @classmethod
    def nb_language(cls, nb: NotebookNode, language: str | None = None) -> str:
        """The language asked for, else the notebook's own, else Python."""
        return str(
            language
            or nb.metadata.get("language_info", {}).get("name")
            or nb.metadata.get("kernelspec", {}).get("language")
            or "python"
        )
