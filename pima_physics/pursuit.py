r"""Self-consistent discriminant pursuit: directions along which samples fall into groups.

In a whitened representation x, a direction a is a fixed point of

.. math:: u = a^\top x, \qquad
          g(u) = \sum_k \bar u_k\, p(k \mid u), \qquad
          a \leftarrow \frac{E[x\, g(u)]}{\lVert E[x\, g(u)] \rVert}

with p(k|u) from a one-dimensional mixture of C Gaussians fitted to u and :math:`\bar u_k` its
means: the mixture's own groups are best told apart along the direction that proposed them (for
two groups this is Fisher's discriminant). A binary feature that lies along any direction is such
a fixed point however unbalanced the joint outcomes are; an exclusive-or of two features is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pima_physics.modes import (
    CENTRES,
    Mixture1D,
    fit_mixture,
    histograms,
    multimodality,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Whitening:
    """Affine map to uncorrelated axes of unit variance.

    Attributes
    ----------
    centre : array, shape (feature,)
    basis : array, shape (feature, axis)
        ``(x - centre) @ basis`` is white.
    """

    centre: Array
    basis: Array

    def apply(self, values: Array) -> Array:
        """Whiten values of shape (sample, feature)."""
        return (values - self.centre) @ self.basis


@dataclass(frozen=True)
class Split:
    """A proposed categorical feature: a partition along one direction.

    Attributes
    ----------
    direction : array, shape (axis,)
        Unit vector in the whitened representation.
    mixture : Mixture1D
        With a single projection.
    probability : array, shape (sample, outcome)
    bins : int array, shape (sample,)
        Histogram bin of every sample's projection.
    separation : float
        Smallest distance of neighbouring means in pooled standard deviations.
    evidence : float
        Nats per sample over the best single-mode density.
    """

    direction: Array
    mixture: Mixture1D
    probability: Array
    bins: NDArray[np.int64]
    separation: float
    evidence: float

    @property
    def outcomes(self) -> int:
        """Number of groups."""
        return self.probability.shape[1]

    @property
    def rarest(self) -> float:
        """Share of the smallest group."""
        return float(self.probability.mean(0).min())


def whiten(values: Array, *, tolerance: float = 1e-3) -> Whitening:
    """Whitening of values (sample, feature); axes with next to no variance are left out."""
    centre = values.mean(0)
    scale = values.std(0)
    keep = scale > 1e-6 * max(float(scale.max()), 1e-300)
    scaled = np.where(keep, 1.0 / np.where(keep, scale, 1.0), 0.0)
    covariance = np.atleast_2d(np.cov((values - centre) * scaled, rowvar=False))
    variance, vectors = np.linalg.eigh(covariance)
    use = variance > tolerance * variance.max()
    basis = scaled[:, None] * vectors[:, use] / np.sqrt(variance[use])
    return Whitening(centre, basis)


def pursue(
    white: Array,
    outcomes: int,
    *,
    rng: np.random.Generator,
    starts: int = 80,
    iterations: int = 30,
    keep: int = 16,
) -> list[Split]:
    """Fixed points of the pursuit from many starts, best evidence first.

    Parameters
    ----------
    white : array, shape (sample, axis)
        Whitened representation.
    outcomes : int
        Number of groups along a direction.
    starts : int
        Random directions and differences of cluster centres to start from.
    keep : int
        Fixed points of the highest mixture likelihood whose evidence is worked out.

    Returns
    -------
    list of Split, with distinct directions.
    """
    directions = _starting_directions(white, starts, rng)
    mixture: Mixture1D | None = None
    for _ in range(iterations):
        index, mass = histograms(white @ directions.T)
        if mixture is None:
            mixture = fit_mixture(mass, outcomes, iterations=10)
        else:
            mixture = fit_mixture(mass, outcomes, iterations=5, start=mixture)
        score = np.einsum("skb,sk->sb", mixture.responsibility, mixture.mean)
        g = np.take_along_axis(score, index.T, axis=1)
        new = (g - g.mean(1, keepdims=True)) @ white / len(white)
        norm = np.linalg.norm(new, axis=1, keepdims=True)
        new = np.where(norm > 1e-9, new / np.maximum(norm, 1e-9), directions)
        moved = 1.0 - (new * directions).sum(1)
        directions = new
        if moved.max() < 1e-6:
            break
    assert mixture is not None
    order = mixture.log_likelihood.argsort()[::-1]
    splits = splits_along(white, _distinct_rows(directions[order], keep), outcomes)
    return sorted(splits, key=lambda s: -s.evidence)


def splits_along(white: Array, directions: Array, outcomes: int) -> list[Split]:
    """The partitions along given directions (direction, axis)."""
    index, mass = histograms(white @ directions.T)
    mixtures = fit_mixture(mass, outcomes, iterations=40)
    splits = []
    for j, direction in enumerate(directions):
        mixture = mixtures.take(j)
        probability = mixture.responsibility[0][:, index[:, j]].T
        evidence = multimodality(mass[j], cuts_of(mixture))
        splits.append(
            Split(direction, mixture, probability, index[:, j], _separation(mixture), evidence)
        )
    return splits


def _starting_directions(white: Array, starts: int, rng: np.random.Generator) -> Array:
    """Random directions, and differences between the centres of a coarse clustering."""
    from sklearn.cluster import KMeans

    axes = white.shape[1]
    random = rng.normal(size=(starts, axes))
    if axes > 1 and len(white) >= 50:
        part = white[rng.permutation(len(white))[:2000]]
        seed = int(rng.integers(2**31))
        groups = min(10, len(white) // 5)
        centres = KMeans(groups, n_init=1, random_state=seed).fit(part).cluster_centers_  # pyright: ignore[reportArgumentType]
        first, second = np.triu_indices(groups, 1)
        pairs = (centres[first] - centres[second])[rng.permutation(len(first))[: starts // 2]]
        random[: len(pairs)] = pairs
    return random / np.linalg.norm(random, axis=1, keepdims=True)


def _distinct_rows(directions: Array, most: int, *, cosine: float = 0.999) -> Array:
    """The first directions that do not (up to sign) repeat an earlier one."""
    kept: list[Array] = []
    for a in directions:
        if len(kept) < most and all(abs(a @ b) < cosine for b in kept):
            kept.append(a)
    return np.array(kept)


def _separation(mixture: Mixture1D) -> float:
    mean, std = mixture.mean[0], mixture.std[0]
    pooled = np.sqrt(0.5 * (std[1:] ** 2 + std[:-1] ** 2))
    return float((np.diff(mean) / pooled).min())


def cuts_of(mixture: Mixture1D) -> NDArray[np.int64]:
    """Bins at the valleys between neighbouring means, where the likeliest group changes."""
    label = mixture.responsibility[0].argmax(0)
    cuts = []
    for k, (left, right) in enumerate(zip(mixture.mean[0][:-1], mixture.mean[0][1:], strict=True)):
        between = np.flatnonzero((left < CENTRES) & (right > CENTRES) & (label > k))
        if len(between):
            cuts.append(between[0])
    return np.unique(np.array(cuts, dtype=np.int64))
