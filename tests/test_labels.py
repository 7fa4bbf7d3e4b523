"""Known outcomes of some or all samples: kept where given, predicted where not, by name.

Results are read by the names of the nodes: an experiment file may list them in any order (a YAML
dump sorts them), and a comparison by position then scores two different features.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from support.training import LABELS, lines, model
from typer.testing import CliRunner

import pima_physics as pima
from pima_physics.cli import app

ONE = {"units": "dimensionless"}


def outcome(tree: xr.DataTree, node: str) -> np.ndarray:
    return tree["posterior/node_outcome"].sel(node=node).values


def unlabelled(result: pima.FitResult, data: xr.Dataset, node: str) -> float:
    """Share of right outcomes of samples of which only the measurements are shown."""
    bare = data.drop_vars(list(LABELS.values()))
    found = outcome(result.predict(bare, given=["line", "vector"]), node)
    return float((found == data[LABELS[node]].values).mean())


@pytest.mark.parametrize(("kind", "share"), [("neural", 0.1), ("physics", 0.5), ("physics", 1.0)])
def test_labels_of_one_node_are_kept_and_carry_over(kind: str, share: float) -> None:
    data, new = lines(200), lines(300, seed=9)
    rng = np.random.default_rng(1)
    told = rng.random(200) < share
    known = np.where(told, data["height_known"].values, -1)
    given = data.assign(some=("sample", known, ONE))
    result = pima.fit(model(kind), given, epochs=15, labels={"height": "some"})
    found = outcome(result.tree, "height")
    np.testing.assert_array_equal(found[told], known[told])
    chance = result.tree["posterior/node_probability"].sel(node="height").values
    assert chance[told, known[told]].min() > 1.0 - 1e-6
    # No matching of outcomes: the labels say which is which.
    assert (found == data["height_known"].values).mean() > 0.95
    assert unlabelled(result, new, "height") > 0.95
    discovery = result.tree["discovery"].to_dataset()
    by_node = dict(zip(discovery["node"].values, discovery["representation"].values, strict=True))
    assert by_node["height"] == "labels" and by_node["slope"] != "labels"


def test_wrong_labels_are_kept_and_do_not_carry_over() -> None:
    """The control: labels without relation to the data are conditions, not predictions."""
    data, new = lines(200), lines(300, seed=9)
    noise = np.random.default_rng(2).integers(0, 2, 200)
    given = data.assign(some=("sample", noise, ONE))
    result = pima.fit(model(), given, epochs=10, labels={"height": "some"})
    np.testing.assert_array_equal(outcome(result.tree, "height"), noise)
    assert unlabelled(result, new, "height") < 0.7


def test_the_order_of_nodes_in_the_file_changes_no_label(tmp_path: Path) -> None:
    nodes = ("height", "slope")  # of the model in the other tests: slope, height
    data = lines(200)
    data.to_netcdf(tmp_path / "lines.nc")
    mapping = {
        "data": "lines.nc",
        "modalities": {
            "line": {"variable": "response", "decoder": {"physics": "linear"}},
            "vector": {"decoder": {"neural": "mlp"}},
        },
        "latent": {"dim": 2},
        "nodes": dict.fromkeys(nodes, 2),
        "labels": LABELS,
        "training": {"epochs": 10, "batch_size": 16, "seed": 5},
    }
    file, run = tmp_path / "lines.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(mapping, sort_keys=False), encoding="utf-8")
    done = CliRunner().invoke(app, ["fit", str(file), "--output", str(run)])
    assert done.exit_code == 0, done.output
    result = pima.load(run)
    assert tuple(result.tree["posterior"]["node"].values) == nodes
    for node, variable in LABELS.items():
        np.testing.assert_array_equal(outcome(result.tree, node), data[variable].values)
        assert unlabelled(result, lines(200, seed=9), node) > 0.95
