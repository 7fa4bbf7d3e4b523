"""The pursuit's shortcuts give what the long ways do."""

from __future__ import annotations

import numpy as np
import pytest

import pima_physics.pursuit
from pima_physics.modes import fit_mixture, histograms
from pima_physics.pursuit import (
    group_scores,
    pursue,
    starting_directions,
    whiten,
    within_cells,
)


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
