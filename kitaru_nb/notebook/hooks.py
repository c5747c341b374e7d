"""From IPython's cell hooks to the engine: which cells are steps, when they run, when they commit.

A marked cell is recognised by an input transformer (which turns the `%%checkpoint` line
into a string literal, so line numbers stay) and decided on by an AST transformer that is in
place only while a marked cell is being compiled. A restored step's body is replaced by one
call; a step that ran is committed in `post_run_cell`, before the kernel sends its reply.
"""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from IPython.core.error import InputRejected
from IPython.core.inputtransformer2 import cell_magic

from kitaru_nb.analysis.directive import directive_of, mark_source
from kitaru_nb.engine.process import Process
from kitaru_nb.errors import KitaruError, UnstorableError, UsageError
from kitaru_nb.notebook.auto import Auto
from kitaru_nb.notebook.interrupts import Shield

__all__ = ["Hooks", "refused"]

_MARK = "%%checkpoint"
_CALL = "__import__('kitaru_nb.notebook.extension', fromlist=['hooks']).hooks().restore()"


def refused(error: KitaruError) -> InputRejected:
    """`error` as the one kind of exception that stops a cell before it runs, name and words kept."""
    kind = type(type(error).__name__, (InputRejected, type(error)), {"__module__": type(error).__module__})
    stopped = kind.__new__(kind, *error.args)
    stopped.args = error.args
    stopped.__dict__.update(error.__dict__)
    return stopped  # type: ignore[no-any-return] # IPython is untyped


@dataclass(slots=True)
class _Frame:
    """One running cell; cells nest under `%%capture` and `%%time`."""

    info: Any
    possible: bool
    plan: Any = None
    decided: bool = False
    running: bool = False
    auto: bool = False
    planning: float = 0.0


class Hooks:
    """The hooks of one shell. One object per kernel, made by `load_ext`."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.session: Any = None
        self.sink: Any = None
        self.every_cell = False
        self.auto: Auto | None = None
        self.quiet = False
        self.last_status: dict[str, Any] = {"seq": None, "status": None}
        self._frames: list[_Frame] = []
        self._pid = os.getpid()
        self._seen: list[str] = []
        self.process = Process()

    # -- put in place and taken away ---------------------------------------------------

    def install(self) -> None:
        """Hook into the shell."""
        self.shell.input_transformers_cleanup.append(self.mark)
        self.shell.events.register("pre_run_cell", self.before_cell)
        self.shell.events.register("post_run_cell", self.after_cell)

    def remove(self) -> None:
        """Take the hooks out again and end the attempt."""
        self.shell.input_transformers_cleanup.remove(self.mark)
        self.shell.events.unregister("pre_run_cell", self.before_cell)
        self.shell.events.unregister("post_run_cell", self.after_cell)
        self.close()

    def close(self) -> None:
        """End the attempt; a forked child has none."""
        if self.session is not None and os.getpid() == self._pid:
            session, self.session = self.session, None
            session.close()

    # -- IPython calls these -----------------------------------------------------------

    def mark(self, lines: list[str]) -> list[str]:
        """Input transformer: pure, since IPython calls it twice and for completeness checks."""
        if not any(_MARK in line for line in lines):
            return lines
        return mark_source(lines, cell_magic=cell_magic)

    def before_cell(self, info: Any) -> None:
        """The cell is about to be compiled."""
        if os.getpid() != self._pid:
            return  # a forked child that goes on as a kernel has no turn at the execution
        raw = info.raw_cell or ""
        frame = _Frame(info, self._may_be_step(info, raw))
        self._frames.append(frame)
        if frame.possible:
            self.shell.ast_transformers.append(self)
        else:
            self._saw(raw)

    def visit(self, tree: ast.Module) -> ast.Module:
        """AST transformer: decide, and put the restoring call in place of a restored body.

        Nothing may escape but `InputRejected`: IPython answers any other error of a transformer
        by running the cell as if nothing had been said.
        """
        frame = self._frames[-1] if self._frames else None
        if frame is None or frame.decided:
            return tree
        try:
            return self._decide(frame, tree)
        except KitaruError as error:
            raise refused(error) from error
        except (Exception, KeyboardInterrupt) as error:
            message = f"the cell was not run: {type(error).__name__}: {error}"
            raise refused(KitaruError(message, kind="internal", hint="%tb shows where")) from error

    def restore(self) -> None:
        """Runs in place of a restored step's body."""
        plan = self._frames[-1].plan
        with Shield() as shield:
            outcome = self.session.restore(plan)
            self.sink.repeat(plan.checkpoint.draft.outputs)
            self._repeat_result(plan.checkpoint)
        self.last_status = {"seq": self.session.last.seq, "status": "restored"}
        if not self.quiet:
            from kitaru_nb.notebook import display  # noqa: PLC0415 - only when something is said

            text = display.restored(plan.checkpoint, outcome.lost, outcome.problems)
            self.sink.show(display.bundle(text))
        if shield.pressed:
            raise KeyboardInterrupt

    def after_cell(self, result: Any) -> None:
        """The cell has run: commit it. The kernel replies after this returns."""
        if not self._frames:
            return
        frame = self._frames.pop()
        if self.session is not None:
            self.session.saw_imports()
        if frame.possible and self in self.shell.ast_transformers:
            self.shell.ast_transformers.remove(self)
        if not frame.running or os.getpid() != self._pid:
            return
        try:
            with Shield() as shield:
                self._finish(frame, result)
            if shield.pressed:
                raise KeyboardInterrupt
        except BaseException as error:  # noqa: BLE001 - an error that escapes a hook would be an ok reply
            self.shell.showtraceback((type(error), error, None))
            result.error_in_exec = error
            self.shell.last_execution_succeeded = False

    # -- the parts ---------------------------------------------------------------------

    def open_session(self) -> Any:
        """The session, made with the first step."""
        if self.session is None:
            from kitaru_nb.notebook.opening import open_session  # noqa: PLC0415 - the engine loads with the first step

            self.session, self.sink = open_session(self.shell, self.process)
            for source in self._seen:
                self.session.saw(source)
            self._seen.clear()
        return self.session

    def _may_be_step(self, info: Any, raw: str) -> bool:
        tags = self._tags()
        if "no-checkpoint" in tags or (self._frames and self._frames[-1].running):
            return False  # a cell run by a magic of a running step is part of that step
        if self.every_cell or _MARK in raw or "checkpoint" in tags:
            return True
        return self.auto is not None and self.auto.takes(info)

    def _saw(self, raw: str) -> None:
        if self.session is not None:
            self.session.saw(raw)
        else:
            self._seen.append(raw)

    def _metadata(self) -> Mapping[str, Any]:
        kernel = getattr(self.shell, "kernel", None)
        parent = kernel.get_parent("shell") if kernel is not None else {}
        metadata: Mapping[str, Any] = (parent or {}).get("metadata") or {}
        return metadata

    def _tags(self) -> Sequence[str]:
        tags = self._metadata().get("tags") or ()
        return tags if isinstance(tags, list | tuple) else ()

    def _decide(self, frame: _Frame, tree: ast.Module) -> ast.Module:
        from kitaru_nb.engine.cell import Cell  # noqa: PLC0415 - the engine loads with the first step
        from kitaru_nb.engine.steps import Restore  # noqa: PLC0415

        directive, body = directive_of(tree)
        raw = frame.info.raw_cell
        if directive is None and not self.every_cell and "checkpoint" not in self._tags():
            if self.auto is None or _MARK in raw:
                return tree  # the outer tree of a `%%time`, whose body comes later
            frame.auto = True
        frame.decided = True
        if raw.lstrip().startswith("%%timeit"):
            message = "`%%timeit` would run this checkpoint many times"
            raise UsageError(
                message, kind="repeated-checkpoint", hint="%%time above %%checkpoint, or %%timeit alone"
            )
        began = time.perf_counter()
        session = self.open_session()
        cell_id = getattr(frame.info, "cell_id", None)
        cell = Cell(raw, body, directive, f"cell:{cell_id}" if cell_id else None)
        gone = [f"cell:{gone}" for gone in self._metadata().get("deletedCells") or ()]
        try:
            plan = session.plan(cell, deleted_steps=gone)
        except (UnstorableError, UsageError):
            if not frame.auto:
                raise
            session.saw(raw)  # it cannot be a checkpoint, and nobody said that it should be
            return tree
        frame.plan = plan
        if isinstance(plan, Restore):
            return ast.Module(ast.parse(_CALL).body, type_ignores=[])
        self.sink.begin()
        session.begin(plan)
        frame.running = True
        frame.planning = time.perf_counter() - began
        return body

    def _finish(self, frame: _Frame, result: Any) -> None:
        from kitaru_nb.engine.session import Outcome  # noqa: PLC0415 - loaded by now

        outputs = self.sink.end()
        error = result.error_in_exec or result.error_before_exec if result is not None else None
        if frame.auto and not self._keeps(frame):
            self.session.pass_over(frame.plan, failed=result is None or not result.success)
            return
        if result is None or not result.success:
            failure = error if error is not None else KeyboardInterrupt()
            self.session.fail(frame.plan, failure, Outcome(outputs))
            return
        checkpoint = self.session.commit(
            frame.plan, Outcome(outputs, result.result, execution_count=result.execution_count)
        )
        self.last_status = {"seq": checkpoint.seq, "status": "completed"}
        if not self.quiet:
            from kitaru_nb.engine.live import ran_again  # noqa: PLC0415 - loaded by now
            from kitaru_nb.notebook import display  # noqa: PLC0415 - only when something is said

            stored = self.session.last_bytes
            again = ran_again(frame.plan.pending.unmet)
            text = display.committed(
                checkpoint, stored, self.session.failures.names(), again, self.session.notes()
            )
            self.sink.show(display.bundle(text))

    def _keeps(self, frame: _Frame) -> bool:
        """Whether a cell that nobody marked took long enough to be a checkpoint."""
        seconds = time.perf_counter() - frame.plan.pending.started
        auto = self.auto or Auto()
        return auto.keeps(frame.info.raw_cell, seconds=seconds, cost=None, planning=frame.planning)

    def _repeat_result(self, checkpoint: Any) -> None:
        value = self.session.result_of(checkpoint)
        if value is not None:
            self.shell.displayhook.update_user_ns(value)
            self.shell.displayhook.fill_exec_result(value)
