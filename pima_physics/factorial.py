r"""A mixture whose components are joint outcomes of several nodes, with additive means.

.. math:: p(x) = \sum_c w_c\, N\big(x;\ \mu_0 + \textstyle\sum_l M_l[n_l(c)],\ \Sigma\big)

Each node moves the data along directions of its own, whatever the other nodes do. That breaks
the symmetry between joint outcomes: an exclusive-or of two nodes has no such direction. The joint
weights w are free, so that dependence between nodes costs nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Factorial:
    """A fitted factorial mixture.

    Attributes
    ----------
    outcomes : tuple of int
    responsibility : array, shape (sample, component)
        Components in C order of the outcomes.
    weight : array, shape (component,)
    mean : array, shape (component, feature)
    covariance : array, shape (feature, feature)
    log_likelihood : float
        Per sample, in nats.
    description_length_gain : float
        Nats per sample gained over one Gaussian, less the cost of parameters and of telling
        each sample's component (integrated completed likelihood).
    """

    outcomes: tuple[int, ...]
    responsibility: Array
    weight: Array
    mean: Array
    covariance: Array
    log_likelihood: float
    description_length_gain: float

    def marginal(self, node: int) -> Array:
        """Outcome probabilities of one node, shape (sample, outcome)."""
        joint = self.responsibility.reshape(-1, *self.outcomes)
        return joint.sum(axis=tuple(a for a in range(1, joint.ndim) if a != node + 1))

    def classify(self, features: Array) -> Array:
        """Responsibilities of other samples, shape (sample, component)."""
        log_joint = _log_density(features, self.mean, self.covariance) + np.log(self.weight)
        return _softmax(log_joint)[0]


def joint_outcomes(outcomes: Sequence[int]) -> NDArray[np.int64]:
    """Outcome of every node in every component, shape (component, node)."""
    return np.array(list(itertools.product(*(range(c) for c in outcomes))), dtype=np.int64)


def product_of(marginals: Sequence[Array]) -> Array:
    """Joint probabilities of independent node probabilities, shape (sample, component)."""
    joint = marginals[0]
    for other in marginals[1:]:
        joint = (joint[:, :, None] * other[:, None, :]).reshape(len(joint), -1)
    return joint


def fit_factorial(
    features: Array, marginals: Sequence[Array], *, iterations: int = 10
) -> Factorial:
    """Expectation maximisation from given node probabilities.

    Parameters
    ----------
    features : array, shape (sample, feature)
    marginals : sequence of array, shape (sample, outcome)
        One per node.
    """
    outcomes = tuple(m.shape[1] for m in marginals)
    design = _design(outcomes)
    samples, dims = features.shape
    second = features.T @ features
    responsibility = product_of(marginals)
    log_likelihood, entropy = 0.0, 0.0
    for step in range(iterations + 1):
        count = responsibility.sum(0)
        weight = (count + 0.5) / (samples + 0.5 * len(count))
        sums = responsibility.T @ features
        gram = design.T @ (count[:, None] * design) + 1e-6 * np.eye(design.shape[1])
        mean = design @ np.linalg.solve(gram, design.T @ sums)
        cross = mean.T @ sums
        scatter = second - cross - cross.T + mean.T @ (count[:, None] * mean)
        covariance = scatter / samples + 1e-4 * np.eye(dims)
        joint = _log_density(features, mean, covariance) + np.log(weight)
        new, total = _softmax(joint)
        log_likelihood = float(total.mean())
        entropy = float(-(new * np.log(new + 1e-300)).sum(1).mean())
        if step < iterations:
            responsibility = new
    responsibility = new
    free = (design.shape[1] - 1) * dims + len(weight) - 1
    null = _gaussian_log_likelihood(features)
    gain = log_likelihood - entropy - null - 0.5 * np.log(samples) * free / samples
    return Factorial(outcomes, responsibility, weight, mean, covariance, log_likelihood, gain)


def own_axes(mixture: Factorial) -> list[Array]:
    r"""Directions along which each node alone moves the mean, blind to the other nodes.

    Generalised least squares: :math:`G = \Sigma^{-1} M (M^\top \Sigma^{-1} M)^{-1}`; the score
    :math:`x^\top G` has the indicator contrast of each node as its mean.

    Returns
    -------
    list of array, shape (feature, outcomes - 1)
    """
    design = _design(mixture.outcomes)
    effects = np.linalg.lstsq(design, mixture.mean, rcond=None)[0][1:].T
    weighted = np.linalg.solve(mixture.covariance, effects)
    gram = effects.T @ weighted + 1e-8 * np.eye(effects.shape[1])
    contrast = np.linalg.solve(gram.T, weighted.T).T
    ends = np.cumsum([c - 1 for c in mixture.outcomes])
    return [np.asarray(part, dtype=float) for part in np.split(contrast, ends[:-1], axis=1)]


def _design(outcomes: Sequence[int]) -> Array:
    joint = joint_outcomes(outcomes)
    columns = [np.ones(len(joint))]
    for node, count in enumerate(outcomes):
        columns += [(joint[:, node] == k).astype(float) for k in range(1, count)]
    return np.stack(columns, axis=1)


def _log_density(features: Array, mean: Array, covariance: Array) -> Array:
    """Log density of every sample under every component, (sample, component), by matmuls."""
    factor = np.linalg.cholesky(covariance)
    x = np.linalg.solve(factor, features.T).T
    m = np.linalg.solve(factor, mean.T).T
    square = (x**2).sum(1)[:, None] - 2.0 * x @ m.T + (m**2).sum(1)
    constant = 2.0 * np.log(np.diag(factor)).sum() + features.shape[1] * np.log(2.0 * np.pi)
    return -0.5 * (square + constant)


def _gaussian_log_likelihood(features: Array) -> float:
    """Per sample, of one Gaussian with full covariance, less the cost of its mean."""
    dims = features.shape[1]
    covariance = np.atleast_2d(np.cov(features, rowvar=False, bias=True)) + 1e-4 * np.eye(dims)
    return float(-0.5 * (np.linalg.slogdet(covariance)[1] + dims * (1.0 + np.log(2.0 * np.pi))))


def _softmax(log_joint: Array) -> tuple[Array, Array]:
    top = log_joint.max(1, keepdims=True)
    p = np.exp(log_joint - top)
    total = p.sum(1, keepdims=True)
    return p / total, (np.log(total) + top)[:, 0]
