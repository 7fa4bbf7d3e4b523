"""Discovery of one node by itself: the groups around prototypes, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pima_physics.dataset import Data
from pima_physics.evidence import STABLE, Finding
from pima_physics.matching import matched_share
from pima_physics.prototypes import Block, nearest, partition, partition_evidence
from pima_physics.representations import without_known
from pima_physics.representations_regrid import on_one_grid

Array = NDArray[np.float64]

# Below this many samples a covariance between features is mostly noise, and so are directions
# found with its help.
ENOUGH_TO_WHITEN = 200
NULL_DRAWS, BOOTSTRAPS = 19, 5
# Samples of a featureless or bootstrap set, at most.
JUDGED = 1500
NULL_AXES = 20
# What a hard partition leaves open: its own error rate, as a prior guess.
DOUBT = 0.02


def find_prototypes(data: Data, outcomes: int, *, seed: int) -> Finding | None:
    """Groups of samples around one prototype per outcome.

    Returns
    -------
    Finding or None
        None where the samples do not fill the groups.
    """
    return groups_around_prototypes(blocks_of(data), data.names, outcomes, seed=seed)


def groups_around_prototypes(
    blocks: Sequence[Block], names: Sequence[str], outcomes: int, *, seed: int
) -> Finding | None:
    """The same for blocks of values; evidence is judged by at most so many samples."""
    rng = np.random.default_rng(seed)
    size = len(blocks[0].values)
    found = partition(blocks, outcomes, rng=rng, starts=100 if size <= 500 else 20)
    if found is None:
        return None
    few = blocks
    if size > JUDGED:
        part = np.sort(rng.permutation(size)[:JUDGED])  # the same samples of every modality
        few = [b.take(part) for b in blocks]
    evidence = partition_evidence(blocks, found.label)
    scatter = Scatter.of(np.concatenate([b.values for b in few], axis=1))
    null = np.array([_null_evidence(few, scatter, outcomes, rng) for _ in range(NULL_DRAWS)])
    stability = _stability(blocks, found.label, outcomes, rng)
    threshold = float(np.quantile(null, 0.95))
    return Finding(
        representation="prototypes of " + " and ".join(names),
        probability=_nearly_sure(found.label, outcomes),
        separation=separation(blocks, found.label),
        evidence=evidence,
        null=threshold,
        p_value=(1 + int((null >= evidence).sum())) / (1 + NULL_DRAWS),
        stability=stability,
        supported=bool(evidence > threshold and stability > STABLE),
    )


def nearest_prototypes(data: Data, label: NDArray[np.int64], outcomes: int) -> Array:
    """Outcome probabilities of all samples by the prototypes of those whose label is not -1."""
    return _nearly_sure(nearest(blocks_of(data), label, outcomes), outcomes)


def _nearly_sure(label: NDArray[np.int64], outcomes: int) -> Array:
    probability = np.full((len(label), outcomes), DOUBT / max(outcomes - 1, 1))
    probability[np.arange(len(label)), label] = 1.0 - DOUBT
    return probability


def blocks_of(data: Data) -> list[Block]:
    """Every modality flattened, zero where not observed."""
    blocks = []
    for modality in data.modalities.values():
        mask = modality.mask.cpu().numpy().reshape(data.size, -1)
        values = modality.values.double().cpu().numpy().reshape(mask.shape) * mask
        values, mask = on_one_grid(modality, values, mask)
        seen = modality.present.cpu().numpy()
        blocks.append(Block(without_known(values, modality, seen) * mask, mask.astype(float)))
    return blocks


def separation(blocks: Sequence[Block], label: NDArray[np.int64]) -> float:
    """Smallest distance of two group means, in standard deviations along their difference."""
    values = np.concatenate([b.values for b in blocks], axis=1)
    groups = range(int(label.max()) + 1)
    means = np.stack([values[label == k].mean(0) for k in groups])
    smallest = np.inf
    for a in groups:
        for b in range(a):
            contrast = means[a] - means[b]
            norm = float(np.linalg.norm(contrast))
            along = [values[label == k] @ contrast / max(norm, 1e-300) for k in (a, b)]
            spread = np.sqrt(0.5 * (along[0].var() + along[1].var()))
            smallest = min(smallest, norm / max(float(spread), 1e-12))
    return float(smallest)


@dataclass(frozen=True)
class Scatter:
    """Gaussian with the covariance of some values (sample, feature), by its largest axes."""

    scale: Array
    basis: Array
    size: int
    freedom: int

    @staticmethod
    def of(values: Array, *, means: int = 0) -> Scatter:
        """Take the covariance about so many means, which have been taken off the values."""
        from sklearn.utils.extmath import randomized_svd

        axes = min(NULL_AXES, *values.shape)
        _, scale, basis = randomized_svd(values, axes, n_iter=2, random_state=0)  # pyright: ignore[reportArgumentType]
        return Scatter(scale, basis, len(values), len(values) - means)

    def draw(self, blocks: Sequence[Block], rng: np.random.Generator) -> list[Array]:
        """As many new samples, in the parts that belong to the blocks."""
        normal = rng.normal(size=(self.size, len(self.scale)))
        values = (normal * self.scale / np.sqrt(self.freedom)) @ self.basis
        return np.split(values, np.cumsum([b.values.shape[1] for b in blocks])[:-1], axis=1)


def _null_evidence(
    blocks: Sequence[Block], scatter: Scatter, outcomes: int, rng: np.random.Generator
) -> float:
    """Evidence that the same search finds in Gaussian data with the same covariance and gaps."""
    drawn = zip(scatter.draw(blocks, rng), blocks, strict=True)
    parts = [Block(v * b.mask, b.mask) for v, b in drawn]
    found = partition(parts, outcomes, rng=rng, starts=5)
    return 0.0 if found is None else partition_evidence(parts, found.label)


def _stability(
    blocks: Sequence[Block],
    label: NDArray[np.int64],
    outcomes: int,
    rng: np.random.Generator,
) -> float:
    """Mean share of samples whose group comes out again from bootstrap samples."""
    scores = []
    for _ in range(BOOTSTRAPS):
        index = rng.integers(0, len(label), min(len(label), JUDGED))
        again = partition([b.take(index) for b in blocks], outcomes, rng=rng, starts=20)
        if again is None:
            scores.append(0.0)
            continue
        scores.append(matched_share(again.label, label[index], outcomes))
    return float(np.mean(scores))
