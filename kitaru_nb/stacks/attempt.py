"""The cells of one attempt: those on record are filled in, the others run in a kernel.

The worker's process holds the lease and the kernel commits under it, so that when either
of the two dies, what is on record is true.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output
from papermill.log import logger

from kitaru_nb import errors
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.prefix import record_restored
from kitaru_nb.engine.progress import PLANNED
from kitaru_nb.engine.secrecy import learn_from
from kitaru_nb.engine.step_names import step_name
from kitaru_nb.errors import ConflictError, CorruptError, KernelError, KitaruError, StoreError
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, error_line
from kitaru_nb.model.crash import crash_point
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Attempt, ExecutionStatus, Identity
from kitaru_nb.model.wait import OnWait, asks_again_from
from kitaru_nb.stacks.client import CellClient, KernelDied, Reply, TimedOut, reported
from kitaru_nb.stacks.kernels import HeadlessKernel, describe_exit
from kitaru_nb.stacks.manager import NotebookManager
from kitaru_nb.stacks.notebooks import Step, steps_of
from kitaru_nb.stacks.open import chosen_stack
from kitaru_nb.stacks.outcome import Exit, Outcome, exit_code_of
from kitaru_nb.stacks.taken import Taken
from kitaru_nb.stacks.warm import kernel_for, ready_next
from kitaru_nb.stacks.watch import RunTimedOut, Signals, Stopped, Superseded, Watch

__all__ = ["AttemptRun"]

_SETTLE = 1.5  # seconds an interrupted cell gets to end by itself
_STOP = 1.0  # seconds the kernel gets to end after that
_BOOT = (
    "__import__('kitaru_nb.stacks.kernel_side', fromlist=['x']).prepare({pid})\n"
    "__import__('kitaru_nb.notebook.headless', fromlist=['x']).start(__import__('json').loads({start!r}))\n"
    "get_ipython().execution_count = {count}"
)
_LOOK = (
    "__import__('kitaru_nb.stacks.kernel_side', fromlist=['x']).prepare({pid})\n"
    "__import__('kitaru_nb.notebook.headless', fromlist=['x']).look(__import__('json').loads({start!r}))"
)
_UNLIKE = "__import__('kitaru_nb.notebook.headless', fromlist=['x']).unlike()"
_REPORT = "__import__('kitaru_nb.notebook.headless', fromlist=['x']).report()"
_SUPERSEDED = "another attempt took the execution over"
_CLIENT_OPTIONS = ("allow_errors", "extra_arguments", "log_output", "stderr_file", "stdout_file")


@dataclass(frozen=True, slots=True)
class _End:
    """How the attempt ended, before it is written anywhere."""

    status: ExecutionStatus
    exit: Exit
    reason: str = ""
    step: Step | None = None
    error: BaseException | None = None
    wait: str | None = None
    hint: str = ""


class _CellFailed(Exception):  # noqa: N818 - ends the loop over cells, never leaves the worker
    """A cell raised."""

    def __init__(self, step: Step, reply: Reply) -> None:
        super().__init__(step, reply)
        self.step = step
        self.reply = reply


class _CellWaits(Exception):  # noqa: N818 - as above
    """A cell stopped at a wait or a budget; `event` says at which."""

    def __init__(self, step: Step, event: Event) -> None:
        super().__init__(step, event)
        self.step = step
        self.event = event


class _LeftEarly(Exception):  # noqa: N818 - as above
    """A cell ended the notebook with ``sys.exit()`` or ``exit()``, which counts as success."""


class AttemptRun:
    """Carries one attempt from its first restored cell to its end.

    Args:
        nb: The parameterised notebook, with stable cell ids; it becomes the output notebook.
        engine: Journal and store.
        attempt: The attempt whose lease this process holds.
        identity: What is being run, with the notebook where it is read from.
        taken: What is taken over from the record; it is not run.
        kernel_name: An installed Python kernel.
        output: Where papermill saves the output notebook, or None.
        signals: What notes the signals that ask this process to end.
        timeout: Seconds the attempt may take, or None.
        options: papermill's options for an engine.
        trust: Put back what anybody signed.
        budget: What the execution may cost from now on, in US dollars.
        on_wait: What to do at a wait without an answer; None for what the code says.
        reuse: Take for marked cells also what touched the outside in other executions.
    """

    def __init__(
        self,
        nb: NotebookNode,
        engine: Engine,
        attempt: Attempt,
        *,
        identity: Identity,
        taken: Taken,
        kernel_name: str,
        output: str | None,
        signals: Signals,
        timeout: float | None,
        options: dict[str, Any],
        trust: bool = False,
        budget: float | None = None,
        on_wait: OnWait | None = None,
        reuse: bool = False,
    ) -> None:
        self._reuse = reuse
        self._on_wait = on_wait
        self._nb = nb
        self._engine = engine
        self._attempt = attempt
        self._identity = identity
        self._folder = _folder_of(identity.notebook)
        self._taken = taken
        self._trust = trust
        self._budget = budget
        self._kernel_name = kernel_name
        self._kernel: HeadlessKernel | None = None
        self._start_timeout = float(options.pop("start_timeout", None) or 60)
        self._cell_timeout = options.pop("execution_timeout", None) or options.pop("timeout", None)
        self._watch = Watch(
            attempt,
            journal=engine.journal,
            every=engine.settings.heartbeat,
            signals=signals,
            timeout=timeout,
            tend=engine.tend,
        )
        self._manager = NotebookManager(
            nb,
            output_path=output,
            progress_bar=options.pop("progress_bar", True),
            log_output=options.get("log_output", False),
            autosave_cell_every=options.pop("autosave_cell_every", 30),
        )
        self._client = CellClient(
            self._manager, tick=self._tick, kernel_name=kernel_name, log=logger, **_client_options(options)
        )
        self._step_now: Step | None = None
        self._restored = self._ran = 0
        self._saved = 0.0
        self._said: set[str] = set()

    def run(self) -> tuple[Outcome, BaseException | None]:
        """Do it all; how it ended, and the error to raise when that is not one a run may end with."""
        for note in self._engine.hear():
            logger.warning("%s", note)
        with self._watch:
            try:
                end = self._run_cells()
            except BaseException as error:  # noqa: BLE001 - whatever ends the run, the journal has to know
                end = self._end_of(error)
            return self._close(end)

    # -- the cells ---------------------------------------------------------------------

    def _run_cells(self) -> _End:
        steps = {step.index: step for step in steps_of(self._nb)}
        self._manager.hold_saves()
        self._manager.notebook_start()
        if self._taken.unlike:
            self._leave_what_saw_otherwise()
        filled, first = {**self._taken.failed, **self._taken.shown}, self._taken.first
        kept = sum(not step.plain for step in steps.values())
        self._engine.journal.record_event(self._attempt.execution, PLANNED, {"cells": kept})
        commits = record_restored(self._engine, self._attempt, self._taken.line)
        crash_point("worker-restored")
        for index, cell in enumerate(self._nb.cells[:first]):
            if index in filled:
                self._fill_in(steps[index], filled[index], len([i for i in filled if i <= index]))
            else:
                if index in steps:  # a replay begins after it, and nothing is on record of it
                    cell.outputs, cell.execution_count = [], None
                self._manager.cell_passed(cell)
        self._manager.save_now()
        if first is None:
            self._put_back_files(commits)
            return _End(ExecutionStatus.COMPLETED, Exit.COMPLETED)
        self._watch.check()
        self._boot(self._attached(), commits)
        ready_next(self._kernel_name)
        try:
            for index, cell in enumerate(self._nb.cells[first:], first):
                if index in steps:
                    self._run_step(steps[index])
                else:
                    self._manager.cell_passed(cell)
        except _LeftEarly:
            pass
        self._client.set_widgets_metadata()
        return _End(ExecutionStatus.COMPLETED, Exit.COMPLETED)

    def _put_back_files(self, commits: Sequence[Checkpoint]) -> None:
        """Where nothing is left to run there is no kernel that would put back files."""
        from kitaru_nb.engine.files import Files  # noqa: PLC0415 - the kernel's work everywhere else
        from kitaru_nb.engine.recovery import Restored, damaged  # noqa: PLC0415 - as above

        restored = Restored()
        folder = self._folder or Path(self._identity.notebook or "").parent
        Files(self._engine, Path(folder), self._identity).put_back_line(commits, restored)
        for said in restored.problems:
            logger.warning("%s", said)
        if restored.damaged:
            raise damaged(restored, commits[-1])

    def _fill_in(self, step: Step, checkpoint: Checkpoint, count: int) -> None:
        """Show a step of the restored prefix: what it showed when it ran, with the times it had."""
        origin = checkpoint.draft.origin
        ran = checkpoint if origin is None else self._engine.journal.checkpoint(origin)
        cell = self._nb.cells[step.index]
        learn_from(checkpoint.draft.source, cell.source)
        self._client.show_record(cell, step.index, checkpoint.draft.outputs, count)
        self._manager.cell_restored(cell, ran)
        if checkpoint.draft.status is CheckpointStatus.FAILED:
            return
        self._restored += 1
        self._saved += ran.draft.duration
        if self._manager.log_output:
            logger.info("Restored Cell %s", f"{step.index + 1:-<40}")

    def _attached(self) -> HeadlessKernel:
        """The kernel of this attempt, which answers."""
        if self._kernel is None:
            self._kernel = kernel_for(self._kernel_name)
            self._client.attach(self._kernel, timeout=self._start_timeout)
            logger.info("Executing notebook with kernel: %s", self._kernel_name)
        return self._kernel

    def _leave_what_saw_otherwise(self) -> None:
        """Take over nothing from the first step on that saw another environment than the kernel has."""
        kernel, line = self._attached(), self._taken.line
        turn = {**self._place(), "line": [commit.seq for commit in line]}
        code = _LOOK.format(pid=os.getpid(), start=json.dumps(turn))
        found = self._tell(kernel, code, report=_UNLIKE)
        if found is None:
            return
        place, variable = found
        logger.warning(
            "`%s`, and what depends on it, is not taken over as it stands: the environment variable `%s` is "
            "not what it was then",
            line[place].draft.name,
            variable,
        )
        self._taken = self._taken.up_to(place)

    def _place(self) -> dict[str, Any]:
        """What the kernel needs to know to open what this process has open."""
        return {
            "home": str(self._engine.settings.home),
            "stack": chosen_stack(self._engine.settings).to_json(),
            "notebook": self._identity.notebook,
            "settings": self._nb.metadata.get("kitaru_nb"),
            "secrets": VAULT.met(),
            "trust": self._trust,
        }

    def _boot(self, kernel: HeadlessKernel, commits: Sequence[Checkpoint]) -> None:
        """Make the kernel take part in this attempt, with the namespace as of the last restored step."""
        turn = {
            **self._place(),
            "execution": self._attempt.execution,
            "epoch": self._attempt.epoch,
            "folder": self._folder,
            "parameters": self._identity.parameters,
            "budget": self._budget,
            "restore": commits[-1].seq if commits else None,
            "on_wait": None if self._on_wait is None else asdict(self._on_wait),
            "replay": self._taken.replay,
            "reuse": self._reuse,
        }
        count = len(commits) + len(self._taken.failed) + 1
        code = _BOOT.format(pid=os.getpid(), start=json.dumps(turn), count=count)
        if report := self._tell(kernel, code, report=_REPORT):
            self._say(report.splitlines())

    def _say(self, lines: Sequence[str]) -> None:
        """What is not back; each line once, though it may hold for many cells."""
        for line in lines:
            if line not in self._said:
                logger.warning("%s", line)
        self._said.update(lines)

    def _tell(self, kernel: HeadlessKernel, code: str, *, report: str) -> Any:
        """Run our own `code` in the kernel; what `report` is afterwards."""
        try:
            answer = self._client.run_silently(code, report=report)
        except KernelDied:
            if kernel.was_killed:
                raise
            message = f"the kernel `{kernel.name}` died while it was made ready: {kernel.why_it_ended()}"
            raise KernelError(message, kind="kernel-start", hint=kernel.log_tail()) from None
        if answer["status"] != "ok":
            raise _boot_error(answer, kernel)
        return reported(answer)

    def _run_step(self, step: Step) -> None:
        cell = self._nb.cells[step.index]
        self._step_now = step
        self._manager.cell_start(cell, step.index)
        reply = self._client.run_cell(cell, step.index, timeout=self._cell_timeout)
        suspended = self._suspended(reply)
        if suspended is not None:
            raise _CellWaits(step, suspended)
        self._take_reply(step, reply)
        if not reply.ok and not _may_raise(step, self._client):
            if reply.ename == "SystemExit" and reply.evalue in ("", "0"):  # as papermill reads it
                self._manager.cell_complete(cell, cell_index=step.index)
                raise _LeftEarly
            raise _CellFailed(step, reply)
        self._manager.cell_complete(cell, cell_index=step.index)
        self._step_now = None
        if reply.exits:
            raise _LeftEarly

    def _suspended(self, reply: Reply) -> Event | None:
        """What the kernel has put on record of a cell that waits: an error reply alone does not say."""
        if reply.ok or reply.ename != errors.Suspended.__name__:
            return None
        event = self._engine.journal.suspended(self._attempt.execution)
        return event if event is not None and event.data["epoch"] == self._attempt.epoch else None

    def _take_reply(self, step: Step, reply: Reply) -> None:
        """Show what is on record of a cell that has ended, and count it."""
        if reply.seq is not None:
            draft = self._engine.journal.checkpoint(reply.seq).draft
            learn_from(draft.source, self._nb.cells[step.index].source)
            self._client.show_record(self._nb.cells[step.index], step.index, draft.outputs, reply.count)
            self._saved += draft.duration if reply.restored else 0.0
        self._say(reply.said)
        self._restored += reply.restored
        self._ran += not reply.restored

    def _tick(self) -> None:
        """While a reply is awaited."""
        self._watch.check()
        if self._kernel is not None:
            self._kernel.vitals.look()
        self._manager.save_if_due()

    # -- the end -----------------------------------------------------------------------

    def _end_of(self, error: BaseException) -> _End:
        """What the error that ended the cells means; the running cell is stopped and shown truly."""
        match error:
            case _CellFailed(step=step, reply=reply):
                end = self._after_failure(step, reply)
            case _CellWaits(step=step, event=event):
                end = self._after_wait(step, event)
            case KernelDied():
                end = self._after_death()
            case TimedOut():
                end = self._timed_out(f"the cell ran longer than {self._cell_timeout:g} s")
            case RunTimedOut():
                end = self._timed_out(f"the run took longer than {self._watch.timeout:g} s")
            case Stopped(signum=signum):
                reason = f"stopped by {signal.Signals(signum).name}"
                end = self._cut_short(_End(ExecutionStatus.INTERRUPTED, Exit(128 + signum), reason))
            case Superseded():
                end = self._cut_short(_End(ExecutionStatus.INTERRUPTED, Exit.SUPERSEDED, _SUPERSEDED))
            case KitaruError():
                end = self._cut_short(
                    _End(ExecutionStatus.FAILED, exit_code_of(error), error.message, error=error)
                )
            case _:
                reason = _first_line(f"{type(error).__name__}: {error}")
                end = self._cut_short(_End(ExecutionStatus.INTERRUPTED, Exit.FAILED, reason, error=error))
        return self._as_cancelled(end)

    def _as_cancelled(self, end: _End) -> _End:
        """`end`, or what it is where somebody has cancelled the execution meanwhile."""
        try:
            now = self._engine.journal.execution(self._attempt.execution)
        except StoreError:
            return end
        if now.status is not ExecutionStatus.CANCELLED:
            return end
        return replace(end, status=now.status, exit=Exit.SIGTERM, reason=now.reason or "cancelled")

    def _after_failure(self, step: Step, reply: Reply) -> _End:
        if self._is_superseded():
            return self._cut_short(_End(ExecutionStatus.INTERRUPTED, Exit.SUPERSEDED, _SUPERSEDED, step))
        self._mark_failed(step)
        reason = _first_line(error_line(reply.ename, reply.evalue))
        late = reply.ename == errors.TimedOutError.__name__
        code = Exit.TIMED_OUT if late else Exit.FAILED
        return _End(ExecutionStatus.FAILED, code, reason, step, hint=self._hint_of(step, reply))

    def _hint_of(self, step: Step, reply: Reply) -> str:
        """What one of our own errors says to do; nothing of any other error."""
        if reply.ename not in errors.__all__:
            return ""
        hint = reply.evalue.partition("\n  Try: ")[2]
        name = self._name_of(step)
        return hint if name is None else asks_again_from(hint, name)

    def _after_wait(self, step: Step, event: Event) -> _End:
        """The cell is still to be run, and its output says what for."""
        cell = self._nb.cells[step.index]
        reason, _, hint = str(event.data["message"]).partition("\n  Try: ")
        text = f"kitaru: {reason}\n  {hint}"
        cell.outputs.append(new_output("display_data", data={"text/plain": text.rstrip()}))
        self._manager.cell_cut_short(cell)
        wait = event.data["wait"] or None
        return _End(ExecutionStatus.WAITING, Exit.WAITING, reason, step, wait=wait, hint=hint)

    def _after_death(self) -> _End:
        why = self._kernel.why_it_ended() if self._kernel else describe_exit(None)
        step = self._step_now
        reason = f"kernel died: {why}"
        if step is not None and not self._was_committed(step):
            self._add_error(step, "DeadKernelError", reason, self._kernel.log_tail() if self._kernel else "")
            self._mark_failed(step)
        return _End(ExecutionStatus.INTERRUPTED, Exit.KERNEL_DIED, reason, step)

    def _got_done(self, step: Step, reply: Reply | None) -> bool:
        """Whether a cell that was asked to stop had ended well before; if so it is shown as done."""
        if reply is None or not reply.ok:
            return self._was_committed(step)
        self._take_reply(step, reply)
        self._manager.cell_complete(self._nb.cells[step.index], cell_index=step.index)
        return True

    def _was_committed(self, step: Step) -> bool:
        """Whether the step is on record although no reply came; if so it is shown as done."""
        for checkpoint in reversed(self._engine.journal.checkpoints(self._attempt.execution)):
            draft = checkpoint.draft
            mine = checkpoint.epoch == self._attempt.epoch and draft.step == step.step
            if mine and draft.status is not CheckpointStatus.FAILED:
                cell = self._nb.cells[step.index]
                self._client.show_record(cell, step.index, draft.outputs, cell.execution_count)
                self._manager.cell_complete(cell, cell_index=step.index)
                return True
        return False

    def _timed_out(self, reason: str) -> _End:
        reply = self._client.settle(patience=_SETTLE)
        step = self._step_now
        if step is not None and not self._got_done(step, reply):
            self._add_error(step, "TimeoutError", reason)
            self._mark_failed(step)
        return _End(ExecutionStatus.FAILED, Exit.TIMED_OUT, f"timed out: {reason}", step)

    def _cut_short(self, end: _End) -> _End:
        """Stop the running cell and show it as still to be run, unless it got done meanwhile."""
        reply = self._client.settle(patience=_SETTLE)
        step = end.step or self._step_now
        if step is None:
            return end
        if self._got_done(step, reply):
            return end
        cell = self._nb.cells[step.index]
        # the interrupt was our own doing, so its traceback says nothing about the cell
        cell.outputs = [output for output in cell.outputs if output["output_type"] != "error"]
        self._manager.cell_cut_short(cell)
        return replace(end, step=step)

    def _mark_failed(self, step: Step) -> None:
        cell = self._nb.cells[step.index]
        self._learn_from_failure(step)
        self._manager.cell_exception(cell, cell_index=step.index)
        self._manager.cell_complete(cell, cell_index=step.index)

    def _learn_from_failure(self, step: Step) -> None:
        """What the kernel found to be a secret in a cell that failed is none to be written here."""
        with contextlib.suppress(KitaruError):
            for checkpoint in reversed(self._engine.journal.checkpoints(self._attempt.execution)):
                if checkpoint.draft.step == step.step:
                    learn_from(checkpoint.draft.source, self._nb.cells[step.index].source)
                    return

    def _add_error(self, step: Step, ename: str, evalue: str, detail: str = "") -> None:
        lines = [error_line(ename, evalue), *detail.splitlines()]
        outputs = self._nb.cells[step.index].outputs
        outputs[:] = [output for output in outputs if output["output_type"] != "error"]
        outputs.append(new_output("error", ename=ename, evalue=evalue, traceback=lines))

    def _is_superseded(self) -> bool:
        try:
            self._engine.journal.heartbeat(self._attempt)
        except ConflictError:
            return True
        except StoreError:
            return False
        return False

    def _close(self, end: _End) -> tuple[Outcome, BaseException | None]:
        """Write down how it ended: the journal first when somebody waits for it, then the notebook.

        The error is the one to raise; that the output could not be saved is found only here.
        """
        end = replace(end, reason=VAULT.mask_shown(end.reason))
        self._manager.notebook_complete()
        try:
            if end.exit is Exit.COMPLETED:
                end = self._save_completed(end)
                crash_point("worker-saved")
                self._finish(end)
            else:
                self._finish(end)
                self._save_unfinished()
        finally:
            if self._kernel is not None:
                self._kernel.stop(patience=5.0 if end.exit in (Exit.COMPLETED, Exit.FAILED) else _STOP)
        name = None if end.exit is Exit.COMPLETED or end.step is None else self._name_of(end.step)
        outcome = Outcome(
            end.status,
            end.exit,
            self._attempt.execution,
            name,
            end.reason,
            self._restored,
            self._ran,
            self._saved,
            wait=end.wait,
            hint=end.hint,
        )
        return outcome, end.error

    def _finish(self, end: _End) -> None:
        self._engine.journal.finish(self._attempt, end.status, reason=end.reason or None)

    def _save_completed(self, end: _End) -> _End:
        """Save the whole output; an output that cannot be saved is not a completed run."""
        try:
            self._manager.save_now()
        except OSError as error:
            message = f"the output notebook could not be saved: {error}; every cell is on record"
            lost = StoreError(
                message, kind="output-not-saved", hint="make room, then run the same command again"
            )
            return _End(ExecutionStatus.FAILED, Exit.FAILED, message, error=lost)
        return end

    def _save_unfinished(self) -> None:
        try:
            self._manager.save_now()
        except OSError as error:
            logger.warning("the output notebook could not be saved: %s", error)

    def _name_of(self, step: Step) -> str | None:
        """What the step is called on record, else what it would have been called."""
        with contextlib.suppress(KitaruError):
            recorded = self._engine.journal.checkpoints(self._attempt.execution)
            for checkpoint in reversed(recorded):
                if checkpoint.draft.step == step.step:
                    return checkpoint.draft.name
            with contextlib.suppress(SyntaxError, ValueError):
                return step_name(ast.parse(step.source), {checkpoint.draft.name for checkpoint in recorded})
        return None


def _folder_of(notebook: str | None) -> str | None:
    """The folder of a notebook that is a file."""
    return str(Path(notebook).parent) if notebook is not None and Path(notebook).is_absolute() else None


def _client_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of papermill's options that its own client takes and that mean something here."""
    return {name: options[name] for name in _CLIENT_OPTIONS if name in options}


def _may_raise(step: Step, client: CellClient) -> bool:
    return bool(client.allow_errors) or "raises-exception" in step.tags


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


def _boot_error(answer: Mapping[str, Any], kernel: HeadlessKernel) -> KitaruError:
    """The kernel's own refusal as the error it raised there."""
    ename, evalue = str(answer.get("ename", "")), str(answer.get("evalue", ""))
    if ename in ("ImportError", "ModuleNotFoundError"):
        python = (
            (kernel.manager.kernel_spec.argv or ["python"])[0] if kernel.manager.kernel_spec else "python"
        )
        return KernelError(
            f"the kernel `{kernel.name}` cannot load kitaru_nb: {evalue}",
            kind="kernel-without-kitaru",
            hint=f"{python} -m pip install kitaru-nb, or choose the kernel this command runs in",
        )
    message, _, hint = evalue.partition("\n  Try: ")
    known = getattr(errors, ename, None) if ename in errors.__all__ else None
    if known is CorruptError:
        # its own hint is to run a cell by hand; here the cell is restored by every attempt
        hint = "kitaru-nb run NOTEBOOK --new, which runs every cell again"
        return CorruptError(message, kind="corrupt-artifact", hint=hint)
    if isinstance(known, type) and issubclass(known, KitaruError):
        return known(message, kind="kernel-refused", hint=hint)
    return KernelError(
        f"the kernel `{kernel.name}` could not take part: {ename}: {evalue}", kind="kernel-refused"
    )
