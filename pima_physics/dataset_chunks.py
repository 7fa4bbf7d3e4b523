"""Arrays of a Zarr store, read by TensorStore where it is installed.

zarr decompresses in threads of the interpreter, which they take from the training again and again;
TensorStore does in threads of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing


class _Array(BackendArray):
    """An array of TensorStore as xarray reads it."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype = array.dtype.numpy_dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        basic = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, basic, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        # TensorStore refuses what lies outside, and slices that end before they begin.
        inside = [
            range(n)[k] if isinstance(k, slice) else int(k)
            for k, n in zip(key, self.shape, strict=True)
        ]
        spans = tuple(
            slice(k.start, max(k.start, k.stop), k.step) if isinstance(k, range) else k
            for k in inside
        )
        return self.array[spans].read().result()


def by_tensorstore(path: Path, stored: xr.Dataset) -> xr.Dataset:
    """The same dataset, with arrays of numbers read by TensorStore.

    Parameters
    ----------
    path : Path
        Folder of the store.
    stored : Dataset
        As it is in the store, not decoded.
    """
    try:
        import tensorstore
    except ImportError:
        return stored
    read = {}
    for name, variable in stored.data_vars.items():
        place = path / str(name)
        driver = "zarr3" if (place / "zarr.json").is_file() else "zarr"
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": str(place)}}
        try:
            array = _Array(tensorstore.open(spec, read=True, open=True).result())
        except ValueError:  # a codec, filter or type that it does not know: zarr may
            continue
        if array.dtype.kind in "fiu" and array.shape == variable.shape:
            lazy = indexing.LazilyIndexedArray(array)
            read[name] = xr.Variable(variable.dims, lazy, variable.attrs, variable.encoding)
    return stored.assign(read)
