"""xarray's objects as zarr groups, the way ``xarray.open_zarr`` reads them back as themselves.

Values keep their numpy types: dates are zarr's own dates, not numbers with units.
"""

from __future__ import annotations

import sys
from typing import Any

from kitaru_nb.artifacts.zarr_describe import (
    Branch,
    LaterError,
    Leaf,
    as_members,
    described,
    json_form,
)
from kitaru_nb.artifacts.zarr_document import NoZarrFormError

__all__ = ["described_xarray"]

_VARIABLE = "__xarray_dataarray_variable__"
_NAME = "__xarray_dataarray_name__"


def described_xarray(value: Any, *, saving: int) -> Leaf | Branch:
    """What a Dataset, a DataArray, a Variable or a DataTree looks like to zarr.

    Raises:
        NoZarrFormError: it is none of these.
        LaterError: `saving`, and only loading will tell.
    """
    xr = sys.modules["xarray"]
    if isinstance(value, xr.Dataset):
        return _dataset(value, saving=saving)
    if isinstance(value, xr.DataArray):
        # As xarray does it: a name that is also a coordinate's cannot be the variable's.
        plain = (
            isinstance(value.name, str) and value.name not in value.coords and value.name not in value.dims
        )
        found = _dataset(value.to_dataset(name=value.name if plain else _VARIABLE), saving=saving)
        name = {} if plain or value.name is None else {_NAME: json_form(value.name)}
        return Branch(found.members, {**found.attrs, **name})
    if isinstance(value, xr.Variable):
        return _variable(value, saving=saving)
    if hasattr(xr, "DataTree") and isinstance(value, xr.DataTree):
        here = _dataset(value.to_dataset(inherit=False), saving=saving)
        below, left_out = as_members(
            value.children.items(), lambda node: described_xarray(node, saving=saving)
        )
        return Branch(
            {**here.members, **below}, {**here.attrs, **({"left-out": left_out} if left_out else {})}
        )
    raise NoZarrFormError(f"a {type(value).__name__} is no array and no group of arrays")


def _dataset(dataset: Any, *, saving: int) -> Branch:
    if saving and len(dataset.variables) > saving:
        raise LaterError
    for name in dataset.variables:
        if not isinstance(name, str) or "/" in name:
            raise NoZarrFormError(f"the variable {name!r} has a name that zarr cannot have")
    members, left_out = as_members(
        dataset.variables.items(), lambda variable: _variable(variable, saving=saving)
    )
    if dataset.variables and not members:
        raise NoZarrFormError("; ".join(f"`{name}`: {why}" for name, why in left_out.items()))
    attrs = {str(key): json_form(value) for key, value in dataset.attrs.items()}
    others = [name for name in dataset.coords if name in members and (name,) != dataset.variables[name].dims]
    if others:
        attrs["coordinates"] = " ".join(others)
    return Branch(members, {**attrs, "kitaru-nb": {"left-out": left_out}} if left_out else attrs)


def _variable(variable: Any, *, saving: int) -> Leaf:
    np = sys.modules["numpy"]
    data = variable._data
    if not isinstance(data, np.ndarray):
        indexed = hasattr(variable, "_to_index") or type(data).__name__.startswith("PandasIndexing")
        if saving and not indexed:
            raise LaterError  # it may lie in a file that is not read yet
        data = variable.values
    leaf = described(data, saving=saving)
    assert isinstance(leaf, Leaf)
    attrs = {str(key): json_form(value) for key, value in variable.attrs.items()}
    return Leaf(leaf.values, tuple(map(str, variable.dims)), attrs)
