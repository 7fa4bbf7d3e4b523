"""From xarray to tensors: standardisation, units, masks, labels, splits, real files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from pima_physics.dataset import (
    Data,
    ModalityInfo,
    Request,
    prepare,
    split,
)

N = 12


@pytest.fixture
def dataset(rng: np.random.Generator) -> xr.Dataset:
    """Curves with gaps, images, counts, two scalars and factors of 12 samples."""
    stress = rng.normal(200.0, 30.0, (N, 5))
    stress[3, 2:] = np.nan
    stress[7] = np.nan
    dim = ("sample", "strain")
    return xr.Dataset(
        {
            "stress": (dim, stress, {"units": "MPa"}),
            "image": (("sample", "y", "x"), rng.integers(0, 256, (N, 4, 3), dtype=np.uint8)),
            "hits": ("sample", rng.poisson(4.0, N).astype(float), {"units": "count"}),
            "width": ("sample", rng.normal(3.0, 1.0, N), {"units": "mm"}),
            "height": ("sample", rng.normal(5e3, 1.0, N), {"units": "um"}),
            "warmth": ("sample", rng.normal(20.0, 5.0, N), {"units": "degC"}),
            "level": ("sample", np.arange(N) % 3),
            "name": ("sample", np.array(["a", "b", ""] * 4)),
        },
        coords={
            "sample": [f"s{i}" for i in range(N)],
            "strain": ("strain", np.linspace(0.0, 0.2, 5), {"units": "dimensionless"}),
        },
    )


REQUESTS = [
    Request("curve", ("stress",)),
    Request("size", ("width", "height")),
    Request("warmth", ("warmth",)),
]


def same(a: Data, b: Data, tolerance: float = 1e-6) -> None:
    assert a.names == b.names
    for name in a.names:
        first, second = a.modalities[name], b.modalities[name]
        assert torch.equal(first.mask, second.mask)
        torch.testing.assert_close(first.values, second.values, rtol=0, atol=tolerance)


def test_arrays_share_one_shift_and_scale_scalars_have_their_own(dataset: xr.Dataset) -> None:
    data = prepare(dataset, REQUESTS)
    curve, size = data.modalities["curve"], data.modalities["size"]
    stress = dataset["stress"].values
    assert curve.info.shift == pytest.approx(np.nanmean(stress), rel=1e-12)
    assert curve.info.scale == pytest.approx(np.nanstd(stress), rel=1e-12)
    assert (curve.info.dims, curve.info.shape, curve.info.unit) == (("strain",), (5,), "MPa")
    assert size.info.shape == (2,)
    assert size.info.unit == "mm"
    assert size.info.shift[1] == pytest.approx(dataset["height"].values.mean() / 1000)
    torch.testing.assert_close(size.values.mean(0), torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(size.values.std(0, correction=0), torch.ones(2))
    assert data.modalities["warmth"].values.shape == (N, 1)
    assert data.warnings == ()


def test_gaps_are_masked_zeros(dataset: xr.Dataset) -> None:
    curve = prepare(dataset, REQUESTS).modalities["curve"]
    np.testing.assert_array_equal(curve.mask.numpy(), np.isfinite(dataset["stress"].values))
    assert (curve.values[~curve.mask] == 0).all()
    assert curve.present.tolist() == [i != 7 for i in range(N)]
    assert curve.info.has_missing
    whole = dataset.isel(sample=[i for i in range(N) if i != 3])
    assert not prepare(whole, REQUESTS).modalities["curve"].info.has_missing


def test_statistics_come_from_the_training_samples_only(dataset: xr.Dataset) -> None:
    train = np.array([0, 1, 2, 4, 5])
    changed = dataset.copy(deep=True)
    changed["stress"][8:] += 1e3
    a, b = (prepare(d, REQUESTS, train=train).modalities["curve"] for d in (dataset, changed))
    assert a.info.shift == b.info.shift
    assert a.info.scale == b.info.scale
    assert not torch.equal(a.values, b.values)
    by_tensor = prepare(dataset, REQUESTS, train=torch.from_numpy(train)).modalities["curve"]
    assert by_tensor.info.shift == a.info.shift


def test_the_dataset_is_not_modified(dataset: xr.Dataset) -> None:
    before = dataset.copy(deep=True)
    requests = [Request("curve", ("stress",), "ksi"), Request("size", ("width", "height"), "m")]
    prepare(dataset, requests, nodes={"n": 3}, labels={"n": "level"})
    xr.testing.assert_identical(before, dataset)


@pytest.mark.parametrize("size", [1e-30, 1e30, 1e200])
def test_extreme_scales_change_nothing(dataset: xr.Dataset, size: float) -> None:
    scaled = dataset.copy(deep=True)
    scaled["stress"] = (dataset["stress"] * size).assign_attrs(units="MPa")
    same(prepare(dataset, REQUESTS), prepare(scaled, REQUESTS))


def test_sample_dimension_anywhere_and_quantified_arrays(dataset: xr.Dataset) -> None:
    same(prepare(dataset, REQUESTS), prepare(dataset.transpose("strain", ...), REQUESTS))
    import pint_xarray  # noqa: F401

    same(prepare(dataset, REQUESTS), prepare(dataset.drop_vars("name").pint.quantify(), REQUESTS))


def test_slices_give_what_one_piece_gives(
    dataset: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare(dataset, REQUESTS)
    monkeypatch.setattr("pima_physics.dataset_slices.SLICE_NUMBERS", 10)
    monkeypatch.setattr("pima_physics.dataset_source.KEEP_BYTES", 0)
    pieces = prepare(dataset, REQUESTS)
    same(whole, pieces, 1e-7)
    scales = [d.modalities["curve"].info.scale for d in (whole, pieces)]
    assert scales[0] == pytest.approx(scales[1], rel=1e-12)


def test_constant_variables_and_assumed_units_are_warned_about(dataset: xr.Dataset) -> None:
    dataset["width"][:] = 0.1
    dataset["warmth"].attrs = {}
    requests = [*REQUESTS[:2], Request("warmth", ("warmth",), "degC"), Request("i", ("image",))]
    data = prepare(dataset, requests)
    text = "\n".join(data.warnings)
    assert "'width' is constant" in text
    assert "'warmth' has no unit in the data: taken to be degC" in text
    assert "'image' has no unit in the data: taken to be dimensionless" in text
    assert data.modalities["size"].info.scale[0] == 1.0
    assert data.modalities["size"].values[:, 0].abs().max() < 1e-6
    assert list(data.modalities["i"].info.coordinates) == ["y", "x"]


def test_a_forgotten_fill_value_is_warned_about(dataset: xr.Dataset) -> None:
    train = np.arange(6)
    dataset["warmth"][10] = -9999.0
    assert any("fill values" in w for w in prepare(dataset, REQUESTS, train=train).warnings)


def test_counts_and_fractions_stay_raw(dataset: xr.Dataset) -> None:
    requests = [Request("n", ("hits",), likelihood="poisson")]
    hits = prepare(dataset, requests).modalities["n"]
    np.testing.assert_array_equal(hits.values[:, 0], dataset["hits"])
    dataset["lit"] = dataset["image"] > 100
    lit = prepare(dataset, [Request("lit", ("lit",), likelihood="bernoulli")]).modalities["lit"]
    assert set(lit.values.unique().tolist()) == {0.0, 1.0}


def test_back_to_data_units(dataset: xr.Dataset) -> None:
    data = prepare(dataset, REQUESTS)
    curve, warmth = data.modalities["curve"], data.modalities["warmth"]
    labels = {"sample_dim": "sample", "sample_labels": data.sample_labels}
    values = curve.info.destandardise(curve.values).numpy()
    back = curve.info.as_dataarray(values, name="stress", **labels)
    observed = dataset["stress"].notnull()
    xr.testing.assert_allclose(
        back.where(observed), dataset["stress"], rtol=1e-5, check_dim_order=True
    )
    assert back.strain.attrs["units"] == "dimensionless"
    std = warmth.info.scale_std(torch.ones(N, 1))
    assert std[0].item() == pytest.approx(dataset["warmth"].values.std())
    assert warmth.info.as_dataarray(std.numpy(), std=True, **labels).attrs["units"] == "K"
    size = data.modalities["size"].info.as_dataarray(np.zeros((N, 2)), **labels)
    assert size.dims == ("sample", "channel_size")
    assert size.channel_size.values.tolist() == ["width", "height"]


def test_info_survives_json_exactly(dataset: xr.Dataset) -> None:
    for modality in prepare(dataset, [*REQUESTS, Request("i", ("image",))]).modalities.values():
        again = ModalityInfo.from_json(modality.info.to_json())
        assert again.to_json() == modality.info.to_json()
        assert np.array_equal(again.shift, modality.info.shift)
        assert again.shape == modality.info.shape


def test_labels_and_interventions(dataset: xr.Dataset) -> None:
    dataset["heat"] = ("sample", [293.15, 473.15, np.nan] * 4)
    dataset["target"] = ("sample", ["", "a", "b", "a, b"] * 3)
    dataset["position"] = ("sample", [-1, 0, 1, -1] * 3)
    dataset["flags"] = (("sample", "node"), np.tile([[0, 1], [1, 0]], (6, 1)))
    dataset = dataset.assign_coords(node=["b", "a"])
    nodes = {"a": 3, "b": 2}
    labels = {"a": "level", "b": "name"}
    data = prepare(dataset, REQUESTS, nodes=nodes, labels=labels, interventions="target")
    assert data.labels["a"].tolist() == [0, 1, 2] * 4
    assert data.labels["b"].tolist() == [0, 1, -1] * 4
    assert data.label_names["b"] == ("a", "b")
    assert data.intervened is not None
    assert data.intervened[:4].tolist() == [
        [False, False],
        [True, False],
        [False, True],
        [True] * 2,
    ]
    data = prepare(dataset, REQUESTS, nodes=nodes, labels={"b": "heat"}, interventions="position")
    assert data.labels["b"].tolist() == [0, 1, -1] * 4
    assert data.label_names["b"] == ("293.15", "473.15")
    assert data.intervened is not None
    assert data.intervened[:3].tolist() == [[False, False], [True, False], [False, True]]
    data = prepare(dataset, REQUESTS, nodes=nodes, interventions="flags")
    assert data.intervened is not None
    assert data.intervened[:2].tolist() == [[True, False], [False, True]]


def test_take(dataset: xr.Dataset) -> None:
    data = prepare(dataset, REQUESTS, nodes={"a": 3}, labels={"a": "level"})
    for index in (slice(2, 5), torch.tensor([2, 3, 4]), np.array([2, 3, 4])):
        part = data.take(index)
        assert part.size == 3
        assert part.sample_labels.tolist() == ["s2", "s3", "s4"]
        assert part.labels["a"].tolist() == [2, 0, 1]
        assert torch.equal(part.modalities["curve"].values, data.modalities["curve"].values[2:5])
    assert data.to("cpu").size == N


def test_own_grid_for_every_sample(dataset: xr.Dataset) -> None:
    grid = np.linspace(0, 100, N * 5).reshape(N, 5)
    grid[3, 2:] = np.nan
    grid[7] = np.nan
    dataset["moment"] = (("sample", "strain"), grid, {"units": "ms"})
    asked = Request("curve", ("stress",), coordinates={"strain": "moment"})
    for data in (
        prepare(dataset, [asked, *REQUESTS[1:]]),
        prepare(dataset.set_coords("moment"), REQUESTS),
    ):
        curve = data.modalities["curve"]
        assert curve.info.coordinates["moment"].own_grid
        assert curve.info.coordinates["moment"].unit == "ms"
        assert curve.grid is not None
        stored = curve.grid["moment"]
        assert torch.isfinite(stored).all()
        assert stored[3].tolist() == pytest.approx([*grid[3, :2], *[grid[3, 1]] * 3])
        taken = data.take(slice(0, 2)).modalities["curve"]
        assert taken.grid is not None and taken.grid["moment"].shape == (2, 5)
        assert ModalityInfo.from_json(curve.info.to_json()).coordinates["moment"].own_grid


def test_split_is_a_partition_that_a_seed_repeats() -> None:
    parts = split(57, seed=3)
    everything = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(everything.tolist()) == list(range(57))
    assert (len(parts.validation), len(parts.test)) == (6, 6)
    assert np.array_equal(split(57, seed=3).train, parts.train)
    assert not np.array_equal(split(57, seed=4).test, parts.test)
    assert len(split(8).test) == 1
    assert len(split(100, test=0.0).test) == 0
