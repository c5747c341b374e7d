"""Memory that stored bytes are mapped into, and that an array can own as if it had asked for it itself.

Restored arrays should be like any other: writable, resizable, owners of their memory. numpy
frees what it owns with the C library's ``free``, so large values are laid over memory that
came from the same library's ``malloc``: page by page a private, copy-on-write view of the
file. numpy takes the memory over through its documented allocation handlers (NEP 49). On
platforms without glibc nothing here applies, and values are read the plain way.
"""

from __future__ import annotations

import ctypes
import functools
import math
import mmap
import sys
import threading
import weakref
from typing import Any

__all__ = ["PAGE", "SMALLEST_MAPPED", "Memory", "adopted"]

PAGE = 4096
"""Stored extents start at multiples of this; where the system's pages are larger nothing is mapped."""

SMALLEST_MAPPED = 4 << 20
"""Fewer bytes than this are read as fast as they are mapped."""

_LEAST = ((32 << 20) + PAGE, 128 << 20, 1 << 30)  # glibc takes less from its heap where it has as much free
_MAPPED_CHUNK = 2  # glibc: this bit in a chunk's size says that it has a mapping of its own
_API_SET_HANDLER, _API_DEFAULT_HANDLER = 304, 306  # slots of numpy's C API, the same since 1.22
_READ_WRITE = 3
_MAP_PRIVATE_FIXED = 0x12
_POPULATE_READ = 22
_LARGE_PAGES = 14
_MOST_PIECES = 1024  # of one value
_MOST_LAID = 16384  # in the life of a process
_laid = [0]
_lock = threading.Lock()
_memories: weakref.WeakValueDictionary[int, Memory] = weakref.WeakValueDictionary()
_freeing: dict[int, weakref.finalize[..., Any]] = {}  # of the memory that nobody took over


class Memory:
    """A stretch of page-aligned memory; it lives until its views are gone or an array took it over.

    Attributes:
        view: All of it, writable.
        address: Where it is.
        owner: The array that took it over. Who looks at the memory must keep this.
    """

    def __init__(self, address: int, size: int) -> None:
        self.address = address
        self.owner: Any = None
        holder = (ctypes.c_ubyte * size).from_address(address)
        _memories[address] = self
        _freeing[address] = weakref.finalize(holder, _give_back, address)
        self.view = memoryview(holder).cast("B")

    @classmethod
    def of(cls, size: int) -> Memory | None:
        """`size` bytes to be filled; None where the platform does not allow it."""
        libc = _libc()
        if libc is None:
            return None
        address = libc.aligned_alloc(PAGE, -(-size // PAGE) * PAGE)
        if not address:
            return None
        if size >= SMALLEST_MAPPED:
            libc.madvise(
                address, size, _LARGE_PAGES
            )  # no more than a wish: fresh pages cost more than the bytes
        return cls(address, size)

    @classmethod
    def to_map(cls, size: int) -> Memory | None:
        """`size` bytes that files may be laid over; None where the platform does not allow it."""
        libc = _libc()
        if libc is None or size < SMALLEST_MAPPED:
            return None
        # Address space, not memory: no page of what is asked for beyond `size` is ever touched.
        for least in _LEAST:
            address = libc.aligned_alloc(PAGE, -(-max(size, least) // PAGE) * PAGE)
            if not address:
                return None
            head = ctypes.c_size_t.from_address(address - ctypes.sizeof(ctypes.c_size_t)).value
            if head & _MAPPED_CHUNK:
                return cls(address, size)
            libc.free(address)  # part of the heap: what is laid over it would outlive it
        return None

    def takes(self, pieces: int) -> bool:
        """Whether so many pieces of files may be laid over it: the system allows each process some 65,000."""
        return pieces <= _MOST_PIECES and _laid[0] + pieces <= _MOST_LAID

    def lay(self, file: int, offset: int, at: int, length: int) -> bool:
        """From `at` on, show the `length` bytes of an open file from `offset` on, privately.

        Writing to them changes neither the file nor anyone else's view of it. False where the
        system refuses; the memory is as good as before then.
        """
        libc = _libc()
        assert libc is not None
        _laid[0] += 1
        args = (self.address + at, length, _READ_WRITE, _MAP_PRIVATE_FIXED, file, offset)
        return bool(libc.mmap(*args) == self.address + at)

    def populate(self, at: int, length: int) -> bool:
        """Read that part of it from the files; False where a look at it could end the process.

        A disk that fails or a file that was cut short is seen here, and not as a signal.
        """
        libc = _libc()
        start = at - at % PAGE
        return (
            libc is not None and libc.madvise(self.address + start, at + length - start, _POPULATE_READ) == 0
        )


def _give_back(address: int) -> None:
    del _freeing[address]
    libc = _libc()
    if libc is not None:
        libc.free(address)


def adopted(buffer: Any, shape: tuple[int, ...], dtype: Any, order: str = "C") -> Any:
    """An array that owns the memory `buffer` looks at, all of it; None where that cannot be.

    Args:
        buffer: A view of a whole `Memory`, or anything else, which gives None.
        shape: The array's shape.
        dtype: A numpy dtype. With `shape` it takes as many bytes as `buffer` has, and none of them is a
            pointer; else there is no array.
        order: ``"C"`` or ``"F"``.
    """
    view = memoryview(buffer)
    if not isinstance(view.obj, ctypes.Array) or dtype.hasobject:
        return None
    if math.prod(shape) * dtype.itemsize != view.nbytes:  # numpy would believe it, and read on
        return None
    address = ctypes.addressof(view.obj)
    handler = _handler()
    if address not in _freeing or handler is None or view.nbytes != ctypes.sizeof(view.obj):
        return None
    made = handler.array(address, shape, dtype, order)
    memory = _memories.get(address)
    if memory is not None:
        memory.owner = made
    return made


@functools.cache
def _libc() -> Any:
    """The C library, if it is one whose memory can be laid over and freed."""
    if not sys.platform.startswith("linux") or mmap.PAGESIZE != PAGE:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "gnu_get_libc_version") or sys.maxsize < 1 << 32:
        return None
    libc.aligned_alloc.restype = libc.mmap.restype = ctypes.c_void_p
    libc.aligned_alloc.argtypes = [ctypes.c_size_t] * 2
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


class _Allocator(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_void_p) for name in ("ctx", "malloc", "calloc", "realloc", "free"))


class _Description(ctypes.Structure):
    """numpy's ``PyDataMem_Handler``."""

    _fields_ = (("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("allocator", _Allocator))


class _Handler:
    """numpy's own way to free and resize memory, with a way of its own to get it: what is handed in."""

    def __init__(self, numpy: Any) -> None:
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        capsule = ctypes.pythonapi.PyCapsule_New
        capsule.restype = ctypes.py_object
        capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        core = getattr(numpy, "_core", None) or numpy.core
        api = ctypes.cast(pointer(core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
        own = ctypes.cast(api[_API_DEFAULT_HANDLER], ctypes.POINTER(ctypes.py_object))[0]
        described = _Description.from_address(pointer(own, b"mem_handler"))
        if described.name != b"default_allocator" or described.version != 1:
            raise ValueError(described.name)
        self._numpy = numpy
        self._set = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(api[_API_SET_HANDLER])
        self._next = 0
        take = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        self._take = take(lambda _ctx, _size: self._next)
        # Arrays keep the capsule, which points here: this object lives as long as the process.
        self._description = _Description.from_buffer_copy(described)
        self._description.name = b"kitaru_nb"
        self._description.allocator.malloc = ctypes.cast(self._take, ctypes.c_void_p).value
        self._capsule = capsule(ctypes.addressof(self._description), b"mem_handler", None)

    def array(self, address: int, shape: tuple[int, ...], dtype: Any, order: str) -> Any:
        """An array on that memory, which nobody else frees from now on."""
        with _lock:
            self._next = address
            before = self._set(self._capsule)
            try:
                made = self._numpy.empty(shape, dtype, order)
                _freeing.pop(address).detach()
                return made
            finally:
                self._set(before)
                self._next = 0


@functools.cache
def _handler() -> _Handler | None:
    numpy = sys.modules.get("numpy")
    try:
        return _Handler(numpy)
    except (AttributeError, TypeError, ValueError):
        return None  # another implementation of Python, or a numpy that keeps this elsewhere
