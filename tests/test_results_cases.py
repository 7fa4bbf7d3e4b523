"""Results of data of other kinds, from untrained networks: shapes, units, warnings, bounds."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import pima_physics as pima
from pima_physics import datasets, results_fields, simulators
from pima_physics.dataset import Data, Split, prepare, split
from pima_physics.discovery import Discovery, Finding
from pima_physics.factorial import product_of
from pima_physics.results import FitResult, assemble, load
from pima_physics.results_checks import _ignored, _narrow
from pima_physics.results_parameters import share_at_bound, weighted_mean
from pima_physics.structure import fit_tables, graph_posterior

PLAIN = {"units": "dimensionless"}


class Drag(pima.ODE):
    """Fall with quadratic drag; known only here, not registered."""

    time, state = "s", {"v": "m/s"}
    m = pima.Parameter("kg", value=0.145, vary=False)
    g = pima.Constant(9.81, "m/s^2")
    c = pima.Parameter("kg/m", value=0.1, min=0)

    def initial(self, p: Any) -> dict[str, float]:
        return {"v": 0.0}

    def rhs(self, t: Any, y: Any, p: Any) -> dict[str, Any]:
        return {"v": p.g - p.c / p.m * y.v**2}


def discovery_of(dag: pima.DAG, samples: int, *, supported: bool = True) -> Discovery:
    """Random node posteriors in place of a discovery; equal ones where nothing was found."""
    rng = np.random.default_rng(0)
    plain: dict[str, Any] = {
        "representation": "latent", "separation": 3.0, "evidence": 0.4, "null": 0.1,
        "p_value": 0.05, "stability": 0.9, "supported": supported, "conditional": 0.3,
        "confirmed": True, "shared": 0.2,
    }  # fmt: skip
    findings = []
    for size in dag.outcomes:
        probability = rng.dirichlet(np.full(size, 0.1), samples)
        if not supported:
            probability = np.full_like(probability, 1.0 / size)
        given = plain | {"probability": probability}
        findings.append(Finding(**given))
    responsibility = product_of([f.probability for f in findings])
    counts = responsibility.sum(0).reshape(dag.outcomes)
    posterior = graph_posterior(counts, knowledge=dag.knowledge, generator=rng)
    tables = tuple(fit_tables(counts, posterior.dag, 1.0).tables)
    return Discovery(tuple(findings), responsibility, posterior, tables, ())


def untrained(
    model: pima.PIMA,
    data: xr.Dataset,
    *,
    sample_dim: str = "sample",
    test: float = 0.2,
    supported: bool = True,
    prepared: tuple[Data, Split] | None = None,
    **options: Any,
) -> FitResult:
    """Results as :func:`pima_physics.fit` assembles them, without its training."""
    parts = split(data.sizes[sample_dim], test=test)
    ready = prepare(
        data,
        [modality.request(name) for name, modality in model.modalities.items()],
        sample_dim=sample_dim,
        nodes=dict(zip(model.dag.nodes, model.dag.outcomes, strict=True)),
        train=parts.train,
        **options,
    )
    network = model.build({name: m.info for name, m in ready.modalities.items()})
    network.mixture.mean.normal_(generator=torch.Generator().manual_seed(0))
    epoch = SimpleNamespace(phase="free", epoch=1, epochs=1, terms={"elbo": 1.0, "prior": -2.0})
    return assemble(
        network,
        ready,
        parts,
        dataset=data,
        discovery=discovery_of(model.dag, len(parts.train), supported=supported),
        history=[epoch],
        settings={"seed": 0, "device": "cpu", "dtype": "float32"},
    )


def without_units(tree: xr.DataTree) -> list[str]:
    return [
        f"{node.path}/{name}"
        for node in tree.subtree
        for name, variable in node.to_dataset().variables.items()
        if variable.dtype.kind in "iufb" and not variable.attrs.get("units")
    ]


@pytest.fixture(scope="module")
def mixed_data() -> xr.Dataset:
    """Lines on own grids, two temperatures in two units, counts, a scalar; named samples."""
    rng, size = np.random.default_rng(0), 60
    grid = np.sort(rng.uniform(0, 1, (size, 9)), axis=1)
    line = 2 + 3 * grid + 0.1 * rng.normal(size=grid.shape)
    line[3] = np.nan
    return xr.Dataset(
        {
            "y": (("rod", "k"), line, PLAIN),
            "grid": (("rod", "k"), grid, PLAIN),
            "T": ("rod", 20 + rng.normal(size=size), {"units": "degC"}),
            "T2": ("rod", 300 + rng.normal(size=size), {"units": "K"}),
            "n": (("rod", "bin"), rng.poisson(3, (size, 5)).astype(float), PLAIN),
            "length": ("rod", rng.normal(size=size), {"units": "mm"}),
        },
        coords={"rod": [f"rod {i}" for i in range(size)]},
    )


@pytest.fixture(scope="module")
def mixed(mixed_data: xr.Dataset) -> FitResult:
    line = pima.Physics(simulators.Linear(), variable="y", coordinates={"k": "grid"})
    return untrained(
        pima.PIMA(
            {
                "line": line,
                "temperatures": pima.Neural(("T", "T2")),
                "counts": pima.Neural("n", likelihood="poisson"),
                "length": pima.Neural("length"),
            },
            pima.DAG(parent=2, child=3),
            latent_dim=2,
        ),
        mixed_data,
        sample_dim="rod",
    )


def test_modalities_of_every_kind_have_units_and_come_back(
    mixed: FitResult, mixed_data: xr.Dataset, tmp_path: Path
) -> None:
    mixed.save(tmp_path)
    again = load(tmp_path)
    found = again.predict(mixed_data, given=["length"], draws=4)
    drawn = again.intervene(child=2, samples=11)
    twin = again.counterfactual(mixed_data.isel(rod=slice(0, 6)), do={"parent": 0}, draws=4)
    for tree in (mixed.to_datatree(), found, xr.DataTree(drawn), twin):
        assert not without_units(tree)
        tree.to_netcdf(tmp_path / "tree.nc")
    assert found["reconstruction/counts/mean"].dims == ("rod", "bin")
    assert (found["reconstruction/counts/mean"] > 0).all()
    assert found["reconstruction/line"].to_dataset()["grid"].dims == ("rod", "k")
    assert drawn["T"].attrs["units"] == drawn["T2"].attrs["units"] == "degC"
    assert drawn["y"].dims == ("rod", "k")
    assert drawn["n"].values.min() >= 0


def test_offset_units_have_differences_without_offset(mixed: FitResult) -> None:
    group = mixed.to_datatree()["reconstruction/temperatures"].to_dataset()
    assert group["mean"].attrs["units"] == "degC"
    assert group["std"].attrs["units"] in ("K", "kelvin")
    found = mixed.effect("parent", "T2")
    assert found["mean"].attrs["units"] == "degC"
    assert found["difference"].attrs["units"] in ("K", "kelvin")
    assert float(found["mean"][0]) > 15
    assert abs(float(found["difference"][1])) < 5


def test_own_grids_are_fitted_sample_by_sample(mixed: FitResult) -> None:
    group = mixed.to_datatree()["parameters/line"].to_dataset()
    seen = group["refined"].values == 1
    assert seen.sum() == 59
    assert not seen[3]  # this sample has no line
    # Truth from untrained networks: the polish does not depend on their quality.
    assert np.abs(np.median(group["slope"].values[seen]) - 3.0) < 0.1
    assert np.abs(np.median(group["intercept"].values[seen]) - 2.0) < 0.05
    scores = (group["slope"].values - 3.0)[seen] / group["slope_std"].values[seen]
    assert 0.6 < scores.std() < 1.4


def test_missing_values_stay_missing(mixed: FitResult) -> None:
    observed = mixed.to_datatree()["reconstruction/line/observed"]
    assert observed.isnull().all("k").values.tolist().index(True) == 3
    assert int(observed.isnull().any("k").sum()) == 1
    count = mixed.to_datatree()["features/line/count"].values
    assert count.sum(1).tolist() == [59, 59]


@pytest.mark.parametrize("scope", ["sample", "component"])
def test_parameters_by_component_are_those_of_their_samples(scope: str) -> None:
    data, truth = datasets.lattices(samples=100, seed=1, separation=20.0, nuisance=0.0)
    law = pima.Physics(simulators.ElasticPlastic(), per=scope)
    dag = pima.DAG(process=2, lattice=2, strength=3)  # nothing has the third strength
    known = data.assign({node: truth.labels[node] for node in dag.nodes})
    result = untrained(
        pima.PIMA({"stress": law}, dag, latent_dim=1),
        known,
        labels={node: node for node in dag.nodes},
    )
    tree = result.to_datatree()
    group, split_of = tree["parameters/stress"].to_dataset(), tree["posterior/split"].values
    used = split_of != 2
    for name in ("yield_stress", "hardening_modulus"):
        values = truth.parameters[name].values
        found = group[f"{name}_by_component"].values.reshape(4, 3)
        error = group[f"{name}_by_component_std"].values.reshape(4, 3)
        assert np.isnan(found[:, 2]).all()
        assert np.isnan(error[:, 2]).all()
        for row in range(4):
            first = 2 * known["process"].values + known["lattice"].values == row
            for strength in (0, 1):
                own = first & (known["strength"].values == strength) & used
                mean = values[own].mean()
                # Few samples have rare joint outcomes: a robust error of two is a rough one.
                assert abs(found[row, strength] / mean - 1) < 0.05
                if own.sum() > 5:
                    assert abs(found[row, strength] - mean) < 4 * error[row, strength]
                    assert error[row, strength] < 0.05 * mean
        by_strength = group[f"{name}_by_outcome"].sel(node="strength").values
        own = known["strength"].values == 1
        assert abs(by_strength[1] / values[own].mean() - 1) < 0.03
        assert np.isnan(by_strength[2])
    assert np.isnan(group["yield_stress_by_outcome"].sel(node="process", outcome=2))
    if scope == "component":
        expected = group["yield_stress_by_component"].values
        codes = result.explanation()["component"].values
        np.testing.assert_allclose(group["yield_stress"], expected[codes], rtol=1e-3)


def test_parameters_by_component_are_means_where_samples_differ() -> None:
    data, truth = datasets.lattices(samples=400, seed=2, separation=4.0)
    dag = pima.DAG(process=2, lattice=2, strength=2)
    known = data.assign({node: truth.labels[node] for node in dag.nodes})
    result = untrained(
        pima.PIMA({"stress": pima.Physics(simulators.ElasticPlastic())}, dag, latent_dim=1),
        known,
        labels={node: node for node in dag.nodes},
    )
    group = result.to_datatree()["parameters/stress"].to_dataset()
    code = sum(4 // 2**i * known[n].values for i, n in enumerate(dag.nodes))
    for name in ("youngs_modulus", "yield_stress", "hardening_modulus"):
        values = truth.parameters[name].values
        for c in range(8):
            own = values[code == c]
            # Both are means of the same samples: only the curves' noise is between them.
            score = (group[f"{name}_by_component"].values[c] - own.mean()) / (
                group[f"{name}_by_component_std"].values[c]
            )
            assert abs(score) < 1.0
            assert group[f"{name}_by_component_std"].values[c] < own.std()


def test_a_differential_equation_with_a_fixed_parameter(tmp_path: Path) -> None:
    rng, time = np.random.default_rng(0), np.linspace(0, 2, 15)
    drag = np.exp(0.3 * rng.normal(size=(30, 1)) - 2)
    final = np.sqrt(0.145 * 9.81 / drag)
    speed = final * np.tanh(9.81 * time / final) + 0.05 * rng.normal(size=(30, 15))
    data = xr.Dataset(
        {"v": (("sample", "time"), 3.6 * speed, {"units": "km/hour"})},
        coords={"time": ("time", time, {"units": "s"})},
    )
    result = untrained(pima.PIMA({"fall": pima.Physics(Drag())}, pima.DAG(a=2), 1), data)
    group = result.to_datatree()["parameters/fall"].to_dataset()
    assert np.median(np.abs(group["c"].values / drag[:, 0] - 1)) < 0.05
    assert group["m"].ndim == 0
    assert float(group["m"]) == 0.145
    assert group["m"].attrs["vary"] == 0
    result.save(tmp_path)
    again = load(tmp_path, simulators={"fall": Drag()})
    assert "m (kg): 0.145, fixed" in str(again)


def warnings_of(result: FitResult) -> str:
    return "\n".join(json.loads(result.tree.attrs["warnings"]))


def test_warnings_name_what_is_wrong() -> None:
    data, _ = datasets.lattices(samples=60, seed=1)
    bounds = {"yield_stress": {"bounds": [1, 210], "value": 100, "units": "MPa"}}
    law = pima.Physics(simulators.ElasticPlastic(), parameters=bounds, discrepancy=True)
    model = pima.PIMA({"curve": law, "image": pima.Neural("image")}, pima.DAG(a=2, b=3), 2)
    result = untrained(model, data, supported=False)
    text = warnings_of(result)
    assert "does not support a, b" in text
    assert "yield_stress sits within 1 % of a bound" in text
    assert "hardly explains 'image'" in text
    assert "hardly any sample has outcome" in text
    assert "latent ax" in text
    # The discrepancy network starts at zero.
    assert float(result.tree["metrics/discrepancy_share_curve"]) == 0.0
    assert "discrepancy network" not in text


def test_a_fit_without_test_samples_says_nothing_about_them(mixed_data: xr.Dataset) -> None:
    model = pima.PIMA({"length": pima.Neural("length")}, pima.DAG(a=2, b=2), 1)
    result = untrained(model, mixed_data, sample_dim="rod", test=0.0)
    assert "crossmodal" not in result.tree.children
    assert not [n for n in result.tree["metrics"].data_vars if "_test_" in str(n)]
    assert "n/a" in str(result)


def test_large_data_keep_test_reconstructions_only(
    mixed_data: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_fields, "MOST_NUMBERS", 4)
    monkeypatch.setattr(results_fields, "WORKING", 5000)  # several blocks
    modalities = {"counts": pima.Neural("n"), "length": pima.Neural("length")}
    result = untrained(
        pima.PIMA(modalities, pima.DAG(a=2), 1), mixed_data, sample_dim="rod", test=0.2
    )
    tree = result.to_datatree()
    group = tree["reconstruction/counts"].to_dataset()
    test = tree["posterior"].to_dataset().isel(sample=tree["posterior/split"].values == 2)
    np.testing.assert_array_equal(group["sample"], test["sample"])
    assert "test samples only" in group.attrs["samples"]
    assert tree["reconstruction/length"].sizes["sample"] == 60
    observed = mixed_data["n"].sel(rod=group["sample"].values).values
    np.testing.assert_allclose(group["observed"], observed, atol=1e-5)


def test_checksums_follow_the_data(mixed_data: xr.Dataset, tmp_path: Path) -> None:
    model = pima.PIMA({"length": pima.Neural("length")}, pima.DAG(a=2), 1)
    first = untrained(model, mixed_data, sample_dim="rod")
    other = untrained(model, mixed_data.assign(T=mixed_data["T"] + 1), sample_dim="rod")
    changed = mixed_data.assign(length=mixed_data["length"] + 1)
    changed["length"].attrs = mixed_data["length"].attrs
    third = untrained(model, changed, sample_dim="rod")
    sums = [r.tree.attrs["data_checksum"] for r in (first, other, third)]
    assert sums[0] == sums[1] != sums[2]  # T is not used
    mixed_data.to_netcdf(tmp_path / "data.nc")
    with pima.open_dataset(tmp_path / "data.nc") as data:
        fourth = untrained(model, data, sample_dim="rod").tree.attrs
    assert fourth["data_checksum"].startswith("sha256:")
    assert fourth["data_file"].endswith("data.nc")


def test_weighted_means_have_the_errors_of_means() -> None:
    rng = np.random.default_rng(0)
    values = 1e6 + rng.normal(size=(400, 2))  # far from zero: no cancellation
    weight = np.stack([np.ones(400), np.r_[np.ones(1), np.zeros(399)], np.zeros(400)], axis=1)
    mean, error = weighted_mean(values, weight)
    np.testing.assert_allclose(mean[0], values.mean(0))
    np.testing.assert_allclose(error[0], values.std(0, ddof=1) / 20, rtol=1e-6)
    np.testing.assert_allclose(mean[1], values[0])
    assert np.isnan(error[1]).all()
    assert np.isnan(mean[2]).all()


def test_bounds_are_near_on_the_parameters_own_scale() -> None:
    log = pima.Parameter("MPa", value=100.0, min=1.0, max=1e4)
    values = np.array([1.05, 50.0, 90.0, 9900.0])
    assert share_at_bound(log, values) == 0.5  # 50 MPa is no bound, though 1 % of the range is 100
    open_end = pima.Parameter("MPa", value=100.0, min=0.0)
    assert share_at_bound(open_end, np.array([0.5, 50.0])) == 0.5
    assert share_at_bound(pima.Parameter("MPa"), values) == 0.0


@pytest.mark.parametrize("epochs", [5, 150])
def test_samples_learned_by_heart_are_told(epochs: int) -> None:
    plain = {"units": "dimensionless"}
    noise = np.random.default_rng(0).normal(size=(60, 20))
    data = xr.Dataset(
        {"x": (("sample", "k"), noise, plain)}, coords={"k": ("k", np.arange(20.0), plain)}
    )
    model = pima.PIMA({"x": pima.Neural("x")}, pima.DAG(a=2), latent_dim=8)
    told = "far below" in warnings_of(pima.fit(model, data, epochs=epochs, seed=0))
    assert told == (epochs == 150)


@pytest.mark.parametrize(
    ("inside", "samples", "told"),
    [(0.80, 200, True), (0.80, 20, False), (0.87, 2000, False), (np.nan, 200, False)],
)
def test_intervals_that_hold_too_few_new_values_are_told(
    inside: float, samples: int, told: bool
) -> None:
    network: Any = SimpleNamespace(names=("x",))
    metrics = xr.Dataset({"samples_test": float(samples), "coverage_90_x": inside})
    assert len(list(_narrow(network, metrics))) == told


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (0.99, -4.7, "R2 0.99) and not of test samples (R2 -4.70"),
        (0.02, 0.01, "hardly explains 'image' (R2 0.01"),
        (0.9, 0.8, ""),
        (0.9, np.nan, ""),
    ],
)
def test_what_does_not_carry_over_is_not_called_ignored(
    train: float, test: float, words: str
) -> None:
    network: Any = SimpleNamespace(names=("image",))
    metrics = xr.Dataset({"r2_train_image": train, "r2_test_image": test})
    found = list(_ignored(network, metrics))
    assert len(found) == bool(words)
    assert all(words in text for text in found)
