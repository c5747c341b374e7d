"""Tensors of torch: their memory as arrays, and what else there is to each of them.

Left to itself torch writes the address of a tensor's memory into its pickle, the memory once for
each view, and nothing of a gradient. Here a tensor is the array that lies on its memory, so it is
digested, shared, mapped and stored as any other array is, together with arrays of numpy that look
into the same memory.

What a tensor was computed from, its graph, lives in its own process. The tensor comes back with
its value and a graph that has one step, which says that the rest is gone: going `backward`
through it is an error, and never a gradient that silently does not arrive.

torch is used only when the user has imported it. The public ``make_`` and ``set_`` names are part
of the stored format.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from kitaru_nb.artifacts.memory import SMALLEST_MAPPED
from kitaru_nb.artifacts.notes import say_made
from kitaru_nb.artifacts.views import layout
from kitaru_nb.errors import UnstorableError

__all__ = [
    "array_of",
    "is_storage",
    "is_storage_class",
    "is_tensor",
    "is_tensor_class",
    "make_storage",
    "make_tensor",
    "make_tensor_of",
    "make_tensor_within",
    "memory_of",
    "parts_of",
    "reduce_storage",
    "reduce_tensor",
    "reduce_tensor_within",
    "reduce_torch",
    "set_tensor",
    "storage_of",
    "tensors_by_storage",
]

# dtypes that numpy has, too; any other is kept as whole numbers of its size
_SHARED_TYPES = frozenset(
    [
        *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    ]
)
_WHOLE = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}
_CONJUGATED, _NEGATED, _WITH_GRAPH = 1, 2, 4
"""Of how a tensor is to be read: bits of one number in the stored format."""


def is_tensor_class(cls: type) -> bool:
    """Whether instances of `cls` are tensors of torch."""
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    return tensor is not None and issubclass(cls, tensor)


def is_tensor(value: object) -> bool:
    """Whether `value` is a tensor of torch."""
    return is_tensor_class(type(value))


def is_storage_class(cls: type) -> bool:
    """Whether instances of `cls` are the bare memory of tensors, as torch shows it."""
    return cls.__name__ in {"UntypedStorage", "TypedStorage"} and cls.__module__ == "torch.storage"


def is_storage(value: object) -> bool:
    """Whether `value` is the bare memory of a tensor, as torch shows it."""
    return is_storage_class(type(value))


def storage_of(tensor: Any) -> Any:
    """The memory of a tensor: one object, whichever tensor is asked; None where it has none."""
    with suppress(RuntimeError, NotImplementedError):  # a sparse one, say
        return tensor.untyped_storage()
    return None


def memory_of(tensor: Any, copies: dict[int, tuple[Any, Any]]) -> Any:
    """The array on a tensor's memory; None for one whose memory is no array, such as a sparse one.

    Args:
        tensor: Any tensor.
        copies: What was copied from devices so far, for as long as nothing on them changes.
    """
    torch = sys.modules["torch"]
    if not _is_plain(tensor, torch):
        return None
    with torch._C.DisableTorchFunctionSubclass():
        plain = tensor.detach()
        if type(plain) is not torch.Tensor:
            plain = plain.as_subclass(torch.Tensor)
        if plain.is_conj():
            plain = plain.conj()
        if plain.is_neg():
            plain = torch._neg_view(plain)
        if plain.device.type != "cpu":
            plain = _on_cpu(plain, copies, torch)
        return importlib.import_module("numpy").asarray(_Memory(plain))


class _Memory:
    """Lets numpy look at a tensor's memory, and keeps that alive meanwhile.

    The tensor's own `numpy` would do more: from then on the tensor could not be made larger.
    """

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor
        numpy, size = importlib.import_module("numpy"), tensor.element_size()
        name = _name_of(tensor.dtype)
        self.__array_interface__ = {
            "version": 3,
            "typestr": numpy.dtype(name if name in _SHARED_TYPES else _WHOLE[size]).str,
            "shape": tuple(tensor.size()),
            "strides": tuple(size * stride for stride in tensor.stride()),
            "data": (tensor.data_ptr(), False) if tensor.numel() else numpy.empty(1),
        }


def array_of(tensor: Any) -> Any:
    """The array on a tensor's memory, with a dtype that means the same; None where there is none."""
    if _name_of(tensor.dtype) not in _SHARED_TYPES or tensor.is_conj() or tensor.is_neg():
        return None
    return memory_of(tensor, {})


def _is_plain(tensor: Any, torch: Any) -> bool:
    cls = type(tensor)
    return (
        tensor.layout is torch.strided
        and tensor.device.type != "meta"
        and not tensor.is_quantized
        and not tensor.is_nested
        and cls.__torch_dispatch__ is torch.Tensor.__torch_dispatch__
        and cls.__reduce_ex__ in (torch.Tensor.__reduce_ex__, torch.nn.Parameter.__reduce_ex__)
        and not any(vars(base).get("__slots__") for base in cls.__mro__ if base.__module__[:5] != "torch")
        and not tensor._is_zerotensor()
        and not (hasattr(tensor, "has_names") and tensor.has_names())
        and tensor.element_size() in {*_WHOLE, 16}
    )


def _on_cpu(tensor: Any, copies: dict[int, tuple[Any, Any]], torch: Any) -> Any:
    """The same place in a copy of the whole memory: tensors that share it share the copy."""
    storage = tensor.untyped_storage()
    key = object.__hash__(storage)
    if key not in copies:
        copies[key] = storage, torch.empty(0, dtype=torch.uint8).set_(storage.cpu())
    whole = copies[key][1].view(tensor.dtype)
    return whole.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


def _name_of(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def reduce_torch(obj: Any, copies: dict[int, tuple[Any, Any]]) -> tuple[Any, ...] | None:
    """How a tensor is stored that shares its memory with nothing, or the bare memory of one; else None.

    Args:
        obj: Anything.
        copies: See `memory_of`.
    """
    if is_tensor(obj):
        return reduce_tensor(obj, memory_of(obj, copies))
    return reduce_storage(obj) if is_storage(obj) else None


# --- stored -------------------------------------------------------------------------------


def reduce_tensor(tensor: Any, memory: Any, *, alone: bool = True) -> tuple[Any, ...]:
    """How a tensor is stored.

    Args:
        tensor: Any tensor.
        memory: What `memory_of` gives for it.
        alone: Nothing else that is stored with it looks into its memory.
    """
    if memory is None:
        return _reduce_other(tensor)
    how = _CONJUGATED * tensor.is_conj() + _NEGATED * tensor.is_neg() + _WITH_GRAPH * _has_graph(tensor)
    told = (_name_of(tensor.dtype), tuple(tensor.stride()), str(tensor.device), how)
    made = make_tensor, (memory, *told, tensor.requires_grad, type(tensor), alone)
    return _with_state(tensor, made)


def _reduce_other(tensor: Any) -> tuple[Any, ...]:
    """How torch stores it, whose parts are tensors again, with what it leaves out."""
    torch = sys.modules["torch"]
    if type(tensor) is not torch.Tensor:
        value: tuple[Any, ...] = tensor.__reduce_ex__(5)
        return value
    function, arguments = tensor.detach().__reduce_ex__(5)
    made = make_tensor_of, (function, arguments, tensor.requires_grad, _has_graph(tensor))
    return _with_state(tensor, made)


def _has_graph(tensor: Any) -> bool:
    return not tensor.is_leaf


def _with_state(tensor: Any, made: tuple[Any, ...]) -> tuple[Any, ...]:
    state = parts_of(tensor)
    return (*made, state, None, None, set_tensor) if state else made


def parts_of(tensor: Any) -> dict[str, Any]:
    """What there is to a tensor besides its memory: its gradient, its hooks, its attributes."""
    found: dict[str, Any] = {}
    if attributes := getattr(tensor, "__dict__", None):
        found["attributes"] = attributes
    if not tensor.is_leaf:
        return found
    if tensor.grad is not None:
        found["grad"] = tensor.grad
    for name, where in _HOOKS.items():
        if hooks := getattr(tensor, where, None):
            found[name] = hooks
    return found


_HOOKS = {"hooks": "_backward_hooks", "after": "_post_accumulate_grad_hooks"}


def reduce_tensor_within(tensor: Any, present: Mapping[int, tuple[Any, Any]]) -> tuple[Any, ...] | None:
    """How a tensor is stored that looks into the memory of one that is there when it is loaded.

    Args:
        tensor: Any tensor.
        present: Those that are there, see `tensors_by_storage`.
    """
    _, there = present.get(object.__hash__(storage_of(tensor)), (None, None))
    if there is None or there is tensor or tensor.is_conj() or tensor.is_neg():
        return None
    if tensor.dtype != there.dtype or type(tensor) is not sys.modules["torch"].Tensor:
        return None
    place = (tuple(tensor.size()), tuple(tensor.stride()), tensor.storage_offset())
    told = (tensor.requires_grad, _has_graph(tensor))
    return _with_state(tensor, (make_tensor_within, (there, *place, *told)))


def reduce_storage(storage: Any) -> tuple[Any, ...]:
    """How the bare memory of a tensor is stored."""
    torch: Any = sys.modules["torch"]
    typed = not isinstance(storage, torch.UntypedStorage)
    plain = storage._untyped_storage if typed else storage
    whole = torch.empty(0, dtype=torch.uint8).set_(plain.cpu())
    return make_storage, (memory_of(whole, {}), str(plain.device), _name_of(storage.dtype) if typed else "")


def tensors_by_storage(objects: Iterable[object]) -> dict[int, tuple[Any, Any]]:
    """The memory that tensors among objects look into, with the first that does; by its identity."""
    found: dict[int, tuple[Any, Any]] = {}
    for obj in filter(is_tensor, objects):
        storage = storage_of(obj)
        if storage is not None:
            found.setdefault(object.__hash__(storage), (storage, obj))
    return found


# --- made again ---------------------------------------------------------------------------


def make_tensor(  # noqa: PLR0917 - stored format
    memory: Any,
    dtype: str,
    strides: tuple[int, ...],
    device: str,
    how: int,
    requires_grad: bool,  # noqa: FBT001 - stored format
    cls: Any,
    alone: bool,  # noqa: FBT001 - stored format
) -> Any:
    """A tensor on `memory`, or on memory of its own that holds the same."""
    torch = importlib.import_module("torch")
    made = torch.from_numpy(memory)
    kind = getattr(torch, dtype)
    if made.dtype != kind:
        made = made.view(kind)
    if alone and memory.nbytes < SMALLEST_MAPPED and layout(memory)[0] != "S":
        own = torch.empty_strided(made.size(), strides, dtype=kind)  # which can be made larger
        made = own.copy_(made)
    elif tuple(made.stride()) != strides:  # of axes with one item
        made = made.as_strided(made.size(), strides)
    made = _on_device(made, device)
    if how & _CONJUGATED:
        made = made.conj()
    if how & _NEGATED:
        made = torch._neg_view(made)
    if cls is not torch.Tensor:
        # What it needs besides its memory comes with its attributes.
        parameter = issubclass(cls, torch.nn.Parameter)
        made = torch.Tensor._make_subclass(cls, made, requires_grad) if parameter else made.as_subclass(cls)
    return _asked_for_gradient(made, requires_grad=requires_grad, graph=bool(how & _WITH_GRAPH))


def make_tensor_of(function: Any, arguments: tuple[Any, ...], requires_grad: bool, graph: bool) -> Any:  # noqa: FBT001 - stored format
    """A tensor as torch makes it of its parts: a sparse one, one without memory."""
    return _asked_for_gradient(function(*arguments), requires_grad=requires_grad, graph=graph)


def make_tensor_within(  # noqa: PLR0917 - stored format
    there: Any,
    size: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
    requires_grad: bool,  # noqa: FBT001 - stored format
    graph: bool,  # noqa: FBT001 - stored format
) -> Any:
    """A tensor that looks into the memory of another one."""
    made = there.detach().as_strided(size, strides, offset)
    return _asked_for_gradient(made, requires_grad=requires_grad, graph=graph)


def make_storage(memory: Any, device: str, dtype: str) -> Any:
    """The bare memory of a tensor."""
    torch = importlib.import_module("torch")
    plain = _on_device(torch.from_numpy(memory), device).untyped_storage()
    if not dtype:
        return plain
    return torch.storage.TypedStorage(wrap_storage=plain, dtype=getattr(torch, dtype), _internal=True)


def set_tensor(tensor: Any, state: Mapping[str, Any]) -> None:
    """Give a tensor what there was to it besides its memory."""
    if "attributes" in state:
        tensor.__dict__.update(state["attributes"])
    if "grad" in state:
        tensor.grad = state["grad"]
    for name in _HOOKS.keys() & state.keys():
        setattr(tensor, _HOOKS[name], state[name])


def _on_device(tensor: Any, device: str) -> Any:
    """The tensor there; where there is no such device, on the CPU, and that is noted."""
    if device == "cpu":
        return tensor
    try:
        return tensor.to(device)
    except (RuntimeError, AssertionError, NotImplementedError):
        say_made(f"tensor of {device}", "which is not here: it is on the CPU")
        return tensor


def _asked_for_gradient(made: Any, *, requires_grad: bool, graph: bool) -> Any:
    if graph and requires_grad:
        say_made("graph", "which was not stored: `backward()` through it is refused")
        with importlib.import_module("torch").enable_grad():
            return _lost_graph().apply(made.requires_grad_())
    return made.requires_grad_() if requires_grad and not made.requires_grad else made


@functools.cache
def _lost_graph() -> Any:
    torch = importlib.import_module("torch")

    class LostGraph(torch.autograd.Function):  # type: ignore[name-defined,misc] # torch is no dependency
        """Stands for the graph of a tensor that was stored."""

        @staticmethod
        def forward(_context: Any, value: Any) -> Any:
            return value.detach()

        @staticmethod
        def backward(_context: Any, *_gradients: Any) -> Any:
            message = "the graph of a tensor that was restored is gone: only its value was stored"
            hint = "run the step that computed it again, or go `backward` in that same step"
            raise UnstorableError(message, kind="graph-not-stored", hint=hint)

    return LostGraph
