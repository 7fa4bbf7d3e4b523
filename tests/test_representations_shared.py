"""What several latents have in common."""

from __future__ import annotations

import numpy as np
import pytest

from pima_physics.representations_shared import COMMON, shared_latent

SAMPLES = 2000


def latents(seed: int, own: float, count: int = 2) -> tuple[np.ndarray, list[np.ndarray]]:
    """Three factors, and latents: turned, with so much of their own, and one axis of noise."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(SAMPLES, 3))
    made = []
    for _ in range(count):
        noisy = factors + own * rng.normal(size=factors.shape)
        values = np.concatenate([noisy, rng.normal(size=(SAMPLES, 1))], axis=1)
        turned = np.linalg.qr(rng.normal(size=(4, 4)))[0] * rng.uniform(0.5, 2.0, 4)
        made.append(values @ turned + 5.0)
    return factors, made


def explained(factors: np.ndarray, values: np.ndarray) -> float:
    """The least share of a factor's variance that is linear in some values."""
    design = np.c_[np.ones(len(values)), values]
    rest = factors - design @ np.linalg.lstsq(design, factors, rcond=None)[0]
    return float(1.0 - (rest.var(0) / factors.var(0)).max())


@pytest.mark.parametrize("count", [2, 3])
def test_what_all_know_is_kept_and_what_each_adds_is_left_out(count: int) -> None:
    factors, each = latents(0, 0.3, count)
    common = shared_latent(each, np.ones(SAMPLES, dtype=bool))
    assert common.shape == (SAMPLES, 3)
    # The noise of several is averaged: more than any of them knows.
    assert explained(factors, common) > max(explained(factors, z) for z in each) + 0.01


def test_one_alone_stays_as_it_is() -> None:
    _, (one, _) = latents(1, 0.1)
    assert shared_latent([one], np.ones(SAMPLES, dtype=bool)) is one


def test_where_nothing_is_common_one_axis_is_left() -> None:
    rng = np.random.default_rng(2)
    each = [rng.normal(size=(SAMPLES, 4)) for _ in range(2)]
    assert shared_latent(each, np.ones(SAMPLES, dtype=bool)).shape == (SAMPLES, 1)


@pytest.mark.parametrize(("own", "axes"), [(0.6, 3), (1.0, 1)])
def test_an_axis_is_common_from_a_correlation_on(own: float, axes: int) -> None:
    """The correlation is 1 / (1 + own^2): .74 and .5."""
    assert 1.0 / 2.0 < COMMON < 1.0 / 1.36
    _, each = latents(3, own)
    assert shared_latent(each, np.ones(SAMPLES, dtype=bool)).shape[1] == axes


def test_samples_that_do_not_count_are_projected_only() -> None:
    _, each = latents(4, 0.3)
    present = np.arange(SAMPLES) < SAMPLES // 2
    strange = [np.where(present[:, None], z, 100.0 * z) for z in each]
    common, other = (shared_latent(pair, present) for pair in (each, strange))
    assert np.allclose(common[present], other[present])
    assert np.isfinite(other).all() and other.shape == common.shape
