"""The study of the parts of the recipe: ways that differ as they say, and what is counted."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from pima_physics import schedule_discovery
from pima_physics.dag import DAG
from pima_physics.datasets import circles
from pima_physics.discovery import discover
from pima_physics.representations import Representation
from pima_physics.validation.cases.ablation import study as ablation
from pima_physics.validation.cases.ablation.__main__ import report
from pima_physics.validation.cases.ablation.ways import (
    axis_for_each_node,
    mixture_on_the_latent,
    one,
    warm_up,
)
from pima_physics.validation.cases.study import Run, arguments, read_runs

RIGHT = {"found_worst": 0.99, "found_shd": 0.0, "worst": 0.97, "shd": 0.0}


def latent(samples: int = 400) -> tuple[Representation, np.ndarray]:
    """Three binary features along three of five axes, each with its own distance."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, (samples, 3))
    values = 0.1 * rng.normal(size=(samples, 5))
    values[:, [4, 0, 2]] += label * [2.0, 1.5, 1.0]
    return Representation("latent", "latent", values, np.ones(samples, dtype=bool)), label


def test_axes_are_nodes_in_the_order_of_their_clearness() -> None:
    view, label = latent()
    found = axis_for_each_node([view], DAG(a=2, b=2, c=2), seed=0)
    for finding, known in zip(found.findings, label.T, strict=True):
        share = (finding.probability.argmax(1) == known).mean()
        assert max(share, 1.0 - share) > 0.99


def test_a_mixture_finds_the_joint_outcomes_but_not_which_is_which() -> None:
    from sklearn.metrics import adjusted_rand_score

    view, label = latent()
    found = mixture_on_the_latent([view], DAG(a=2, b=2, c=2), seed=0)
    assert adjusted_rand_score(label @ [4, 2, 1], found.responsibility.argmax(1)) > 0.9
    np.testing.assert_allclose(found.responsibility.sum(1), 1.0)


def test_what_counts_as_a_success() -> None:
    chosen = ablation.study(3000, 60)
    case = next(case for case, _ in chosen.methods if case.startswith("circles, fork"))
    runs = [
        Run(case, ablation.RECIPE, 0, RIGHT | {"elbo_before": -2.0, "elbo": -1.0}, 1.0),
        Run(case, ablation.RECIPE, 1, RIGHT | {"shd": 1.0, "elbo_before": 0.0, "elbo": -1.0}, 1.0),
        Run(case, ablation.RECIPE, 2, {}, 1.0, "TrainingError: not finite"),
        Run(case, "latent alone", 0, {"found_worst": 0.9, "found_shd": 0.0}, 1.0),
        Run(case, "edgeless prior", 0, RIGHT | {"shd": 2.0}, 1.0),
        Run(case, ablation.BASELINE, 0, {"worst": 0.96, "shd": 0.0}, 1.0),
    ]
    text = ablation.successes(chosen, runs)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| circles, fork")]
    assert [row[1] for row in rows] == ["discovery", "trained"]
    assert rows[0][2:4] == ["2 of 3", "0 of 1"] and rows[0][-1] == "- |"
    assert rows[1][2:4] == ["1 of 3", "-"] and rows[1][-1] == "1 of 1 |"
    assert rows[1][2 + len(ablation.WAYS)] == "1 of 1"  # edgeless: nodes alone
    assert "in 1 of 2 runs" in text


@pytest.mark.study
def test_ways_start_from_the_same_warm_up_and_leave_the_schedule_as_it_was() -> None:
    data, truth = circles(400, seed=0)
    warm = warm_up("circles", data, truth, seed=0, epochs=12)
    first = one(warm, axis_for_each_node, trained="freely")
    other = one(warm, mixture_on_the_latent, trained="not")
    assert schedule_discovery.discover is discover
    assert set(other) < set(first) and other["found_ari"] != first["found_ari"]
    assert one(warm, axis_for_each_node, trained="freely") == first


@pytest.mark.study
def test_small_version(tmp_path: Path) -> None:
    given = vars(arguments("ablation", None).parse_args([]))
    options = Namespace(
        **given
        | {
            "small": True, "output": tmp_path, "samples": 0, "epochs": 0,
            "cases": "lattices", "only": "mixture",
        }
    )  # fmt: skip
    text = report(options)
    runs = read_runs(tmp_path / "runs.jsonl")
    assert sorted(r.method for r in runs) == sorted([ablation.BASELINE, "mixture on the latent"])
    assert not any(r.error for r in runs) and "| lattices | trained |" in text
