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
        spans = tuple(_inside(k, n) for k, n in zip(key, self.shape, strict=True))
        return self.array[spans].read().result()


def _inside(index: Any, size: int) -> int | slice:
    """An index without what TensorStore refuses: parts outside, an end before the begin."""
    if not isinstance(index, slice):
        return int(index)
    whole = range(size)[index]
    return slice(whole.start, max(whole.start, whole.stop), whole.step)


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
