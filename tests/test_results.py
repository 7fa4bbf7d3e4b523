"""Results of a fit: contract of the tree, files, predictions, causal queries, words."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

import pima_physics as pima
from pima_physics import bayesnet, datasets, simulators
from pima_physics.results import FitResult, load
from pima_physics.results_evidence import informed
from pima_physics.results_predict import prepare_new

# torch's forward mode scripts its own decompositions and warns about that.

NODES = ("process", "lattice", "strength")


@dataclass(frozen=True)
class Fitted:
    data: xr.Dataset
    truth: Any
    result: FitResult
    folder: Path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """A small real fit, and its run folder."""
    # With 240 the factors are found in one fit of five, with 400 in all of five (seeds 0 to 4).
    data, truth = datasets.lattices(samples=400, seed=0)
    before = data.copy(deep=True)
    bounds = {"youngs_modulus": {"bounds": [2, 200], "value": 30, "units": "GPa"}}
    model = pima.PIMA(
        {
            "image": pima.Neural("image"),
            "curve": pima.Physics(simulators.ElasticPlastic(), parameters=bounds),
        },
        pima.DAG(process=2, lattice=2, strength=2),
        latent_dim=4,
    )
    result = pima.fit(model, data, epochs=50, seed=0)
    xr.testing.assert_identical(data, before)
    folder = tmp_path_factory.mktemp("run")
    result.save(folder)
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask()
    return Fitted(data, truth, result, folder)


def umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def numeric_without_units(tree: xr.DataTree) -> list[str]:
    return [
        f"{node.path}/{name}"
        for node in tree.subtree
        for name, variable in node.to_dataset().variables.items()
        if variable.dtype.kind in "iufb" and not variable.attrs.get("units")
    ]


CONTRACT = {
    "posterior": {
        "z_mean": ("sample", "latent"),
        "z_std": ("sample", "latent"),
        "responsibility": ("sample", "component"),
        "node_outcome": ("sample", "node"),
        "node_probability": ("sample", "node", "outcome"),
        "elbo": ("sample",),
        "split": ("sample",),
    },
    "graph": {
        **dict.fromkeys(
            ("adjacency", "edge_strength", "edge_probability", "cpdag", "cpdag_exact"),
            ("parent", "child"),
        ),
        "log_bayes_factor": (),
        **{f"table_{node}": None for node in NODES},
    },
    "components": {
        "outcome": ("component", "node"),
        "weight": ("component",),
        "mean": ("component", "latent"),
        "std": ("component", "latent"),
    },
    "parameters/curve": {
        "yield_stress": ("sample",),
        "yield_stress_std": ("sample",),
        "yield_stress_by_component": ("component",),
        "yield_stress_by_component_std": ("component",),
        "yield_stress_by_outcome": ("node", "outcome"),
        "yield_stress_by_outcome_std": ("node", "outcome"),
    },
    "reconstruction/curve": dict.fromkeys(
        ("mean", "std", "lower", "upper", "observed"), ("sample", "strain")
    ),
    "reconstruction/image": dict.fromkeys(
        ("mean", "std", "lower", "upper", "observed"), ("sample", "y", "x")
    ),
    "features/image": {"mean": ("node", "outcome", "y", "x"), "count": ("node", "outcome")},
    "crossmodal/curve": {"mean": ("sample", "strain"), "observed": ("sample", "strain")},
    "discovery": dict.fromkeys(
        ("representation", "separation", "evidence", "p_value", "stability", "supported"),
        ("node",),
    ),
    "metrics": dict.fromkeys(
        (
            "r2_train_image",
            "r2_test_curve",
            "r2_test_curve_given_image",
            "r2_test_image_given_curve",
            "coverage_90_curve",
            "elbo_validation",
        ),
        (),
    ),
    "history": dict.fromkeys(
        ("elbo", "prior", "entropy", "validation_elbo", "reconstruction_image", "phase"),
        ("epoch",),
    ),
}


@pytest.mark.parametrize("group", CONTRACT)
def test_every_group_holds_what_the_contract_names(fitted: Fitted, group: str) -> None:
    found = fitted.result.to_datatree()[group].to_dataset()
    for name, dims in CONTRACT[group].items():
        assert name in found, f"/{group}/{name}"
        assert dims is None or found[name].dims == dims


def test_the_result_says_what_was_found_and_what_it_changes(fitted: Fitted) -> None:
    found = fitted.result.discovery
    tree = fitted.result.to_datatree()
    assert set(tree["discovery"].data_vars) < set(found.data_vars)
    explained = found["variance_explained"]
    assert explained.dims == ("node", "modality")
    assert set(explained["modality"].values) == set(tree["features"].children)
    assert ((explained >= 0) & (explained <= 1)).all() and explained.max() > 0.2
    assert "variance_explained" not in fitted.result.to_datatree()["discovery"]


def test_every_number_has_units_also_in_the_file(fitted: Fitted) -> None:
    assert not numeric_without_units(fitted.result.to_datatree())
    with xr.open_datatree(fitted.folder / "results.nc") as tree:
        assert not numeric_without_units(tree)
        assert tree["reconstruction/curve/mean"].attrs["units"] == "MPa"


def test_root_attributes_say_where_the_fit_comes_from(fitted: Fitted) -> None:
    attributes = fitted.result.to_datatree().attrs
    wanted = {
        "title", "package_version", "created", "seed", "data_file", "data_checksum", "device",
        "wall_time_seconds", "dtype", "torch_version", "warnings",
    }  # fmt: skip
    assert wanted <= set(attributes)
    assert attributes["seed"] == 0
    assert isinstance(json.loads(attributes["warnings"]), list)


def test_posterior_is_consistent_and_knows_its_parts(fitted: Fitted) -> None:
    posterior = fitted.result.to_datatree()["posterior"].to_dataset()
    np.testing.assert_allclose(posterior["responsibility"].sum("component"), 1.0, atol=1e-5)
    np.testing.assert_allclose(posterior["node_probability"].sum("outcome"), 1.0, atol=1e-5)
    best = posterior["node_probability"].argmax("outcome")
    np.testing.assert_array_equal(best, posterior["node_outcome"])
    assert np.bincount(posterior["split"]).tolist() == [320, 40, 40]
    assert posterior["split"].attrs["flag_meanings"] == "train validation test"


def test_graph_is_acyclic_and_tables_are_normalised(fitted: Fitted) -> None:
    graph = fitted.result.to_datatree()["graph"].to_dataset()
    bayesnet.topological_order(graph["adjacency"].values)  # raises for a cycle
    for node in NODES:
        table = graph[f"table_{node}"]
        assert table.dims[-1] == node
        np.testing.assert_allclose(table.sum(node), 1.0)
    assert ((graph["edge_probability"] >= 0) & (graph["edge_probability"] <= 1)).all()
    undirected = graph["cpdag"].values | graph["cpdag"].values.T
    skeleton = graph["adjacency"].values | graph["adjacency"].values.T
    np.testing.assert_array_equal(undirected, skeleton)


def test_parameters_come_in_the_users_units_with_right_errors(fitted: Fitted) -> None:
    group = fitted.result.to_datatree()["parameters/curve"].to_dataset()
    for name in ("youngs_modulus", "yield_stress", "hardening_modulus"):
        known = fitted.truth.parameters[name]
        assert group[name].attrs["units"] == known.attrs["units"]
        error = group[name].values - known.values
        assert np.median(np.abs(error / known.values)) < 0.02
        # Standard errors are right on average: z-scores have unit spread.
        assert 0.8 < (error / group[f"{name}_std"].values).std() < 1.25
    modulus = group["youngs_modulus"]
    assert modulus.attrs["units"] == "GPa"
    assert modulus.attrs["vary"] == 1
    np.testing.assert_allclose(modulus.attrs["parameter_bounds"], [2, 200])
    assert group["refined"].values.mean() > 0.95


def test_parameters_by_outcome_are_weighted_means(fitted: Fitted) -> None:
    tree = fitted.result.to_datatree()
    group = tree["parameters/curve"].to_dataset()
    weight = tree["posterior/node_probability"].sel(node="strength").values
    values = group["yield_stress"].values[:, None]
    mean = (weight * values).sum(0) / weight.sum(0)
    found = group["yield_stress_by_outcome"].sel(node="strength")
    np.testing.assert_allclose(found, mean, rtol=1e-5)
    error = group["yield_stress_by_outcome_std"].sel(node="strength").values
    spread = np.sqrt((weight * (values - mean) ** 2).sum(0)) / weight.sum(0)
    np.testing.assert_allclose(error, spread, rtol=0.15)


def test_features_are_means_of_the_observed_data(fitted: Fitted) -> None:
    tree = fitted.result.to_datatree()
    outcome = tree["posterior/node_outcome"].sel(node="lattice").values
    chosen = fitted.data["stress"].values[outcome == 1]
    found = tree["features/curve"].to_dataset().sel(node="lattice", outcome=1)
    np.testing.assert_allclose(found["mean"], chosen.mean(0), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found["std"], chosen.std(0), rtol=1e-3, atol=1e-3)
    assert int(found["count"]) == len(chosen)


def test_r2_is_that_of_the_stored_reconstruction(fitted: Fitted) -> None:
    tree = fitted.result.to_datatree()
    test = tree["posterior/split"].values == 2
    group = tree["reconstruction/curve"].to_dataset()
    observed, mean = (group[n].values[test].astype(float) for n in ("observed", "mean"))
    residual = ((observed - mean) ** 2).sum()
    r2 = 1 - residual / ((observed - observed.mean(0)) ** 2).sum()
    np.testing.assert_allclose(tree["metrics/r2_test_curve"], r2, rtol=1e-4)
    np.testing.assert_allclose(observed, fitted.data["stress"].values[test], atol=1e-3)


# Files ------------------------------------------------------------------------------------


def test_a_saved_fit_comes_back_and_predicts_the_same_bits(fitted: Fitted) -> None:
    again = load(fitted.folder)
    for node in fitted.result.tree.subtree:
        xr.testing.assert_equal(node.to_dataset(), again.tree[node.path].to_dataset())
    new = fitted.data.isel(sample=slice(0, 7))
    first, second = (r.predict(new, given=["image"], draws=8) for r in (fitted.result, again))
    for name in ("image", "curve"):
        path = f"reconstruction/{name}"
        xr.testing.assert_identical(first[path].to_dataset(), second[path].to_dataset())
    drawn = [r.intervene(process=1, samples=9) for r in (fitted.result, again)]
    xr.testing.assert_identical(*drawn)
    rows = (fitted.folder / "history.csv").read_text().splitlines()
    assert rows[0].startswith("epoch,phase,")
    assert len(rows) == 1 + fitted.result.tree["history"].sizes["epoch"]


def test_a_failing_writer_leaves_the_old_files(
    fitted: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted.result.save(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fail(self: xr.DataTree, path: Path, **options: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("the disk went away")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fail)
    changed = replace(fitted.result, tree=fitted.result.to_datatree())
    with pytest.raises(OSError, match="went away"):
        changed.save(tmp_path)
    # Checksums go first, so that a half-written folder is never taken for a damaged one.
    assert {p.name for p in tmp_path.iterdir()} == before.keys() - {"SHA256SUMS"}
    assert (tmp_path / "results.nc").read_bytes() == before["results.nc"]


@pytest.fixture
def run(fitted: Fitted, tmp_path: Path) -> Path:
    """A copy of the run folder that a test may damage."""
    return Path(shutil.copytree(fitted.folder, tmp_path / "run"))


def rewrite_header(path: Path, **changes: str) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, framework="pt") as file:
        header = {**(file.metadata() or {}), **changes}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata=header)


def test_a_folder_without_a_run_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(pima.InputError, match="no finished run"):
        load(tmp_path / "nothing")
    (run / "model.safetensors").unlink()
    with pytest.raises(pima.InputError, match=r"no model\.safetensors"):
        load(run)


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", None])
@pytest.mark.parametrize("name", ["model.safetensors", "results.nc"])
def test_damaged_files_are_refused(run: Path, name: str, content: bytes | None) -> None:
    whole = (run / name).read_bytes()
    (run / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(pima.InputError, match="damaged or changed since the fit: " + name):
        load(run)
    (run / "SHA256SUMS").unlink()
    with pytest.raises(pima.InputError, match=re.escape(name) + " cannot be read"):
        load(run)


def test_a_newer_format_and_a_foreign_file_are_refused(run: Path) -> None:
    (run / "SHA256SUMS").unlink()
    rewrite_header(run / "model.safetensors", format_version="2")
    with pytest.raises(pima.InputError, match="newer version"):
        load(run)
    rewrite_header(run / "model.safetensors", format="something else")
    with pytest.raises(pima.InputError, match="not written by pima_physics"):
        load(run)


def test_a_simulator_that_cannot_be_found_can_be_given(run: Path) -> None:
    (run / "SHA256SUMS").unlink()
    path = run / "model.safetensors"
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        description = json.loads(file.metadata()["description"])
    description["modalities"]["curve"]["simulator"] = "laws_beside_the_experiment:Metal"
    rewrite_header(path, description=json.dumps(description))
    with pytest.raises(pima.InputError, match=re.escape("simulators={'curve'")):
        load(run)
    again = load(run, simulators={"curve": simulators.ElasticPlastic()})
    law = again.network.decoders[1].law.simulator
    assert law.parameters["youngs_modulus"].bounds == pytest.approx((2e3, 2e5))


# Prediction -------------------------------------------------------------------------------


def test_prediction_without_the_target_uses_its_units(fitted: Fitted) -> None:
    new = fitted.data[["image"]].isel(sample=slice(0, 6))
    found = fitted.result.predict(new, given=["image"], draws=16)
    curve = found["reconstruction/curve"].to_dataset()
    assert curve["mean"].dims == ("sample", "strain")
    assert curve["mean"].attrs["units"] == "MPa"
    assert "observed" not in curve
    assert (curve["lower"] <= curve["upper"]).all()
    assert (curve["std"] > 0).all()
    assert found.attrs["given"] == "image"
    assert not numeric_without_units(found)


def test_prediction_does_not_look_at_what_is_not_given(fitted: Fitted) -> None:
    new = fitted.data.isel(sample=slice(0, 6))
    wrong = new.assign(stress=3.0 * new["stress"] + 50.0)
    wrong["stress"].attrs["units"] = "second"  # cannot even be converted
    first = fitted.result.predict(new, given="image", draws=8)
    second = fitted.result.predict(wrong, given="image", draws=8)
    for name in ("image", "curve"):
        a, b = (t[f"reconstruction/{name}/mean"] for t in (first, second))
        np.testing.assert_array_equal(a, b)


def test_prediction_from_other_units_is_the_same(fitted: Fitted) -> None:
    new = fitted.data[["stress"]].isel(sample=slice(0, 6))
    other = new.assign(stress=new["stress"] / 1000.0)
    other["stress"].attrs["units"] = "GPa"
    first, second = (fitted.result.predict(d, given="curve", draws=8) for d in (new, other))
    np.testing.assert_allclose(
        first["reconstruction/image/mean"], second["reconstruction/image/mean"], atol=1e-4
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["imge"], "did you mean 'image'"),
        ([], "given is empty"),
        (["curve"], "no variable 'stress'"),
    ],
)
def test_wrong_predictions_are_refused(fitted: Fitted, given: list[str], message: str) -> None:
    with pytest.raises(pima.InputError, match=message):
        fitted.result.predict(fitted.data[["image"]], given=given)


# Queries ----------------------------------------------------------------------------------


def frequencies_match(drawn: xr.Dataset, joint: np.ndarray) -> None:
    """Every marginal within 4 standard errors (24 comparisons at most)."""
    outcome = drawn["node_outcome"].values
    for axis, size in enumerate(joint.shape):
        others = tuple(a for a in range(joint.ndim) if a != axis)
        expected = joint.sum(others)
        found = np.bincount(outcome[:, axis], minlength=size) / len(outcome)
        error = np.sqrt(np.clip(expected * (1 - expected), 0.0, None) / len(outcome))
        assert (np.abs(found - expected) <= 4 * error + 1e-12).all()


def test_interventions_follow_the_mutilated_tables(fitted: Fitted) -> None:
    net = fitted.result.bayes_net
    drawn = fitted.result.intervene(process=1, samples=4000, seed=1)
    assert (drawn["node_outcome"].sel(node="process") == 1).all()
    frequencies_match(drawn, bayesnet.joint(bayesnet.do(net, {"process": 1})))
    frequencies_match(fitted.result.sample(4000, seed=2), bayesnet.joint(net))
    mixed = fitted.result.intervene({"process": [0.25, 0.75]}, samples=4000)
    frequencies_match(mixed, bayesnet.joint(bayesnet.do(net, {"process": np.array([0.25, 0.75])})))


def test_interventional_samples_look_like_the_data(fitted: Fitted) -> None:
    drawn = fitted.result.intervene(process=1, lattice=0, samples=20)
    assert drawn["image"].dims == ("sample", "y", "x")
    assert drawn["stress"].attrs["units"] == "MPa"
    np.testing.assert_array_equal(drawn["strain"], fitted.data["strain"])
    assert drawn["youngs_modulus"].attrs["units"] == "GPa"
    assert not [n for n, v in drawn.variables.items() if v.dtype.kind in "iuf" and not v.attrs]


def test_samples_kept_apart_have_the_discovered_features_too(fitted: Fitted) -> None:
    # Even if the networks said nothing: the discriminant of the training samples does.
    network, result = fitted.result.network, fitted.result
    split = result.to_datatree()["posterior/split"].values
    train = np.flatnonzero(split == 0)
    apart = np.flatnonzero(split)
    nothing = np.full((400, 8), 1.0 / 8)
    outcome = result.to_datatree()["posterior/node_outcome"].values
    probability = [0.98 * np.eye(2)[outcome[train, j]] + 0.01 for j in range(3)]
    product = np.einsum("sa,sb,sc->sabc", *probability).reshape(-1, 8)
    findings = tuple(SimpleNamespace(probability=p) for p in probability)
    discovery: Any = SimpleNamespace(findings=findings, responsibility=product)
    data = prepare_new(network, fitted.data, "sample")
    parts: Any = SimpleNamespace(train=train)
    found = informed(network, data, parts, discovery, nothing)
    np.testing.assert_allclose(found[train], product, atol=5e-3)  # but for the least probability
    said = found[apart].reshape(-1, 2, 2, 2)
    for j, label in enumerate(fitted.truth.labels.data_vars):
        node = NODES.index(node_like(fitted, str(label)))
        axes = tuple(a for a in (1, 2, 3) if a != node + 1)
        same = (said.sum(axes).argmax(1) == fitted.truth.labels[label].values[apart]).mean()
        assert max(same, 1.0 - same) > 0.9, (j, same)  # of 80 samples


def test_effects_are_the_tables_times_the_components(fitted: Fitted) -> None:
    net, tree = fitted.result.bayes_net, fitted.result.to_datatree()
    node = node_like(fitted, "strength")
    found = fitted.result.effect(node, "yield_stress")
    values = tree["parameters/curve/yield_stress_by_component"].values
    weights = [bayesnet.joint(bayesnet.do(net, {node: k})).ravel() for k in (0, 1)]
    assert np.isfinite(values).all()  # every component has samples
    means = [(weight * values).sum() for weight in weights]
    np.testing.assert_allclose(found["mean"], means)
    np.testing.assert_allclose(found["difference"], [0.0, means[1] - means[0]])
    assert found["difference"].attrs["units"] == "MPa"
    assert float(found["difference_std"][1]) > 0
    other = fitted.result.effect(node, "curve.yield_stress", reference=1)
    np.testing.assert_allclose(other["difference"][0], means[0] - means[1])
    # The factor that made the data moves the yield stress by 100 MPa.
    assert abs(abs(float(found["difference"][1])) - 100.0) < 10.0


def test_effects_on_observables_agree_with_interventional_samples(fitted: Fitted) -> None:
    found = fitted.result.effect("strength", "stress")
    assert found["difference"].dims == ("outcome", "strain")
    for outcome in (0, 1):
        drawn = fitted.result.intervene(strength=outcome, samples=3000, seed=outcome)["stress"]
        error = np.hypot(drawn.std("sample") / np.sqrt(3000), found["mean_std"][outcome])
        assert (np.abs(drawn.mean("sample") - found["mean"][outcome]) < 4.5 * error + 1e-6).all()


@pytest.fixture
def handmade(fitted: Fitted) -> FitResult:
    """The fit with a graph and tables made by hand: process -> strength, lattice alone."""
    dag = np.zeros((3, 3), dtype=int)
    dag[0, 2] = 1
    tables = (
        np.array([0.3, 0.7]).reshape(2, 1, 1),
        np.array([0.5, 0.5]).reshape(1, 2, 1),
        np.array([[0.9, 0.1], [0.2, 0.8]]).reshape(2, 1, 2),
    )
    net = bayesnet.BayesNet(NODES, (2, 2, 2), dag, tables)
    return replace(fitted.result, bayes_net=net)


def test_counterfactuals_change_what_is_set_and_its_descendants(
    fitted: Fitted, handmade: FitResult
) -> None:
    new = fitted.data.isel(sample=slice(0, 30))
    found = handmade.counterfactual(new, do={"process": 1}, draws=4)
    assert not numeric_without_units(found)
    posterior = found["posterior"].to_dataset()
    before, after = posterior["factual_node_probability"], posterior["node_probability"]
    np.testing.assert_allclose(after.sel(node="process", outcome=1), 1.0)
    np.testing.assert_allclose(after.sel(node="lattice"), before.sel(node="lattice"), atol=1e-9)
    factual = handmade.predict(new, given=["image", "curve"], draws=2)
    for k in range(5):
        weight = factual["posterior/responsibility"].values[k].reshape(2, 2, 2)
        exact = bayesnet.counterfactual(handmade.bayes_net, weight, {"process": 1})
        strength = after.sel(node="strength").values[k]
        np.testing.assert_allclose(strength, exact.sum((0, 1)), atol=1e-9)


def node_like(fitted: Fitted, label: str) -> str:
    """The discovered node that is most like a true one: without labels, names mean nothing."""
    true = fitted.truth.labels[label].values[:, None]
    same = (fitted.result.to_datatree()["posterior/node_outcome"].values == true).mean(0)
    return NODES[int(np.maximum(same, 1.0 - same).argmax())]


def test_counterfactuals_of_what_happened_anyway_are_what_was_seen(fitted: Fitted) -> None:
    strength = node_like(fitted, "strength")
    even = np.full((2, 1, 1), 0.5)
    tables = tuple(np.moveaxis(even, 0, j) for j in range(3))
    alone = bayesnet.BayesNet(NODES, (2, 2, 2), np.zeros((3, 3), dtype=int), tables)
    handmade = replace(fitted.result, bayes_net=alone)
    new = fitted.data.isel(sample=slice(0, 60))
    found = handmade.counterfactual(new, do={strength: 1}, draws=64)  # it has no children
    factual = found["posterior/factual_node_probability"].sel(node=strength, outcome=1)
    same = (factual > 0.99).values
    assert 5 < same.sum() < 55
    kept = handmade.predict(new, given=["image", "curve"], draws=64)["reconstruction/curve"]
    gap = np.abs(found["reconstruction/curve/mean"] - kept["mean"]).mean("strain").values
    assert gap[same].max() < 0.5 * np.median(gap[(factual < 0.01).values])
    moved = found["parameters/curve/yield_stress"].values
    values = fitted.truth.parameters["yield_stress"].values[:60]
    unlike = (factual < 0.01).values
    # Samples of the other outcome take its yield stress; the factor moves it by 100 MPa.
    assert 50 < np.abs(np.median(moved[unlike] - values[unlike])) < 150


def test_explanation_is_the_most_probable_joint_outcome(fitted: Fitted) -> None:
    found = fitted.result.explanation()
    weight = fitted.result.to_datatree()["posterior/responsibility"].values
    joint = np.stack(np.unravel_index(weight.argmax(1), (2, 2, 2)), axis=1)
    np.testing.assert_array_equal(found["outcome"], joint)
    np.testing.assert_allclose(found["probability"], weight.max(1))
    new = fitted.result.explanation(fitted.data.isel(sample=slice(0, 5)))
    assert new["outcome"].shape == (5, 3)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (lambda r: r.intervene(proces=1), "did you mean 'process'"),
        (lambda r: r.intervene(process=2), "no outcome 2"),
        (lambda r: r.intervene(process=0.5), "no outcome 0.5"),
        (lambda r: r.intervene(process="high", lattice=9), "2 problems"),
        (lambda r: r.intervene({"process": [0.5, 0.2, 0.3]}), "do not fit"),
        (lambda r: r.intervene(), "no node is set"),
        (lambda r: r.intervene(process=1, samples=0), "at least 1"),
        (lambda r: r.effect("process", "yeld_stress"), "did you mean 'yield_stress'"),
        (lambda r: r.effect("process", "stress", reference=5), "no outcome 5"),
        (lambda r: r.counterfactual(None, do={"x": 1}), "Unknown node"),
    ],
)
def test_wrong_questions_are_refused(fitted: Fitted, question: Any, message: str) -> None:
    with pytest.raises(pima.InputError, match=message):
        question(fitted.result)


# Words ------------------------------------------------------------------------------------


def test_print_shows_bound_features_edges_and_parameters(fitted: Fitted) -> None:
    text = str(fitted.result)
    for wanted in (
        "ELBO", "process", "nats/sample", "Markov", "youngs_modulus (GPa)", "yield_stress (MPa)",
        "by strength 0:", "±", "from image alone",
    ):  # fmt: skip
        assert wanted in text
    assert "nan" not in text.lower()
    assert "image" in repr(fitted.result)


def test_html_is_escaped(fitted: Fitted) -> None:
    tree = fitted.result.to_datatree()
    tree.attrs["title"] = "<script>alert(1)</script>"
    shown = replace(fitted.result, tree=tree)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


def test_the_report_is_written(fitted: Fitted, tmp_path: Path) -> None:
    path = fitted.result.report(tmp_path / "report.html")
    page = path.read_text(encoding="utf-8")
    assert "yield stress" in page
    assert "yield stress by outcome by outcome" not in page
    assert "yield_stress_by_outcome" in fitted.result.to_datatree()["parameters/curve"]


def test_summary_and_report_give_the_same_parameters(fitted: Fitted, tmp_path: Path) -> None:
    line = next(x for x in str(fitted.result).splitlines() if "yield_stress (" in x)
    told = re.findall(r"\d+: (\S+ ± \S+?)(?:,|$)", line)
    page = fitted.result.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(told) >= 2
    for one in told:
        assert one in page.replace("\u00a0", " ")
