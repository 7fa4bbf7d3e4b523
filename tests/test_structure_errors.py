"""Label errors that explain an edge away, and edges that they do not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.training import lines, model

import pima_physics as pima
from pima_physics.cpdags import cpdag
from pima_physics.discovery import Discovery
from pima_physics.evidence import Finding
from pima_physics.knowledge import Knowledge
from pima_physics.results_tree import learn_graph
from pima_physics.structure import (
    counts_by_target,
    graph_posterior,
    posterior_of_labels,
    without_label_errors,
)
from pima_physics.structure_errors import doubt_of, label_errors
from pima_physics.training import prepare_fit

SAMPLES = 2400
DOUBT = [0.013, 0.003, 0.003]
FORK = np.array([[0, 1, 1], [0, 0, 0], [0, 0, 0]])
# A root that takes 4 % of its second outcome for the first: lopsided, as overlapping groups of
# different width are.
ERRORS = np.array([[0.997, 0.003], [0.042, 0.958]])


def fork(seed: int, *, direct: float = 0.0, outcomes: int = 2) -> np.ndarray:
    """Outcomes (sample, node): 0 -> 1, 0 -> 2, and with this share of samples 1 -> 2."""
    rng = np.random.default_rng(seed)
    root = rng.integers(0, outcomes, SAMPLES)
    first, second = (
        np.where(rng.random(SAMPLES) < 0.8, root, rng.integers(0, outcomes, SAMPLES))
        for _ in range(2)
    )
    second = np.where(rng.random(SAMPLES) < direct, first, second)
    return np.stack([root, first, second], axis=1)


def with_errors(labels: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed + 100)
    wrong = rng.random(len(labels)) > np.diag(ERRORS)[labels[:, 0]]
    return np.column_stack([np.where(wrong, 1 - labels[:, 0], labels[:, 0]), labels[:, 1:]])


def counts_of(labels: np.ndarray) -> np.ndarray:
    counts = np.zeros(labels.max(0) + 1)
    np.add.at(counts, tuple(labels.T), 1.0)
    return counts


def test_errors_of_a_root_are_found_and_undone() -> None:
    """Eight sets: taken as they are, labels join the children in most; undone, in none."""
    plain, undone, largest = [], [], []
    for seed in range(8):
        counts = counts_of(with_errors(fork(seed), seed))
        plain.append((graph_posterior(counts).cpdag == cpdag(FORK)).all())
        found = posterior_of_labels(counts, doubt=DOUBT)
        undone.append((found.cpdag == cpdag(FORK)).all())
        errors = label_errors(counts, graph_posterior(counts).dag, DOUBT)
        if errors is not None:
            assert "label errors undone" in found.method
            largest.append(1.0 - errors[0][0][1, 1])
            assert without_label_errors(counts, DOUBT).sum() == pytest.approx(SAMPLES)
    assert sum(plain) <= 4 and all(undone)
    assert np.median(largest) == pytest.approx(0.042, abs=0.02)


@pytest.mark.parametrize("outcomes", [2, 3])
def test_right_labels_are_left_alone(outcomes: int) -> None:
    for seed in range(4):
        for direct in (0.0, 0.5):
            counts = counts_of(fork(seed, direct=direct, outcomes=outcomes))
            before, after = graph_posterior(counts), posterior_of_labels(counts, doubt=DOUBT)
            assert (before.cpdag == after.cpdag).all() and after.method == before.method


def test_a_clear_edge_is_not_explained_by_errors() -> None:
    whole = np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0]])
    for seed in range(4):
        counts = counts_of(with_errors(fork(seed, direct=0.5), seed))
        found = posterior_of_labels(counts, doubt=DOUBT)
        assert (found.cpdag == cpdag(whole)).all()


def acted_fork(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As `fork`, where one sample in five has a node set to an outcome, which is known."""
    rng = np.random.default_rng(seed + 50)
    target = np.where(rng.random(SAMPLES) < 0.2, rng.integers(0, 3, SAMPLES), -1)
    acted = target[:, None] == np.arange(3)
    value = rng.integers(0, 2, SAMPLES)
    labels = np.zeros((SAMPLES, 3), dtype=int)
    for node in range(3):
        parent = labels[:, 0]
        free = np.where(rng.random(SAMPLES) < 0.8, parent, rng.integers(0, 2, SAMPLES))
        free = rng.integers(0, 2, SAMPLES) if node == 0 else free
        labels[:, node] = np.where(acted[:, node], value, free)
    return labels, acted


@pytest.mark.study
def test_errors_are_undone_beside_interventions() -> None:
    """Twelve sets: the trees' edges and no other, where labels as they are join the children."""
    plain, corrected = [], []
    for seed in range(12):
        true, acted = acted_fork(seed)
        seen = with_errors(true, seed)
        seen[acted] = true[acted]
        weights = np.zeros((SAMPLES, 2, 2, 2))
        weights[(np.arange(SAMPLES), *seen.T)] = 1.0
        counts, rows = counts_by_target(weights, acted)
        doubt = np.where(rows, 0.0, DOUBT)
        plain.append((graph_posterior(counts, intervened=rows).cpdag == FORK).all())
        found = posterior_of_labels(counts, intervened=rows, doubt=doubt)
        corrected.append((found.cpdag == FORK).all())
        if "label errors" in found.method:
            again = without_label_errors(counts, doubt, intervened=rows)
            assert np.allclose(again.sum((1, 2, 3)), counts.sum((1, 2, 3)))
            assert found.sample_size < SAMPLES
            for r in np.flatnonzero(rows.any(1)):  # the node that was set is right as it stands
                kept = tuple(a for a in (1, 2, 3) if not rows[r, a - 1])
                margins = [table[r].sum(tuple(a - 1 for a in kept)) for table in (again, counts)]
                assert np.allclose(*margins)
    assert sum(plain) <= 8
    assert sum(corrected) >= 11


def test_changed_tables_are_left_as_they_are() -> None:
    """Soft interventions: no errors are sought."""
    true, acted = acted_fork(0)
    weights = np.zeros((SAMPLES, 2, 2, 2))
    weights[(np.arange(SAMPLES), *with_errors(true, 0).T)] = 1.0
    counts, rows = counts_by_target(weights, acted)
    soft = Knowledge(("a", "b", "c"), interventions="soft")
    found = posterior_of_labels(counts, knowledge=soft, intervened=rows, doubt=DOUBT)
    assert "label errors" not in found.method
    assert without_label_errors(counts, DOUBT, knowledge=soft, intervened=rows) is counts


def test_doubt_of_each_experiment() -> None:
    first, second = np.array([[0.9, 0.1], [0.8, 0.2], [1.0, 0.0]]), np.eye(2)[[0, 1, 1]]
    acted = np.array([[False, False], [False, False], [True, False]])
    assert doubt_of([first, second], acted) == pytest.approx(np.array([[0.15, 0.0], [0.0, 0.0]]))


def test_samples_that_were_not_searched_say_nothing_of_errors() -> None:
    seen = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    assert doubt_of([seen, np.full((3, 2), 0.5)]) == pytest.approx([0.15, 0.0])


def test_a_network_that_is_too_sure_of_labels_does_not_decide_on_their_errors() -> None:
    """Labels as in `test_errors_of_a_root_are_found_and_undone`, certain to the network."""
    labels = with_errors(fork(0), 0)
    chosen = dataclasses.replace(model(), dag=pima.DAG(a=2, b=2, c=2))
    network = chosen.build(prepare_fit(chosen, lines()).infos, seed=0)
    sure = np.eye(8)[labels @ [4, 2, 1]]
    probability = [
        np.where(np.eye(2)[v] > 0, 1.0 - d, d) for v, d in zip(labels.T, DOUBT, strict=True)
    ]
    nan = float("nan")
    findings = tuple(
        Finding("latent", p, nan, nan, nan, nan, nan, supported=True) for p in probability
    )
    posterior = graph_posterior(counts_of(labels))
    discovery = Discovery(findings, sure, posterior, (), ())
    assert discovery.doubt() == pytest.approx(DOUBT)
    alone = learn_graph(network, sure, None).exact
    with_doubt = learn_graph(network, sure, None, discovery).exact
    assert (alone.cpdag == posterior.cpdag).all() and (alone.cpdag != cpdag(FORK)).any()
    assert (with_doubt.cpdag == cpdag(FORK)).all()


def test_given_labels_have_no_errors() -> None:
    counts = counts_of(with_errors(fork(0), 0))
    best = graph_posterior(counts)
    assert label_errors(counts, best.dag, DOUBT) is not None
    assert label_errors(counts, best.dag, [0.0] * 3) is None
    assert posterior_of_labels(counts).method == best.method
    sure, unsure = np.eye(2)[[0, 1]], np.array([[0.9, 0.1], [0.2, 0.8]])
    assert doubt_of([sure, unsure]) == pytest.approx([0.0, 0.15])
