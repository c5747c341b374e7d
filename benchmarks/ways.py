"""How others keep a value in a file or folder, and how they read it back.

These run inside the kernels of `values`, so nothing is imported before it is used.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "ARRAYS",
    "ARROW",
    "COLUMNS",
    "COMMON",
    "DATASET",
    "IMAGE",
    "PANDAS",
    "POLARS",
    "SPARSE",
    "Way",
    "synced",
]


@dataclass(frozen=True)
class Way:
    """How a value is kept.

    Attributes:
        save: Writes the value to a path, which may become a file or a folder.
        load: Reads it back from there.
        needs: A package besides those of the value.
    """

    save: Callable[[Any, Path], object]
    load: Callable[[Path], Any]
    needs: str = ""


def synced(path: Path) -> None:
    """Return when all that is at `path`, a file or a folder, survives a power cut."""
    found = [path.parent, path]
    if path.is_dir():
        found += [Path(place, name) for place, *names in os.walk(path) for row in names for name in row]
    for each in found:
        file = os.open(each, os.O_RDONLY)
        os.fsync(file)
        os.close(file)


# --- any value ----------------------------------------------------------------------------


def _pickle_save(value: Any, path: Path) -> None:
    with path.open("wb") as file:
        pickle.dump(value, file, protocol=5)


def _pickle_load(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)


def _joblib_save(value: Any, path: Path) -> None:
    import joblib

    joblib.dump(value, path)


def _joblib_load(path: Path) -> Any:
    import joblib

    return joblib.load(path)


def _dill_save(value: Any, path: Path) -> None:
    import dill

    with path.open("wb") as file:
        dill.dump(value, file, protocol=5)


def _dill_load(path: Path) -> Any:
    import dill

    with path.open("rb") as file:
        return dill.load(file)


COMMON: Mapping[str, Way] = {
    "pickle5": Way(_pickle_save, _pickle_load),
    "joblib": Way(_joblib_save, _joblib_load, "joblib"),
    "dill": Way(_dill_save, _dill_load, "dill"),
}
"""For any value; the first is what the others are compared with."""


# --- tables -------------------------------------------------------------------------------


def _pandas_parquet(path: Path) -> Any:
    import pandas as pd

    return pd.read_parquet(path)


def _pandas_feather(path: Path) -> Any:
    import pandas as pd

    return pd.read_feather(path)


PANDAS: Mapping[str, Way] = {
    "parquet": Way(lambda value, path: value.to_parquet(path), _pandas_parquet, "pyarrow"),
    "arrow ipc": Way(
        lambda value, path: value.to_feather(path, compression="uncompressed"), _pandas_feather, "pyarrow"
    ),
}


def _polars_parquet(path: Path) -> Any:
    import polars as pl

    return pl.read_parquet(path)


def _polars_ipc(path: Path) -> Any:
    import polars as pl

    return pl.read_ipc(path)


POLARS: Mapping[str, Way] = {
    "parquet": Way(lambda value, path: value.write_parquet(path), _polars_parquet),
    "arrow ipc": Way(lambda value, path: value.write_ipc(path), _polars_ipc),
}


def _arrow_parquet_save(value: Any, path: Path) -> None:
    from pyarrow import parquet

    parquet.write_table(value, path)


def _arrow_parquet_load(path: Path) -> Any:
    from pyarrow import parquet

    return parquet.read_table(path)


def _arrow_ipc_save(value: Any, path: Path) -> None:
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, value.schema) as writer:
        writer.write_table(value)


def _arrow_ipc_load(path: Path) -> Any:
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


ARROW: Mapping[str, Way] = {
    "parquet": Way(_arrow_parquet_save, _arrow_parquet_load),
    "arrow ipc": Way(_arrow_ipc_save, _arrow_ipc_load),
}


# --- arrays -------------------------------------------------------------------------------


def _npz_save(value: Any, path: Path) -> None:
    import numpy as np

    with path.open("wb") as file:
        np.savez(file, **value)


def _npz_load(path: Path) -> Any:
    import numpy as np

    with np.load(path) as file:
        return dict(file)


def _zarr_save(value: Any, path: Path) -> None:
    import zarr

    _fill(zarr.create_group(path, overwrite=True), value)


def _zarr_load(path: Path) -> Any:
    import zarr

    return _read(zarr.open_group(path, mode="r"))


def _fill(group: Any, value: Any) -> None:
    for name, array in value.items():
        group.create_array(name, data=array)


def _read(group: Any) -> Any:
    return {name: array[:] for name, array in group.arrays()}


def _icechunk_session(path: Path, *, write: bool) -> Any:
    import icechunk

    storage = icechunk.local_filesystem_storage(str(path))
    if write:
        return icechunk.Repository.open_or_create(storage).writable_session("main")
    return icechunk.Repository.open(storage).readonly_session("main")


def _icechunk_save(value: Any, path: Path) -> None:
    import zarr

    session = _icechunk_session(path, write=True)
    _fill(zarr.create_group(session.store, overwrite=True), value)
    session.commit("value")


def _icechunk_load(path: Path) -> Any:
    import zarr

    return _read(zarr.open_group(_icechunk_session(path, write=False).store, mode="r"))


def _columns_save(value: Any, path: Path) -> None:
    _zarr_save({name: value[name].to_numpy() for name in value.columns}, path)


def _columns_load(path: Path) -> Any:
    import pandas as pd

    return pd.DataFrame(_zarr_load(path))


COLUMNS: Mapping[str, Way] = {"zarr": Way(_columns_save, _columns_load, "zarr")}
"""For a pandas frame of numbers."""

ARRAYS: Mapping[str, Way] = {
    "npy": Way(_npz_save, _npz_load),
    "zarr": Way(_zarr_save, _zarr_load, "zarr"),
    "icechunk": Way(_icechunk_save, _icechunk_load, "icechunk"),
}


def _dataset_from_zarr(path: Path) -> Any:
    import xarray as xr

    return xr.open_zarr(path, chunks=None, consolidated=False).load()


def _dataset_to_icechunk(value: Any, path: Path) -> None:
    session = _icechunk_session(path, write=True)
    value.to_zarr(session.store, mode="w", consolidated=False)
    session.commit("value")


def _dataset_from_icechunk(path: Path) -> Any:
    import xarray as xr

    store = _icechunk_session(path, write=False).store
    return xr.open_zarr(store, chunks=None, consolidated=False).load()


DATASET: Mapping[str, Way] = {
    "zarr": Way(
        lambda value, path: value.to_zarr(path, mode="w", consolidated=False), _dataset_from_zarr, "zarr"
    ),
    "icechunk": Way(_dataset_to_icechunk, _dataset_from_icechunk, "icechunk"),
}


# --- others -------------------------------------------------------------------------------


def _image_save(value: Any, path: Path) -> None:
    import numpy as np

    with path.open("wb") as file:
        np.save(file, np.asarray(value))


def _image_load(path: Path) -> Any:
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.load(path))


IMAGE: Mapping[str, Way] = {"npy": Way(_image_save, _image_load)}


def _sparse_save(value: Any, path: Path) -> None:
    import scipy.sparse

    with path.open("wb") as file:
        scipy.sparse.save_npz(file, value, compressed=False)


def _sparse_load(path: Path) -> Any:
    import scipy.sparse

    return scipy.sparse.load_npz(path)


SPARSE: Mapping[str, Way] = {"npy": Way(_sparse_save, _sparse_load)}
