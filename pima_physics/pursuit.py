r"""Blind discriminant pursuit: directions along which samples fall into groups of their own.

In a whitened representation x, let g be a score of a proposed partition and O the outcome
probabilities of other, known partitions. Regression :math:`x = B_g g + B_O O + e`, with residual
covariance S, says how each of them moves the data. The direction

.. math:: a \propto S^{-1} B\,(B^\top S^{-1} B)^{-1} e_g, \qquad B = (B_g, B_O)

answers to the proposed partition, is blind to the others, and has the least noise of all such
directions (generalised least squares; the linearly constrained minimum-variance filter of Frost
1972). The pursuit iterates

.. math:: u = a^\top x, \qquad g(u) = \sum_k \bar u_k\, p(k \mid u), \qquad a \leftarrow a(g, O)

with p(k|u) from a one-dimensional mixture of C Gaussians fitted to u and :math:`\bar u_k` its
means. Without other partitions its fixed points are Fisher's discriminants of their own groups.
A feature that lies along any direction is such a fixed point, however unbalanced the joint
outcomes are; an exclusive-or of two features is not. A feature that depends on others (the root
of a fork) often is one only when the pursuit is blind to these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pima_physics.modes import BINS, Mixture1D, all_cuts, fit_mixture, histograms
from pima_physics.modes_evidence import multimodality_of_all

Array = NDArray[np.float64]

# Keeps the regressions solvable where a partition is constant or follows from the others.
RIDGE = 1e-6
NOISE_FLOOR = 1e-3
# Cosines of directions that are the same, and of those that go the same way: every few steps only
# the likeliest of them goes on.
REPEATED, ALIKE, MERGING = 0.999, 0.98, 6
# Steps of fitting the groups along each direction, from those of the step before.
ITERATIONS = 4


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


def blind_axes(white: Array, scores: Array, others: Array) -> Array:
    """Directions that answer to each score and are blind to the other partitions.

    Parameters
    ----------
    white : array, shape (sample, axis)
    scores : array, shape (sample, direction)
    others : array, shape (sample, outcome)
        Outcome probabilities of the other partitions, one column of each left out.

    Returns
    -------
    array, shape (direction, axis)
        Unit vectors.
    """
    effects, cross = _effects(white, scores, others)
    axes, size = white.shape[1], effects.shape[1]
    residual = np.eye(axes) - np.swapaxes(effects, 1, 2) @ cross
    residual = 0.5 * (residual + np.swapaxes(residual, 1, 2)) + NOISE_FLOOR * np.eye(axes)
    weighted = np.linalg.solve(residual, np.swapaxes(effects, 1, 2))
    first = np.zeros((len(effects), size, 1))
    first[:, 0] = 1.0
    found = (weighted @ np.linalg.solve(_with_ridge(effects @ weighted), first))[..., 0]
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def known_effects(white: Array, scores: Array, others: Array) -> Array:
    """What other partitions do to the data beside each score, shape (direction, outcome, axis)."""
    return _effects(white, scores, others)[0][:, 1:]


def _effects(white: Array, scores: Array, others: Array) -> tuple[Array, Array]:
    """Regression on each score and the other partitions: effects, and products with the data."""
    samples, axes = white.shape
    g, o = scores - scores.mean(0), others - others.mean(0)
    size = 1 + o.shape[1]
    gram = np.empty((scores.shape[1], size, size))
    gram[:, 0, 0] = (g * g).mean(0)
    gram[:, 0, 1:] = gram[:, 1:, 0] = g.T @ o / samples
    gram[:, 1:, 1:] = o.T @ o / samples
    cross = np.empty((scores.shape[1], size, axes))
    cross[:, 0] = g.T @ white / samples
    cross[:, 1:] = o.T @ white / samples
    return np.asarray(np.linalg.solve(_with_ridge(gram), cross), dtype=np.float64), cross


def _with_ridge(matrices: Array) -> Array:
    size = matrices.shape[1]
    typical = np.trace(matrices, axis1=1, axis2=2) / size
    return matrices + (RIDGE * typical + 1e-12)[:, None, None] * np.eye(size)


def within_cells(probability: Array, weight: Array, cells: NDArray[np.int64]) -> Array:
    """Outcome probabilities where each cell of the other partitions has weights of its own.

    A partition that depends on others has a rare outcome in some of their cells: with the same
    weights everywhere the errors there outnumber it, and pull its direction towards the others.

    Parameters
    ----------
    probability : array, shape (sample, outcome)
        With the weights of all samples.
    weight : array, shape (outcome,)
    cells : int array, shape (sample,)
        None of them empty.
    """
    counts = np.bincount(cells)
    own = np.stack([np.bincount(cells, p) for p in probability.T], axis=1) / counts[:, None]
    found = probability * _tilt(own, weight)[cells]
    return found / np.maximum(found.sum(1, keepdims=True), 1e-300)


def _tilt(own: Array, weight: Array) -> Array:
    """Factors from common weights to those of a cell.

    Half the common weights: those of a small cell are uncertain, and a cell's own alone would let
    the other partitions decide.
    """
    return 0.5 + 0.5 * own / np.maximum(weight, 1e-12)


def masses_in_cells(
    cells: NDArray[np.int64], bins: NDArray[np.int64]
) -> tuple[Array, NDArray[np.int64]]:
    """Histograms of the samples of every cell along some directions.

    Parameters
    ----------
    cells : int array, shape (sample,)
        None of them empty.
    bins : int array, shape (sample, direction)

    Returns
    -------
    mass : array, shape (cell, direction, bin)
    counts : int array, shape (cell,)
    """
    counts, lines = np.bincount(cells), bins.shape[1]
    flat = ((cells[:, None] * lines + np.arange(lines)) * BINS + bins).ravel()
    found = np.bincount(flat, minlength=len(counts) * lines * BINS)
    return found.reshape(len(counts), lines, BINS) / counts[:, None, None], counts


def pursue(
    white: Array,
    others: Array,
    outcomes: int,
    start: Array,
    *,
    cells: NDArray[np.int64] | None = None,
    steps: int = 12,
) -> Array:
    """Fixed points of the pursuit, those of the likeliest mixtures first.

    Parameters
    ----------
    white : array, shape (sample, axis)
    others : array, shape (sample, outcome)
        What the directions shall be blind to; no columns for nothing.
    outcomes : int
        Number of groups along a direction.
    start : array, shape (direction, axis)
    cells : int array, shape (sample,), optional
        Joint outcome of the other partitions.

    Returns
    -------
    array, shape (at most direction, axis)
        Distinct unit vectors.
    """
    directions = start
    mixture: Mixture1D | None = None
    for step in range(steps):
        if mixture is not None and step % MERGING == 0:
            kept = _likeliest(directions, mixture, ALIKE)
            directions, mixture = directions[kept], mixture.take(kept)
        index, mass = histograms(white @ directions.T)
        mixture = fit_mixture(mass, outcomes, iterations=ITERATIONS, start=mixture)
        directions = blind_axes(white, group_scores(mixture, index, cells), others)
    assert mixture is not None
    return directions[_likeliest(directions, mixture, REPEATED)]


def _likeliest(directions: Array, mixture: Mixture1D, cosine: float) -> NDArray[np.int64]:
    """Places of the directions that do not (up to sign) repeat a likelier one, likeliest first."""
    same = np.abs(directions @ directions.T) >= cosine
    repeated = np.zeros(len(directions), dtype=bool)
    kept = []
    for i in mixture.log_likelihood.argsort()[::-1]:
        if not repeated[i]:
            kept.append(i)
            repeated |= same[i]
    return np.array(kept, dtype=np.int64)


def group_scores(
    mixture: Mixture1D, index: NDArray[np.int64], cells: NDArray[np.int64] | None
) -> Array:
    """Expected group means, shape (sample, direction), `within_cells` (sample,) of the others.

    They depend on a sample's cell and bins (sample, direction) alone, fewer than the samples.
    """
    if cells is None or not cells.any():
        return expected_means(mixture, index)
    masses = masses_in_cells(cells, index)[0].transpose(1, 0, 2)
    own = masses @ mixture.responsibility.transpose(0, 2, 1)
    tilt = _tilt(own, mixture.weight[:, None])
    total = tilt @ mixture.responsibility
    score = (tilt * mixture.mean[:, None]) @ mixture.responsibility / np.maximum(total, 1e-300)
    return score[np.arange(len(score)), cells[:, None], index]


def expected_means(mixture: Mixture1D, index: NDArray[np.int64]) -> Array:
    """Expected group mean of samples in bins (sample, direction)."""
    score = np.einsum("skb,sk->sb", mixture.responsibility, mixture.mean)
    return np.take_along_axis(score, index.T, axis=1).T


def starting_directions(white: Array, starts: int, rng: np.random.Generator) -> Array:
    """Random directions, and differences between the centres of a coarse clustering."""
    from sklearn.cluster import KMeans

    axes = white.shape[1]
    if axes == 1:
        return np.ones((1, 1))
    random = rng.normal(size=(starts, axes))
    if len(white) >= 50:
        part = white[rng.permutation(len(white))[:2000]]
        seed = int(rng.integers(2**31))
        groups = min(10, len(white) // 5)
        centres = KMeans(groups, n_init=1, random_state=seed).fit(part).cluster_centers_  # pyright: ignore[reportArgumentType]
        first, second = np.triu_indices(groups, 1)
        pairs = (centres[first] - centres[second])[rng.permutation(len(first))[: starts // 2]]
        random[: len(pairs)] = pairs
    return random / np.linalg.norm(random, axis=1, keepdims=True)


def evidence_along(white: Array, directions: Array, outcomes: int) -> Array:
    """Evidence of modes along every direction, in nats per sample."""
    _, mass = histograms(white @ directions.T)
    return multimodality_of_all(mass, all_cuts(fit_mixture(mass, outcomes, iterations=15)))
