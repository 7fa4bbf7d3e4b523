"""Parameters of samples that no fit has seen, and laws that are wrong on purpose."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pima_physics.datasets.circle import circles
from pima_physics.results_misfit import Misfit, misfit, misfit_metrics
from pima_physics.simulator import find
from pima_physics.validation.cases.parameter_recovery.study import KINDS, NOISE, WRONG, bounds, run

TIME = torch.linspace(0.0, 1.0, 40).double()


def noise(samples: int = 200, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(samples, len(TIME), generator=generator, dtype=torch.float64)


def left(residual: Tensor, weight: Tensor | None = None, **options: object) -> Misfit:
    weight = torch.ones_like(residual) if weight is None else weight
    found = misfit(residual, weight, 2, **options)  # type: ignore[arg-type]
    assert found is not None
    return found


def without_line(residual: Tensor) -> Tensor:
    """Residuals after the best straight line, as of a law with two parameters."""
    design = torch.stack([torch.ones_like(TIME), TIME], 1)
    return residual - residual @ design @ torch.linalg.inv(design.T @ design) @ design.T


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_is_no_misfit(seed: int) -> None:
    found = left(without_line(noise(seed=seed)))
    assert abs(found.significance) < 4.0
    assert not found.found
    assert found.ratio == pytest.approx(1.0, abs=0.05)


def test_what_the_law_lacks_is_measured() -> None:
    """A bow of half the noise's variance, which a straight line cannot follow."""
    bow = torch.cos(2.0 * torch.pi * TIME)
    found = left(without_line(noise() + 0.1 * bow))
    assert found.found
    assert found.share == pytest.approx(1.0 / 3.0, abs=0.05)
    assert found.ratio == pytest.approx(1.5**0.5, abs=0.05)
    assert "the law does not describe" in found.warning("curve")
    assert "1.24 times the noise" in found.warning("curve")
    assert misfit_metrics({"curve": found, "other": None})["misfit_ratio_curve"][1] == found.ratio


def test_one_sample_that_is_far_off_does_not_hide_the_others() -> None:
    bow = torch.cos(2.0 * torch.pi * TIME).expand(200, -1).clone()
    bow[0] *= 100.0
    assert left(without_line(noise() + 0.1 * bow)).found


def test_points_that_are_not_seen_and_their_order_do_not_count() -> None:
    residual = without_line(noise())
    whole = left(residual)
    gaps = torch.ones_like(residual)
    gaps[:, 5:9] = 0.0
    spoilt = residual.clone()
    spoilt[:, 5:9] = 1e6
    assert left(spoilt, gaps).ratio == pytest.approx(whole.ratio, abs=0.05)
    generator = torch.Generator().manual_seed(3)
    shuffle = torch.rand(residual.shape, generator=generator).argsort(1)
    again = misfit(
        residual.gather(1, shuffle), torch.ones_like(residual), 2,
        TIME.expand_as(residual).gather(1, shuffle).argsort(1),
    )  # fmt: skip
    assert again is not None
    assert again.ratio == pytest.approx(whole.ratio, rel=1e-12)


def test_too_little_to_say() -> None:
    few = noise()[:, :4]
    assert misfit(few, torch.ones_like(few), 1) is None
    assert misfit(noise(3), torch.ones(3, 40).double(), 1) is None


def test_the_bound_is_reached_by_least_squares_on_a_line() -> None:
    """A check of the yardstick: amplitude alone is linear, and its bound is sigma / |f|."""
    data, truth = circles(samples=8, seed=0)
    limits = bounds(find("damped_oscillator"), data["signal"], truth, NOISE["circles"])
    assert set(limits) == {"frequency", "damping_ratio", "amplitude"}
    amplitude = truth.parameters["amplitude"].values
    law = find("damped_oscillator")
    shape = law.simulate(
        {"time": torch.tensor(data["time"].values)},
        {"amplitude": torch.ones(8).double(),
         **{n: torch.tensor(truth.parameters[n].values) for n in ("frequency", "damping_ratio")}},
    )["displacement"].numpy()  # fmt: skip
    alone = 0.05 / np.sqrt((shape**2).sum(1))
    assert (limits["amplitude"] > alone).all()  # others are unknown as well
    assert (limits["amplitude"] < 2.0 * alone).all()
    assert (limits["amplitude"] / amplitude < 0.1).all()


@pytest.mark.parametrize("dataset", WRONG)
def test_wrong_laws_are_laws(dataset: str) -> None:
    """They fail by their physics, not by their code."""
    from pima_physics.check import check_simulator

    report = check_simulator(find(WRONG[dataset]))
    assert report.passed, str(report)


@pytest.mark.study
@pytest.mark.parametrize("dataset", WRONG)
def test_recovery_and_misfit(dataset: str) -> None:
    right, wrong, corrected = (run(dataset, kind, samples=600, epochs=40, seed=1) for kind in KINDS)
    for parameter in right.parameters:
        # No estimate from one noisy curve can be much better than the bound.
        assert parameter.error <= max(0.03, 1.25 * parameter.floor), parameter
        assert 0.82 <= parameter.coverage <= 0.98, parameter  # 180 samples: +- 2.2 % (1 sigma)
    assert not right.warned
    assert right.misfit_ratio == pytest.approx(1.0, abs=0.05)
    assert wrong.warned
    assert wrong.misfit_ratio > right.misfit_ratio
    assert corrected.discrepancy > 0.0
    assert corrected.misfit_ratio < wrong.misfit_ratio
