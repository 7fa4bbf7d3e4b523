"""How clearly the groups of one partition are apart, in any number of directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pima_physics.modes import BINS, histograms
from pima_physics.modes_evidence import multimodality
from pima_physics.nodesets import CHANCE_NATS
from pima_physics.prototypes import Block, partition_evidence

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

RIDGE = 1e-3
# Samples that a cell needs to show a valley, and bins around its middle where that may lie.
SMALLEST_CELL, NEAR = 20, 3
TINY, UNCONNECTED = 1e-9, 1e9


@dataclass(frozen=True)
class Between:
    """How clearly groups are apart.

    Attributes
    ----------
    nats : float
        For modes, over all samples; 0 for any log-concave density, however it is cut.
    weakest, seen : float
        As many times those of the weakest cut, and the samples that it parts, as there are cuts.
    apart : float
        Smallest Mahalanobis distance of two means.
    contrast : float
        Nats per sample for modes in unions of two groups. Where groups lie inside one another it
        is more than chance shows: it ranks partitions, it proves none.
    """

    nats: float
    weakest: float
    seen: float
    apart: float
    contrast: float


NOTHING = Between(0.0, 0.0, 0.0, 0.0, 0.0)


def evidence_between(x: Array, label: Labels, groups: int) -> Between:
    """Evidence of modes between groups.

    Samples are whitened by the pooled covariance of the groups, where the difference of two means
    is Fisher's discriminant. The samples whose two nearest means are the same two lie in a convex
    cell (of the Voronoi diagram of order two): a log-concave density, restricted to it, has one
    mode along any direction. The pairs of the minimum spanning tree are the necessary cuts.
    """
    from scipy.sparse.csgraph import minimum_spanning_tree

    if np.bincount(label, minlength=groups).min() < 2:
        return NOTHING
    means = np.stack([x[label == k].mean(0) for k in range(groups)])
    inside = x - means[label]
    pooled = inside.T @ inside / len(x) + RIDGE * np.eye(x.shape[1])
    root = np.linalg.cholesky(np.linalg.inv(pooled))
    white, centres = x @ root, means @ root
    square = (white**2).sum(1)[:, None] - 2.0 * white @ centres.T + (centres**2).sum(1)
    nearest = np.sort(square.argsort(1)[:, :2], axis=1)
    weights, sizes = np.zeros((groups, groups)), np.zeros((groups, groups))
    for b in range(groups):
        for a in range(b):
            cell = white[(nearest == (a, b)).all(1)]
            far = len(cell) < SMALLEST_CELL
            nats = np.inf if far else _cut_nats(cell, centres[a], centres[b])
            weights[a, b] = min(max(nats, TINY), UNCONNECTED)
            sizes[a, b] = len(cell)
    tree = minimum_spanning_tree(weights).toarray()
    cut = (tree > 0.0) & (tree < UNCONNECTED)
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    apart = float(distance[np.triu_indices(groups, 1)].min())
    contrast = partition_evidence([Block(white, np.ones_like(white))], label)
    if not cut.any():
        return Between(0.0, 0.0, 0.0, apart, contrast)
    least = tree[cut].argmin()
    weakest, seen = cut.sum() * tree[cut][least], cut.sum() * sizes[cut][least]
    return Between(float(tree[cut].sum()), float(weakest), float(seen), apart, contrast)


def _cut_nats(cell: Array, first: Array, second: Array) -> float:
    """Evidence of a valley near the middle between two means, less what chance shows."""
    direction = second - first
    along = cell @ direction
    spread = max(float(along.std()), 1e-300)
    middle = (0.5 * float((first + second) @ direction) - float(along.mean())) / spread
    mass = histograms((along[:, None] - along.mean()) / spread)[1]
    at = int(histograms(np.array([[middle]]))[0][0, 0])
    cuts = np.arange(max(at - NEAR, 1), min(at + NEAR + 1, BINS))[:, None]
    best = multimodality(np.repeat(mass, len(cuts), axis=0), cuts).max(initial=0.0)
    return float(best) * len(cell) - CHANCE_NATS
