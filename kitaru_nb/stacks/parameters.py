"""Which parameters a notebook has, and what to say of one that is set and is none of them.

papermill sets any name: an unknown one is most often a mistyped one, and a grid over it runs the same
notebook many times. It is said before anything runs, with what was probably meant.
"""

from __future__ import annotations

import ast
import difflib
import logging
from collections.abc import Collection, Iterator
from pathlib import Path

from nbformat import NotebookNode

from kitaru_nb.stacks.notebooks import read_notebook

__all__ = ["PARAMETERS_TAG", "declared_by", "declared_in", "doubts", "doubts_of", "quiet_papermill"]

PARAMETERS_TAG = "parameters"
"""What the cell is tagged whose names papermill sets."""
_PAPERMILLS = "Passed unknown parameter"


def doubts(notebook: str, names: Collection[str]) -> list[str]:
    """A line for each of `names` that is no parameter of the notebook.

    Raises:
        UsageError: there is no such notebook, or it is none.
    """
    return doubts_of(read_notebook(notebook), Path(notebook).name, names) if names else []


def doubts_of(nb: NotebookNode, called: str, names: Collection[str]) -> list[str]:
    """The same, of a notebook that was read already, and what it is called."""
    if not names:
        return []
    known = declared_in(nb)
    if known is None:
        listed = ", ".join(f"`{name}`" for name in names)
        return [f"{called} has no cell tagged `{PARAMETERS_TAG}`: {listed} will be set above its first cell"]
    return [_doubt(called, name, known) for name in names if name not in known]


def declared_in(nb: NotebookNode) -> list[str] | None:
    """The names that the cell tagged ``parameters`` binds; None where there is no such cell."""
    for cell in nb.cells:
        if cell.cell_type == "code" and PARAMETERS_TAG in cell.metadata.get("tags", ()):
            return declared_by(cell.source)
    return None


def declared_by(source: str) -> list[str] | None:
    """The names that the code of such a cell binds; None where it is not plain Python."""
    try:
        return list(dict.fromkeys(_bound(ast.parse(source))))
    except SyntaxError:  # with a magic in it, or wrong: the run says so
        return None


def quiet_papermill(logger: logging.Logger) -> None:
    """Have papermill not say of unknown parameters in each run what `doubts` says before the first."""
    if _is_other not in logger.filters:
        logger.addFilter(_is_other)


def _is_other(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_PAPERMILLS)


def _doubt(called: str, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"; did you mean `{close[0]}`?" if close else f"; it has {', '.join(known) or 'none'}"
    return f"`{name}` is no parameter of {called}, and will be set all the same{meant}"


def _bound(tree: ast.Module) -> Iterator[str]:
    for statement in tree.body:
        targets: list[ast.expr] = []
        match statement:
            case ast.Assign():
                targets = statement.targets
            case ast.AnnAssign():
                targets = [statement.target]
        for target in targets:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))
