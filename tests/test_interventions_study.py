"""The study of exact graphs: its scores, and a small version."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pima_physics.dag import DAG
from pima_physics.datasets import circles
from pima_physics.validation.cases.interventions.__main__ import report, successes
from pima_physics.validation.cases.interventions.study import HELPS, known, scores, study
from pima_physics.validation.cases.study import Run, read_runs

NODES = ["hue", "radius", "shift"]


def tree(outcome: np.ndarray, nodes: list[str], graph: np.ndarray) -> xr.DataTree:
    """What the scores read of a result."""
    pair = ("parent", "child")
    coords = {"parent": nodes, "child": nodes}
    group = {"cpdag": (pair, graph), "cpdag_exact": (pair, graph)}
    group["edge_probability"] = (pair, graph * 0.9)
    return xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(
                {"node_outcome": (("sample", "node"), outcome)}, coords={"node": nodes}
            ),
            "graph": xr.Dataset(group, coords=coords),
        }
    )


def test_the_scores_see_names_directions_and_outcomes() -> None:
    _, truth = circles(300, seed=0, graph="chain", image_size=8, points=4)
    labels = np.stack([truth.labels[n].values for n in NODES], axis=1)
    graph = truth.graph.sel(parent=NODES, child=NODES).values
    for order in ([0, 1, 2], [2, 0, 1]):  # a file may list the nodes in any order
        names = [NODES[k] for k in order]
        own = tree(labels[:, order], names, graph[np.ix_(order, order)])
        found = scores(own, truth, by_name=True)
        assert found["worst"] == found["exact_trained"] == 1.0 and found["probability"] == 0.9
    # Outcomes by other names, and an edge the other way: only matching forgives the first.
    turned = graph + graph.T
    other = tree(1 - labels, NODES, turned)
    assert scores(other, truth, by_name=True)["worst"] == 0.0
    found = scores(other, truth, by_name=False)
    assert found["worst"] == 1.0 and found["exact_score"] == 0.0 and found["shd_trained"] == 2.0
    # Features under each other's names: matched by their samples, the graph with them.
    swap = [1, 0, 2]
    found = scores(tree(labels[:, swap], NODES, graph[np.ix_(swap, swap)]), truth, by_name=False)
    assert found["worst"] == found["exact_score"] == 1.0
    right = Run("c", HELPS[0], 0, found | {"known": 1.0}, 1.0)
    wrong = Run("c", HELPS[0], 1, found | {"known": 1.0, "exact_trained": 0.0}, 1.0)
    failed = Run("c", HELPS[0], 2, {}, 1.0, "TrainingError: not finite")
    assert f"| c | {HELPS[0]} | 3 | 1 | 2 | 2 | 2 |" in successes([right, wrong, failed])


def test_known_labels_with_interventions_show_the_graph_and_without_do_not() -> None:
    for share in (0.2, 0.0):
        data, truth = circles(
            3000, seed=1, graph="chain", intervened=share, image_size=8, points=4
        )  # fmt: skip
        assert known(DAG(hue=2, radius=2, shift=2), data, truth) == float(share > 0)


@pytest.mark.study
def test_small_version_runs_and_counts(tmp_path: Path) -> None:
    options = Namespace(
        small=True, seeds=2, first_seed=0, fresh=False, only="%", output=tmp_path, cases=None,
        samples=0, epochs=0, remark="",
    )  # fmt: skip
    text = report(options)
    runs = read_runs(tmp_path / "runs.jsonl")
    assert len(runs) == 4 and not any(run.error for run in runs)
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == text
    assert all(run.scores["known"] == 1.0 for run in runs)
    assert {key[1] for key in study(600, 10).methods} == set(HELPS)
