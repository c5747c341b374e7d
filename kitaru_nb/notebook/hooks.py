"""From IPython's cell hooks to the engine: which cells are steps, when they run, when they commit.

A marked cell is recognised by an input transformer (which turns the `%%checkpoint` line
into a string literal, so line numbers stay) and decided on by an AST transformer that is in
place only while a marked cell is being compiled. A restored step's body is replaced by one
call; a step that ran is committed in `post_run_cell`, before the kernel sends its reply.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

from IPython.core.inputtransformer2 import cell_magic
from IPython.core.interactiveshell import InteractiveShell

from kitaru_nb.analysis.directive import CHECKPOINT, NO_CHECKPOINT, Directive, directive_of, mark_source
from kitaru_nb.engine.cell import source_digest
from kitaru_nb.engine.context import provide, provide_front
from kitaru_nb.engine.parts import CELLS
from kitaru_nb.engine.process import Process, began_ns
from kitaru_nb.engine.switches import FRONT_END
from kitaru_nb.errors import KitaruError, Suspended, UnstorableError, UsageError, stop_in, suspended_in
from kitaru_nb.notebook.auto import Auto
from kitaru_nb.notebook.gate import Gate, is_alone, is_own
from kitaru_nb.notebook.interrupts import Guard, Shield, stop_queue
from kitaru_nb.notebook.plain import PlainCells
from kitaru_nb.notebook.refusal import refused
from kitaru_nb.notebook.shell_settings import ShellSettings
from kitaru_nb.notebook.suspending import Quiet
from kitaru_nb.stacks.loading import nothing_collected

__all__ = ["Hooks"]

_MARK = "%%checkpoint"
_LAB = "KITARU_NB_LAB"  # set by our part of the Jupyter server in its kernels
_LAB_ONLY = "deletedCells"  # in each request of JupyterLab and Notebook 7, and of no other front end
_CALL = "__import__('kitaru_nb.notebook.extension', fromlist=['hooks']).hooks().{}()"


@dataclass(slots=True)
class _Frame:
    """One running cell; cells nest under `%%capture` and `%%time`."""

    info: Any
    possible: bool
    began: float
    plan: Any = None
    decided: bool = False
    running: bool = False
    auto: bool = False
    planning: float = 0.0
    failed: BaseException | None = None
    on_record: bool = False
    scope: Any = None
    pending: Any = None


_Error = TypeVar("_Error", bound=BaseException)

_DURABLE = frozenset(["kitaru_nb.engine.checkpoint", "kitaru_nb.engine.primitives"])
"""Loaded where the notebook, or what it imports, has recorded functions or effects."""


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
        self.tries: Any = None
        self._frames: list[_Frame] = []
        self._guard = Guard(
            # `run_ast_nodes`: the statements of a cell are compiled and run one by one
            through=[InteractiveShell.run_ast_nodes.__code__, Hooks._decide.__code__],
            never=[Hooks._begin.__code__, Hooks.undo_try.__code__],
            lasting=hasattr(getattr(shell, "kernel", None), "post_handler_hook"),
        )
        self._pid = os.getpid()
        self._turn = threading.RLock()
        self._seen: list[str] = []
        self._last_scope: Any = None
        self._gate = Gate(self)
        self._plain = PlainCells(self)
        self._quiet = Quiet(shell)
        self._front: Any = None
        cells_before = any("seed" in source or "state" in source for source in shell.user_ns.get("In", ()))
        self.process = Process(began=began_ns(), seen_whole=not cells_before)

    # -- put in place and taken away ---------------------------------------------------

    def install(self) -> None:
        """Hook into the shell."""
        self.shell.input_transformers_cleanup.append(self.mark)
        self._gate.install(self.shell)
        self.process.variables.install()
        CELLS.compiler = self.shell.compile
        FRONT_END.settings = ShellSettings(self.shell)
        provide(self.running_scope, self.scope_in_use)
        provide_front(lambda: self.front)
        self.shell.events.register("pre_run_cell", self.before_cell)
        self.shell.events.register("post_run_cell", self.after_cell)
        kernel = getattr(self.shell, "kernel", None)
        if kernel is not None and hasattr(kernel, "do_shutdown"):
            kernel.do_shutdown = partial(self._shut_down, kernel.do_shutdown)

    async def _shut_down(self, shut_down: Callable[[bool], Any], restart: bool) -> Any:  # noqa: FBT001 - as ipykernel calls it
        """The user restarts the kernel or ends it, perhaps while a cell runs.

        A coroutine, since ipykernel warns of any other: where a cell has made warnings errors, the
        kernel would not end.
        """
        if self.session is not None:
            self.session.leaving()
        told = shut_down(restart)
        return await told if inspect.isawaitable(told) else told

    def loaded_by(self, source: str) -> None:
        """The cell that loads the extension began before its hooks: it is taken note of like any other."""
        if source.strip():
            self._saw(source)

    def remove(self) -> None:
        """Take the hooks out again and end the attempt."""
        provide(None)
        provide_front(None)
        self._quiet.remove()
        self.shell.input_transformers_cleanup.remove(self.mark)
        self._gate.remove(self.shell)
        self.process.variables.remove()
        CELLS.compiler = None
        FRONT_END.settings = None
        self.shell.events.unregister("pre_run_cell", self.before_cell)
        self.shell.events.unregister("post_run_cell", self.after_cell)
        vars(getattr(self.shell, "kernel", self)).pop("do_shutdown", None)
        self.close()

    def close(self) -> None:
        """End the attempt; a forked child has none."""
        if self.session is not None and os.getpid() == self._pid:
            session, self.session = self.session, None
            session.close()
            with suppress(KitaruError):  # what is on record is safe; the log is folded when it is opened next
                session.engine.close()

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
        self._quiet.ensure()
        raw = info.raw_cell or ""
        frame = _Frame(info, self._may_be_step(info, raw), time.perf_counter())
        if frame.possible and not self._frames:
            self._guard.start()
        self._frames.append(frame)
        if frame.possible:
            self.shell.ast_transformers.append(self)
        else:
            self._saw(raw)
            if len(self._frames) == 1:
                if self.session is not None:
                    self.session.is_no_step(self.place_of(frame))
                self._plain.met(frame)

    def visit(self, tree: ast.Module) -> ast.Module:
        """AST transformer: decide, and put the restoring call in place of a restored body.

        Nothing may escape but `InputRejected`: IPython answers any other error of a transformer
        by running the cell as if nothing had been said.
        """
        frame = self._frames[-1] if self._frames else None
        if frame is None or frame.decided:
            return tree
        try:
            if self._guard.pressed:
                raise KeyboardInterrupt
            decided = self._decide(frame, tree)
        except KitaruError as error:
            raise refused(self._stop_at_limit(frame, error)) from error
        except KeyboardInterrupt as error:
            self._guard.pressed = False
            if frame.running:
                self._give_up(frame)
            stopped = KitaruError("the cell was stopped before it ran", kind="interrupted")
            raise refused(stopped) from error
        except Exception as error:
            message = f"the cell was not run: {type(error).__name__}: {error}"
            raise refused(KitaruError(message, kind="internal", hint="%tb shows where")) from error
        transformers = self.shell.ast_transformers
        if frame.decided and self.tries is None and transformers[-1] is self:
            transformers.pop()  # where there is none, IPython does not walk the tree to mend what they made
        return decided

    def restore(self) -> None:
        """Runs in place of a restored step's body."""
        plan = self._frames[-1].plan
        with Shield() as shield:
            outcome = self.session.restore(plan)
            self.sink.repeat(plan.checkpoint.draft.outputs)
            self._repeat_result(plan.checkpoint)
        self.last_status = {"seq": self.session.last.seq, "status": "restored"}
        if self.quiet and (outcome.lost or outcome.problems):  # the worker says it
            self.last_status["said"] = outcome.said()
        if self._says(bool(outcome.lost or outcome.problems)):
            from kitaru_nb.notebook import display  # noqa: PLC0415 - only when something is said

            text = display.restored(plan.checkpoint, outcome.lost, outcome.problems, name=plan.pending.name)
            self.sink.show(display.own_words(text))
        if shield.pressed:
            self._stop_after(self._frames[-1])

    def give(self) -> None:
        """Runs in place of the body of a step whose result a replay was given."""
        with Shield() as shield:
            checkpoint = self.session.give(self._frames[-1].plan)
        self.last_status = {"seq": checkpoint.seq, "status": "restored"}
        if shield.pressed:
            self._stop_after(self._frames[-1])

    def after_cell(self, result: Any) -> None:
        """The cell has run: commit it. The kernel replies after this returns."""
        if not self._frames:
            return
        frame = self._frames.pop()
        if self.session is not None:
            self.session.saw_imports()
        if not frame.possible:
            self._tell_outer(result)
            self._leave_plain(frame, result)
            self._name_what_was_not_shown(result)
            return
        failure: BaseException | None = None
        with Shield() as shield:
            try:
                self._leave(frame, result)
            except BaseException as error:  # noqa: BLE001 - an error that escapes a hook would be an ok reply
                failure = error
        pressed = shield.pressed
        if not self._frames:
            pressed = self._guard.stop() or pressed
        if pressed and failure is None:
            failure = self._stopped(frame, result)
        if not self._frames:
            self.tries = None
        if failure is not None:
            failure = self._stop_at_limit(frame, failure)
            self.shell.showtraceback((type(failure), failure, None))
            if result is not None:
                result.error_in_exec = failure
            self.shell.last_execution_succeeded = False
        self._name_what_was_not_shown(result)

    def _name_what_was_not_shown(self, result: Any) -> None:
        """Where a result could not be shown the kernel replies with an error, and knows none to name."""
        unshown = getattr(self.shell, "_last_traceback_during_displayhook", False)
        if unshown and result is not None and result.success:
            result.error_in_exec = getattr(sys, "last_value", None)

    def _stopped(self, frame: _Frame, result: Any) -> BaseException | None:
        """What an interrupt amounts to that came outside the user's own code."""
        if self.tries is not None and self.tries.expired:
            return None  # the deadline's, a moment too late
        if frame.plan is None or result is None or not result.success:
            return KeyboardInterrupt()
        self._stop_after(frame)
        return None

    def _leave_plain(self, frame: _Frame, result: Any) -> None:
        """A plain cell has ended."""
        if self._frames or os.getpid() != self._pid:
            return
        try:
            suspended = self._suspended(frame, result)
            if suspended is not None:
                self._end_waiting(result, suspended)
                self._plain.suspended(frame, suspended, getattr(result, "execution_count", None))
            completed = suspended is None and result is not None and result.success
            self._plain.left(frame, completed=completed)
            if frame.scope is not None:
                self.session.leave_scope(plain=True, completed=completed)
        except KitaruError as error:
            self.shell.showtraceback((type(error), error, None))

    def _suspended(self, frame: _Frame, result: Any) -> Suspended | None:
        """What the cell waits for, also where its code has caught the signal and gone on."""
        error = None if result is None else result.error_in_exec
        found = self._stop_in(error)
        if found is None and error is None and frame.scope is not None:
            return frame.scope.suspended  # type: ignore[no-any-return] # a scope is not imported here
        return found

    def _stop_in(self, error: BaseException | None) -> Suspended | None:
        """Where nobody watches, a run waits until there is room for more, too."""
        return stop_in(error) if self.every_cell else suspended_in(error)

    def _stop_at_limit(self, frame: _Frame, error: _Error) -> _Error | Suspended:
        """What to raise for `error`, outside the cell's own code; nothing escapes from here."""
        suspended = self._stop_in(error)
        if suspended is None or self.session is None:
            return error
        try:
            self.session.suspend(None, suspended, self.place_of(frame))
        except Exception:  # noqa: BLE001 - as `visit` says; a stop that is not on record is an error to whoever runs it
            return error
        return suspended

    def _end_waiting(self, result: Any, suspended: Suspended) -> None:
        """An error reply, so that what is queued behind does not run, for something that is no error."""
        if suspended.wait:
            if self.open_session().engine.settings.confirm_rerun.exceeded(suspended.unrecorded, None):
                self.front.costly(suspended)
        else:
            self.front.stopped(suspended)
        if result is not None:
            result.error_in_exec = suspended
        self.shell.last_execution_succeeded = False
        if not self.every_cell:
            stop_queue(self.shell)  # the front end may have asked to go on after errors

    def _says(self, notable: bool) -> bool:  # noqa: FBT001 - private, and its name says what it is
        """Whether a line below the cell says how it went; where a badge does, only what else there is."""
        return not self.quiet and (notable or not self.in_lab)

    @property
    def in_lab(self) -> bool:
        """Whether JupyterLab's extension shows how the running cell went: then no output says so."""
        return os.environ.get(_LAB) == "1" and _LAB_ONLY in self._metadata()

    @property
    def front(self) -> Any:
        """Where waits are told of."""
        if self._front is None:
            from kitaru_nb.notebook.front import NotebookFront  # noqa: PLC0415 - the engine loads with it

            self._front = NotebookFront(self)
        return self._front

    def undo_try(self, frame: _Frame, error: BaseException) -> bool:
        """A try of the running step failed; whether it is undone exactly."""
        outcome = self._late.Outcome(told=self.session.outputs.end(), outputs=self.sink.end())
        undone: bool = self.session.undo_try(frame.plan, error, outcome)
        self.session.leave_scope(plain=False, completed=False)
        frame.scope = None  # the next try begins with nothing consumed
        frame.on_record = not undone
        self.sink.begin()
        self._note_outputs(frame.plan.pending)
        return undone

    def _note_outputs(self, pending: Any) -> None:
        """What the step shows goes on record while it runs."""
        self.session.outputs.begin(pending.name, self.sink, step=pending.cell.step)

    @property
    def is_deciding(self) -> bool:
        """Whether the code being compiled is a cell that may be a step: its plan sees to what it reaches."""
        frame = self._frames[-1] if self._frames else None
        return frame is not None and frame.possible and not frame.decided

    def running_scope(self) -> Any:
        """Where what runs now is counted: in the running cell, or the last one where none runs."""
        if os.getpid() != self._pid and self.session is None:
            return None
        frame = next((each for each in self._frames if each.running), None)
        frame = frame or (self._frames[0] if self._frames else None)
        if frame is None:
            return self._last_scope
        if frame.scope is None:
            with self._one_thread():
                if frame.scope is None:
                    scope = self._scope_of(frame)
                    scope.began = frame.began
                    frame.scope = self._last_scope = scope
        return frame.scope

    def scope_in_use(self) -> Any:
        """The same where something of this notebook is recorded, or may be; else nothing is begun for it."""
        if self.session is None and _DURABLE.isdisjoint(sys.modules):
            return None
        return self.running_scope()

    def _one_thread(self) -> AbstractContextManager[Any]:
        """Threads of a cell that ask at once get one session and one scope; a forked child has one thread."""
        return self._turn if os.getpid() == self._pid else nullcontext()

    def _scope_of(self, frame: _Frame) -> Any:
        session = self.open_session()
        plan = frame.plan
        if plan is not None and frame.running:
            cell = plan.pending.cell
            fresh = cell.directive is not None and cell.directive.fresh
            place = cell.step or f"name:{plan.pending.name}"
            return session.scope_of(place, fresh=fresh, sink=self.sink)
        return session.scope_of(self.place_of(frame))

    def place_of(self, frame: _Frame) -> str:
        """Where a plain cell is: the front end's id of it, else its source."""
        cell_id = self._cell_id(frame)
        return f"cell:{cell_id}" if cell_id else f"code:{source_digest(frame.info.raw_cell or '')}"

    # -- the parts ---------------------------------------------------------------------

    @cached_property
    def _late(self) -> Any:
        with nothing_collected():
            from kitaru_nb.notebook import late  # noqa: PLC0415 - the engine loads with the first step

        return late

    def open_after(self, magic: str) -> None:
        """A magic put values back: where its cell goes on to use them, they are checked now."""
        raw = self._frames[-1].info.raw_cell if self._frames else ""
        if self.session is not None and not is_alone(raw or "", magic):
            self.session.namespace.open()

    def open_session(self) -> Any:
        """The session, made with the first step."""
        with self._one_thread():
            if self.session is None:
                late = self._late
                self.session, self.sink = late.open_session(self.shell, self.process)
                self._guard.hold_in(late.Failures.undo.__code__)
                self.session.tell_with(self._tell)
                for source in self._seen:
                    self.session.saw(source, own=is_own(source), has_run=True)
                self._seen.clear()
            return self.session

    def _tell(self, line: str) -> None:
        if not self.quiet:
            from kitaru_nb.notebook import display  # noqa: PLC0415 - only when something is said

            display.say(self.shell, line)

    def _may_be_step(self, info: Any, raw: str) -> bool:
        tags = self._tags()
        if NO_CHECKPOINT in tags or (self._frames and self._frames[-1].running):
            return False  # a cell run by a magic of a running step is part of that step
        if self.every_cell or _MARK in raw or CHECKPOINT in tags:
            return True
        return self.auto is not None and self.auto.takes(info)

    def _saw(self, raw: str) -> None:
        if self.session is not None:
            self.session.saw(raw, own=is_own(raw))
        else:
            self._seen.append(raw)

    def _cell_id(self, frame: _Frame) -> str | None:
        """The front end's id of a cell, which IPython tells since 8.3."""
        if hasattr(frame.info, "cell_id"):
            return frame.info.cell_id  # type: ignore[no-any-return] # IPython is untyped here
        outermost = not self._frames or self._frames[0] is frame
        return self._metadata().get("cellId") if outermost else None

    def _metadata(self) -> Mapping[str, Any]:
        kernel = getattr(self.shell, "kernel", None)
        parent = kernel.get_parent("shell") if kernel is not None else {}
        metadata: Mapping[str, Any] = (parent or {}).get("metadata") or {}
        return metadata

    def _tags(self) -> Sequence[str]:
        tags = self._metadata().get("tags") or ()
        return tags if isinstance(tags, list | tuple) else ()

    def _decide(self, frame: _Frame, tree: ast.Module) -> ast.Module:
        directive, body = directive_of(tree)
        raw = frame.info.raw_cell
        if directive is None and CHECKPOINT in self._tags():
            directive = Directive()
        if directive is None and not self.every_cell:
            if self.auto is None or _MARK in raw:
                if self.session is not None:
                    self.session.opens(tree)
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
        cell_id = self._cell_id(frame)
        cell = self._late.Cell(raw, body, directive, f"cell:{cell_id}" if cell_id else None)
        gone = [f"cell:{gone}" for gone in self._metadata().get("deletedCells") or ()]
        try:
            plan = session.plan(cell, deleted_steps=gone)
        except (UnstorableError, UsageError):
            if not frame.auto:
                raise
            session.saw(raw)  # it cannot be a checkpoint, and nobody said that it should be
            session.opens(tree)
            return tree
        frame.plan = plan
        if isinstance(plan, self._late.Restore | self._late.Given):
            done_by = "restore" if isinstance(plan, self._late.Restore) else "give"
            return ast.Module(ast.parse(_CALL.format(done_by)).body, type_ignores=[])
        self._begin(frame)
        frame.planning = time.perf_counter() - began
        return self._with_tries(frame, body)

    def _begin(self, frame: _Frame) -> None:
        self.sink.begin()
        self.session.begin(frame.plan)
        self._note_outputs(frame.plan.pending)
        frame.running = True

    def _give_up(self, frame: _Frame) -> None:
        """The cell was stopped after all was made ready for it and before it ran."""
        self.session.outputs.end()
        self.sink.end()
        self.session.pass_over(frame.plan)
        frame.running = False

    def _with_tries(self, frame: _Frame, body: ast.Module) -> ast.Module:
        directive = frame.plan.pending.cell.directive
        if directive is None or not (directive.retries or directive.timeout):
            return body
        from kitaru_nb.notebook import deadline  # noqa: PLC0415 - few cells need it

        self.tries = deadline.Tries(
            frame.plan.pending.name,
            deadline.StepTries(self, frame),
            retries=directive.retries,
            timeout=directive.timeout,
            awaits=deadline.awaits(body),
        )
        return deadline.in_tries(body)

    def _stop_after(self, frame: _Frame) -> None:
        """The stop button came when the cell was on record or being saved: it stops what is queued behind.

        As an error the cell would look undone, and run once more.
        """
        stop_queue(self.shell)
        if not self.quiet:
            name = frame.plan.pending.name
            text = f"kitaru: `{name}` was done when you stopped it; the cells queued behind it do not run"
            print(text, file=sys.stderr)  # noqa: T201 - it is no output of the cell's, and in no record

    def _leave(self, frame: _Frame, result: Any) -> None:
        if self in self.shell.ast_transformers:
            self.shell.ast_transformers.remove(self)
        self._tell_outer(result)
        if frame.running and os.getpid() == self._pid:
            self._finish(frame, result)

    def _tell_outer(self, result: Any) -> None:
        """A cell that a magic of a step ran has failed: so has the step, though the magic says nothing."""
        outer = self._frames[-1] if self._frames else None
        if outer is not None and outer.running and result is not None and not result.success:
            outer.failed = result.error_in_exec or result.error_before_exec

    def _finish(self, frame: _Frame, result: Any) -> None:
        told = self.session.outputs.end()
        outcome = partial(self._late.Outcome, self.sink.end(), told=told)
        try:
            self._record(frame, result, outcome)
        finally:
            self.session.leave_scope(plain=False, completed=False)

    def _record(self, frame: _Frame, result: Any, outcome_of: Callable[..., Any]) -> None:
        """Put on record how the running step ended; `outcome_of` knows what it has shown."""
        late = self._late
        count = result.execution_count if result is not None else None
        suspended = self._suspended(frame, result)
        if suspended is not None:
            place = frame.plan.pending.cell.step or f"name:{frame.plan.pending.name}"
            self.session.suspend(frame.plan.pending, suspended, place, count=count)
            self._end_waiting(result, suspended)
            return
        failure = self._failure(frame, result)
        if frame.auto and not self._keeps(frame, failed=failure is not None):
            self.session.pass_over(frame.plan, failed=failure is not None, count=count)
            return
        if failure is not None:
            if not frame.on_record:
                self.session.fail(frame.plan, failure, outcome_of(execution_count=count))
            if result is not None and result.success:
                raise failure  # a magic kept it to itself
            return
        outcome = outcome_of(result=result.result, execution_count=count)
        checkpoint = self.session.commit(frame.plan, outcome)
        self.last_status = {"seq": checkpoint.seq, "status": "completed"}
        half_done, notes = self.session.failures.cells(), self.session.notes()
        if self._says(bool(half_done or notes or late.display.unstored(checkpoint))):
            stored = self.session.last_bytes
            again = late.ran_again(frame.plan.pending.unmet)
            text = late.display.committed(checkpoint, stored, half_done, again, notes)
            self.sink.show(late.display.own_words(text))

    def _failure(self, frame: _Frame, result: Any) -> BaseException | None:
        """What ended the step's body before its end, if something did."""
        if self.tries is not None:
            self.tries.done()
        if result is not None and result.success:
            return frame.failed
        error: BaseException | None = None
        if result is not None:
            error = result.error_in_exec or result.error_before_exec
        error = error if error is not None else KeyboardInterrupt()
        late = self.tries.timed_out(error) if self.tries is not None else None
        if late is not None:
            result.error_in_exec = late
        return late or error

    def _keeps(self, frame: _Frame, *, failed: bool) -> bool:
        """Whether a cell that nobody marked took long enough to be a checkpoint.

        One that failed is planned again whatever that costs: what it did is undone then.
        """
        seconds = time.perf_counter() - frame.plan.pending.started
        auto = self.auto or Auto()
        cost = frame.scope.cost if frame.scope is not None else None
        planning = 0.0 if failed else frame.planning
        return auto.keeps(frame.info.raw_cell, seconds=seconds, cost=cost, planning=planning)

    def _repeat_result(self, checkpoint: Any) -> None:
        value = self.session.result_of(checkpoint)
        if value is not None:
            self.shell.displayhook.update_user_ns(value)
            self.shell.displayhook.fill_exec_result(value)
