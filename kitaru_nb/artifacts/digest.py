"""One digest for a group of values, equal wherever the values are equal as one object graph.

It sees values, types, dtypes, shapes, memory order, index, attributes, dict order, -0.0, bool
against int, and what is shared against what is copied. It does not see set order, hash seeds,
interning, the process, line numbers or comments. Functions are compared by their bytecode, so
digests of groups that hold functions are equal only within one Python minor version.

A live object that cannot be stored (a connection, a lock's owner, a generator) has a digest of
its own while it lives in this process, and never equals anything in another process.

The fast way writes the graph through the C pickler with its memo filled beforehand and taking
no notes: a reference for everything that is shared, everything else in full. `walk_digest` is
the same relation in plain Python, for interpreters without ``Pickler.fast``.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import hashlib
import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any

from blake3 import blake3

from kitaru_nb.artifacts.census import OPAQUE_MET, Census, Parts, atom_parts, set_order, set_surface
from kitaru_nb.artifacts.kinds import ATOMS, home_of, is_atom_type, is_immutable_atom
from kitaru_nb.artifacts.secret_scan import hints_at_secret, may_hold_secret
from kitaru_nb.artifacts.uncollected import uncollected
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.artifacts.views import shared_blocks
from kitaru_nb.model.artifact import Digest

__all__ = ["digest_by_kind", "digest_values", "is_immutable_atom", "opaque_in", "part_digest", "walk_digest"]

_identity = object.__hash__
_PIECE = 64 << 10  # fewer bytes wait for others
_SMALL_ITEMS = 64
_SMALL_TEXT = 2000
_SMALL_BITS = 256
_NAMED_TEXTS = [[str, str], [str, bytes]]  # a name, and what it is bound to


def digest_values(values: Mapping[str, object], *, namespace: dict[str, Any]) -> Digest:
    """The canonical digest of one group of names.

    Args:
        values: The names of the group with their values; the names' order does not count.
        namespace: The live notebook namespace. Functions are digested without their globals.

    Returns:
        64 hexadecimal characters. A few microseconds for plain numbers and text, about two
        pickles for large graphs, memory speed for arrays.
    """
    root = [(name, values[name]) for name in sorted(values)]
    small = _small(root)
    if small is not None:
        plain = blake3(b"small" + small.encode("utf-8", "surrogatepass")).digest()
        hidden = _without_secrets(root, namespace) if hints_at_secret(small) else None
        return Digest((hidden or plain).hex())
    OPAQUE_MET.keys.clear()
    with uncollected():
        digest = Digest(_give(root, namespace).hex())
    if OPAQUE_MET.keys:
        _opaque_in[digest] = frozenset(OPAQUE_MET.keys)
    return digest


def digest_by_kind(values: Mapping[str, object], *, namespace: dict[str, Any]) -> Digest:
    """As `digest_values`, and equal for equal values in every process.

    Of a live object that cannot be stored, such as an open connection, only its kind counts,
    wherever in the values it is.
    """
    OPAQUE_MET.by_kind = True
    try:
        return digest_values(values, namespace=namespace)
    finally:
        OPAQUE_MET.by_kind = False


def opaque_in(digest: Digest) -> frozenset[int]:
    """The addresses of the objects without readable state that this process made `digest` of.

    Of such an object the digest only says which one it is, not how it stands: where a file has
    been read to, what a database holds.
    """
    return _opaque_in.get(digest, frozenset())


def part_digest(digest: Digest, name: str) -> Digest:
    """What stands for one name of a group that as a whole has `digest`."""
    part = Digest(blake3(f"{digest}:{name}".encode()).hexdigest())
    if digest in _opaque_in:
        _opaque_in[part] = _opaque_in[digest]
    return part


_opaque_in: dict[Digest, frozenset[int]] = {}


def _give(root: Any, namespace: dict[str, Any]) -> bytes:
    if hasattr(pickle.Pickler, "fast"):
        with contextlib.suppress(pickle.PicklingError, AttributeError, TypeError, ValueError, RecursionError):
            suspects: list[bool] = []
            plain = _fast(root, namespace, suspects)
            return (_without_secrets(root, namespace) if any(suspects) else None) or plain
    return _without_secrets(root, namespace) or _walk(root, namespace)


def _without_secrets(root: Any, namespace: dict[str, Any]) -> bytes | None:
    """The digest of a group with what stands for its secrets; None where it has none."""
    hiding = _Hiding()
    digest = _walk(root, namespace, hiding)
    if not hiding.found:
        return None
    return _slow(digest) if hiding.guessable else digest


@functools.lru_cache(maxsize=4096)
def _slow(digest: bytes) -> bytes:
    """A digest of it that takes long to make, so that trying passwords does not pay."""
    return hashlib.scrypt(digest, salt=b"kitaru_nb digest 1", n=1 << 14, r=8, p=1, dklen=32)


class _Hiding:
    """Replaces text that holds secrets while a graph is walked; remembers what stood before each."""

    def __init__(self) -> None:
        self.before = ""
        self.found = False
        self.guessable = False

    def see(self, item: Any, cls: type) -> bytes | None:
        """What to digest instead of `item`, the next thing of the walk."""
        if cls is not str and cls is not bytes:
            self.before = ""
            return None
        text: str = item if cls is str else item.decode("latin-1")
        before, self.before = self.before, text
        blurred = VAULT.blurred(text, before)
        if blurred is None:
            return None
        self.found = True
        self.guessable = self.guessable or blurred[1]
        return f"{cls.__name__}:secret:{len(blurred[0])}:{blurred[0]}".encode("utf-8", "surrogatepass")


def walk_digest(values: Mapping[str, object], *, namespace: dict[str, Any]) -> Digest:
    """Like `digest_values`, in plain Python: equal for the same values, ten times slower."""
    return Digest(_walk([(name, values[name]) for name in sorted(values)], namespace).hex())


# --- small values -------------------------------------------------------------------------


def _small(root: list[tuple[str, Any]]) -> str | None:
    """The group as text if it is a few atoms in plain containers, shared by nothing."""
    out: list[str] = []
    seen: set[int] = set()
    stack: list[Any] = [item for pair in root for item in pair]
    count = 0
    while stack:
        item = stack.pop()
        cls = type(item)
        show = _SHOWN.get(cls)
        if show is not None:
            text = show(item)
            if text is None:
                return None
            out.append(text)
            continue
        count += len(item) + 1 if cls in _CONTAINERS else _SMALL_ITEMS + 1
        if count > _SMALL_ITEMS or not _first_time(item, cls, seen):
            return None
        out.append(f"{cls.__name__}{len(item)}")
        if cls is dict:
            stack += item.values()
        stack += item
    return "\0".join(out)


def _first_time(item: Any, cls: type, seen: set[int]) -> bool:
    key = _identity(item)
    if key in seen:
        return cls is tuple and is_immutable_atom(item)
    seen.add(key)
    return True


_CONTAINERS = frozenset([tuple, list, dict])
_SHOWN: dict[type, Callable[[Any], str | None]] = {
    str: lambda text: repr(text) if len(text) <= _SMALL_TEXT else None,
    bytes: lambda data: repr(data) if len(data) <= _SMALL_TEXT else None,
    int: lambda number: repr(number) if number.bit_length() <= _SMALL_BITS else None,
    float: repr,
    bool: repr,
    type(None): repr,
}


# --- the C pickler ------------------------------------------------------------------------


def _tag(*_: object) -> None:
    """Stands before the parts of an object in the stream."""


class _Sink:
    """What is digested, and looked through for secrets, as it is written: in few large pieces."""

    def __init__(self) -> None:
        self.suspect = False
        self._hasher = blake3()
        self._waiting: list[bytes] = []
        self._size = 0

    def write(self, data: bytes | memoryview) -> None:
        if len(data) >= _PIECE or type(data) is not bytes:  # what is no bytes may be gone when this returns
            self._take_waiting()
            self._take(data)
            return
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= _PIECE:
            self._take_waiting()

    def digest(self) -> bytes:
        """That of all that was written."""
        self._take_waiting()
        return self._hasher.digest()

    def _take_waiting(self) -> None:
        if self._waiting:
            self._take(b"".join(self._waiting))
            self._waiting.clear()
            self._size = 0

    def _take(self, data: bytes | memoryview) -> None:
        self._hasher.update(data)
        self.suspect = self.suspect or may_hold_secret(data)


class _Writer(pickle.Pickler):
    """Writes the canonical stream of a graph whose census is known."""

    census: Census

    def reducer_override(self, obj: Any) -> Any:
        parts = self.census.parts.known.get(_identity(obj))
        if parts is not None:
            return _tag, parts
        if type(obj) in self.census.plain:
            return NotImplemented
        parts = atom_parts(obj)
        return NotImplemented if parts is None else (_tag, parts)


class _Order:
    """Digests of elements on their own, to put those of a set in order: whichever is asked for first.

    An element that leads to itself counts by its surface only, that is without what is inside of
    sets: else its digest would lean on another's that leans on its own.

    Args:
        make: Gives the digest of a value, and whether it leads to itself; without an order that
            of its surface.
    """

    def __init__(self, make: Callable[[Any, _Order | None], tuple[bytes, bool]]) -> None:
        self._make = make
        self._known: dict[int, bytes] = {}
        self._surfaces: dict[int, bytes] = {}
        self._under_way: set[int] = set()
        self._looped: set[int] = set()

    def digest(self, value: Any) -> bytes:
        """That of an element."""
        key = _identity(value)
        if key in self._known:
            return self._known[key]
        if key in self._under_way:
            self._looped.add(key)
            return self._surface(key, value)
        self._under_way.add(key)
        found, loops = self._make(value, self)
        self._under_way.discard(key)
        self._known[key] = self._surface(key, value) if loops or key in self._looped else found
        return self._known[key]

    def _surface(self, key: int, value: Any) -> bytes:
        if key not in self._surfaces:
            self._surfaces[key] = self._make(value, None)[0]
        return self._surfaces[key]


def _fast(root: Any, namespace: dict[str, Any], suspects: list[bool] | None = None) -> bytes:
    """16 or more bytes for one graph."""

    def make(value: Any, order: _Order | None) -> tuple[bytes, bool]:
        return _written([value], namespace, order, suspects)

    return _written(root, namespace, _Order(make), suspects)[0]


def _written(
    root: Any, namespace: dict[str, Any], order: _Order | None, suspects: list[bool] | None
) -> tuple[bytes, bool]:
    """The digest of a graph, and whether its first object leads to itself."""
    sink = _Sink()
    if len(root) == 1 and type(root[0]) is tuple and [*map(type, root[0])] in _NAMED_TEXTS:
        return _of_text(root, sink, suspects), False
    parts = Parts(namespace, lambda value: _fast([value], namespace, suspects))
    alone = None if order is None else order.digest
    census = Census(root, parts, alone)
    writer = _Writer(sink, 5)
    writer.fast = True
    writer.census = census
    memo: dict[int, tuple[int, Any]] = {}
    for thing in (_tag, namespace, vars(builtins)):
        memo[id(thing)] = (len(memo), thing)
    for key, obj in census.seeds.items():
        memo[key] = (len(memo), obj)
    contents = _number_sets(census, memo, alone)
    writer.memo = memo
    shared = _shared_memory(parts) if parts.arrays else []
    if census.seeds or contents or shared:
        writer.dump((len(census.seeds), len(contents)))
        writer.dump(root)
        writer.dump([_content(obj, census) for obj in census.seeds.values()])
        writer.dump(contents)
        writer.dump(shared)
    else:
        sink.write(_NO_SHARED[0])
        writer.dump(root)
        sink.write(_NO_SHARED[1])
    return _digest_of(sink, suspects), _identity(root[0]) in census.seeds


def _of_text(root: Any, sink: _Sink, suspects: list[bool] | None) -> bytes:
    """The digest of a name with a text too long to be a small value: what a census would find is known."""
    writer = pickle.Pickler(sink, 5)
    writer.fast = True
    sink.write(_NO_SHARED[0])
    writer.dump(root)
    sink.write(_NO_SHARED[1])
    return _digest_of(sink, suspects)


def _plainly(*values: object) -> bytes:
    """What a writer makes of values that hold nothing of a graph."""
    file = io.BytesIO()
    writer = pickle.Pickler(file, 5)
    writer.fast = True
    for value in values:
        writer.dump(value)
    return file.getvalue()


# What stands before and behind a graph without shared objects, without sets, without shared memory.
_NO_SHARED = (_plainly((0, 0)), _plainly([], [], []))


def _digest_of(sink: _Sink, suspects: list[bool] | None) -> bytes:
    digest = sink.digest()
    if suspects is not None and sink.suspect:
        suspects.append(True)
    return digest


def _number_sets(
    census: Census, memo: dict[int, tuple[int, Any]], alone: Callable[[Any], bytes] | None
) -> list[Any]:
    """Give every set a number; equal frozensets of constants get the same one."""
    numbers: dict[Any, int] = {}
    contents: list[Any] = []
    start = len(memo)
    for key, (found, items) in census.sets.items():
        alike: Any = key
        if type(found) is frozenset and is_immutable_atom(found):
            flat = all(type(item) in ATOMS for item in items)
            alike = (
                repr([(type(item).__name__, item) for item in items])
                if flat or alone is None
                else alone(found)
            )
        if alike not in numbers:
            numbers[alike] = start + len(contents)
            contents.append((type(found).__name__, items))
        memo[key] = (numbers[alike], found)
    return contents


def _content(obj: Any, census: Census) -> Any:
    cls = type(obj)
    if cls is list or cls is dict:
        return obj.copy()
    if cls is tuple:
        return ("tuple", list(obj))
    if cls is bytearray:
        return ("bytearray", bytes(obj))
    known = census.parts.known.get(_identity(obj))
    if known is not None:
        return ("parts", list(known))
    if cls in census.plain:
        return ("instance", cls, obj.__dict__)
    return ("parts", list(census.parts.of(obj)))


def _shared_memory(parts: Parts) -> list[Any]:
    """Which arrays look into the same memory, and where."""
    unique = list({id(array): array for array in parts.arrays}.values())
    blocks = shared_blocks(unique, parts.framed)
    numbers: dict[int, int] = {}
    found = []
    for index, array in enumerate(unique):
        block = blocks.get(id(array))
        if block is not None:
            number = numbers.setdefault(id(block), len(numbers))
            found.append((index, number, array.__array_interface__["data"][0] - block.low))
    return found


# --- plain Python -------------------------------------------------------------------------


def _walk(root: Any, namespace: dict[str, Any], hiding: _Hiding | None = None) -> bytes:
    def make(value: Any, order: _Order | None) -> tuple[bytes, bool]:
        walker = _Walker(namespace, order, hiding)
        return walker.digest([value]), walker.loops

    return _Walker(namespace, _Order(make), hiding).digest(root)


class _Walker:
    def __init__(
        self, namespace: dict[str, Any], order: _Order | None, hiding: _Hiding | None = None
    ) -> None:
        self.namespace = namespace
        self.order = order
        self.hiding = hiding
        self.loops = False  # whether the first object leads to itself
        self.parts = Parts(namespace, lambda value: _walk([value], namespace, hiding))
        self.numbers: dict[Any, int] = {_identity(d): i for i, d in enumerate((namespace, vars(builtins)))}
        self.kept: list[object] = []

    def digest(self, root: Any) -> bytes:
        hasher = blake3(b"walk")
        stack: list[Any] = [root]
        while stack:
            item = stack.pop()
            cls = type(item)
            instead = self.hiding.see(item, cls) if self.hiding is not None else None
            if is_atom_type(cls):
                hasher.update(_atom(item) if instead is None else instead)
                continue
            if cls is tuple and is_immutable_atom(item):
                children: list[Any] = list(item)
            else:
                number = self._number(item, cls)
                if number is not None:
                    self.loops = self.loops or item is root[0]
                    hasher.update(b"ref%d;" % number)
                    continue
                children = self._children(item, cls)
            self.kept.append(children)
            hasher.update(f"{home_of(cls)}.{cls.__qualname__}{len(children)};".encode())
            stack += reversed(children)
        for line in _shared_memory(self.parts):
            hasher.update(repr(line).encode())
        return hasher.digest()

    def _number(self, item: Any, cls: type) -> int | None:
        """The number of an object met before; None, and a new number, for a new one."""
        key: Any = _identity(item)
        if cls is frozenset and is_immutable_atom(item):
            key = ("constant", item)
        if key in self.numbers:
            return self.numbers[key]
        self.numbers[key] = len(self.numbers)
        self.kept.append(item)
        return None

    def _children(self, item: Any, cls: type) -> list[Any]:
        if cls is list or cls is tuple:
            return list(item)
        if cls is dict:
            return [part for pair in item.items() for part in pair]
        if cls is bytearray:
            return [bytes(item)]
        if cls is set or cls is frozenset:
            return set_surface(item) if self.order is None else set_order(item, self._place)
        known_atom = atom_parts(item) if is_immutable_atom(item) else None
        return list(known_atom or self.parts.of(item))

    def _place(self, element: Any) -> tuple[int, Any]:
        assert self.order is not None
        key = _identity(element)
        return (0, self.numbers[key]) if key in self.numbers else (1, self.order.digest(element))


def _atom(item: Any) -> bytes:
    cls = type(item)
    head = f"{home_of(cls)}.{cls.__qualname__}:"
    found = atom_parts(item)
    if found is not None:
        return (head + repr(found) + ";").encode("utf-8", "surrogatepass")
    if cls in (str, bytes):
        body: bytes = item if cls is bytes else item.encode("utf-8", "surrogatepass")
        return f"{head}{len(body)}:".encode() + body
    if cls in ATOMS and cls is not int:
        return (head + repr(item) + ";").encode("utf-8", "surrogatepass")
    return head.encode() + (b"%x;" % item if cls is int else pickle.dumps(item, 5))
