"""The study of the discovery: what counts as a success, and a small version."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pima_physics import schedule
from pima_physics.cpdags import cpdag
from pima_physics.datasets import circles
from pima_physics.validation.cases.discovery.study import (
    cases,
    features,
    study,
    watched,
    with_known_labels,
)
from pima_physics.validation.cases.discovery.summary import succeeded, successes
from pima_physics.validation.cases.study import Run, arguments, conduct, read_runs

GOOD = {
    "worst": 0.97, "ari": 0.9, "shd": 0.0, "shd_exact": 0.0, "shd_known": 0.0, "supported": 1.0,
    "nodes": 3.0, "supported_nodes": 3.0, "found_worst": 0.96, "found_ari": 0.9, "found_shd": 0.0,
}  # fmt: skip
WRONG_NODE = GOOD | {"worst": 0.94}
WRONG_GRAPH = GOOD | {"shd": 1.0, "found_worst": 0.5}
UNSURE = GOOD | {"supported": 2 / 3, "supported_nodes": 2.0}


def options(folder: Path, **changes) -> Namespace:
    chosen = vars(arguments("study", None, seeds=1).parse_args([])) | {"output": folder}
    return Namespace(**(chosen | changes))


def test_a_success_needs_every_node_and_the_graph_and_a_failed_run_is_none() -> None:
    chosen = study(3000, 200)
    case, control = (next(k for k in chosen.methods if k[1] == n) for n in ("lattices", "permuted"))
    scores = [GOOD, WRONG_NODE, WRONG_GRAPH, UNSURE]
    runs = [Run(*case, seed, dict(s), 1.0) for seed, s in enumerate(scores)]
    runs += [Run(*case, 4, {}, 1.0, "TrainingError: not finite")]
    runs += [
        Run(*control, seed, {"supported_nodes": float(n), "nodes": 3.0}, 1.0)
        for seed, n in enumerate((0, 0, 2))
    ]
    assert [succeeded(r) for r in runs[:5]] == [True, False, False, True, False]
    text = successes(chosen, [*runs, Run("another effort", "lattices", 0, GOOD, 1.0)])
    assert "| lattices | 5 | 2 | 3 | 3 | 3 | 4 | 3 | 1 | 1 |" in text
    assert "| permuted | 3 | 2 |" in text and "| circles, fork | 0 | 0 |" in text
    listed = text[text.index("## Runs without") :].splitlines()[2:]
    assert [line.split(":")[0] for line in listed] == [
        "- lattices, seed 1",
        "- lattices, seed 2",
        "- lattices, seed 4",
        "- permuted, seed 2",
    ]
    assert "worst 0.940" in listed[0] and "not finite" in listed[2] and "2 of 3" in listed[3]


def test_the_truth_is_a_success_and_an_exclusive_or_is_none() -> None:
    _, truth = circles(800, seed=0, graph="collider")
    names = [str(n) for n in truth.graph["parent"].values]
    labels = np.stack([truth.labels[n].values for n in names], axis=1)
    order = [2, 0, 1]
    graph = cpdag(truth.graph.values)[np.ix_(order, order)]
    right = Run("", "", 0, features(labels[:, order], graph, truth), 1.0)
    assert succeeded(right) and right.scores["occupied"] == 8
    mixed = labels.copy()
    mixed[:, 0] ^= mixed[:, 1]
    wrong = features(mixed, cpdag(truth.graph.values), truth)
    assert wrong["ari"] == pytest.approx(1.0)  # the joint outcomes are the same
    assert not succeeded(Run("", "", 0, wrong, 1.0)) and wrong["worst"] < 0.7
    everyone = np.arange(len(labels))
    assert with_known_labels(truth, everyone) == 0
    unrelated = {n: ("sample", np.roll(v.values, 7 * k)) for k, (n, v) in
                 enumerate(truth.labels.items())}  # fmt: skip
    assert with_known_labels(replace(truth, labels=truth.labels.assign(unrelated)), everyone) == 2
    without = features(labels, np.zeros((3, 3), dtype=int), truth)
    assert without["shd"] == 2 and not succeeded(replace(right, scores=without))


def test_watching_a_fit_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "nodes_of", lambda *arguments: arguments)
    before = schedule.nodes_of
    with pytest.raises(ZeroDivisionError), watched() as seen:
        assert schedule.nodes_of(1, 2, 3) == (1, 2, 3)  # pyright: ignore
        raise ZeroDivisionError
    assert schedule.nodes_of is before
    assert [w.discovery for w in seen] == [(1, 2, 3)] and seen[0].seconds >= 0


def test_cases_differ_from_plain_circles_as_they_say() -> None:
    made = {name: make(300, 0) for name, (_, make) in cases().items()}
    assert len(made) == 10
    edges = {name: int(truth.graph.values.sum()) for name, (_, truth) in made.items()}
    assert [edges[f"circles, {g}"] for g in ("fork", "chain", "collider", "full", "empty")] == [
        2, 2, 2, 3, 0,
    ]  # fmt: skip
    assert edges["lattices"] == 2
    rings = {n: t for n, (_, t) in made.items() if n != "lattices"}
    hue = {name: truth.labels["hue"].values for name, truth in rings.items()}
    assert hue["circles, three outcomes"].max() == 2 and hue["circles, fork"].max() == 1
    assert hue["circles, roots 90/10"].mean() < 0.2 < hue["circles, fork"].mean()
    spread = {
        name: float(made[f"circles, {name}"][1].nuisance["height_fraction"].std())
        for name in ("fork", "twice the nuisance")
    }
    assert spread["twice the nuisance"] == pytest.approx(2 * spread["fork"])


@pytest.mark.study
def test_small_version(tmp_path: Path) -> None:
    chosen = study(2000, 30)
    conduct(chosen, options(tmp_path, only="fork"), say=lambda line: None)
    (run,) = read_runs(tmp_path / "runs.jsonl")
    assert not run.error
    assert succeeded(run) and run.scores["supported"] == 1.0
    assert 0 < run.scores["discovery_seconds"] < run.scores["fit_seconds"]
    assert "| circles, fork | 1 | 1 |" in successes(chosen, [run])
