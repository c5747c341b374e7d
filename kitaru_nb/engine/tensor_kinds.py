"""What a tensor of torch held before a step or call, whether it still does, and giving it that back.

A tensor is a container of its elements and of one reference, to its gradient, which is a tensor
like any other. Where it lies in memory stays as it is: what looks into the same memory sees the
elements come back.
"""

from __future__ import annotations

import importlib
from typing import Any

import xxhash

from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.tensors import memory_of
from kitaru_nb.artifacts.views import content

__all__ = ["bytes_of", "copy_of", "mark_of", "put_back", "same_as_copy", "same_as_mark", "state_of"]


def bytes_of(tensor: Any) -> int:
    """How many bytes a copy of it takes."""
    if not tensor.is_sparse:
        return int(tensor.numel() * tensor.element_size())
    return int(tensor._nnz() * (tensor.element_size() + 8 * tensor.dim()))  # noqa: SLF001 - the public way insists on order


def state_of(tensor: Any) -> tuple[Any, ...]:
    """Its elements as a tensor of its own, whether a gradient is asked for, and the gradient itself."""
    return tensor.detach().clone(), tensor.requires_grad, tensor.grad if tensor.is_leaf else None


def mark_of(tensor: Any) -> tuple[Any, ...]:
    """What differs once it has changed, without a copy; the gradient is kept alive."""
    told = (tuple(tensor.size()), tensor.dtype, tensor.layout, tensor.requires_grad)
    return (*told, _fingerprint(tensor), tensor.grad if tensor.is_leaf else None)


def same_as_mark(tensor: Any, mark: tuple[Any, ...]) -> bool:
    """Whether it holds what it held when it was marked."""
    now = mark_of(tensor)
    return now[:-1] == mark[:-1] and now[-1] is mark[-1]


def copy_of(tensor: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """All that `put_back` needs, with its mark."""
    return state_of(tensor), mark_of(tensor)


def same_as_copy(tensor: Any, copy: tuple[tuple[Any, ...], tuple[Any, ...]]) -> bool:
    """Whether it holds what it held when it was copied."""
    return same_as_mark(tensor, copy[1])


def put_back(tensor: Any, state: tuple[Any, ...]) -> None:
    """Give it the elements, the wish for a gradient and the gradient of a `state_of`.

    One that has got another shape, type or layout in between gets memory of its own.
    """
    elements, requires_grad, gradient = state
    torch = importlib.import_module("torch")
    with torch.no_grad():
        alike = tensor.size() == elements.size() and tensor.dtype == elements.dtype
        if alike and tensor.layout is torch.strided is elements.layout:
            tensor.data.copy_(elements)  # under the eyes of autograd this would be a step of the graph
        else:
            tensor.data = elements.to(tensor.device)
    if not tensor.is_leaf:
        return
    tensor.requires_grad_(requires_grad)
    tensor.grad = gradient


def _fingerprint(tensor: Any) -> object:
    memory = memory_of(tensor, {})
    if memory is None:
        return digest_values({"": tensor.detach()}, namespace={})
    return xxhash.xxh3_128_digest(content(memory))
