"""What must not matter: order of modalities and samples, units, names of outcomes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from support.training import LABELS, lines, model

import pima_physics as pima
from pima_physics.config import Experiment
from pima_physics.dataset import Split
from pima_physics.datasets import experiment, lattices
from pima_physics.training import prepare_fit
from pima_physics.training_starts import Prepared
from pima_physics.validation.metrics import match_nodes

OPTIONS = {"epochs": 20, "seed": 1, "labels": LABELS}
# Share of samples whose outcome may differ: rounding moves a few that lie between two outcomes.
DIFFERENT = 0.02


def half_known(samples: int = 300) -> xr.Dataset:
    """Every second sample has known outcomes; the others are inferred."""
    data = lines(samples)
    hidden = np.arange(samples) % 2 == 0
    return data.assign(
        {
            name: data[name].astype(float).where(xr.DataArray(~hidden, dims="sample"))
            for name in LABELS.values()
        }
    )


def fit(given: pima.PIMA, data: xr.Dataset, **options) -> xr.DataTree:
    return pima.fit(given, data, **OPTIONS, **options).tree


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return half_known()


@pytest.fixture(scope="module")
def tree(data: xr.Dataset) -> xr.DataTree:
    return fit(model("physics"), data)


def same_features(one: xr.DataTree, other: xr.DataTree, *, flipped: bool = False) -> None:
    """Equal outcomes of all but a few samples, and the same statement about the graph."""
    first, second = (t["posterior/node_outcome"].values for t in (one, other))
    assert ((first != (1 - second if flipped else second)).mean(0) <= DIFFERENT).all()
    np.testing.assert_array_equal(one["graph/cpdag_exact"], other["graph/cpdag_exact"])
    gap = one["graph/edge_probability"].values - other["graph/edge_probability"].values
    assert np.abs(gap).max() < 0.1


def same_slopes(one: xr.DataTree, other: xr.DataTree, factor: float = 1.0) -> None:
    """Physical parameters by outcome agree within the difference of two training runs."""
    first, second = (t["parameters/line/slope_by_outcome"].values for t in (one, other))
    spread = one["parameters/line/slope_by_outcome_std"].values
    assert np.abs(first[0] - second[0] / factor).max() < 3 * np.nanmax(spread) + 0.02


def test_the_fit_is_right_to_begin_with(data: xr.Dataset, tree: xr.DataTree) -> None:
    known = lines(300)
    for node, name in LABELS.items():
        found = tree["posterior"].to_dataset()["node_outcome"].sel(node=node)
        assert (found.values == known[name].values).mean() > 0.97
    np.testing.assert_allclose(
        tree["parameters/line/slope_by_outcome"].values[0], [1.0, 3.0], atol=0.15
    )


def test_the_order_of_the_modalities(data: xr.Dataset, tree: xr.DataTree) -> None:
    given = model("physics")
    turned = replace(given, modalities=dict(reversed(given.modalities.items())))
    assert list(turned.modalities) == ["vector", "line"]
    other = fit(turned, data)
    same_features(tree, other)
    same_slopes(tree, other)


def permuted(prepared: Prepared, order: np.ndarray) -> Prepared:
    """The same samples in the same parts, in another order."""
    place = np.argsort(order)
    parts = prepared.parts
    moved = (np.sort(place[p]) for p in (parts.train, parts.validation, parts.test))

    return Prepared(prepared.data.take(torch.as_tensor(order)), Split(*moved), prepared.infos)


def test_the_order_of_the_samples(data: xr.Dataset, tree: xr.DataTree) -> None:
    order = np.random.default_rng(0).permutation(data.sizes["sample"])
    given = model("physics")
    prepared = permuted(prepare_fit(given, data, seed=1, labels=LABELS), order)
    other = fit(given, data.isel(sample=order), prepared=prepared)
    back = other["posterior"].to_dataset().isel(sample=np.argsort(order))
    first = tree["posterior"].to_dataset()
    np.testing.assert_array_equal(back["split"], first["split"])
    assert (
        (back["node_outcome"].values != first["node_outcome"].values).mean(0) <= DIFFERENT
    ).all()
    np.testing.assert_array_equal(tree["graph/cpdag_exact"], other["graph/cpdag_exact"])
    same_slopes(tree, other)


def test_other_units(data: xr.Dataset, tree: xr.DataTree) -> None:
    vector = (1000.0 * data["vector"]).assign_attrs(units="mm")
    percent = (100.0 * data["response"]).assign_attrs(units="percent")
    other = fit(model("physics"), data.assign(vector=vector, response=percent))
    same_features(tree, other)
    assert other["reconstruction/vector/mean"].attrs["units"] == "mm"
    # Standardised data are the same up to rounding, and so is the training.
    np.testing.assert_allclose(
        other["reconstruction/vector/mean"], 1000.0 * tree["reconstruction/vector/mean"], atol=5.0
    )
    same_slopes(tree, other)


def test_other_names_of_outcomes(data: xr.Dataset, tree: xr.DataTree) -> None:
    turned = data.assign({name: 1.0 - data[name] for name in LABELS.values()})
    other = fit(model("physics"), turned)
    same_features(tree, other, flipped=True)
    slopes = other["parameters/line/slope_by_outcome"].values[0][::-1]
    np.testing.assert_allclose(slopes, tree["parameters/line/slope_by_outcome"].values[0], atol=0.1)


@pytest.mark.study
def test_discovery_does_not_depend_on_order_or_units() -> None:
    """Without labels, on lattices: nodes are matched, as their names are arbitrary."""
    data, _ = lattices(samples=800, seed=0)
    given = Experiment.from_mapping(experiment("lattices")).to_model()
    options = {"seed": 0, "epochs": 30}
    first = pima.fit(given, data, **options).tree
    order = np.random.default_rng(0).permutation(800)
    stress = (data["stress"].astype(float) / 6.894757293168361).assign_attrs(units="ksi")
    turned = replace(given, modalities=dict(reversed(given.modalities.items())))
    others = {
        "modalities": pima.fit(turned, data, **options).tree,
        "samples": pima.fit(
            given,
            data.isel(sample=order),
            prepared=permuted(prepare_fit(given, data, seed=0), order),
            **options,
        ).tree,
        "units": pima.fit(given, data.assign(stress=stress), **options).tree,
    }
    known = first["posterior/node_outcome"].values
    for name, other in others.items():
        outcome = other["posterior/node_outcome"].values
        outcome = outcome[np.argsort(order)] if name == "samples" else outcome
        match = match_nodes(known, outcome, factors=given.dag.nodes, nodes=given.dag.nodes)
        assert match.worst >= 0.95, name
        places = [given.dag.nodes.index(n) for n in match.nodes]
        np.testing.assert_array_equal(
            first["graph/cpdag_exact"].values,
            other["graph/cpdag_exact"].values[np.ix_(places, places)],
            err_msg=name,
        )
