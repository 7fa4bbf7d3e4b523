"""The pursuit's shortcuts give what the long ways do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

import pima_physics.pursuit
from pima_physics.modes import fit_mixture, histograms, unimodal_score
from pima_physics.pursuit import (
    group_scores,
    pursue,
    starting_directions,
    whiten,
    within_cells,
)


def best_by_all_splits(mass: np.ndarray) -> float:
    """Every split into a rising and a falling part, each by isotonic regression."""

    def score(part: np.ndarray, *, increasing: bool) -> float:
        if not len(part):
            return 0.0
        fitted = isotonic_regression(part, increasing=increasing).x
        return float((part * np.log(np.where(part > 0.0, fitted, 1.0))).sum())

    return max(
        score(mass[:k], increasing=True) + score(mass[k:], increasing=False)
        for k in range(len(mass) + 1)
    )


@pytest.mark.parametrize("seed", range(6))
def test_unimodal_scores_are_those_of_the_best_split(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mass = rng.multinomial(40, rng.dirichlet(np.full(20, 0.4))) / 40.0
    mass[: seed % 3] = mass[len(mass) - seed % 4 :] = 0.0
    assert unimodal_score(mass.tolist()) == pytest.approx(best_by_all_splits(mass), abs=1e-12)


def test_nothing_has_a_score_of_zero() -> None:
    assert unimodal_score([]) == unimodal_score([0.0, 0.0]) == 0.0


@pytest.mark.parametrize("outcomes", [2, 3])
def test_scores_by_bin_and_cell_are_those_of_the_samples(outcomes: int) -> None:
    rng = np.random.default_rng(outcomes)
    cells = rng.integers(0, 4, 500)
    white = rng.normal(size=(500, 3)) + 2.0 * (cells[:, None] == [0, 1, 2])
    index, mass = histograms(whiten(white).apply(white))
    groups = fit_mixture(mass, outcomes)
    found = group_scores(groups, index, cells)
    for j in range(3):
        one = groups.responsibility[j][:, index[:, j]].T
        expected = within_cells(one, groups.weight[j], cells) @ groups.mean[j]
        np.testing.assert_allclose(found[:, j], expected, atol=1e-12)


def test_merging_on_the_way_loses_no_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three features along axes of their own, four standard deviations apart, and two nuisances."""
    rng = np.random.default_rng(0)
    features = rng.integers(0, 2, (1500, 3)) * 4.0 + rng.normal(size=(1500, 3))
    mixed = np.concatenate([features, rng.normal(size=(1500, 2))], axis=1) @ rng.normal(size=(5, 5))
    white, nothing = whiten(mixed).apply(mixed), np.zeros((1500, 0))
    start = starting_directions(white, 60, rng)
    merged = pursue(white, nothing, 2, start, steps=18)
    monkeypatch.setattr(pima_physics.pursuit, "MERGING", 100)
    every = pursue(white, nothing, 2, start, steps=18)
    centred = (features - features.mean(0)) / features.std(0)
    for found in (merged, every):
        shown = np.abs(centred.T @ (white @ found.T)) / len(white)
        assert (shown.max(1) > 0.98).all()
    assert len(merged) <= len(every)
