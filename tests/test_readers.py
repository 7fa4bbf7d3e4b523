"""Predictions from a part of the modalities: right spread, right modes, honest calibration."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from support.training import lines, model

import pima_physics as pima
from pima_physics.inference import _summarise, mixture_posterior, predict
from pima_physics.readers import FEWEST, Lesson, teach
from pima_physics.results_widening import quantile_of_samples, widen
from pima_physics.training import prepare_fit

MIXED, OWN, NOISE = 4.0, 1.0, 0.3
"""Distance of outcomes; spread within them, which only the first modality shows; noise."""


def two_views(samples: int, *, seed: int = 0, missing: float = 0.0) -> xr.Dataset:
    """The second vector shows an outcome; the first shows it with a spread, along one axis."""
    rng = np.random.default_rng(seed)
    outcome, own = rng.integers(0, 2, samples), OWN * rng.normal(size=samples)
    weights = np.array([1.0, -1.0, 1.0, 1.0, -1.0, 1.0])
    first = np.outer(MIXED * outcome + own, weights)
    second = np.outer(MIXED * outcome, np.ones(4))
    found = {}
    for name, values in (("first", first), ("second", second)):
        values = values + NOISE * rng.normal(size=values.shape)
        if name == "second":
            values[rng.random(samples) < missing] = np.nan
        found[name] = (("sample", f"place_{name}"), values, {"units": "m"})
    found["known"] = ("sample", outcome, {"units": "dimensionless"})
    return xr.Dataset(found)


def two_view_model() -> pima.PIMA:
    return pima.PIMA(
        {name: pima.Neural(name, hidden=(24,)) for name in ("first", "second")},
        dag=pima.DAG(outcome=2),
        latent_dim=2,
    )


def inside(result: pima.FitResult, *, seed: int) -> tuple[float, float]:
    """Coverage of the first modality of new samples, given the second; mean stated spread."""
    new = two_views(400, seed=seed).drop_vars(["known"])
    found = result.predict(new, given="second", draws=100)["reconstruction/first"].to_dataset()
    z = (new["first"] - found["mean"]) / found["std"]
    return float((abs(z) <= 1.6449).mean()), float(found["std"].mean())


@pytest.fixture(scope="module")
def fitted() -> pima.FitResult:
    """Four tenths of the samples show the second modality only through the first."""
    return pima.fit(
        two_view_model(), two_views(800, missing=0.4), seed=0, epochs=20, validation=0.2, test=0.3,
        labels={"outcome": "known"},
    )  # fmt: skip


def test_what_is_not_given_keeps_its_spread(fitted: pima.FitResult) -> None:
    """The experts of the bound count the outcome twice: sqrt(1/2) of the spread, 75 % inside.

    Readers give back .07, .11 and .10 of the spread (seeds 0 to 2 of the fit), and cover .05, .08
    and .06 more: the demands below are two standard deviations under the mean.
    """
    true = np.hypot(OWN, NOISE)
    network = copy.deepcopy(fitted.network)
    without = replace(fitted, network=network)
    network.readers = None
    coverage, spread = inside(without, seed=5)
    assert coverage < 0.82 and spread < 0.8 * true
    prepared = prepare_fit(two_view_model(), two_views(600, seed=4))
    teach(network, prepared.train, prepared.validation, Lesson(60, 16, 3e-3, 0))
    better, wider = inside(without, seed=5)
    assert better > coverage + 0.035 and spread + 0.055 < wider < 1.1 * true


def test_intervals_hold_on_new_samples(fitted: pima.FitResult) -> None:
    assert 0.85 < inside(fitted, seed=6)[0] < 0.95
    new = two_views(400, seed=6).drop_vars(["known"])
    found = fitted.predict(new, given="second", draws=100)["reconstruction/first"].to_dataset()
    within = (new["first"] >= found["lower"]) & (new["first"] <= found["upper"])
    assert 0.85 < float(within.mean()) < 0.95


def test_both_modes_are_kept_without_evidence(fitted: pima.FitResult) -> None:
    data = prepare_fit(two_view_model(), two_views(40, seed=7)).data
    log_weight, precision, _ = mixture_posterior(fitted.network, data, [])
    assert float(precision.abs().max()) == 0.0
    assert 0.3 < float(log_weight.exp().min()) < 0.5


def test_the_fit_itself_is_not_touched(fitted: pima.FitResult) -> None:
    """The readers are trained beside the encoders of the bound, never in place of them."""
    network = copy.deepcopy(fitted.network)
    before = {k: v.clone() for k, v in network.state_dict().items() if "readers" not in k}
    prepared = prepare_fit(two_view_model(), two_views(200, seed=1, missing=0.2))
    teach(network, prepared.train, prepared.validation, Lesson(2, 64, 1e-3, 0))
    after = network.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())


def test_readers_are_stored(fitted: pima.FitResult, tmp_path) -> None:
    fitted.save(tmp_path / "run")
    again = pima.load(tmp_path / "run")
    new = two_views(20, seed=8).drop_vars(["known"])
    first, second = (
        r.predict(new, given="second", draws=8)["reconstruction/first"].to_dataset()
        for r in (fitted, again)
    )
    xr.testing.assert_identical(first, second)
    assert again.network.readers is not None
    assert float(again.network.readers.widening[0]) != 1.0


def test_too_few_samples_teach_and_calibrate_nothing() -> None:
    prepared = prepare_fit(model(), lines(40), validation=0.2)
    network = model().build(prepared.infos)
    some = prepared.train.take(slice(0, FEWEST - 1))
    teach(network, some, prepared.validation, Lesson(2, 16, 1e-3, 0))
    assert network.readers is None
    teach(network, prepared.train, prepared.validation, Lesson(2, 16, 1e-3, 0))
    widen(network, prepared.validation)  # 8 samples
    assert network.readers is not None and bool((network.readers.widening == 1.0).all())


def test_only_hidden_modalities_are_widened(fitted: pima.FitResult) -> None:
    network = fitted.network
    data = prepare_fit(two_view_model(), two_views(60, seed=3, missing=0.5)).data
    assert network.readers is not None
    kept = network.readers.widening.clone()
    plain, wide = {}, {}
    for found, factor in ((plain, 1.0), (wide, 2.0)):
        network.readers.widening.fill_(factor)
        found |= predict(network, data, ["second"], draws=20)
    network.readers.widening.copy_(kept)
    np.testing.assert_allclose(wide["first"].std, 2.0 * plain["first"].std)
    for end in ("lower", "upper"):
        gaps = [getattr(p["first"], end) - p["first"].mean for p in (plain, wide)]
        np.testing.assert_allclose(gaps[1], 2.0 * gaps[0])
    shown = data.modalities["second"].present.numpy()
    np.testing.assert_array_equal(wide["second"].std[shown], plain["second"].std[shown])
    np.testing.assert_allclose(wide["second"].std[~shown], 2.0 * plain["second"].std[~shown])


@pytest.mark.parametrize("draws", [19, 32, 100])
def test_quantiles_of_few_draws_hold_what_they_say(draws: int) -> None:
    generator = torch.Generator().manual_seed(draws)
    noisy = torch.randn(draws + 1, 20_000, generator=generator)
    found = _summarise(torch.zeros(draws, 20_000), noisy[1:])
    inside = (noisy[0].numpy() >= found.lower) & (noisy[0].numpy() <= found.upper)
    assert inside.mean() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("size", [20, 60])
def test_conformal_quantile_covers_new_samples(size: int, rng: np.random.Generator) -> None:
    """Heavy-tailed values that depend on each other within a sample, gaps included."""
    shares = []
    for _ in range(600):
        level = rng.standard_t(3, size=(size + 1, 1))
        score = abs(level + 0.5 * rng.normal(size=(size + 1, 7)))
        mask = rng.random(score.shape) < 0.7
        limit = quantile_of_samples(score[:-1], mask[:-1], 0.9)
        shares.append((score[-1] <= limit).mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.03)


def test_conformal_quantile_by_hand() -> None:
    score = np.array([[1.0, 5.0], [2.0, 9.0], [3.0, 3.0], [9.0, 9.0]])
    mask = np.array([[1, 1], [1, 0], [1, 1], [0, 0]], dtype=bool)
    # Three samples of weight 1/4: 1 (1/8), 2 (3/8), 3 (5/8), 5 (6/8); the rest is at infinity.
    assert quantile_of_samples(score, mask, 0.5) == 3.0
    assert quantile_of_samples(score, mask, 0.7) == 5.0
    assert quantile_of_samples(score, mask, 0.9) == float("inf")
