"""A notebook without Jupyter: cells run in a plain dict, as steps of a real session."""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

from cloudpickle import cloudpickle

from kitaru_nb.analysis.directive import directive_of, mark_source
from kitaru_nb.artifacts.digest import _opaque_in
from kitaru_nb.engine.cell import Cell
from kitaru_nb.engine.namespace import Namespace
from kitaru_nb.engine.session import Outcome, Session
from kitaru_nb.engine.steps import Restore
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import Identity
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine

__all__ = ["Kernel", "cell_of", "digest", "run_source"]

RAN = "completed"
RESTORED = "restored"


def cell_of(source: str, *, step: str | None = None) -> Cell:
    """`source` as the front end hands it in; `step` is the cell's id."""
    tree = ast.parse("".join(mark_source(source.splitlines(keepends=True))))
    directive, body = directive_of(tree)
    return Cell(source, body, directive, f"cell:{step}" if step else None)


def run_source(tree: ast.Module, live: dict[str, Any]) -> object:
    """Run a cell's code in `live`; the value of its last expression, as IPython gives it."""
    *body, last = tree.body or [ast.Pass()]
    if not isinstance(last, ast.Expr):
        body.append(last)
    whole = ast.fix_missing_locations(ast.Module(list(body), []))
    _run(compile(whole, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True), live)
    if isinstance(last, ast.Expr):
        value = ast.Expression(last.value)
        return _run(compile(value, "<cell>", "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True), live)
    return None


def _run(code: CodeType, live: dict[str, Any]) -> object:
    """Run code that may wait for what never keeps it waiting."""
    result = eval(code, live)
    if not code.co_flags & inspect.CO_COROUTINE:
        return result
    try:
        result.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


class Kernel:
    """One process's turn at a notebook. Making the next one stands for a crash of the one before."""

    def __init__(
        self,
        home: Path,
        *,
        notebook: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.home = home
        _forget_classes()
        self.live: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
        chosen: dict[str, Any] = {"paranoid": True, **(settings or {})}
        self.engine = open_engine(Settings(home=home, notebook=str(notebook), **chosen))
        self.identity = Identity(notebook=str(notebook or home.parent / "train.ipynb"))
        self.session = Session(self.engine, identity=self.identity, namespace=Namespace(self.live), **options)
        self.ran: list[str] = []

    def __getitem__(self, name: str) -> Any:
        return self.live[name]

    @property
    def last(self) -> Checkpoint:
        """The newest commit."""
        assert self.session.last is not None
        return self.session.last

    @property
    def namespace_sealed(self) -> list[tuple[str, ...]]:
        """The groups of restored names that no cell could reach so far."""
        return sorted(self.session.namespace.seals.names)

    def plan(self, source: str, *, step: str | None = None, deleted: Sequence[str] = ()) -> Any:
        """What would become of a cell."""
        return self.session.plan(cell_of(source, step=step), deleted_steps=deleted)

    def cell(
        self,
        source: str,
        *,
        step: str | None = None,
        outputs: Sequence[Any] = (),
        deleted: Sequence[str] = (),
    ) -> str:
        """Run or restore a cell as a step; says which: `RAN` or `RESTORED`."""
        plan = self.plan(source, step=step, deleted=deleted)
        if isinstance(plan, Restore):
            self.restored = self.session.restore(plan)
            return RESTORED
        self.session.begin(plan)
        self.ran.append(source)
        try:
            result = run_source(plan.pending.cell.tree, self.live)
        except (Exception, KeyboardInterrupt) as error:
            self.session.fail(plan, error, Outcome(outputs))
            raise
        self.session.commit(plan, Outcome(outputs, result))
        return RAN

    def cells(self, *sources: str) -> list[str]:
        """Run or restore several cells."""
        return [self.cell(source) for source in sources]

    def plain(self, source: str) -> object:
        """Run a cell that is no step."""
        self.session.saw(source)
        return run_source(ast.parse(source), self.live)

    def take_over(self) -> Kernel:
        """Hold the lease though another one's process (this very one) is alive."""
        self.session.open(take_over=True)
        return self

    def stop(self) -> None:
        """The kernel is shut down in order."""
        self.session.close()
        self.engine.close()


def _forget_classes() -> None:
    """A new process knows none of the classes and connections that the notebook made in another."""
    _opaque_in.clear()
    cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.clear()
    cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.clear()


def digest(text: str) -> Digest:
    """Something that looks like a digest, for tests that only compare."""
    return Digest(text)


Start = Callable[..., Kernel]
"""Starts a kernel."""
