r"""Groups around prototypes, in the metric of the likelihood.

For a single node the model's own marginal is a mixture with one prototype per outcome,

.. math:: p(x \mid c) = \prod_m \prod_t N(x_{mt};\ f_{cm}(t),\ \sigma_m^2)

over the observed entries, with one noise variance per modality. Fitting it directly needs no
covariance between features, which few samples could not tell, and takes gaps and absent
modalities as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pima_physics.modes import histograms
from pima_physics.modes_evidence import multimodality

Array = NDArray[np.float64]

# Each group needs this many samples; with one, noise itself is a group.
FEWEST = 2
MIN_VARIANCE = 1e-6
# What one cut shows by chance, in nats over all samples; see evidence.null_evidence.
CHANCE_NATS = 4.0


@dataclass(frozen=True)
class Block:
    """One modality, flattened.

    Attributes
    ----------
    values, mask : array, shape (sample, feature)
        Values are zero where the mask is.
    """

    values: Array
    mask: Array

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Block:
        """Some samples."""
        return Block(self.values[index], self.mask[index])


@dataclass(frozen=True)
class Partition:
    """A fitted prototype mixture.

    Attributes
    ----------
    label : int array, shape (sample,)
    log_likelihood : float
        Of the data under the groups, up to a constant, in nats.
    """

    label: NDArray[np.int64]
    log_likelihood: float


def partition(
    blocks: Sequence[Block],
    groups: int,
    *,
    rng: np.random.Generator,
    starts: int = 100,
    iterations: int = 40,
) -> Partition | None:
    """Best of many starts of classification expectation maximisation (Celeux, Govaert 1992).

    Returns
    -------
    Partition or None
        None where no start ends with at least two samples in every group.
    """
    squares = [((b.values**2).sum(1), b.mask.sum()) for b in blocks]
    best: Partition | None = None
    size = len(blocks[0].values)
    for _ in range(starts):
        label = np.full(size, -1)
        prototypes = _seeds(blocks, groups, rng)
        variance = np.ones(len(blocks))
        for _ in range(iterations):
            both = zip(blocks, prototypes, squares, strict=True)
            distance = np.stack([_distances(b, p, s) for b, p, (s, _) in both])
            new = (distance / variance[:, None, None]).sum(0).argmin(1)
            own = distance[:, np.arange(size), new].sum(1)
            counts = np.array([n for _, n in squares])
            variance = np.maximum(own / counts, MIN_VARIANCE)
            if (new == label).all():
                break
            label = new
            prototypes = [
                means_by_group(b, label, p) for b, p in zip(blocks, prototypes, strict=True)
            ]
        value = float(-0.5 * (counts * np.log(variance)).sum())
        full = np.bincount(label, minlength=groups).min() >= FEWEST
        if full and (best is None or value > best.log_likelihood):
            best = Partition(label, value)
    return best


def _seeds(blocks: Sequence[Block], groups: int, rng: np.random.Generator) -> list[Array]:
    """Random samples as prototypes; what they lack is the mean."""
    chosen = rng.choice(len(blocks[0].values), groups, replace=False)
    seeds = []
    for block in blocks:
        mean = block.values.sum(0) / np.maximum(block.mask.sum(0), 1)
        seeds.append(np.where(block.mask[chosen] > 0, block.values[chosen], mean))
    return seeds


def _distances(block: Block, prototypes: Array, square: Array) -> Array:
    """Squared distances over the observed entries, shape (sample, group), by matmuls."""
    cross = block.values @ prototypes.T
    return np.maximum(square[:, None] - 2.0 * cross + block.mask @ (prototypes**2).T, 0.0)


def means_by_group(block: Block, label: NDArray[np.int64], old: Array) -> Array:
    """Mean of every group over the observed entries; unobserved ones keep the old value."""
    member = (label == np.arange(len(old))[:, None]).astype(float)
    weight = member @ block.mask
    return np.where(weight > 0, member @ block.values / np.maximum(weight, 1e-12), old)


def nearest(blocks: Sequence[Block], label: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """Group of every sample by its nearest prototype.

    Parameters
    ----------
    label : int array, shape (sample,)
        Groups of the samples that make the prototypes, -1 for the others.
    """
    known = label >= 0
    distance = np.zeros((len(label), groups))
    for block in blocks:
        own = block.take(known)
        prototypes = means_by_group(own, label[known], np.zeros((groups, own.values.shape[1])))
        each = _distances(block, prototypes, (block.values**2).sum(1))
        within = each[known, label[known]].sum() / max(own.mask.sum(), 1.0)
        distance += each / max(float(within), MIN_VARIANCE)
    return distance.argmin(1)


def partition_evidence(blocks: Sequence[Block], label: NDArray[np.int64]) -> float:
    """Nats per sample for modes between groups, summed over the cuts that tell them apart.

    Every pair of groups is projected on the difference of its prototypes. The pairs of the
    minimum spanning tree are the necessary cuts: each group against those nearest to it.
    """
    from scipy.sparse.csgraph import minimum_spanning_tree

    return float(minimum_spanning_tree(np.maximum(_pairs(blocks, label), 1e-12)).sum())


def least_evidence(blocks: Sequence[Block], label: NDArray[np.int64]) -> float:
    """Nats, over all samples, by which the two closest groups differ more than chance allows.

    The chance that any of several pairs shows so much is their number times that of one.
    """
    pairs = _pairs(blocks, label)[np.tril_indices(int(label.max()) + 1, -1)]
    return float(pairs.min() * len(label) - np.log(len(pairs)))


def _pairs(blocks: Sequence[Block], label: NDArray[np.int64]) -> Array:
    """Evidence of the cut between every two groups, below the diagonal."""
    groups = int(label.max()) + 1
    weights = np.zeros((groups, groups))
    for a in range(groups):
        for b in range(a):
            weights[a, b] = _pair_evidence(blocks, label, a, b)
    return weights


def _pair_evidence(blocks: Sequence[Block], label: NDArray[np.int64], a: int, b: int) -> float:
    """Evidence of one cut, over all samples, less what chance shows."""
    either = np.flatnonzero((label == a) | (label == b))
    u = np.zeros(len(either))
    for block in blocks:
        part = block.take(either)
        which = np.where(label[either] == a, 0, 1)
        first, second = means_by_group(part, which, np.zeros((2, part.values.shape[1])))
        contrast = second - first
        norm = (part.mask * contrast**2).sum(1)
        centred = (part.values - part.mask * 0.5 * (first + second)) @ contrast
        # +-1 at the prototypes whatever is observed; absent modalities say nothing.
        u += np.where(norm > 0, 2.0 * centred / np.maximum(norm, 1e-300), 0.0)
    spread = u.std()
    if spread == 0.0:
        return 0.0
    standard = (u - u.mean()) / spread
    mass = histograms(standard[:, None])[1]
    is_b = label[either] == b
    boundary = 0.5 * (standard[~is_b].max() + standard[is_b].min())
    cut = histograms(np.array([[boundary]]))[0]
    gain = float(multimodality(mass, cut)[0]) * len(either) - CHANCE_NATS
    return max(gain, 0.0) / len(label)
