"""Calibration and stability: honest statements pass, each kind of dishonest one is caught."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from support.training import LABELS, lines, model
from synthetic_results import make_tree

import pima_physics as pima
from pima_physics.errors import InputError
from pima_physics.validation import (
    bootstrap_edges,
    compare_fits,
    coverage,
    rank_test,
    reliability,
    self_calibration,
    simulation_based_calibration,
)
from pima_physics.validation.calibration import posterior_ranks

NOISE, PRIOR = 0.5, 2.0


def gaussian_ranks(rng: np.random.Generator, *, shift: float = 0.0, factor: float = 1.0):
    """Ranks in a conjugate normal model, with a posterior that may be wrong on purpose."""
    variance = 1 / (1 / PRIOR**2 + 1 / NOISE**2)

    def posterior(x, g):
        mean, std = variance * x / NOISE**2, np.sqrt(variance)
        return g.normal(mean + shift * std, factor * std, size=(99, 1))

    return simulation_based_calibration(
        lambda g: g.normal(0, PRIOR, 1),
        lambda truth, g: g.normal(truth[0], NOISE),
        posterior,
        rng,
        simulations=600,
    )[:, 0]


def test_an_exact_posterior_has_uniform_ranks(rng: np.random.Generator) -> None:
    found = rank_test(gaussian_ranks(rng), 99)
    assert found.p_value > 0.01 and found.reading == "uniform"
    assert found.counts.sum() == 600
    assert found.low < 600 / len(found.counts) < found.high


@pytest.mark.parametrize(
    ("wrong", "reading"),
    [
        ({"factor": 0.6}, "too small"),
        ({"factor": 1.7}, "too large"),
        ({"shift": 0.6}, "too high"),
        ({"shift": -0.6}, "too low"),
    ],
)
def test_wrong_posteriors_are_named(rng, wrong: dict[str, float], reading: str) -> None:
    found = rank_test(gaussian_ranks(rng, **wrong), 99)
    assert found.p_value < 1e-3
    assert reading in found.reading and reading in str(found)


def test_ranks_of_normal_statements(rng: np.random.Generator) -> None:
    truth = rng.normal(size=2000)
    mean, std = truth + 0.3 * rng.normal(size=2000), np.full(2000, 0.3)
    assert rank_test(posterior_ranks(truth, mean, std, rng), 99).p_value > 0.01
    assert "too small" in rank_test(posterior_ranks(truth, mean, 0.5 * std, rng), 99).reading
    assert coverage(truth, mean, std)[0.9] == pytest.approx(0.9, abs=0.025)
    assert coverage(truth, mean, 0.5 * std)[0.5] < 0.35


def test_ranks_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"0\.\.9"):
        rank_test([12], 9)
    with pytest.raises(InputError, match="99 or 199"):
        rank_test(np.zeros(100, dtype=int), 100)  # 101 is prime


def test_reliability_of_honest_and_of_proud_probabilities(rng: np.random.Generator) -> None:
    raw = rng.dirichlet(np.ones(3), size=6000)
    truth = (raw.cumsum(1) < rng.random((6000, 1))).sum(1)
    honest = reliability(raw, truth)
    assert honest.p_value > 0.01
    assert honest.calibration_error < 0.02  # binomial error of a bin of 1800: 0.01
    sharp = raw**3 / (raw**3).sum(1, keepdims=True)
    proud = reliability(sharp, truth)
    assert proud.p_value < 1e-6
    assert proud.calibration_error > 0.1 and proud.brier > honest.brier
    assert "calibration error" in str(proud)


def test_reliability_of_an_event_and_of_unknown_truths() -> None:
    sure = reliability([0.0, 1.0, 1.0, 0.0], [0, 1, 1, -1])
    assert sure.calibration_error == 0.0 and sure.counts.sum() == 3
    assert reliability([0.0, 1.0], [1, 0]).calibration_error == 1.0
    rounded = reliability(np.array([[0.0, 1.0 + 1e-7], [1.0, 0.0]]), [1, 0])
    assert np.isfinite(rounded.error).all()
    with pytest.raises(InputError, match="label"):
        reliability([0.5], [-1])


def test_a_fit_judges_itself(rng: np.random.Generator) -> None:
    """A stand-in whose statements are exact, then too sure."""

    class Fit:
        sample_dim = "sample"

        def __init__(self, power: float) -> None:
            self.power = power
            self.network = type("N", (), {"names": ("curve",), "infos": {}})()

        def sample(self, samples: int, *, seed: int) -> xr.Dataset:
            g = np.random.default_rng(seed)
            outcome = g.integers(0, 2, (samples, 1))
            x = outcome[:, 0] * 1.5 + g.normal(size=samples)
            return xr.Dataset({"node_outcome": (("sample", "node"), outcome), "x": ("sample", x)})

        def predict(self, data: xr.Dataset, *, given: list[str], seed: int) -> xr.DataTree:
            odds = np.exp(self.power * (1.5 * data["x"].values - 1.125))
            p = np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1)[:, None]
            posterior = xr.Dataset(
                {"node_probability": (("sample", "node", "outcome"), p)}, coords={"node": ["a"]}
            )
            return xr.DataTree.from_dict({"posterior": posterior})

    honest = self_calibration(Fit(1.0), samples=3000)
    assert honest.nodes["a"].p_value > 0.01
    assert "a: calibration error" in str(honest)
    assert self_calibration(Fit(3.0), samples=3000).nodes["a"].p_value < 1e-6


def test_a_real_fit_judges_itself() -> None:
    fitted = pima.fit(model(), lines(), labels=LABELS, epochs=8)
    found = self_calibration(fitted, samples=200)
    assert set(found.nodes) == {"slope", "height"}
    assert found.nodes["slope"].counts.sum() == 200
    assert set(found.crossmodal) == {"line", "vector"}
    assert all(0 < share <= 1 for part in found.crossmodal.values() for share in part.values())


def test_fits_of_the_same_samples_are_compared() -> None:
    first = make_tree(samples=200, counts=(2, 2, 2))
    posterior = first["posterior"].to_dataset()
    swapped = posterior.isel(node=[1, 0, 2]).copy(deep=True)
    swapped["node_outcome"] = 1 - swapped["node_outcome"]
    same = first.copy()
    same["posterior"] = xr.DataTree(swapped)
    found = compare_fits([first, same])
    assert found.worst == 1.0
    np.testing.assert_array_equal(found.edges[0], found.edges[1])
    other = make_tree(samples=200, counts=(2, 2, 2), seed=9)
    assert compare_fits([first, other]).worst < 0.7
    assert "median agreement" in str(found)
    with pytest.raises(InputError, match="two results"):
        compare_fits([first])
    with pytest.raises(InputError, match="differ"):
        compare_fits([first, make_tree(samples=100, counts=(2, 2, 2))])


def test_bootstrap_of_edges(rng: np.random.Generator) -> None:
    found = bootstrap_edges(make_tree(samples=400, counts=(2, 2, 2)), rng, draws=20)
    joined = found.median + found.median.T
    assert joined[0, 1] > 0.99 and joined[1, 2] > 0.99  # a chain, each copies with 0.7
    assert (found.low <= found.median).all() and (found.median <= found.high).all()
    few = bootstrap_edges(make_tree(samples=12, counts=(2, 2, 2)), rng, draws=20)
    wide = few.high + few.high.T - few.low - few.low.T
    assert wide[0, 1] > 0.3
    assert "bootstrap" in str(few)
