"""One-dimensional groups: batched mixtures on histograms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Projections are standardised; beyond five standard deviations everything shares the outer bins.
BINS = 192
REACH = 5.0
EDGES = np.linspace(-REACH, REACH, BINS + 1)
CENTRES = 0.5 * (EDGES[1:] + EDGES[:-1])
WIDTH = CENTRES[1] - CENTRES[0]
LOG_TWO_PI = float(np.log(2.0 * np.pi))
# Log odds beyond this are certainties, and their exponential still a number.
LARGEST = 500.0
# One, the centre and its square, by bin.
POWERS = np.stack([np.ones(BINS), CENTRES, CENTRES**2], axis=1)
# A group's spread leans on the common one as if it had this share of the samples more. Without, it
# shrinks onto one bin or grows over the tails of all others, and outliers count as a group.
LEANING = 0.2
# Narrower components than two bins cannot be told from one bin.
MIN_STD = 2.0 * WIDTH

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mixture1D:
    """Mixtures of k Gaussians, one per projection, sorted by mean.

    Attributes
    ----------
    weight, mean, std : array, shape (projection, k)
    responsibility : array, shape (projection, k, bin)
    log_likelihood : array, shape (projection,)
        Per sample, in nats, of the standardised projection.
    """

    weight: Array
    mean: Array
    std: Array
    responsibility: Array
    log_likelihood: Array

    def take(self, j: int | NDArray[np.int64]) -> Mixture1D:
        """The mixtures of some projections; of a single one, still with a projection axis."""
        return Mixture1D(*(x[np.atleast_1d(j)] for x in vars(self).values()))


def histograms(projections: Array) -> tuple[NDArray[np.int64], Array]:
    """Bin standardised projections.

    Parameters
    ----------
    projections : array, shape (sample, projection)

    Returns
    -------
    index : int array, shape (sample, projection)
    mass : array, shape (projection, bin)
        Sums to one per projection.
    """
    samples, count = projections.shape
    index = np.clip(((projections + REACH) / WIDTH).astype(np.int64), 0, BINS - 1)
    flat = (index + BINS * np.arange(count)[None]).ravel()
    mass = np.bincount(flat, minlength=BINS * count).reshape(count, BINS) / samples
    return index, mass


def fit_mixture(
    mass: Array, components: int, *, iterations: int = 60, start: Mixture1D | None = None
) -> Mixture1D:
    """Expectation maximisation on histograms, from the best of several quantile starts.

    Cost depends on the number of bins, not on the number of samples.

    Parameters
    ----------
    mass : array, shape (projection, bin)
    components : int
    start : Mixture1D, optional
        Go on from here instead of from the quantile starts.
    """
    if start is not None:
        return _iterate(mass, start.weight, start.mean, start.std, iterations)
    cumulative = mass.cumsum(1)
    quantiles = np.array(_quantile_starts(components))[:, None, :, None]
    place = (cumulative[None, :, None, :] < quantiles).sum(3).clip(max=BINS - 1)
    mean = (CENTRES[place] + 1e-3 * np.arange(components)).reshape(-1, components)
    std = np.full_like(mean, 0.8 / components + 0.1)
    weight = np.full_like(mean, 1.0 / components)
    # All starts of all projections at once: few large steps instead of many small ones.
    found = _iterate(np.tile(mass, (len(quantiles), 1)), weight, mean, std, iterations)
    best = found.log_likelihood.reshape(len(quantiles), -1).argmax(0)
    return _sorted(found.take(best * len(mass) + np.arange(len(mass))))


def _quantile_starts(k: int) -> list[Array]:
    """Quantiles at which the components start: balanced, and with a rare first or last group."""
    even = (np.arange(k) + 0.5) / k
    starts = [even]
    for share in (0.1, 0.3):
        rest = share + (1.0 - share) * (np.arange(k - 1) + 0.5) / (k - 1)
        starts += [np.r_[0.5 * share, rest], np.r_[1.0 - rest[::-1], 1.0 - 0.5 * share]]
    if k > 2:
        spread = 0.5 + 0.5 * np.linspace(-0.96, 0.96, k)
        starts.append(spread)
    return starts


def _iterate(mass: Array, weight: Array, mean: Array, std: Array, iterations: int) -> Mixture1D:
    for _ in range(iterations):
        odds, total = _odds(_log_joint(weight, mean, std))
        shared = odds * (mass / total)[:, None]
        moments = (shared.reshape(-1, BINS) @ POWERS).reshape(*mean.shape, 3)
        count = moments[..., 0] + 1e-12
        weight = count / count.sum(1, keepdims=True)
        mean = moments[..., 1] / count
        variance = (moments[..., 2] / count - mean**2).clip(min=0.0)
        pooled = (variance * weight).sum(1, keepdims=True)
        std = np.sqrt((variance * count + LEANING * pooled) / (count + LEANING)).clip(min=MIN_STD)
    joint = _log_joint(weight, mean, std)
    odds, total = _odds(joint)
    # Where odds are clipped another component has nearly all of the density.
    log_density = np.maximum(joint[:, 0] + np.log(total), joint.max(1))
    return Mixture1D(weight, mean, std, odds / total[:, None], (mass * log_density).sum(1))


def _log_joint(weight: Array, mean: Array, std: Array) -> Array:
    """Log of weight times density, a polynomial of the bin's centre, (projection, k, bin)."""
    precision = 1.0 / std**2
    constant = np.log(weight + 1e-12) - np.log(std) - 0.5 * (mean**2 * precision + LOG_TWO_PI)
    terms = np.stack([constant, mean * precision, -0.5 * precision], axis=-1)
    return (terms.reshape(-1, 3) @ POWERS.T).reshape(*mean.shape, BINS)


def _odds(joint: Array) -> tuple[Array, Array]:
    """Odds of every component against the first, and their sum over components.

    One exponential fewer than components: they are most of the time.
    """
    odds = np.ones_like(joint)
    relative = joint[:, 1:] - joint[:, :1]
    np.exp(np.minimum(relative, LARGEST, out=relative), out=odds[:, 1:])
    return odds, odds.sum(1)


def _sorted(m: Mixture1D) -> Mixture1D:
    order = m.mean.argsort(1)
    take = lambda x: np.take_along_axis(x, order.reshape(*order.shape, *[1] * (x.ndim - 2)), 1)  # noqa: E731
    return Mixture1D(
        take(m.weight), take(m.mean), take(m.std), take(m.responsibility), m.log_likelihood
    )


def full_cuts(mixture: Mixture1D, outcomes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The projections in which all groups part, and their cuts (projection, cut)."""
    cuts = all_cuts(mixture)
    some = [j for j, c in enumerate(cuts) if len(c) == outcomes - 1]
    found = np.array([cuts[j] for j in some], dtype=np.int64).reshape(len(some), outcomes - 1)
    return np.array(some, dtype=np.int64), found


def all_cuts(mixture: Mixture1D) -> list[NDArray[np.int64]]:
    """Bins at the valleys between neighbouring means, where the likeliest group changes."""
    mean, label = mixture.mean[..., None], mixture.responsibility.argmax(1)[:, None]
    beyond = label > np.arange(mean.shape[1] - 1)[:, None]
    between = (mean[:, :-1] < CENTRES) & (mean[:, 1:] > CENTRES) & beyond
    first, parted = between.argmax(2), between.any(2)
    return [np.unique(f[p]) for f, p in zip(first, parted, strict=True)]
