"""A mixture taken out of a local optimum: two groups are merged and a third is split.

References
----------
N. Ueda, R. Nakano, Z. Ghahramani, G. E. Hinton, "SMEM algorithm for mixture models", Neural
Computation 12 (2000) 2109.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Fit = Callable[[Labels, int], "GaussianMixture | None"]

# Pairs that are merged and axes along which a third group is cut, in every round.
PAIRS, AXES = 6, 2
# Steps after which moves are compared, moves that then go on, their steps, and rounds at most.
TRIAL_STEPS, GO_ON, STEPS, ROUNDS = 10, 3, 100, 12
# Improvement of the Bayesian information criterion below which a move is none.
LEAST = 1.0


def moved(x: Array, mixture: GaussianMixture, fit: Fit) -> GaussianMixture:
    """The mixture after all moves that improve its Bayesian information criterion.

    Parameters
    ----------
    x : array, shape (sample, axis)
    fit : callable
        Partition of the samples and number of steps -> mixture, or None where a group is too
        small for its covariance.
    """
    best, least = mixture, float(mixture.bic(x))
    for _ in range(ROUNDS):
        trials = [m for label in moves(x, best) if (m := fit(label, TRIAL_STEPS)) is not None]
        trials.sort(key=lambda m: float(m.bic(x)))
        ends = [m for t in trials[:GO_ON] if (m := fit(t.predict(x), STEPS)) is not None]
        scores = [float(m.bic(x)) for m in ends]
        if not scores or min(scores) > least - LEAST:
            break
        least = min(scores)
        best = ends[scores.index(least)]
    return best


def moves(x: Array, mixture: GaussianMixture) -> Iterator[Labels]:
    """Partitions with two groups that overlap merged, and another cut in halves instead."""
    own = mixture.predict_proba(x)
    label = own.argmax(1)
    halves = list(_halves(x, label, own.shape[1]))
    for a, b in _overlapping(own):
        for group, half in halves:
            if group not in (a, b):
                new = np.where(label == b, a, label)
                new[half] = b
                yield new


def _overlapping(own: Array) -> list[tuple[int, int]]:
    """Pairs of groups by the cosine of their responsibilities, the most alike first."""
    length = np.maximum(np.sqrt((own**2).sum(0)), 1e-300)
    alike = (own / length).T @ (own / length)
    first, second = np.triu_indices(own.shape[1], 1)
    order = np.argsort(-alike[first, second], kind="stable")[:PAIRS]
    return [(int(first[i]), int(second[i])) for i in order]


def _halves(x: Array, label: Labels, groups: int) -> Iterator[tuple[int, Labels]]:
    """Group and half of its samples, along the axes in which it is widest against the others."""
    filled = [k for k in range(groups) if (label == k).any()]
    inside = x.copy()
    for k in filled:
        inside[label == k] -= x[label == k].mean(0)
    values, vectors = np.linalg.eigh(inside.T @ inside / len(x))
    white = inside @ (vectors / np.sqrt(np.maximum(values, 1e-12 * values.max())))
    for k in filled:
        part = np.flatnonzero(label == k)
        axes = np.linalg.svd(white[part], full_matrices=False)[2][:AXES]
        for along in (white[part] @ axes.T).T:
            yield k, part[along > np.median(along)]
