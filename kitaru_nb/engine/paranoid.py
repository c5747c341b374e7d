"""Paranoid mode: after each commit, what a restore would give is held against what is there.

The line of commits is restored into a scratch namespace of this process, and every name is
walked together with its live counterpart. The walk does not use the digests that the commit
itself relied on: a change they missed shows here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from cloudpickle import cloudpickle

from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.engine.differing import first_difference
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.namespace import Names, Namespace, State
from kitaru_nb.engine.process import ABSENT, Held, ProcessState
from kitaru_nb.engine.recovery import Loader, Recorded, put_back, recorded_at
from kitaru_nb.errors import DivergenceError, KitaruError
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Checkpoint

__all__ = ["Difference", "check_restorable", "differences"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that a restore would not give back as it is.

    Attributes:
        names: The names concerned; a part of the process state is in brackets.
        what: What differs, in words.
        live: Digest of what is there.
        restored: Digest of what a restore would give.
    """

    names: Names
    what: str
    live: str = ""
    restored: str = ""

    def __str__(self) -> str:
        listed = ", ".join(f"`{name}`" for name in self.names)
        digests = f" (live {self.live[:12]}, restored {self.restored[:12]})" if self.live else ""
        return f"{listed}: {self.what}{digests}"


def check_restorable(
    engine: Engine, namespace: Namespace, checkpoint: Checkpoint, after: State, process: ProcessState
) -> None:
    """Compare the whole namespace with what a restore of `checkpoint` would give.

    The checkpoint stands, whatever is found: this only tells.

    Raises:
        DivergenceError: kind ``paranoid``: something differs; each is named with both digests.
    """
    found = differences(engine, namespace, checkpoint.seq, after, process)
    if found:
        shown = "; ".join(map(str, found[:_SHOWN]))
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        name = checkpoint.draft.name
        raise DivergenceError(
            f"checkpoint `{name}` is stored, but a restore would not give what is there: {shown}{more}",
            kind="paranoid",
            hint="export KITARU_NB_PARANOID=0 goes on without comparing; please report the cell",
        )


def differences(
    engine: Engine, namespace: Namespace, seq: int, after: State, process: ProcessState
) -> list[Difference]:
    """What a restore of commit `seq` would not give as it is now in `namespace`."""
    recorded = recorded_at(engine.journal.line(seq))
    own = namespace.live
    scratch = Namespace({key: own[key] for key in ("__name__", "__builtins__") if key in own})
    with _own_classes():
        loader = _ScratchLoader(engine, scratch)
        groups = list({id(group): group for group in recorded.groups.values()}.values())
        back = put_back(loader, scratch, groups, recorded.groups)
        lost = {name for lost in back.lost for name in recorded.groups[lost].names}
        restored = Namespace(scratch.live)  # what it would learn from the restore hides differences
        found = [Difference((name,), why) for name, why in back.damaged.items()]
        found += _names(namespace, restored)
        found += _looks(after, namespace)
        if not found:
            found += _groups(after, restored.observe(), lost, namespace, restored)
            found += _values(namespace, restored, after, lost)
        found += _process(loader, recorded, process, namespace, restored)
    return found


class _ScratchLoader(Loader):
    """Loads as a restore does, but makes no resource again: that could insert, pay or mail."""

    def _make(self, function: FunctionType, name: str, _kind: str) -> object:  # noqa: ARG002 - as the base has it
        # Not the living one either: its recipe would from then on be the scratch function.
        raise DivergenceError("it is not made again for a comparison", kind="paranoid")


@contextmanager
def _own_classes() -> Iterator[None]:
    """Meanwhile the process knows none of the notebook's classes: a restore makes all of them anew.

    Imports find afterwards what they found before.
    """
    modules = dict(sys.modules)
    by_id = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID  # noqa: SLF001 - as artifacts.functions uses it
    by_class = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS  # noqa: SLF001
    known = dict(by_id)
    by_id.clear()
    by_class.clear()
    try:
        yield
    finally:
        sys.modules.update(modules)
        by_id.clear()
        by_class.clear()
        by_id.update(known)
        by_class.update({cls: identity for identity, cls in known.items()})


def _names(live: Namespace, restored: Namespace) -> Iterator[Difference]:
    here, there = live.visible().keys(), restored.visible().keys()
    for name in sorted(here - there):
        yield Difference((name,), "is there and would not come back")
    for name in sorted(there - here):
        yield Difference((name,), "is gone and would come back")


def _looks(after: State, live: Namespace) -> Iterator[Difference]:
    """Where the look that the commit was made from differs from one that looks at everything."""
    looking = Namespace(live.live, live.hidden)
    fresh = looking.observe()
    looking.let_go(bound=fresh.ids.keys())  # what the next step gives up must not live on in this
    for names, digest in fresh.groups.items():
        if names not in after.groups:
            yield Difference(names, "share objects, which the last look did not see")
        elif after.groups[names] not in (digest, live.digest({name: live.live[name] for name in names})):
            yield Difference(names, "changed, which the last look did not see", digest, after.groups[names])


def _groups(
    after: State, again: State, lost: set[str], live: Namespace, restored: Namespace
) -> Iterator[Difference]:
    """The grouping and the digests. A group with a part that could not be stored may fall apart."""
    for names, digest in after.groups.items():
        if not lost.isdisjoint(names):
            continue
        if names not in again.groups:
            apart = sorted({again.group_of[name] for name in names})
            yield Difference(names, f"share objects, and would come back as {_listed(apart)}")
        elif again.groups[names] != digest:
            one, other = _digest(live, names), _digest(restored, names)
            if one != other:
                yield Difference(names, "would come back with another digest", one, other)


def _values(live: Namespace, restored: Namespace, after: State, lost: set[str]) -> Iterator[Difference]:
    place = first_difference(
        {name: live.live[name] for name in sorted(after.group_of)},
        {name: restored.live[name] for name in sorted(after.group_of)},
        spaces=(live.live, restored.live),
        excused=lost,
    )
    if place is not None:
        names = (place.name,)
        yield Difference(
            names, f"`{place.path}` {place.what}", _digest(live, names), _digest(restored, names)
        )


def _process(
    loader: Loader, recorded: Recorded, process: ProcessState, live: Namespace, restored: Namespace
) -> Iterator[Difference]:
    known: dict[str, Any] = {}
    for digest in recorded.process:
        known.update(loader.process(digest))
    for part, value in process.items():
        if part not in known and (value is None or (part == "attributes" and _are_absent(value))):
            continue  # as it was found
        if part not in known:
            yield Difference((f"[{part}]",), "is not on record")
        elif not _same_part(value, known[part], live, restored):
            yield Difference((f"[{part}]",), "would not be put back as it is")


def _are_absent(attributes: Mapping[str, Held]) -> bool:
    return all(held == Held(ABSENT) for held in attributes.values())


def _same_part(value: Any, stored: Any, live: Namespace, restored: Namespace) -> bool:
    if not (isinstance(value, Mapping) and any(isinstance(held, Held) for held in value.values())):
        return bool(value == stored)
    return value.keys() == stored.keys() and all(
        live.digest({"": value[name].value}) == restored.digest({"": stored[name].value}) for name in value
    )


def _digest(namespace: Namespace, names: Names) -> Digest | str:
    try:
        return digest_values({name: namespace.live[name] for name in names}, namespace=namespace.live)
    except (KitaruError, KeyError):
        return ""


def _listed(groups: list[Names]) -> str:
    return " and ".join("+".join(f"`{name}`" for name in names) for names in groups)
