"""Python object graphs as one protocol-5 pickle with their large buffers beside it.

The stream is two pickles on one memo. The first names what is live in every process (the
notebook namespace, the builtins); the second holds the names and their values and refers to
those by memo number, so a function comes back on the live namespace itself.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import io
import pickle
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from cloudpickle import cloudpickle

from kitaru_nb.artifacts.arrow_text import is_arrow_array, reduce_arrow_text, text_buffers
from kitaru_nb.artifacts.codec import NO_ANCHORS, Anchors, Encoded, ReadBuffer, Resolve
from kitaru_nb.artifacts.depth import deep_containers
from kitaru_nb.artifacts.foreign import current_judge, is_foreign, is_of_library, left_out, makes_itself
from kitaru_nb.artifacts.frames import (
    array_of_index,
    arrays_within,
    is_manager,
    is_polars,
    reduce_polars,
    with_own_values,
)
from kitaru_nb.artifacts.functions import reduce_code, trying
from kitaru_nb.artifacts.hidden import (
    KIND,
    bare_code,
    fill,
    fill_code,
    filling,
    is_revealing,
    make_text_array,
    notice_fields,
    pid_of,
    secret_fields,
    why_missing,
)
from kitaru_nb.artifacts.instances import beside
from kitaru_nb.artifacts.kinds import home_of, is_users, kind_name
from kitaru_nb.artifacts.marker import Marker, is_marker, marker_details
from kitaru_nb.artifacts.notes import now_at, say_lost
from kitaru_nb.artifacts.owners import owner_of, reduce_over, reduce_within
from kitaru_nb.artifacts.reducers import (
    Unstorable,
    hashed_by_value,
    is_made_bare,
    is_plain_instance,
    reduce_hashed,
    reduce_object,
)
from kitaru_nb.artifacts.resource import any_resource, is_resource
from kitaru_nb.artifacts.secret_columns import is_table, notice_columns
from kitaru_nb.artifacts.secret_rules import is_secret_name, shapes_in
from kitaru_nb.artifacts.secret_scan import may_hold_secret
from kitaru_nb.artifacts.sink import Sink
from kitaru_nb.artifacts.tensors import (
    is_storage,
    is_tensor,
    memory_of,
    reduce_storage,
    reduce_tensor,
    reduce_tensor_within,
    tensors_by_storage,
)
from kitaru_nb.artifacts.text_arrays import reduce_strings
from kitaru_nb.artifacts.uncollected import uncollected
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.artifacts.views import (
    Block,
    bare,
    is_array,
    is_array_subclass,
    is_raw,
    reduce_array,
    reduce_hollow,
    reduce_objects,
    reduce_subclass,
    reduce_view,
    shared_blocks,
)
from kitaru_nb.artifacts.weave import woven
from kitaru_nb.artifacts.zarr_record import arrays_record
from kitaru_nb.errors import KitaruError, UnstorableError
from kitaru_nb.model.artifact import Anchor, Digest

__all__ = [
    "OUT_OF_BAND_BYTES",
    "PickleCodec",
    "Reference",
    "anchored",
    "is_referring",
    "live",
    "name_of",
    "not_by_itself",
    "present",
    "referring",
]

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
        with uncollected(), _clear_errors(values), beside(values.values()):
            context = _Context(namespace, anchors, bare={})
            done = _encode(values, context)
            judge = current_judge() if done.foreign else None
            refused = judge(done.foreign, namespace) if judge is not None else {}
            if refused:
                context = context._replace(refused=refused)
                done = _encode(values, context)
            if done.markers:
                values, done = _with_loadable(values, done, context)
            if not is_revealing() and _may_hold_secret(values, done):
                context = context._replace(secrets=True)
                values, done = _without_secrets(values, context)
        names = _reaching(values, context) if done.markers else {}
        meta = {"format": _FORMAT, "python": list(sys.version_info[:2]), "buffers": len(done.buffers)}
        if arrays := arrays_record(values, [done.stream, *done.buffers]):
            meta["arrays"] = VAULT.mask_json(arrays) if done.hidden else arrays
        if done.anchored:
            meta["anchors"] = sorted(done.anchored)
        if done.hidden:
            meta["secrets"] = list(values)
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
        stream = woven(read(0), *meta["woven"]) if "woven" in meta else read(0)
        if "secrets" not in meta:
            return _decode(stream, buffers, namespace, resolve)
        with filling(namespace) as missing:
            try:
                return _decode(stream, buffers, namespace, resolve)
            except Exception:  # whatever a foreign constructor raises when it is handed a marker
                if not missing:
                    raise
                return {name: _missing(name, why_missing(missing[0])) for name in meta["secrets"]}


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


def present(number: int) -> Any:
    """The object with that number that was there before the values were loaded; pickles refer to this.

    Where a call's result is looked at by itself, a marker stands for what the call was given.
    """
    there: Sequence[object] = getattr(_decoding, "present", ())
    if number < len(there):
        return there[number]
    _decoding.absent = True
    return Marker("", "", "is on record only as something that was there before the call")


def not_by_itself() -> UnstorableError:
    """The error for a value that only makes sense where the call is served that it was stored for."""
    return UnstorableError(
        "it is, or refers to, what was there before the call, and an early version of kitaru_nb did not "
        "store that with it",
        kind="not-by-itself",
        hint="kitaru-nb replay EXECUTION --from CHECKPOINT, which makes the call again and stores its result",
    )


@contextlib.contextmanager
def referring(objects: Sequence[object]) -> Iterator[None]:
    """Inside the block, values are stored and loaded with references to these objects.

    What leads to one of them is stored with its number in its place; when that is loaded, with
    objects of the same number, it leads to these. For this thread only.
    """
    before = getattr(_decoding, "present", ())
    _decoding.present = objects
    try:
        yield
    finally:
        _decoding.present = before


def is_referring() -> bool:
    """Whether values are stored with references to others, see `referring`."""
    return bool(getattr(_decoding, "present", ()))


def name_of(name: str) -> str:
    """`name` itself; stands before each value in a stream."""
    now_at(name)
    return name


def _missing(name: str, reason: str) -> Marker:
    now_at(name)
    say_lost(KIND, reason)
    return Marker(name, KIND, reason)


# --- encoding -----------------------------------------------------------------------------


class _Context(NamedTuple):
    """What every pass over a group shares."""

    namespace: dict[str, Any]
    anchors: Anchors = NO_ANCHORS
    refused: Mapping[type, str] = MappingProxyType({})
    bare: dict[int, tuple[Any, Any]] = {}  # noqa: RUF012 - arrays of subclasses and tensors met, as plain arrays
    secrets: bool = False  # one was seen, so that each text is looked at


class _Live:
    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return live, (self.name,)


class _There:
    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return present, (self.number,)


class _Opening(NamedTuple):
    """The first pickle of a stream, which is the same for all.

    Attributes:
        stream: Its bytes.
        memo: What it takes note of, but for what is live.
        numbers: The notes that what is live has in it.
    """

    stream: bytes
    memo: dict[int, Any]
    numbers: tuple[int, ...]


@functools.lru_cache(maxsize=64)
def _opening(there: int) -> _Opening:
    things = [*map(_Live, _LIVE), *map(_There, range(there))]
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=5)
    pickler.dump([*things, name_of])  # noted here, so that not every stream has to name it
    memo = pickler.memo.copy()
    numbers = tuple(memo.pop(id(thing))[0] for thing in things)
    return _Opening(file.getvalue(), memo, numbers)


class _At:
    """Tells the pickler which name's value comes next."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Encoding(cloudpickle.Pickler):  # type: ignore[misc] # cloudpickle is untyped
    """One pass over a group. What it finds out on the way may ask for a second pass."""

    def __init__(self, context: _Context, blocks: Mapping[int, Block], cautious: _Cautious | None) -> None:
        self.file = Sink()
        self.buffers: list[memoryview] = []
        super().__init__(self.file, protocol=5, buffer_callback=partial(_keep_inside, self.buffers))
        self.namespace, self.anchors, self.refused, self.bare, _ = context
        self.foreign: dict[type, object] = {}
        self.blocks = blocks
        self.cautious: _Cautious | None = None
        self.at = ""
        self.sources: dict[str, str | None] = {}
        self.arrays: list[Any] = []
        self.objects: list[Any] = []  # arrays of objects
        self.roots: set[int] = set()  # those that others look into
        self.private: set[int] = set()
        self.markers: list[tuple[str, str, str]] = []
        self.kept: list[object] = []
        self.of_block: dict[int, Any] = {}
        self.plain: dict[type, bool] = {}
        self.hashed: set[type] = set()
        self.anchored: set[Digest] = set()
        self.hidden = False
        self.texts: list[Any] = []
        self.beside: list[Any] = []
        self.tensors: dict[int, tuple[Any, Any]] | None = None  # of what is present
        self.resources = any_resource()
        self._name_what_is_live()
        self.start = self.file.tell()
        self.cautious = cautious

    def _name_what_is_live(self) -> None:
        there = getattr(_decoding, "present", ())
        opening = _opening(len(there))
        self.file.write(opening.stream)
        # One entry for one entry: the memo must keep its size, loading counts along.
        live = zip(opening.numbers, (self.namespace, vars(builtins), *there), strict=True)
        self.memo = {**opening.memo, **{id(what): (number, what) for number, what in live}}

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
            return self._reduce_tensor(obj) if is_tensor(obj) else self._reduce(obj, cls)
        except Unstorable as reason:
            return self._marker(obj, str(reason))
        except (RecursionError, MemoryError, KitaruError):
            raise
        except Exception as error:  # noqa: BLE001 - its class may do anything when it is looked at
            return self._marker(obj, f"looking at it raises {type(error).__name__}: {error}")

    def _reduce(self, obj: Any, cls: type) -> Any:
        if cls is Marker:
            self.markers.append(marker_details(obj))
        if is_manager(cls):
            obj = self._note_frame(obj)
        if cls in self.refused:
            raise Unstorable(self.refused[cls])
        notice_fields(obj)
        value = self._reduce_subclass(obj) if is_array_subclass(obj) else self._reduce_other(obj, cls)
        if cls not in self.plain:
            self._learn(obj, cls, value)
        elif cls in self.foreign and left_out(obj, value):
            self.foreign[cls] = obj
        if cls in self.hashed and is_made_bare(value):
            value = reduce_hashed(obj, value)
        if self.cautious is not None and isinstance(value, tuple):
            self.cautious.check(obj, value)
        return value

    def _learn(self, obj: Any, cls: type, value: Any) -> None:
        """Know how instances of `cls` are stored, now that this one is stored as `value`."""
        if isinstance(obj, type):
            if cls not in self.foreign and is_foreign(obj, value):
                self.foreign[cls] = obj
            return  # each class is another one
        # Asked only once the first instance went through: the stock way works for the type.
        stock = is_plain_instance(cls) and value[0].__name__ == "__newobj__" and len(value) < 6
        stock = stock and not _stateless(cls)
        own = hasattr(cls, "__setstate__") or makes_itself(cls)
        if (not stock or own) and is_foreign(obj, value):
            self.foreign.setdefault(cls, obj)
        if (stock or (is_plain_instance(cls) and is_made_bare(value))) and hashed_by_value(cls):
            self.hashed.add(cls)
        self.plain[cls] = stock and cls not in self.hashed and not secret_fields(cls)

    def _reduce_subclass(self, array: Any) -> Any:
        if id(array) not in self.bare:
            self.bare[id(array)] = array, bare(array)
        return reduce_subclass(*self.bare[id(array)])

    def _reduce_tensor(self, tensor: Any) -> Any:
        present = getattr(_decoding, "present", ())
        if present and self.tensors is None:
            self.tensors = tensors_by_storage(present)
        within = reduce_tensor_within(tensor, self.tensors) if self.tensors else None
        if within is not None:
            return within
        if id(tensor) not in self.bare:
            self.bare[id(tensor)] = tensor, memory_of(tensor, self.bare)
        memory = self.bare[id(tensor)][1]
        return reduce_tensor(tensor, memory, alone=id(memory) not in self.blocks)

    def _reduce_array(self, array: Any) -> Any:
        if not is_raw(array):
            return self._reduce_strings(array) or self._reduce_objects(array)
        owner = owner_of(array)
        if owner is not None:
            return reduce_over(array, owner)
        present = getattr(_decoding, "present", ())
        within = reduce_within(array, present) if present else None
        if within is not None:
            return within
        self.arrays.append(array)
        if array.dtype.kind in "SU":
            reduced = self._reduce_text(array)
            if reduced is not None:
                return reduced
        block = self.blocks.get(id(array))
        return reduce_array(array) if block is None else reduce_view(array, block)

    def _reduce_objects(self, array: Any) -> Any:
        # A frame's own copies on write: looking into another one it would be written through.
        apart = id(array) in self.private and id(array) not in self.blocks
        within = None if apart else reduce_objects(array)
        if within is not None:
            self.roots.add(id(within[1][0]))
        self.objects.append(array)
        return within or reduce_hollow(array) or array.__reduce_ex__(5)

    def _reduce_text(self, array: Any) -> Any:
        self.texts.append(array)

    def _reduce_strings(self, array: Any) -> Any:
        found = reduce_strings(array)
        if found is None:
            return None
        self.beside.append(found[1])
        return found[0]

    def _reduce_other(self, obj: Any, cls: type) -> Any:
        if is_table(cls):
            notice_columns(obj)
        if is_storage(obj):
            return reduce_storage(obj)
        if is_arrow_array(obj):
            return self._reduce_arrow(obj)
        value, own = reduce_object(obj, self.namespace), array_of_index(obj)
        return value if own is None else self._with_own_array(value, own)

    def _with_own_array(self, value: Any, array: Any) -> Any:
        """`value`, a reduce value of an index, with an array of its own: a frame may have `array`, too."""
        made, (cls, parts), *rest = value
        if id(array) not in self.bare:
            self.bare[id(array)] = array, bare(array)
        own = self.bare[id(array)][1]
        self._note_private(own)
        return made, (cls, {name: own if held is array else held for name, held in parts.items()}), *rest

    def _reduce_arrow(self, array: Any) -> Any:
        self.beside += text_buffers(array)
        return reduce_object(array, self.namespace)

    def _note_frame(self, manager: Any) -> Any:
        """The manager of a frame, or one like it with its own columns: another frame may have these, too."""
        owners = [self.of_block.setdefault(id(block.values), manager) for block in manager.blocks]
        if any(owner is not manager for owner in owners):
            manager = with_own_values(manager)
            self.kept.append(manager)
        for values in arrays_within(manager):
            self._note_private(values)
        return manager

    def _note_private(self, values: Any) -> None:
        self.private.add(id(values))
        self.kept.append(values)

    def _marker(self, obj: object, reason: str) -> Any:
        details = (self.at, kind_name(obj), reason)
        self.markers.append(details)
        return Marker, details

    @property
    def stream(self) -> memoryview:
        """What was written so far."""
        return self.file.view


def _keep_inside(buffers: list[memoryview], buffer: pickle.PickleBuffer) -> bool:
    # No method: a pass that referred to itself would outlive its use, and the user's objects with it.
    raw = buffer.raw()
    if raw.nbytes < OUT_OF_BAND_BYTES:
        return True
    buffers.append(raw)
    return False


_CODE = type((lambda: None).__code__)


class _Careful(_Encoding):
    """A pass that writes references in place of secrets; it looks at every object."""

    _before: str = ""

    def persistent_id(self, obj: Any) -> str | None:  # the pickler's own hook
        cls = type(obj)
        if cls is not str and cls is not bytes:
            if self._before:
                VAULT.notice(self._before, obj)
            self._before = ""
            if cls is bytearray:
                VAULT.parts(obj.decode("latin-1"))  # it is not taken out, but known from now on
            return None
        text: str = obj if cls is str else obj.decode("latin-1")
        # What stands under a secret's name is no name itself: `fake-key` is that of nothing.
        before, self._before = self._before, "" if is_secret_name(self._before) else text
        parts = VAULT.parts(text, before)
        if parts is None:
            return None
        self.hidden = True
        return pid_of(cls.__name__, parts)

    def _reduce_text(self, array: Any) -> Any:
        if not array.size or not _is_suspect(array):
            return None
        self.hidden = True
        return make_text_array, (array.ravel().tolist(), array.dtype.str, array.shape)

    def _reduce_strings(self, array: Any) -> Any:
        found = reduce_strings(array)
        # numpy's own form is a list of texts, each of which is looked at
        return None if found is None or _holds_secret(found[1]) else found[0]

    def _reduce_other(self, obj: Any, cls: type) -> Any:
        # Out of polars' own form nothing can be taken.
        frame = reduce_polars(obj, least=0) if is_polars(cls) else None
        return super()._reduce_other(obj, cls) if frame is None else frame

    def _reduce_arrow(self, array: Any) -> Any:
        if not any(map(_holds_secret, text_buffers(array))):
            return reduce_object(array, self.namespace)
        self.hidden = True
        return reduce_arrow_text(array)

    def reducer_override(self, obj: Any) -> Any:
        cls = type(obj)
        if cls is _CODE:
            bare = bare_code(obj)
            if bare is not None:
                self.hidden = True
                self.kept.append(bare)
                return fill_code, bare
            value = reduce_code(obj, self.sources)
            return value[0], (
                *value[1][:-1],
                VAULT.mask(VAULT.mask_source(value[1][-1])) if value[1][-1] else None,
            )
        if issubclass(cls, str | bytes) and VAULT.parts(
            str(obj) if issubclass(cls, str) else obj.decode("latin-1")
        ):
            return self._marker(obj, "secrets are not stored, and one in a class of its own is not taken out")
        return super().reducer_override(obj)


def _may_hold_secret(values: Mapping[str, object], done: _Encoding) -> bool:
    for name, value in values.items():
        VAULT.notice(name, value)
    return (
        may_hold_secret(done.stream, memo=True)
        or any(map(_is_suspect, done.texts))
        or any(map(_holds_secret, done.beside))
    )


def _holds_secret(text: memoryview) -> bool:
    """Whether a buffer of text, which has no names in it, may hold a secret."""
    return may_hold_secret(text, memo=True)


def _is_suspect(array: Any) -> bool:
    """Whether an array of text may hold a secret; it is no text to look at in memory."""
    flat = array.ravel()
    if array.dtype.kind == "U":
        flat = flat.view("u4").astype("u1")
    return may_hold_secret(flat.view("u1"))


def _without_secrets(
    values: Mapping[str, object], context: _Context
) -> tuple[Mapping[str, object], _Encoding]:
    """A pass with references; a value that holds a secret where none can stand becomes a marker."""
    done = _encode(values, context)
    if not _leaks(done):
        return values, done
    kept = dict(values)
    for name, value in values.items():
        if _leaks(_encode({name: value}, context)):
            reason = "it holds a secret in a form that cannot be taken out, and secrets are not stored"
            kept[name] = Marker(name, kind_name(value), reason)
    return kept, _encode(kept, context)


def _leaks(done: _Encoding) -> bool:
    stream = done.stream.tobytes()
    if any(family not in ("url", "header") for _, _, family in shapes_in(stream.decode("latin-1"))):
        return True
    return any(value.encode("utf-8", "surrogatepass") in stream for value in VAULT.values())


def _stateless(cls: type) -> bool:
    # Instances without attributes may be sentinels: each must be looked at (see module_constant).
    return home_of(cls) != "__main__" and cls.__module__ in sys.modules and not cls.__dictoffset__


_DEEPEST = 20  # objects that are tried within each other
_MOST_LOADED = 16 << 20  # bytes that are loaded to see whether that works
_MOST_TRIED = 2 << 20  # bytes of pickles: in a large graph each object leads to all the others


class _Cautious:
    """Second pass of a group with markers: an object that cannot be rebuilt with one becomes one."""

    def __init__(self, context: _Context) -> None:
        self.context = context
        self.verdicts: dict[int, str] = {}
        self.clean: set[int] = set()  # what leads to nothing that could not be stored
        self.kept: list[object] = []
        self.depth = self.spent = 0
        self.lost = ""

    def check(self, obj: object, value: tuple[Any, ...]) -> None:
        """Raise `Unstorable` if rebuilding `obj` from its stored arguments fails."""
        if value[0].__name__ == "__newobj__" or str(value[0].__module__).startswith("kitaru_nb."):
            return
        if id(obj) in self.clean:
            return
        if id(obj) not in self.verdicts:
            self.verdicts[id(obj)] = ""  # also ends the recursion where an object leads to itself
            self.kept.append(obj)
            self.verdicts[id(obj)] = self._verdict(value)
        if self.verdicts[id(obj)]:
            raise Unstorable(self.verdicts[id(obj)])

    def _verdict(self, value: tuple[Any, ...]) -> str:
        if self.spent <= _MOST_TRIED:
            part = _pass({"": value[1]}, self.context, {})
            if not part.markers:
                met = part.memo.copy()
                self.clean.update(met)
                self.kept.append(met)
                return ""
            _, kind, reason = part.markers[0]
            self.spent += len(part.stream)
            self.lost = f"it leads to a {kind}, which could not be stored: {reason}"
        if self.depth > _DEEPEST or self.spent > _MOST_TRIED:
            return self.lost
        self.depth += 1
        try:
            part = _pass({"": value[1]}, self.context, {}, self)
        finally:
            self.depth -= 1
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
    encoding = (_Careful if context.secrets else _Encoding)(context, blocks, cautious)
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
    blocks = shared_blocks(done.arrays, done.private) | _framed_objects(done, values)
    if blocks:
        done = _pass(values, context, blocks, first=first)
    if any(not is_marker(value) for value in values.values()) and done.markers:
        done = _pass(values, context, blocks, _Cautious(context), first)
    return done


def _with_loadable(
    values: Mapping[str, object], done: _Encoding, context: _Context
) -> tuple[Mapping[str, object], _Encoding]:
    """A pass that can be loaded; a value that cannot be with a marker in it is a marker as a whole.

    Its class may look at what it is given back (``__setstate__``), and then all of the group were lost.
    Classes that are not taken at their word are tried in a process of their own, before.
    """
    if not _why_unloadable(done, context):
        return values, done
    kept = dict(values)
    for name, value in values.items():
        alone = _encode({name: value}, context)
        if alone.markers and not is_marker(value) and _why_unloadable(alone, context):
            _, kind, reason = alone.markers[0]
            why = f"it needs a {kind}, which could not be stored: {reason}"
            kept[name] = Marker(name, kind_name(value), why)
    return kept, _encode(kept, context)


def _why_unloadable(done: _Encoding, context: _Context) -> str:
    """What is raised when the pass is loaded; nothing where that works, or is not to be tried."""
    if not _may_trip(done):
        return ""
    buffers = [buffer.toreadonly() for buffer in done.buffers]
    trying.on = True
    try:
        _decode(done.stream, buffers, context.namespace, lambda anchor: context.namespace[anchor.name])
    except Exception as error:  # noqa: BLE001 - whatever a foreign class raises when it is handed a marker
        return str(error) or type(error).__name__
    finally:
        trying.on = False
    return ""


def _may_trip(done: _Encoding) -> bool:
    """Whether a class of a library may look at a marker that it is given back.

    It is tried here, so not where code of the notebook would run as well, or something that is
    made only to be dropped would have a last word.
    """
    if len(done.stream) + sum(buffer.nbytes for buffer in done.buffers) > _MOST_LOADED:
        return False
    run = [cls for cls in done.plain if _runs_code(cls)]
    last_words = any(hasattr(cls, "__del__") for cls in done.plain)
    return any(map(is_of_library, run)) and not last_words and not any(map(is_users, run))


def _runs_code(cls: type) -> bool:
    """Whether a class has code of its own that runs when an instance is loaded."""
    ways = ("__reduce_ex__", "__reduce__", "__getstate__")
    own = any(getattr(cls, way, None) is not getattr(object, way, None) for way in ways)
    return own or makes_itself(cls) or hasattr(cls, "__setstate__")


def _framed_objects(done: _Encoding, values: Mapping[str, object]) -> dict[int, Block]:
    """The arrays of objects in frames whose memory somebody can write to past their frame."""
    if done.private.isdisjoint(map(id, done.objects)):
        return {}
    only_looked_into = done.roots - set(map(id, values.values()))
    met = [array for array in done.objects if id(array) not in only_looked_into]
    return {key: block for key, block in shared_blocks(met, done.private).items() if key in done.private}


def _reaching(values: Mapping[str, object], context: _Context) -> dict[str, str]:
    """For each name that leads to something that could not be stored: what, and why."""
    found = {}
    for name, value in values.items():
        with uncollected():
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


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        return fill(pid)


def _decode(
    data: memoryview, buffers: list[memoryview], namespace: dict[str, Any], resolve: Resolve | None
) -> dict[str, object]:
    outer = tuple(getattr(_decoding, name, None) for name in ("namespace", "resolve", "absent"))
    _decoding.namespace, _decoding.resolve, _decoding.absent = namespace, resolve, False
    try:
        with uncollected():
            unpickler = _Unpickler(_Stream(data), buffers=buffers)
            unpickler.load()
            payload = unpickler.load()
    except Exception as error:
        if _decoding.absent:  # whatever a class raises when it is handed a marker
            raise not_by_itself() from error
        raise
    finally:
        _decoding.namespace, _decoding.resolve, _decoding.absent = outer
    return dict(zip(payload[1::2], payload[2::2], strict=True))


# --- around both --------------------------------------------------------------------------


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
