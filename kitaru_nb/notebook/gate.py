"""The gate before cells that are not steps: what they can reach of restored values is checked first."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from kitaru_nb.notebook.refusal import refusing

__all__ = ["Gate", "is_alone", "is_own"]

_ASKED = ("user_expressions", "object_inspect", "object_inspect_mime")
_OWN = (
    "%load_ext kitaru_nb",
    "%reload_ext kitaru_nb",
    "%resume",
    "%rewind",
    "%why",
    "%kitaru",
    "%checkpoint",
)


class Gate:
    """An AST transformer that changes nothing and may refuse a cell.

    While anything is sealed it sees every cell and every piece of code that a front end has run
    silently. Else it is not there: where a shell has transformers, it walks each tree once more.

    Args:
        hooks: The hooks of the shell.
    """

    def __init__(self, hooks: Any) -> None:
        self._hooks = hooks
        self._shell: Any = None

    def install(self, shell: Any) -> None:
        """See every cell of the shell, and what a front end asks beside them."""
        self._shell = shell
        shell.events.register("pre_execute", self.stand)
        for name in _ASKED:
            setattr(shell, name, self._checked_before(getattr(shell, name)))

    def remove(self, shell: Any) -> None:
        """Leave the shell as it was."""
        shell.events.unregister("pre_execute", self.stand)
        if self in shell.ast_transformers:
            shell.ast_transformers.remove(self)
        for name in _ASKED:
            vars(shell).pop(name, None)

    def stand(self) -> None:
        """Code is about to be compiled: be in its way where something is to be done before it runs."""
        session = self._hooks.session
        needed = session is not None and session.has_to_open
        transformers = self._shell.ast_transformers
        if needed is not (self in transformers):
            (transformers.append if needed else transformers.remove)(self)

    def _checked_before(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*args: Any, **kwargs: Any) -> Any:
            session = self._hooks.session
            if any(args) and session is not None and session.namespace.seals:
                session.namespace.open(needed=frozenset())  # a marker stands for what is damaged
            return ask(*args, **kwargs)

        return checked

    def visit(self, tree: ast.Module) -> ast.Module:
        """`tree`, once everything it can reach is known to be right.

        Nothing may escape but `InputRejected`: IPython answers any other error of a transformer
        by running the cell as if nothing had been said.
        """
        session = self._hooks.session
        if session is None or not session.has_to_open or self._hooks.is_deciding:
            return tree
        with refusing():
            session.opens(tree)
        return tree


def is_alone(raw: str, magic: str) -> bool:
    """Whether a cell is this one line magic and nothing else that could use what it puts back."""
    lines = [line.strip() for line in raw.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    return len(lines) == 1 and lines[0].startswith(f"%{magic}")


def is_own(raw: str) -> bool:
    """Whether a cell holds nothing but line magics of ours."""
    lines = [line.strip() for line in raw.splitlines()]
    return all(line.startswith(_OWN) for line in lines if line and not line.startswith("#"))
