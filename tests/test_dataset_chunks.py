"""Zarr stores read by TensorStore hold the same as read by zarr."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pima_physics.dataset import open_dataset
from pima_physics.dataset_chunks import _Array, by_tensorstore
from pima_physics.dataset_files import _stored
from pima_physics.dataset_info import Request
from pima_physics.dataset_source import find_source
from pima_physics.errors import DataError

pytest.importorskip("tensorstore")

SELECTIONS: list[dict[str, Any]] = [
    {"sample": slice(3, 40)},
    {"sample": slice(30, 3)},
    {"sample": slice(-60, 1000, 7), "t": slice(None, None, -1)},
    {"sample": slice(40, None, -2), "t": -1},
    {"sample": [1, -3, 7, -3], "t": [2, 1]},
    {"sample": np.arange(50) % 3 == 0},
    {"sample": 17, "t": 3},
    {"sample": [], "t": slice(2, 2)},
]


def example() -> xr.Dataset:
    """Numbers with gaps, packed, whole, flags and strings."""
    x = np.random.default_rng(0).normal(size=(50, 6)).astype("f4")
    x[3], x[7, 2] = np.nan, np.nan
    return xr.Dataset(
        {
            "curve": (("sample", "t"), x, {"units": "s"}),
            "packed": (("sample", "t"), np.round(x.astype(float), 3), {"units": "m"}),
            "marked": (("sample",), np.where(np.arange(50) == 7, np.nan, np.arange(50.0))),
            "count": (("sample",), np.arange(50)),
            "small": (("sample",), np.arange(50).astype("u1")),
            "flag": (("sample",), np.arange(50) % 2 == 0),
            "name": (("sample",), np.array(["ab", "c"] * 25, dtype=object)),
        },
        coords={"t": ("t", np.linspace(0, 1, 6), {"units": "s"})},
    )


@pytest.fixture(params=[2, 3])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store in chunks, of both versions of the format."""
    encoding = {
        "packed": {"dtype": "i2", "scale_factor": 0.001, "_FillValue": -9999},
        "marked": {"_FillValue": 7.0},
    }
    path, version = tmp_path / "a.zarr", request.param
    chunked = example().drop_vars("name").chunk({"sample": 16})
    chunked.to_zarr(path, encoding=encoding, consolidated=False, zarr_format=version)
    if version == 2:  # strings are no part of the third version yet
        example()[["name"]].to_zarr(path, mode="a", consolidated=False, zarr_format=2)
    return path


def by_zarr(path: Path) -> xr.Dataset:
    """The store without TensorStore."""
    options: dict[str, Any] = {"consolidated": False, "chunks": None, "decode_timedelta": False}
    return xr.open_dataset(path, engine="zarr", **options)


def test_the_same_as_read_by_zarr(store: Path) -> None:
    with open_dataset(store) as data, by_zarr(store) as expected:
        assert data["curve"].encoding["preferred_chunks"] == {"sample": 16, "t": 6}
        xr.testing.assert_identical(pickle.loads(pickle.dumps(data)).load(), expected)
        xr.testing.assert_identical(data.load(), expected)
        assert float(data["packed"][0, 0]) == pytest.approx(float(example()["packed"][0, 0]))


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
def test_every_kind_of_selection(store: Path, selection: dict[str, Any]) -> None:
    with open_dataset(store) as data, by_zarr(store) as expected:
        chosen = expected.load().isel(selection)
        xr.testing.assert_identical(data.isel(selection).load(), chosen)


def test_numbers_are_read_by_tensorstore(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, ...]] = []
    own = _Array._read

    def noted(self: _Array, key: tuple[Any, ...]) -> np.ndarray:
        read.append(self.shape)
        return own(self, key)

    monkeypatch.setattr(_Array, "_read", noted)
    with open_dataset(store) as data:
        assert not read
        data[["curve", "packed", "count"]].load()
        assert sorted(read) == [(50,), (50, 6), (50, 6)]
        data[["flag"]].load()
        assert len(read) == 3


def test_without_tensorstore(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with _stored(store) as data:
        assert by_tensorstore(store, data) is data
    with open_dataset(store) as data, by_zarr(store) as expected:
        xr.testing.assert_identical(data.load(), expected.load())


def test_a_filter_that_only_zarr_knows(tmp_path: Path) -> None:
    from numcodecs import Delta

    encoding = {"count": {"filters": [Delta("i8")]}}
    path = tmp_path / "a.zarr"
    example()[["count"]].to_zarr(path, encoding=encoding, zarr_format=2, consolidated=False)
    with open_dataset(path) as data:
        np.testing.assert_array_equal(data["count"], np.arange(50))


def test_a_damaged_chunk_is_named(store: Path) -> None:
    for path in (store / "curve").rglob("*"):
        if path.is_file() and not path.name.startswith((".", "zarr.json")):
            path.write_bytes(b"rubbish")
    with open_dataset(store) as data:
        options: dict[str, Any] = {"info": None, "require_all": True, "warnings": []}
        with pytest.raises(DataError, match=r"'curve' cannot be read"):
            found = find_source(data, Request("curve", ("curve",)), sample_dim="sample", **options)
            list(found.slices())
