"""Python object graphs as one protocol-5 pickle with their large buffers beside it.

The stream is two pickles on one memo. The first names what is live in every process (the
notebook namespace, the builtins); the second holds the names and their values and refers to
those by memo number, so a function comes back on the live namespace itself.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import io
import pickle
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from cloudpickle import cloudpickle

from kitaru_nb.artifacts.codec import NO_ANCHORS, Anchors, Encoded, ReadBuffer, Resolve
from kitaru_nb.artifacts.depth import deep_containers
from kitaru_nb.artifacts.foreign import current_judge, is_foreign
from kitaru_nb.artifacts.functions import reduce_code, trying
from kitaru_nb.artifacts.kinds import kind_name
from kitaru_nb.artifacts.marker import Marker, is_marker, marker_details
from kitaru_nb.artifacts.notes import now_at
from kitaru_nb.artifacts.owners import owner_of, reduce_over
from kitaru_nb.artifacts.reducers import (
    Unstorable,
    hashed_by_value,
    is_plain_instance,
    reduce_hashed,
    reduce_object,
)
from kitaru_nb.artifacts.resource import any_resource, is_resource
from kitaru_nb.artifacts.views import (
    Block,
    bare,
    is_array,
    is_array_subclass,
    is_raw,
    reduce_array,
    reduce_objects,
    reduce_subclass,
    reduce_view,
    shared_blocks,
)
from kitaru_nb.artifacts.zarr_record import arrays_record
from kitaru_nb.errors import KitaruError, UnstorableError
from kitaru_nb.model.artifact import Anchor, Digest

__all__ = ["OUT_OF_BAND_BYTES", "PickleCodec", "Reference", "anchored", "live", "name_of"]

OUT_OF_BAND_BYTES = 64 << 10
"""Buffers of at least this many bytes are kept beside the pickle stream, uncopied."""

_FORMAT = 2  # since 2 the manifest names the artifacts that the stream refers to
_LIVE = ("namespace", "builtins")
_decoding = threading.local()


class PickleCodec:
    """Stores any group of names; what cannot be stored becomes a `Marker`, object by object.

    Sharing inside a group survives: aliases, cycles, closure cells, views of one array's
    memory. Functions and classes defined in the notebook come back on the live namespace.
    """

    name = "pickle5"

    def accepts(self, values: Mapping[str, object]) -> bool:  # noqa: ARG002 - as the protocol has it
        """True: every group can be stored, if need be with markers."""
        return True

    def encode(
        self, values: Mapping[str, object], *, namespace: dict[str, Any], anchors: Anchors = NO_ANCHORS
    ) -> Encoded:
        """`values` as one pickle and its buffers, without copying contiguous arrays.

        Args:
            values: The names of one group with their values.
            namespace: The live notebook namespace.
            anchors: Functions and classes to refer to instead of carrying them along.

        Raises:
            UnstorableError: the group as a whole is too deep or too large to be stored; the
                message names it. A single object that cannot be stored is no error: see
                `Encoded.unstorable`.
        """
        with _no_gc(), _clear_errors(values):
            context = _Context(namespace, anchors, bare={})
            done = _encode(values, context)
            judge = current_judge() if done.foreign else None
            refused = judge(done.foreign, namespace) if judge is not None else {}
            if refused:
                context = context._replace(refused=refused)
                done = _encode(values, context)
        names = _reaching(values, context) if done.markers else {}
        meta = {"format": _FORMAT, "python": list(sys.version_info[:2]), "buffers": len(done.buffers)}
        if done.buffers:
            arrays = arrays_record(values, [done.stream, *done.buffers])
            meta |= {"arrays": arrays} if arrays else {}
        if done.anchored:
            meta["anchors"] = sorted(done.anchored)
        return Encoded(self.name, meta, [done.stream, *done.buffers], names, done.start)

    def decode(
        self,
        meta: Mapping[str, Any],
        read: ReadBuffer,
        *,
        namespace: dict[str, Any],
        resolve: Resolve | None = None,
    ) -> dict[str, object]:
        """The names with their values; cell functions and classes live in `namespace`.

        A class this process already has is given the attributes it had when it was stored,
        so that a restored group is whole; decode only what is to be put back.

        Raises:
            UnstorableError: a value was stored by an incompatible Python or library.
        """
        buffers = [read(i) for i in range(1, int(meta["buffers"]) + 1)]
        return _decode(read(0), buffers, namespace, resolve)


def live(name: str) -> dict[str, Any]:
    """What `name` stands for while a group is being decoded; pickles refer to this function."""
    return vars(builtins) if name == "builtins" else _decoding.namespace


def anchored(name: str, value: str, artifact: str) -> Any:
    """The function or class that is stored as `name` in `artifact`; pickles refer to this function."""
    resolve = _decoding.resolve
    if resolve is None:
        raise UnstorableError(
            f"the definition of `{name}` is stored elsewhere and was not asked for",
            kind="unresolved-definition",
            hint="%resume",
        )
    return resolve(Anchor(name, Digest(value), Digest(artifact)))


class Reference:
    """Stands for a value that is stored elsewhere; what is loaded in its place is that value."""

    def __init__(self, anchor: Anchor) -> None:
        self.anchor = anchor

    def __reduce__(self) -> tuple[Any, ...]:
        return anchored, (self.anchor.name, self.anchor.value, self.anchor.artifact)


def name_of(name: str) -> str:
    """`name` itself; stands before each value in a stream."""
    now_at(name)
    return name


# --- encoding -----------------------------------------------------------------------------


class _Context(NamedTuple):
    """What every pass over a group shares."""

    namespace: dict[str, Any]
    anchors: Anchors = NO_ANCHORS
    refused: Mapping[type, str] = MappingProxyType({})
    bare: dict[int, tuple[Any, Any]] = {}  # noqa: RUF012 - arrays of subclasses met, as plain arrays


class _Live:
    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return live, (self.name,)


class _At:
    """Tells the pickler which name's value comes next."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Encoding(cloudpickle.Pickler):  # type: ignore[misc] # cloudpickle is untyped
    """One pass over a group. What it finds out on the way may ask for a second pass."""

    def __init__(self, context: _Context, blocks: Mapping[int, Block], cautious: _Cautious | None) -> None:
        self.file = io.BytesIO()
        self.buffers: list[memoryview] = []
        super().__init__(self.file, protocol=5, buffer_callback=partial(_keep_inside, self.buffers))
        self.namespace, self.anchors, self.refused, self.bare = context
        self.foreign: dict[type, object] = {}
        self.blocks = blocks
        self.cautious: _Cautious | None = None
        self.at = ""
        self.sources: dict[str, str | None] = {}
        self.arrays: list[Any] = []
        self.private: set[int] = set()
        self.markers: list[tuple[str, str, str]] = []
        self.kept: list[object] = []
        self.plain: dict[type, bool] = {}
        self.hashed: set[type] = set()
        self.anchored: set[Digest] = set()
        self.resources = any_resource()
        self._name_what_is_live()
        self.start = self.file.tell()
        self.cautious = cautious

    def _name_what_is_live(self) -> None:
        things = [_Live(name) for name in _LIVE]
        self.dump(things)
        memo: dict[int, Any] = self.memo.copy()  # type: ignore[has-type] # cloudpickle is untyped
        # One entry for one entry: the memo must keep its size, loading counts along.
        for thing, what in zip(things, (self.namespace, vars(builtins)), strict=True):
            memo[id(what)] = (memo.pop(id(thing))[0], what)
        self.memo = memo
        self.kept.append(things)

    def reducer_override(self, obj: Any) -> Any:  # the pickler's own hook
        cls = type(obj)
        if self.plain.get(cls) and not (self.resources and is_resource(obj)):
            return NotImplemented
        if self.anchors and id(obj) in self.anchors:
            anchor = self.anchors[id(obj)]
            self.anchored.add(anchor.artifact)
            return anchored, (anchor.name, anchor.value, anchor.artifact)
        if is_array(obj):
            return self._reduce_array(obj)
        if cls is _At:
            self.at = obj.name
            return name_of, (obj.name,)
        if cls is _CODE:
            return reduce_code(obj, self.sources)
        try:
            return self._reduce(obj, cls)
        except Unstorable as reason:
            return self._marker(obj, str(reason))
        except (RecursionError, MemoryError, KitaruError):
            raise
        except Exception as error:  # noqa: BLE001 - its class may do anything when it is looked at
            return self._marker(obj, f"looking at it raises {type(error).__name__}: {error}")

    def _reduce(self, obj: Any, cls: type) -> Any:
        if cls is Marker:
            self.markers.append(marker_details(obj))
        if cls.__module__.startswith("pandas.core.internals"):
            self._note_frame(obj)
        if cls in self.refused:
            raise Unstorable(self.refused[cls])
        value = self._reduce_subclass(obj) if is_array_subclass(obj) else reduce_object(obj, self.namespace)
        if cls not in self.plain:
            # Asked only once the first instance went through: the stock way works for the type.
            stock = is_plain_instance(cls) and value[0].__name__ == "__newobj__" and len(value) < 6
            stock = stock and not _stateless(cls)
            if (not stock or hasattr(cls, "__setstate__")) and is_foreign(obj, value):
                self.foreign.setdefault(cls, obj)
            if stock and hashed_by_value(cls):
                self.hashed.add(cls)
            self.plain[cls] = stock and cls not in self.hashed
        if cls in self.hashed and value[0].__name__ == "__newobj__" and len(value) < 6:
            value = reduce_hashed(obj, value)
        if self.cautious is not None and isinstance(value, tuple):
            self.cautious.check(obj, value)
        return value

    def _reduce_subclass(self, array: Any) -> Any:
        if id(array) not in self.bare:
            self.bare[id(array)] = array, bare(array)
        return reduce_subclass(*self.bare[id(array)])

    def _reduce_array(self, array: Any) -> Any:
        if not is_raw(array):
            return reduce_objects(array) or array.__reduce_ex__(5)
        owner = owner_of(array)
        if owner is not None:
            return reduce_over(array, owner)
        self.arrays.append(array)
        block = self.blocks.get(id(array))
        return reduce_array(array) if block is None else reduce_view(array, block)

    def _note_frame(self, manager: Any) -> None:
        for block in getattr(manager, "blocks", ()):
            self.private.add(id(block.values))
            self.kept.append(block.values)

    def _marker(self, obj: object, reason: str) -> Any:
        details = (self.at, kind_name(obj), reason)
        self.markers.append(details)
        return Marker, details

    @property
    def stream(self) -> memoryview:
        """What was written so far."""
        return self.file.getbuffer()


def _keep_inside(buffers: list[memoryview], buffer: pickle.PickleBuffer) -> bool:
    # No method: a pass that referred to itself would outlive its use, and the user's objects with it.
    raw = buffer.raw()
    if raw.nbytes < OUT_OF_BAND_BYTES:
        return True
    buffers.append(raw)
    return False


_CODE = type((lambda: None).__code__)


def _stateless(cls: type) -> bool:
    # Instances without attributes may be sentinels: each must be looked at (see module_constant).
    return cls.__module__ != "__main__" and cls.__module__ in sys.modules and not cls.__dictoffset__


class _Cautious:
    """Second pass of a group with markers: an object that cannot be rebuilt with one becomes one."""

    def __init__(self, context: _Context) -> None:
        self.context = context
        self.verdicts: dict[int, str] = {}
        self.kept: list[object] = []

    def check(self, obj: object, value: tuple[Any, ...]) -> None:
        """Raise `Unstorable` if rebuilding `obj` from its stored arguments fails."""
        if value[0].__name__ == "__newobj__" or str(value[0].__module__).startswith("kitaru_nb."):
            return
        if id(obj) not in self.verdicts:
            self.verdicts[id(obj)] = ""  # also ends the recursion where an object leads to itself
            self.kept.append(obj)
            self.verdicts[id(obj)] = self._verdict(value)
        if self.verdicts[id(obj)]:
            raise Unstorable(self.verdicts[id(obj)])

    def _verdict(self, value: tuple[Any, ...]) -> str:
        part = _pass({"": value[1]}, self.context, {}, self)
        if not part.markers:
            return ""
        _, kind, reason = part.markers[0]
        trying.on = True
        try:
            arguments: Any = _decode(part.stream, part.buffers, self.context.namespace, self._live)[""]
            value[0](*arguments)
        except Exception:  # noqa: BLE001 - whatever a foreign constructor raises when it is handed a marker
            return f"it needs a {kind}, which could not be stored: {reason}"
        finally:
            trying.on = False
        return ""

    def _live(self, anchor: Anchor) -> object:
        return self.context.namespace[anchor.name]


def _pass(
    values: Mapping[str, object],
    context: _Context,
    blocks: Mapping[int, Block],
    cautious: _Cautious | None = None,
    first: list[Any] | None = None,
) -> _Encoding:
    encoding = _Encoding(context, blocks, cautious)
    payload: list[Any] = [first or []]
    for name, value in values.items():
        payload += (_At(name), value)
    encoding.dump(payload)
    return encoding


def _encode(values: Mapping[str, object], context: _Context) -> _Encoding:
    first: list[Any] = []
    try:
        done = _pass(values, context, {})
    except (RecursionError, pickle.PicklingError) as error:
        if not isinstance(error, RecursionError) and not isinstance(error.__cause__, RecursionError):
            raise
        # Innermost containers first: what is written already is only referred to by what holds it.
        first = deep_containers(values)
        done = _pass(values, context, {}, first=first)
    blocks = shared_blocks(done.arrays, done.private)
    if blocks:
        done = _pass(values, context, blocks, first=first)
    if any(not is_marker(value) for value in values.values()) and done.markers:
        done = _pass(values, context, blocks, _Cautious(context), first)
    return done


def _reaching(values: Mapping[str, object], context: _Context) -> dict[str, str]:
    """For each name that leads to something that could not be stored: what, and why."""
    found = {}
    for name, value in values.items():
        with _no_gc():
            alone = _pass({name: value}, context, {}, _Cautious(context))
        if alone.markers:
            _, kind, reason = alone.markers[0]
            found[name] = f"{kind}: {reason}"
    return found


# --- decoding -----------------------------------------------------------------------------


class _Stream:
    """A file over a memoryview, which `io.BytesIO` would copy."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    def read(self, size: int = -1) -> bytes:
        stop = len(self.data) if size < 0 else self.at + size
        chunk = bytes(self.data[self.at : stop])
        self.at += len(chunk)
        return chunk

    def readinto(self, target: Any) -> int:
        chunk = self.data[self.at : self.at + len(target)]
        target[: len(chunk)] = chunk
        self.at += len(chunk)
        return len(chunk)

    def readline(self) -> bytes:
        rest = bytes(self.data[self.at : self.at + 4096])
        line = rest[: rest.find(b"\n") + 1] or rest
        self.at += len(line)
        return line


def _decode(
    data: memoryview, buffers: list[memoryview], namespace: dict[str, Any], resolve: Resolve | None
) -> dict[str, object]:
    outer = getattr(_decoding, "namespace", None), getattr(_decoding, "resolve", None)
    _decoding.namespace, _decoding.resolve = namespace, resolve
    try:
        with _no_gc():
            unpickler = pickle.Unpickler(_Stream(data), buffers=buffers)
            unpickler.load()
            payload = unpickler.load()
    finally:
        _decoding.namespace, _decoding.resolve = outer
    return dict(zip(payload[1::2], payload[2::2], strict=True))


# --- around both --------------------------------------------------------------------------


@contextlib.contextmanager
def _no_gc() -> Iterator[None]:
    # The collector would walk the whole graph again and again while it is being built.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def _clear_errors(values: Mapping[str, object]) -> Iterator[None]:
    names = ", ".join(f"`{name}`" for name in values)
    try:
        yield
    except (RecursionError, pickle.PicklingError) as error:
        deep = isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError)
        why = "its objects are nested too deeply" if deep else str(error)
        raise UnstorableError(
            f"{names} cannot be stored: {why}",
            kind="too-deep" if deep else "unstorable-value",
            hint=f"%%checkpoint --exclude {','.join(values)}, or keep the value in a flatter form",
        ) from error
    except MemoryError as error:
        raise UnstorableError(
            f"{names} cannot be stored: there is not enough memory to write it as bytes",
            kind="out-of-memory",
            hint=f"free memory, or %%checkpoint --exclude {','.join(values)}",
        ) from error
