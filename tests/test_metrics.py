"""Matching, recovery and distances on cases whose answer is known."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pima_physics.cpdags import cpdag
from pima_physics.errors import InputError
from pima_physics.validation.graphs import adjustment_distance, compare_graphs, shd
from pima_physics.validation.metrics import (
    interval_coverage,
    match_nodes,
    match_outcomes,
    occupied_components,
    parameter_recovery,
)
from pima_physics.validation.two_sample import two_sample

CHAIN = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])
COLLIDER = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 0]])


def test_shd_counts_each_differing_pair_once():
    assert shd(CHAIN, CHAIN) == 0
    assert shd(CHAIN, CHAIN.T) == 2  # two arrows turned
    assert shd(cpdag(CHAIN), cpdag(CHAIN.T)) == 0  # but the same class
    assert shd(np.zeros((3, 3)), CHAIN) == 2
    assert shd(cpdag(CHAIN), CHAIN) == 2  # undirected against directed


def test_graph_comparison_by_hand():
    # chain a -> b -> c against collider a -> c <- b: b,c in both and agreeing
    result = compare_graphs(CHAIN, COLLIDER)
    assert (result.shd, result.true_edges, result.learned_edges) == (2, 2, 2)
    assert result.precision == result.recall == result.f1 == 0.5
    assert result.orientation == 1.0
    assert compare_graphs(CHAIN, CHAIN.T).orientation == 0.0
    assert np.isnan(compare_graphs(CHAIN, np.zeros((3, 3))).precision)
    assert "SHD" in str(result)


def test_graphs_that_cannot_be_compared():
    with pytest.raises(InputError, match="match the nodes"):
        shd(CHAIN, np.zeros((2, 2)))
    with pytest.raises(InputError, match="itself"):
        shd(CHAIN, np.eye(3))


def test_adjustment_distance():
    pytest.importorskip("gadjid")
    assert adjustment_distance(CHAIN, CHAIN) == (0.0, 0)
    # a reversed chain misjudges the effect of every pair
    share, mistakes = adjustment_distance(CHAIN, CHAIN.T)
    assert mistakes == 6
    assert share == 1.0
    # within the class nothing is identified, so an arrow is a claim too many
    assert adjustment_distance(cpdag(CHAIN), cpdag(CHAIN)) == (0.0, 0)
    with pytest.raises(InputError, match="oset"):
        adjustment_distance(CHAIN, CHAIN, strategy="best")


def test_adjustment_distance_without_gadjid(monkeypatch):
    monkeypatch.setitem(sys.modules, "gadjid", None)
    with pytest.raises(InputError, match="pip install gadjid"):
        adjustment_distance(CHAIN, CHAIN)


def test_match_outcomes_undoes_a_relabelling():
    truth = np.array([0, 0, 1, 1, 2, 2, -1])
    mapping, accuracy = match_outcomes(truth, np.array([2, 2, 0, 0, 1, 0, 1]))
    assert list(mapping) == [1, 2, 0]
    assert accuracy == pytest.approx(5 / 6)


def test_surplus_outcomes_stand_for_nothing():
    mapping, accuracy = match_outcomes([0, 0, 1, 1], [0, 1, 2, 2])
    assert sorted(mapping) == [-1, 0, 1]
    assert accuracy == 0.75


def three_factors(rng: np.random.Generator, size: int = 600) -> np.ndarray:
    return np.stack([rng.integers(0, k, size) for k in (2, 3, 2)], axis=1)


def test_match_nodes_finds_permuted_and_relabelled_nodes(rng):
    truth = three_factors(rng)
    learned = np.stack([1 - truth[:, 2], truth[:, 0], (truth[:, 1] + 1) % 3], axis=1)
    result = match_nodes(truth, learned, factors=("hue", "shape", "load"), nodes=("p", "q", "r"))
    assert result.nodes == ("q", "r", "p")
    assert result.worst == result.ari == pytest.approx(1.0)
    assert result.occupied == 12
    assert list(result.outcome_maps[1]) == [2, 0, 1]
    assert "hue" in str(result)


def test_a_copied_node_shows_in_the_worst_accuracy(rng):
    truth = three_factors(rng)
    copies = np.repeat(truth[:, :1], 3, axis=1)
    result = match_nodes(truth, copies)
    assert result.accuracy.max() == 1.0
    assert result.worst < 0.6
    assert result.occupied == 2


def test_a_missing_node_scores_the_most_frequent_outcome(rng):
    truth = three_factors(rng)
    result = match_nodes(truth, truth[:, :2])
    assert result.nodes[2] == ""
    assert result.accuracy[2] == pytest.approx(np.bincount(truth[:, 2]).max() / len(truth))


def test_permutation_null_tells_chance_from_signal(rng):
    truth = three_factors(rng, 200)
    noise = three_factors(rng, 200)
    by_chance = match_nodes(truth, noise, permutations=60, generator=rng)
    real = match_nodes(truth, truth, permutations=60, generator=rng)
    assert by_chance.p_value > 0.05
    assert real.p_value == pytest.approx(1 / 61)
    with pytest.raises(InputError, match="generator"):
        match_nodes(truth, noise, permutations=5)


def test_unknown_labels_are_left_out():
    truth = np.array([[0.0, 1], [1, np.nan], [1, 0], [0, 1]])
    result = match_nodes(truth, np.array([[0, 1], [1, 1], [1, 0], [0, 1]]))
    assert result.size == 3
    assert result.worst == 1.0
    with pytest.raises(InputError, match="whole numbers"):
        match_nodes(np.array([[0.5]]), np.array([[0]]))


def test_occupied_components_with_a_minimum():
    assert occupied_components([[0, 0], [0, 1], [0, 1]]) == 2
    assert occupied_components([[0, 0], [0, 1], [0, 1]], minimum=2) == 1


def test_parameter_recovery_of_honest_and_of_overconfident_errors(rng):
    truth = rng.normal(70.0, 5.0, 4000)
    estimate = truth + rng.normal(0.0, 0.5, 4000)
    honest = parameter_recovery(estimate, truth, np.full(4000, 0.5))
    # 4000 samples: coverage has a standard error of 0.8 % at 50 %, 0.5 % at 90 %
    assert honest.coverage[0.5] == pytest.approx(0.5, abs=0.03)
    assert honest.coverage[0.9] == pytest.approx(0.9, abs=0.02)
    assert honest.z_std == pytest.approx(1.0, abs=0.05)
    assert honest.rmse == pytest.approx(0.5, abs=0.03)
    assert honest.r2 == pytest.approx(0.99, abs=0.003)
    proud = parameter_recovery(estimate, truth, np.full(4000, 0.1))
    assert proud.coverage[0.9] < 0.4
    assert "90% covers" in str(honest)
    assert np.isnan(parameter_recovery(estimate, truth).coverage[0.9])


def test_recovery_leaves_out_what_is_unknown():
    result = parameter_recovery([1.0, 2.0, np.nan], [1.5, np.nan, 3.0])
    assert result.size == 1
    assert result.bias == -0.5
    with pytest.raises(InputError, match="both"):
        parameter_recovery([np.nan], [1.0])


def test_interval_coverage():
    assert interval_coverage([0, 0, 0, 0], [1, 1, 1, 1], [0.5, 2, np.nan, 1]) == pytest.approx(
        2 / 3
    )


def test_two_sample_control_and_shift(rng):
    x, y = rng.normal(size=(300, 3)), rng.normal(size=(300, 3))
    same = two_sample(x, y, rng)
    assert same.p_value > 0.05
    assert same.distance < same.control_95
    far = x + np.array([0.5, 0.0, 0.0])
    moved = two_sample(far, y, rng)
    assert moved.p_value < 0.01
    assert moved.distance > moved.control_95
    # other units for one feature change nothing
    scaled = two_sample(far * [1, 1e3, 1], y * [1, 1e3, 1], np.random.default_rng(0))
    assert scaled.distance == pytest.approx(moved.distance, rel=1e-9)
    wider = two_sample(3 * x, y, rng)  # same mean, another spread
    assert wider.p_value < 0.01
