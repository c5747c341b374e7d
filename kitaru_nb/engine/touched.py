"""What a running step touches besides its names: files, the outside, what lives in this process."""

from __future__ import annotations

from dataclasses import replace
from types import CodeType
from typing import Any

from kitaru_nb.engine import observe
from kitaru_nb.engine.commit import Written
from kitaru_nb.engine.conditions import conditions_of
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.files import Files
from kitaru_nb.engine.inputs import Inputs
from kitaru_nb.engine.live import Live
from kitaru_nb.engine.namespace import Change, Namespace, State
from kitaru_nb.engine.passing import passed_on
from kitaru_nb.engine.process import ProcessState
from kitaru_nb.engine.steps import Pending
from kitaru_nb.engine.suspects import Suspects
from kitaru_nb.model.checkpoint import Checkpoint

__all__ = ["Touched"]


class Touched:
    """Observes the steps of one session, one after the other.

    Args:
        engine: Journal and store.
        namespace: The namespace the cells run in.
        files: Files that steps wrote.
        live: What steps left that lives in this process only.
        inputs: Finds what steps depend on.

    Attributes:
        observed: What the running step, or the last one, was seen to touch.
        suspects: What steps may have set in the process.
    """

    def __init__(
        self, engine: Engine, namespace: Namespace, files: Files, live: Live, inputs: Inputs
    ) -> None:
        self._engine = engine
        self._namespace = namespace
        self._files = files
        self._live = live
        self._inputs = inputs
        self.observed = observe.Observed()
        self.suspects = Suspects()

    def begin(self, pending: Pending | None = None) -> None:
        """The body of a step runs from now on, until `observe.stop`."""
        codes = frozenset(pending.caches) if pending is not None else frozenset[CodeType]()
        self.observed = observe.Observed(look=self._files.there, codes=codes)
        observe.start(self.observed)

    def taken(self) -> tuple[Any, ...]:
        """The files that were changed since `begin`, named; from then on there are none."""
        observed, self.observed = self.observed, observe.Observed()
        return tuple(file for file in self._files.name(observed) if file["mode"] not in ("read", "absent"))

    def seen(
        self, pending: Pending, step: Change, after: State, process: ProcessState, written: Written
    ) -> dict[str, Any]:
        """The fields of a draft that tell what the step touched, and what must be so for it to count.

        Args:
            pending: The step.
            step: What it changed of the namespace, which is `after`.
            after: How the namespace is now.
            process: How the process's state is now.
            written: Takes the bytes of files that the step wrote.

        Raises:
            StoreError: the disk refused.
        """
        passed = passed_on(pending, step, after, self._namespace.live)
        if passed:
            step = replace(step, in_place=step.in_place | passed)
        live, reached = self._namespace.live, pending.needs.touched
        values, loaded = [live[name] for name in reached if name in live], bool(self.observed.imported)
        suspects = self.suspects.of(pending, process, values, loaded=loaded)
        files = self._files.store(self.observed, written, named=pending.files, source=pending.cell.source)
        # A module that was imported by a name which is put together counts like one in a statement.
        places = self.observed.looked_up | {(module, "") for module in self.observed.imported}
        looked_up = self._inputs.looked_up(places, pending.needs, pending.before)
        return {
            "conditions": looked_up
            | conditions_of(
                pending,
                step,
                process,
                self.observed,
                files,
                suspects=suspects,
                ignored=self._engine.ours,
                live=live,
            ),
            "files": tuple(files),
            "outside": tuple(sorted(self.observed.outside)),
        }

    def seen_so_far(
        self, pending: Pending, step: Change, after: State, process: ProcessState, written: Written
    ) -> dict[str, Any]:
        """As `seen` of a step that still runs; with what it has left running in this process."""
        with observe.unheard():
            found = self.seen(pending, step, after, process, written)
            found["conditions"] |= self._live.so_far(pending.cell)
        return found

    def go_on_from(self, kept: Checkpoint) -> list[str]:
        """The running step has done already what is on record in `kept`: missing files are put back.

        Returns:
            A sentence for each file that is worth one.

        Raises:
            CorruptError: stored bytes of a missing file are damaged.
        """
        with observe.unheard():
            said = self._files.put_back(kept)
        self.observed.outside |= set(kept.draft.outside)
        for file in kept.draft.files:
            self.observed.takes(file)
        return said
