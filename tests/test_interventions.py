"""Interventional samples and partial labels, through Python and the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml
from support.training import model
from typer.testing import CliRunner

import pima_physics as pima
from pima_physics import datasets
from pima_physics.bayesnet import BayesNet, do, sample
from pima_physics.cli import app
from pima_physics.config import Experiment
from pima_physics.datasets import circles, lattices
from pima_physics.training import prepare_fit

ONE = {"units": "dimensionless"}
CAUSE = np.array([[0, 1], [0, 0]])


def caused(samples: int = 500, *, share: float = 0.4, seed: int = 0) -> tuple[xr.Dataset, Any]:
    """Lines whose slope causes their height; some samples have one of them set."""
    rng = np.random.default_rng(seed)
    copy = np.array([[0.85, 0.15], [0.15, 0.85]])
    net = BayesNet(("slope", "height"), (2, 2), CAUSE, (np.array([[0.5], [0.5]]), copy))
    drawn, target = sample(net, samples, rng), np.full(samples, -1)
    for k in np.flatnonzero(rng.random(samples) < share):
        target[k] = rng.integers(2)
        action = {net.nodes[target[k]]: int(rng.integers(2))}
        drawn[k] = sample(do(net, action), 1, rng)[0]
    x = np.linspace(0.0, 1.0, 8)
    curve = np.outer(1.0 + 2.0 * drawn[:, 0] + 0.1 * rng.normal(size=samples), x)
    curve += 2.0 * drawn[:, 1:] + 0.05 * rng.normal(size=curve.shape)
    vector = np.stack([drawn[:, 0], drawn[:, 1], drawn.prod(1)], 1)
    value = np.where(target >= 0, drawn[np.arange(samples), target], -1)
    data = xr.Dataset(
        {
            "response": (("sample", "stimulus"), curve, ONE),
            "vector": (
                ("sample", "channel"), vector + 0.2 * rng.normal(size=vector.shape), {"units": "m"},
            ),
            "target": ("sample", target, ONE),
            "value": ("sample", value, ONE),
        },
        coords={"stimulus": ("stimulus", x, ONE)},
    )  # fmt: skip
    return data, drawn


def right(result: pima.FitResult, drawn: np.ndarray) -> None:
    """Nodes and outcomes by name, without any matching, and the direction of the edge."""
    outcome = result.tree["posterior/node_outcome"].values
    assert ((outcome == drawn).mean(0) > 0.95).all()
    graph = result.tree["graph"].to_dataset()
    np.testing.assert_array_equal(graph["cpdag_exact"], CAUSE)
    assert float(graph["edge_probability"][0, 1]) > 0.9
    np.testing.assert_array_equal(result.bayes_net.dag, CAUSE)


def test_values_that_were_set_name_the_nodes_and_orient_the_edge() -> None:
    data, drawn = caused()
    result = pima.fit(model(), data, epochs=15, interventions="target", intervention_values="value")
    right(result, drawn)
    # Without the targets, observation leaves the direction open.
    labels = {"slope": "slope_known", "height": "height_known"}
    some = np.arange(500) % 5 == 0
    known = {
        name: ("sample", np.where(some, drawn[:, i], -1), ONE)
        for i, name in enumerate(labels.values())
    }
    plain = pima.fit(model(), data.assign(known), epochs=15, labels=labels)
    np.testing.assert_array_equal(plain.tree["graph/cpdag_exact"], CAUSE + CAUSE.T)
    both = pima.fit(model(), data.assign(known), epochs=15, labels=labels, interventions="target")
    right(both, drawn)


def test_the_same_through_the_command_line(tmp_path: Path) -> None:
    data, drawn = caused()
    data.to_netcdf(tmp_path / "data.nc")
    decoder = {"neural": "mlp", "network": {"hidden": [12]}}
    experiment = {
        "data": "data.nc",
        "modalities": {
            "line": {"variable": "response", "decoder": decoder},
            "vector": {"decoder": dict(decoder)},
        },
        "latent": {"dim": 2},
        "nodes": {"slope": 2, "height": 2},
        "interventions": {"target": "target", "value": "value"},
        "training": {"epochs": 15},
    }
    file, run = tmp_path / "experiment.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    done = CliRunner().invoke(app, ["fit", str(file), "--output", str(run)])
    assert done.exit_code == 0, done.output
    right(pima.load(run), drawn)
    text = CliRunner().invoke(app, ["effect", str(run), "slope", "response"])
    assert text.exit_code == 0 and "slope = 1" in text.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"intervention_values": "value"}, "without their targets"),
        ({"interventions": "target", "intervention_values": "valu"}, "did you mean 'value'"),
        ({"interventions": "both", "intervention_values": "value"}, "several targets"),
    ],
)
def test_wrong_values_are_refused(options: dict[str, str], words: str) -> None:
    data, _ = caused(60)
    data["both"] = (("sample", "node"), np.ones((60, 2), dtype=int), ONE)
    with pytest.raises(pima.InputError, match=words):
        prepare_fit(model(), data, **options)


@pytest.mark.parametrize("nodes", [("slope", "height"), ("height", "slope")])
def test_numbers_with_meanings_name_nodes_in_any_order(nodes: tuple[str, str]) -> None:
    data, _ = caused(60)
    data["target"].attrs |= {"flag_values": [-1, 0, 1], "flag_meanings": "none slope height"}
    made = replace(model(), dag=pima.DAG(**dict.fromkeys(nodes, 2)))
    found = prepare_fit(made, data, interventions="target").data.intervened
    assert found is not None
    for column, node in enumerate(nodes):
        expected = data["target"].values == ("slope", "height").index(node)
        np.testing.assert_array_equal(found[:, column], expected)
    # Names of something else say nothing: numbers are positions then.
    data["target"].attrs["flag_meanings"] = "none left right"
    found = prepare_fit(made, data, interventions="target").data.intervened
    assert found is not None
    np.testing.assert_array_equal(found[:, 0], data["target"].values == 0)


def test_data_of_the_mutilated_graph() -> None:
    for make, node, other in ((circles, "radius", "hue"), (lattices, "strength", "process")):
        options = {"samples": 400, "seed": 1, "image_size": 8, "points": 4}
        _, free = make(**options)
        _, cut = make(do={node: 1}, **options)
        assert (cut.labels[node] == 1).all()
        assert not (free.labels[node] == 1).all()
        # What is not below the node is drawn as before.
        xr.testing.assert_identical(cut.labels[other], free.labels[other])
        # The parent no longer tells: under do it keeps its own frequency, given it does not.
        given = float(free.labels[other].values[free.labels[node].values == 1].mean())
        assert abs(float(cut.labels[other].mean()) - 0.5) < 0.08 < abs(given - 0.5)
    for wrong in ({"radius": 2}, {"radios": 1}):
        with pytest.raises(pima.InputError, match="do"):
            datasets.circles(samples=8, do=wrong)


@pytest.mark.study
@pytest.mark.parametrize("graph", ["fork", "lattices"])
def test_one_sample_in_five_set_from_outside_orients_every_edge(graph: str) -> None:
    options: dict[str, Any] = {"samples": 3000, "seed": 0, "intervened": 0.2}
    name = "lattices" if graph == "lattices" else "circles"
    data, truth = lattices(**options) if graph == "lattices" else circles(graph=graph, **options)
    result = pima.fit(
        Experiment.from_mapping(datasets.experiment(name)).to_model(),
        data,
        epochs=20,
        interventions="intervened_on",
        intervention_values="intervened_value",
    )
    graph_group = result.tree["graph"].to_dataset()
    for found in ("cpdag_exact", "adjacency"):
        np.testing.assert_array_equal(graph_group[found], truth.graph)
    outcome = result.tree["posterior/node_outcome"].values
    known = np.stack([truth.labels[n].values for n in result.bayes_net.nodes], axis=1)
    assert ((outcome == known).mean(0) > 0.95).all()
