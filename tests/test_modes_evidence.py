"""Evidence of modes is what the best densities with a single mode leave, counted where it lies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from pima_physics.modes import BINS, histograms
from pima_physics.modes_evidence import (
    lost_without,
    multimodality_of_all,
    nats_borne_out,
    unimodal_score,
)
from pima_physics.pursuit import masses_in_cells


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
    rows = np.stack([mass, mass[::-1]])
    expected = [best_by_all_splits(row) for row in rows]
    np.testing.assert_allclose(unimodal_score(rows), expected, atol=1e-12)


def test_nothing_has_a_score_of_zero() -> None:
    np.testing.assert_array_equal(unimodal_score(np.zeros((2, 3))), 0.0)
    assert unimodal_score(np.zeros((0, 3))).shape == (0,)


def masses(rng: np.random.Generator, rows: int, bins: int = BINS) -> np.ndarray:
    """Histograms of few samples, many bins empty."""
    counts = rng.multinomial(80, rng.dirichlet(np.full(bins, 0.3), rows))
    return counts / counts.sum(1, keepdims=True)


@pytest.mark.parametrize("count", [1, 2])
def test_what_cuts_are_worth_is_the_evidence_of_all(count: int) -> None:
    rng = np.random.default_rng(count)
    some = masses(rng, 30)
    cuts = np.sort(rng.choice(np.arange(30, 160, 6), (30, count)), axis=1)
    cuts[:, -1] += 7 * (count > 1)
    found = count * lost_without(some, cuts).min(1)
    np.testing.assert_allclose(multimodality_of_all(some, list(cuts)), found, atol=1e-12)


def test_a_cut_is_worth_what_its_sides_explain_beyond_one_mode() -> None:
    some = masses(np.random.default_rng(0), 20)
    coarse = some.reshape(20, -1, 3).sum(2)
    whole, left, right = (
        np.array([best_by_all_splits(row) for row in part])
        for part in (coarse, coarse[:, :30], coarse[:, 30:])
    )
    found = lost_without(some, np.full((20, 1), 90))[:, 0]
    np.testing.assert_allclose(found, np.maximum(left + right - whole, 0.0), atol=1e-12)


def test_evidence_counts_where_the_shares_say() -> None:
    """Groups that part in every cell count; a cut through one group in another cell does not."""
    rng = np.random.default_rng(0)
    two = np.r_[rng.normal(-2.2, 1.0, 300), rng.normal(2.2, 1.0, 300)]
    one, rare = rng.normal(size=600), np.r_[rng.normal(-2.2, 1.0, 570), rng.normal(2.2, 1.0, 30)]

    def worth(other: np.ndarray) -> float:
        bins = histograms(np.r_[two, other][:, None] / 2.5)[0]
        mass, counts = masses_in_cells(np.repeat([0, 1], 600), bins)
        return float(nats_borne_out(mass, counts, np.array([[BINS // 2]]))[0])

    assert worth(two) > 3.5 * worth(one) > 0.0
    assert worth(rare) > 1.8 * worth(one)
