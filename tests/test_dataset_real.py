"""Real files in other units and orders give the same tensors; a truth survives its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from pima_physics.dataset import Data, Request, open_dataset, prepare, split
from pima_physics.truth import Truth
from pima_physics.units import convert


def same(a: Data, b: Data) -> None:
    assert a.names == b.names
    for name in a.names:
        first, second = a.modalities[name], b.modalities[name]
        assert torch.equal(first.mask, second.mask)
        torch.testing.assert_close(first.values, second.values, rtol=0, atol=1e-6)


def tension_requests(stress: str | None = None) -> list[Request]:
    return [
        Request("curve", ("stress",), stress),
        Request("trace", ("gauge_temperature",)),
        Request("strains", ("strain_at_ultimate", "last_strain")),
    ]


def test_real_tension_tests_are_the_same_in_other_units(shared_data: Path) -> None:
    with open_dataset(shared_data / "al6061_tension.nc") as original:
        other = original.load().copy(deep=True)
        for name, unit in (("stress", "ksi"), ("gauge_temperature", "degF")):
            values = convert(original[name].values.astype(float), original[name].units, unit)
            other[name] = original[name].copy(data=values).assign_attrs(units=unit)
        train = split(57).train
        data = prepare(original, tension_requests(), train=train)
        same(data, prepare(other, tension_requests(), train=train))
        same(data, prepare(other[list(other)[::-1]], tension_requests("GPa"), train=train))
    trace = data.modalities["trace"]
    assert int((~trace.present).sum()) == 26
    assert int((~data.modalities["curve"].mask).sum()) == 891


def test_real_ising_images_and_light_tunnel(shared_data: Path) -> None:
    with open_dataset(shared_data / "ising_images.nc") as ising:
        requests = [Request("spin", ("spin",)), Request("t", ("temperature",))]
        data = prepare(ising, requests, nodes={"phase": 2}, labels={"phase": "above_curie"})
    assert data.modalities["spin"].values.shape == (5000, 16, 16)
    assert data.modalities["spin"].values.std().item() == pytest.approx(1.0, abs=1e-4)
    assert data.labels["phase"].unique().tolist() == [0, 1]
    with open_dataset(shared_data / "lighttunnel_spur.nc") as tunnel:
        requests = [Request("colour", ("red", "green", "blue")), Request("s", ("ir_3", "vis_3"))]
        data = prepare(tunnel, requests, nodes={"polariser": 8}, labels={"polariser": "pol_2"})
    assert data.modalities["s"].values.shape == (85_000, 2)
    torch.testing.assert_close(
        data.modalities["s"].values.std(0, correction=0), torch.ones(2), rtol=1e-4, atol=0
    )
    assert data.label_names["polariser"] == ("0", "10", "15", "20", "30", "50", "60", "80")


def test_truth_survives_netcdf(tmp_path: Path) -> None:
    nodes = {"parent": ["a", "b"], "child": ["a", "b"]}
    graph = xr.DataArray(np.array([[0, 1], [0, 0]]), dims=("parent", "child"), coords=nodes)
    dataset = xr.Dataset(
        {
            "level": ("sample", [0, 1, 1]),
            "warmth": ("sample", [20.0, 21.0, 22.0], {"units": "degC"}),
            "width": ("sample", [1.0, 2.0, 3.0], {"units": "mm"}),
            "stress": (("sample", "strain"), np.ones((3, 2)), {"units": "MPa"}),
        },
        coords={"sample": ["a", "b", "c"], "strain": ("strain", [0.0, 0.1], {"units": "1"})},
    )
    truth = Truth(dataset[["level"]], graph, dataset[["warmth"]], dataset[["width", "stress"]])
    truth.to_dataset().to_netcdf(tmp_path / "truth.nc")
    with open_dataset(tmp_path / "truth.nc") as stored:
        again = Truth.from_dataset(stored.load())
    xr.testing.assert_equal(again.labels, truth.labels)
    xr.testing.assert_equal(again.graph, truth.graph)
    xr.testing.assert_identical(again.nuisance["width"], truth.nuisance["width"])
    assert list(again.parameters) == ["warmth"]
