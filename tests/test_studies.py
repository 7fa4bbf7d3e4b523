"""Acceptance on real and generated data, one seed each; `make studies` and CI run them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pima_physics as pima
from pima_physics.config import Experiment
from pima_physics.cpdags import cpdag
from pima_physics.datasets import experiment, lattices
from pima_physics.training import prepare_fit
from pima_physics.validation.metrics import match_nodes
from pima_physics.validation.supervised import supervised_regression

pytestmark = pytest.mark.study
TENSION = Path(__file__).parents[1] / "validation/cases/al6061_tension/experiment.yaml"


def test_real_tension_tests_in_two_systems_of_units(shared_data: Path) -> None:
    from sklearn.metrics import adjusted_rand_score

    data = xr.load_dataset(shared_data / "al6061_tension.nc")
    other = data.copy(deep=True)
    stress, trace = data["stress"].astype(float), data["gauge_temperature"].astype(float)
    other["stress"] = (stress / 6.894757293168361).assign_attrs(units="ksi")
    other["gauge_temperature"] = (trace * 1.8 - 459.67).assign_attrs(units="degF")
    setup = Experiment.load(TENSION, data=shared_data / "al6061_tension.nc")
    model, options = setup.to_model(), {"seed": 0, "epochs": 200, "learning_rate": 1e-3}
    first, second = (pima.fit(model, d, **options).tree for d in (data, other))
    level = data["temperature_level"].values
    outcome = first["posterior/node_outcome"].values[:, 0]
    assert adjusted_rand_score(level, outcome) >= 0.95
    assert float(first["metrics/r2_test_curve"]) >= 0.98
    strength = first["parameters/curve/yield_stress_by_outcome"]
    assert strength.attrs["units"] == "MPa"
    order = [np.bincount(outcome[level == k]).argmax() for k in range(4)]
    assert (np.diff(strength.values[0][order]) < 0).all()
    np.testing.assert_array_equal(second["posterior/node_outcome"].values[:, 0], outcome)
    for name in ("youngs_modulus", "yield_stress"):
        here, there = (t[f"parameters/curve/{name}_by_component"] for t in (first, second))
        np.testing.assert_allclose(there.values, here.values, rtol=1e-3)


def test_lattices_nodes_graph_and_prediction_across_modalities() -> None:
    data, truth = lattices(samples=3000, seed=0)
    model = Experiment.from_mapping(experiment("lattices")).to_model()
    tree = pima.fit(model, data, seed=0, epochs=200).tree
    factors = [str(n) for n in truth.graph["parent"].values]
    nodes = [str(n) for n in tree["posterior"].to_dataset()["node"].values]
    known = np.stack([truth.labels[n].values for n in factors], axis=1)
    match = match_nodes(known, tree["posterior/node_outcome"].values, factors=factors, nodes=nodes)
    assert match.accuracy.min() >= 0.95
    places = [nodes.index(n) for n in match.nodes]
    np.testing.assert_array_equal(
        tree["graph/cpdag"].values[np.ix_(places, places)], cpdag(truth.graph.values)
    )
    prepared = prepare_fit(model, data, seed=0)
    yardstick = supervised_regression(
        prepared.data, prepared.parts, "image", "curve", latent_dim=model.latent_dim, epochs=60
    )
    assert float(tree["metrics/r2_test_curve_given_image"]) >= yardstick.r2 - 0.05
