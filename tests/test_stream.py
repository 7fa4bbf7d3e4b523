"""Data that stay on disk: the same tensors, statistics, errors and results as in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from support.training import LABELS, lines, model

import pima_physics as pima
from pima_physics import dataset_stream
from pima_physics.checkpoint_codec import checksum
from pima_physics.dataset import Data, Request, open_dataset, prepare
from pima_physics.dataset_source import find_source
from pima_physics.dataset_stream import (
    StreamedModality,
    feed,
    in_turn,
    is_streamed,
)
from pima_physics.dataset_windows import windowed_batches
from pima_physics.errors import DataError, InputError

REQUESTS = (Request("line", ("response",)), Request("vector", ("vector",)))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So little memory that nothing fits."""
    monkeypatch.setattr(dataset_stream, "available_memory", lambda: 1000)
    monkeypatch.setattr(dataset_stream, "WINDOW_BYTES", 40 * 8 * 4)
    monkeypatch.setattr(dataset_stream, "AT_ONCE", 20)
    monkeypatch.setattr("pima_physics.dataset_slices.SLICE_NUMBERS", 50)


def both(data: xr.Dataset, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Data, Data]:
    """Prepared in memory and on disk."""
    with monkeypatch.context() as patch:
        patch.setattr(dataset_stream, "available_memory", lambda: 2**40)
        memory = prepare(data, REQUESTS, **options)
    disk = prepare(data, REQUESTS, **options)
    assert is_streamed(disk) and not is_streamed(memory)
    return memory, disk


def assert_same(a: Data, b: Data) -> None:
    assert np.array_equal(a.sample_labels, b.sample_labels)
    for name, m in a.modalities.items():
        for part in ("values", "mask", "present"):
            assert torch.equal(getattr(m, part), getattr(b.modalities[name], part)), (name, part)


@pytest.fixture
def holey() -> xr.Dataset:
    data = lines(150)
    data["response"][7, 3:] = np.nan
    data["vector"][11] = np.nan
    return data


@pytest.mark.usefixtures("small")
def test_tensors_and_statistics_are_those_in_memory(
    holey: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = np.arange(0, 150, 2)
    memory, disk = both(holey, monkeypatch, train=train)
    for name, m in memory.modalities.items():
        info = disk.modalities[name].info
        np.testing.assert_allclose(info.shift, m.info.shift, rtol=1e-13)
        np.testing.assert_allclose(info.scale, m.info.scale, rtol=1e-13)
        assert info.has_missing == m.info.has_missing
    everything = dataset_stream.load(disk, torch.arange(150))
    for name, m in memory.modalities.items():
        found = everything.modalities[name]
        torch.testing.assert_close(found.values, m.values, rtol=1e-6, atol=1e-6)
        assert torch.equal(found.mask, m.mask) and torch.equal(found.present, m.present)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e200])
def test_moments_of_one_pass_in_any_unit(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    data = lines(80)
    data["vector"] = data["vector"] * scale * np.linspace(1e-3, 1.0, 80)[:, None]
    data["vector"].attrs["units"] = "m"
    memory, disk = both(data, monkeypatch)
    a, b = memory.modalities["vector"].info, disk.modalities["vector"].info
    np.testing.assert_allclose(b.scale / a.scale, 1.0, rtol=1e-12)
    np.testing.assert_allclose((b.shift - a.shift) / a.scale, 0.0, atol=1e-12)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "index", [slice(3, 20), torch.tensor([5, 149, 5, 0]), np.arange(149, 0, -1), slice(None)]
)
def test_taking_samples(index: Any, holey: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    _, disk = both(holey, monkeypatch)
    everything = dataset_stream.load(disk, torch.arange(150))
    part, again = disk.take(index), disk.take(index)
    if is_streamed(part):  # a part of a part
        part, again = (dataset_stream.load(p, torch.arange(0, p.size, 3)) for p in (part, again))
        assert_same(part, everything.take(index).take(slice(None, None, 3)))
    else:
        assert_same(part, everything.take(index))
    assert_same(part, again)


@pytest.mark.usefixtures("small")
def test_too_much_at_once_is_refused(monkeypatch: pytest.MonkeyPatch, holey: xr.Dataset) -> None:
    _, disk = both(holey, monkeypatch)
    with pytest.raises(DataError, match="does not fit into memory as a whole"):
        _ = disk.modalities["line"].values


@pytest.mark.parametrize(("size", "batch", "window"), [(1000, 16, 100), (50, 16, 1000), (7, 4, 8)])
def test_every_sample_is_in_one_batch_of_every_epoch(size: int, batch: int, window: int) -> None:
    first = windowed_batches(size, batch, window, seed=0, epoch=0)
    joined = torch.cat([index for sets in first for index in sets])
    assert torch.equal(joined.sort().values, torch.arange(size))
    assert all(len(torch.cat(sets)) <= 1.6 * window + 8 for sets in first)
    again = windowed_batches(size, batch, window, seed=0, epoch=0)
    assert torch.equal(joined, torch.cat([index for sets in again for index in sets]))
    other = windowed_batches(size, batch, window, seed=0, epoch=1)
    assert not torch.equal(joined, torch.cat([index for sets in other for index in sets]))


def test_quality_of_the_shuffle() -> None:
    """Batches of a sorted file come from several places, and neighbours are parted."""
    size, batch, window = 20_000, 128, 2_000
    places, together = [], 0
    for epoch in range(5):
        windows = windowed_batches(size, batch, window, seed=0, epoch=epoch)
        sets = [index for group in windows for index in group]
        places += [len(torch.unique(index // (window // 8))) for index in sets]
        mates = torch.empty(size, dtype=torch.long)
        for number, index in enumerate(sets):
            mates[index] = number
        together += int((mates[1:] == mates[:-1]).sum())
    assert np.mean(places) > 8
    assert together / (5 * size) < 0.1  # 1/16 by chance within a window


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("skip", [0, 3, 11])
def test_feed_gives_the_samples_of_every_batch(
    skip: int, holey: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, disk = both(holey, monkeypatch)
    everything = dataset_stream.load(disk, torch.arange(150))
    windows = windowed_batches(150, 8, 40, seed=0, epoch=0)
    wanted = [index for sets in windows for index in sets][skip:]
    found = list(feed(disk, windows, skip))
    assert len(found) == len(wanted) > 3
    for index, (position, batch) in zip(wanted, found, strict=True):
        assert torch.equal(index, position)
        assert_same(batch, everything.take(index))
    whole = [batch for _, batch in in_turn(disk, 32)]
    assert sum(b.size for b in whole) == 150
    assert_same(whole[1], everything.take(slice(32, 64)))


@pytest.mark.usefixtures("small")
def test_what_is_wrong_is_found_on_disk_too(holey: xr.Dataset) -> None:
    bad = holey.copy(deep=True)
    bad["response"][140, 2] = np.inf
    with pytest.raises(InputError, match="infinite values"):
        prepare(bad, REQUESTS)
    counts = (Request("line", ("vector",), likelihood="poisson"),)
    with pytest.raises(InputError, match="does not suit likelihood 'poisson'"):
        prepare(holey, counts)
    bad["response"][:] = np.nan
    with pytest.raises(InputError, match="no observed value"):
        prepare(bad, REQUESTS)


@pytest.mark.usefixtures("small")
def test_checksum_tells_data_apart(holey: xr.Dataset) -> None:
    one = prepare(holey, REQUESTS).modalities["line"]
    assert isinstance(one, StreamedModality)
    other = holey.copy(deep=True)
    other["response"][149, 7] += 1e-9
    assert checksum(one) == checksum(prepare(holey, REQUESTS).modalities["line"])
    assert checksum(one) != checksum(prepare(other, REQUESTS).modalities["line"])


@pytest.fixture
def chunked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[xr.Dataset]:
    """A chunked Zarr store as a user opens it, a window smaller than its training part."""
    monkeypatch.setattr(dataset_stream, "AT_ONCE", 2048)
    monkeypatch.setattr(dataset_stream, "WINDOW_BYTES", 640 * 8 * 4)
    monkeypatch.setattr("pima_physics.dataset_slices.SLICE_NUMBERS", 2**16)
    monkeypatch.setattr("pima_physics.dataset_source.KEEP_BYTES", 0)
    store = tmp_path / "lines.zarr"
    lines(2700).chunk({"sample": 400}).to_zarr(store, consolidated=False)
    with xr.open_zarr(store, consolidated=False) as data:
        yield data


@pytest.mark.usefixtures("small")
def test_a_fit_of_data_on_disk(chunked: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pima_physics.stream.WINDOW_BYTES", 0)  # a thousand samples are known
    options: dict[str, Any] = {"epochs": 10, "seed": 0, "labels": LABELS}
    result = pima.fit(model(), chunked, **options)
    assert float(result.tree["metrics"]["r2_test_line"]) > 0.8
    posterior = result.tree["posterior"].to_dataset()
    assert posterior.sizes["sample"] == 2700
    labels = np.stack([chunked[name].values for name in LABELS.values()], 1)
    assert (posterior["node_outcome"].values == labels).mean(0).min() > 0.95
    assert result.tree["discovery"]["agreement"].values.min() > 0.9


@pytest.mark.usefixtures("small")
def test_a_law_of_data_on_disk_is_refused_at_once(chunked: xr.Dataset) -> None:
    with pytest.raises(DataError, match="the data of line do not fit into memory"):
        pima.fit(model("physics"), chunked, epochs=10, labels=LABELS)


@pytest.mark.usefixtures("small")
def test_netcdf_is_read_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pima_physics.dataset_source.KEEP_BYTES", 0)
    lines(150).to_netcdf(tmp_path / "lines.nc")
    with open_dataset(tmp_path / "lines.nc") as data:
        memory, disk = both(data, monkeypatch)
        assert_same(dataset_stream.load(disk, torch.arange(150)), memory)


def test_slices_end_where_chunks_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(100, 5))
    data = xr.Dataset({"x": (("sample", "place"), values, {"units": "1"})})
    data.chunk({"sample": 16}).to_zarr(tmp_path / "data.zarr", consolidated=False)
    monkeypatch.setattr("pima_physics.dataset_slices.SLICE_NUMBERS", 2 * 16 * 5)
    with open_dataset(tmp_path / "data.zarr") as opened:
        options: dict[str, Any] = {"info": None, "require_all": True, "warnings": []}
        source = find_source(opened, Request("x", ("x",)), sample_dim="sample", **options)
        assert source.chunk == 16
        parts = list(source.slices(10, 90))
        assert [(p.start, p.stop) for p, _ in parts] == [(10, 32), (32, 64), (64, 90)]
        np.testing.assert_array_equal(np.concatenate([x for _, x in parts]), values[10:90])
        # A chunk that is too large is read in parts all the same.
        monkeypatch.setattr("pima_physics.dataset_slices.LARGEST_SLICE", 79)
        monkeypatch.setattr("pima_physics.dataset_slices.SLICE_NUMBERS", 40)
        assert [p.stop for p, _ in source.slices()][:3] == [8, 16, 24]
        assert [(p.start, p.stop) for p, _ in source.slices(29, 40)] == [(29, 37), (37, 40)]


def test_windows_are_made_of_whole_chunks() -> None:
    size, window = 20_000, 2_000
    kept = torch.rand(26_000, generator=torch.Generator().manual_seed(0)) < 0.8
    chunk = kept.nonzero()[:size, 0] // 100
    starts = torch.cat([torch.zeros(1, dtype=torch.long), (chunk.diff() > 0).nonzero()[:, 0] + 1])
    orders = []
    for epoch in range(2):
        order = {"seed": 0, "epoch": epoch}
        windows = windowed_batches(size, 128, window, starts=starts, **order)
        joined = torch.cat([index for sets in windows for index in sets])
        assert torch.equal(joined.sort().values, torch.arange(size))
        seen = [chunk[torch.cat(sets)].unique() for sets in windows]
        assert sum(map(len, seen)) == len(chunk.unique())  # no chunk in two windows
        assert max(len(torch.cat(sets)) for sets in windows) < 1.5 * window
        orders.append(seen)
    assert not torch.equal(orders[0][0], orders[1][0])
    # Chunks as large as a window would leave one place to a batch: they are cut.
    large = torch.arange(0, size, 2_000)
    plain = windowed_batches(size, 128, window, seed=0, epoch=0)
    cut = windowed_batches(size, 128, window, seed=0, epoch=0, starts=large)
    assert all(map(torch.equal, plain[0], cut[0]))


@pytest.mark.usefixtures("small")
def test_samples_that_repeat_are_read_as_often(holey: xr.Dataset, monkeypatch) -> None:
    memory, disk = both(holey, monkeypatch)
    index = torch.tensor([3, 3, 5, 5, 5, 9, 120, 3])
    assert_same(disk.take(index), memory.take(index))
