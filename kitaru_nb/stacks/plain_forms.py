"""The forms a value can be written in, each by the end of a file's name, and which fit which value.

A form that would lose something refuses: what is in the file is the value.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib
import importlib.util
import json
import math
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["FORMS", "NotThisFormError", "forms_of"]


class NotThisFormError(TypeError):
    """The value cannot be written in that form; the text says why."""


def forms_of(value: object) -> list[str]:
    """The forms that fit `value`, the most usual first."""
    found = []
    if _is_array(value):
        found = [".npy", ".zarr"]
    elif _is(value, "pandas", "DataFrame", "Series") or _is(value, "polars", "DataFrame") or _is_arrow(value):
        found = [".parquet", ".csv", ".json", ".zarr"]
    elif _is(value, "xarray", "Dataset", "DataArray"):
        found = [".zarr", ".nc"]
    elif _is_sparse(value) and getattr(value, "format", None) not in {"lil", "dok"}:
        found = [".npz", ".zarr"]
    elif isinstance(value, str | bytes | bytearray):
        found = [".txt"]
    elif isinstance(value, Mapping) and value and all(map(_is_array, value.values())):
        found = [".npz", ".zarr"]
    elif isinstance(value, Mapping | list | tuple | int | float | bool | None):
        found = [".json"]
    return [*found, ".pkl"]


def _is(value: object, package: str, *names: str) -> bool:
    module = sys.modules.get(package)
    return module is not None and isinstance(value, tuple(getattr(module, name) for name in names))


def _is_array(value: Any) -> bool:
    return _is(value, "numpy", "ndarray") and not _is_masked(value) and not value.dtype.hasobject


def _is_arrow(value: object) -> bool:
    return _is(value, "pyarrow", "Table", "RecordBatch")


def _is_sparse(value: object) -> bool:
    return str(type(value).__module__).startswith("scipy.sparse") and hasattr(value, "tocsr")


# --- one function for each form -----------------------------------------------------------


def _pickle(path: Path, value: Any) -> None:
    import cloudpickle  # noqa: PLC0415 - only this form needs it

    with path.open("xb") as file:
        cloudpickle.dump(value, file, protocol=5)


def _npy(path: Path, value: Any) -> None:
    np = importlib.import_module("numpy")
    if _is(value, "pandas", "Series", "Index") and isinstance(value.dtype, np.dtype):
        value = value.to_numpy()
    with path.open("xb") as file:
        np.save(file, _numbers(value), allow_pickle=False)


def _npz(path: Path, value: Any) -> None:
    np = importlib.import_module("numpy")
    if _is_sparse(value):
        try:
            with path.open("xb") as file:
                importlib.import_module("scipy.sparse").save_npz(file, value)
        except NotImplementedError as error:
            raise NotThisFormError(f"numpy has no form for the kind `{value.format}`") from error
        return
    if not isinstance(value, Mapping) or not value:
        raise NotThisFormError("it is no dict of arrays")
    arrays = {str(name): _numbers(one) for name, one in value.items()}
    if len(arrays) != len(value):
        raise NotThisFormError("two of its keys are the same as text")
    with zipfile.ZipFile(path, "x", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _numbers(value: Any) -> Any:
    """`value` as numpy's own files can hold it."""
    np = importlib.import_module("numpy")
    if not isinstance(value, np.ndarray | np.generic):
        raise NotThisFormError(f"a {type(value).__name__} is no numpy array")
    if isinstance(value, np.ma.MaskedArray):
        raise NotThisFormError("the mask would be lost")
    if value.dtype.hasobject:
        raise NotThisFormError(f"an array of `{value.dtype}` holds objects")
    return np.asarray(value)


def _parquet(path: Path, value: Any) -> None:
    if _is(value, "pandas", "Series"):
        value = value.to_frame("value" if value.name is None else value.name)
    if _is(value, "pandas", "DataFrame"):
        pa = importlib.import_module("pyarrow")
        try:
            value.to_parquet(path, engine="pyarrow")
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise NotThisFormError(_first_line(error)) from error
    elif _is(value, "polars", "DataFrame"):
        value.write_parquet(path)
    elif _is_arrow(value):
        pa = importlib.import_module("pyarrow")
        table = value if isinstance(value, pa.Table) else pa.Table.from_batches([value])
        try:
            importlib.import_module("pyarrow.parquet").write_table(table, path)
        except pa.ArrowException as error:
            raise NotThisFormError(_first_line(error)) from error
    else:
        raise NotThisFormError("it is no table")


def _csv(path: Path, value: Any) -> None:
    if _is(value, "pandas", "DataFrame", "Series"):
        value = value.to_frame() if value.ndim == 1 else value
        value.to_csv(path, index=not _is_count(value.index))
    elif _is(value, "polars", "DataFrame"):
        value.write_csv(path)
    elif _is_arrow(value):
        pa = importlib.import_module("pyarrow")
        try:
            importlib.import_module("pyarrow.csv").write_csv(value, path)
        except pa.ArrowException as error:
            raise NotThisFormError(_first_line(error)) from error
    else:
        raise NotThisFormError("it is no table")


def _netcdf(path: Path, value: Any) -> None:
    if not _is(value, "xarray", "Dataset", "DataArray"):
        raise NotThisFormError("it is no xarray Dataset")
    # xarray's third way, scipy, writes an older format that lacks 64-bit integers.
    engine = next((name for name in ("netCDF4", "h5netcdf") if importlib.util.find_spec(name)), None)
    if engine is None:
        raise ModuleNotFoundError("no package for netCDF", name="h5netcdf")
    try:
        value.to_netcdf(path, engine=engine.lower())
    except (TypeError, ValueError) as error:
        raise NotThisFormError(_first_line(error)) from error


def _json(path: Path, value: Any) -> None:
    try:
        text = json.dumps(_json_form(value, "it"), ensure_ascii=False, allow_nan=False, indent=2)
    except RecursionError as error:
        raise NotThisFormError("it holds itself, or is nested too deeply") from error
    path.write_text(text + "\n", encoding="utf-8")


def _json_form(value: Any, where: str) -> Any:
    """`value` as JSON has it: nothing rounded and nothing dropped; tables as rows, times as ISO 8601."""
    rows = _rows(value)
    if rows is not None:
        return [{str(k): _cell(one, f"{where}[{n}]") for k, one in row.items()} for n, row in enumerate(rows)]
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotThisFormError(f"{where} is {value}, for which JSON has no number")
        return float(value)
    if isinstance(value, list | tuple):
        return [_json_form(one, f"{where}[{number}]") for number, one in enumerate(value)]
    fields = _fields(value, where)
    if fields is not None:
        return {key: _json_form(one, f"{where}[{key!r}]") for key, one in fields.items()}
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if _is(value, "numpy", "ndarray", "generic") and value.dtype.kind in "biufU" and not _is_masked(value):
        plain = value.tolist()
        if not isinstance(plain, type(value)):
            return _json_form(plain, where)
        where += f" (`{value.dtype}`)"
    raise NotThisFormError(f"JSON has no form for {where}, a {type(value).__name__}")


def _fields(value: Any, where: str) -> Mapping[str, Any] | None:
    """What a dict, a dataclass or a pydantic model holds by name; None of anything else."""
    if isinstance(value, Mapping):
        others = [key for key in value if not isinstance(key, str)]
        if others:
            raise NotThisFormError(f"{where} has the key {others[0]!r}, and JSON's keys are text")
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    if hasattr(type(value), "model_fields") and hasattr(value, "model_dump"):
        found: Mapping[str, Any] = value.model_dump(mode="json")
        return found
    return None


def _rows(value: Any) -> list[dict[Any, Any]] | None:
    """The rows of a table, None of anything else."""
    if _is(value, "pandas", "DataFrame"):
        frame = value if _is_count(value.index) else value.reset_index()
        if not frame.columns.map(str).is_unique:
            raise NotThisFormError("two of its columns have the same name")
        found: list[dict[Any, Any]] = frame.to_dict(orient="records")
        return found
    if _is(value, "pandas", "Series"):
        return _rows(value.to_frame("value" if value.name is None else value.name))
    if _is(value, "polars", "DataFrame"):
        return list(value.to_dicts())
    return list(value.to_pylist()) if _is_arrow(value) else None


def _cell(value: Any, where: str) -> Any:
    """A table's cell: what is missing in it is null."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    pd = sys.modules.get("pandas")
    return (
        None
        if missing or (pd is not None and (value is pd.NaT or value is pd.NA))
        else _json_form(value, where)
    )


def _is_count(index: Any) -> bool:
    """Whether a pandas index is nothing but the rows' numbers."""
    return _is(index, "pandas", "RangeIndex") and (index.start, index.step, index.name) == (0, 1, None)


def _is_masked(value: Any) -> bool:
    return isinstance(value, sys.modules["numpy"].ma.MaskedArray)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


FORMS: Mapping[str, Callable[[Path, Any], None]] = {
    ".csv": _csv,
    ".json": _json,
    ".nc": _netcdf,
    ".npy": _npy,
    ".npz": _npz,
    ".parquet": _parquet,
    ".pkl": _pickle,
}
"""For each ending of a name what writes a value so; ``.zarr`` is written without loading the value."""
