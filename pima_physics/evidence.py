"""How sure is a discovered feature: evidence against a null, and stability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pima_physics.pursuit import Split, pursue, splits_along, whiten
from pima_physics.representations import Representation

Array = NDArray[np.float64]

NULL_DRAWS, NULL_SAMPLES = 19, 500


@dataclass(frozen=True)
class Finding:
    """One discovered node.

    Attributes
    ----------
    representation : str
        Where the groups were seen ("labels" where they were given).
    probability : array, shape (sample, outcome)
    separation : float
        Smallest distance of neighbouring group means, in pooled standard deviations.
    evidence : float
        Nats per sample over the best density with a single mode.
    null : float
        95 % quantile of the evidence that the same search finds where there are no groups.
    p_value : float
    stability : float
        Agreement of the partition with those found from bootstrap samples, 0 to 1.
    supported : bool
        Evidence above the null and stable.
    """

    representation: str
    probability: Array
    separation: float
    evidence: float
    null: float
    p_value: float
    stability: float
    supported: bool


@dataclass(frozen=True)
class Candidate:
    """A split and the representation it was found in; absent samples have equal probabilities."""

    representation: Representation
    split: Split
    probability: Array

    @property
    def label(self) -> NDArray[np.int64]:
        """Likeliest outcome per sample."""
        return self.probability.argmax(1)


def agreement(a: Array, b: Array) -> float:
    """Cramer-like agreement of two soft partitions, 0 to 1."""
    if a.shape[1] != b.shape[1]:
        return 0.0
    x, y = a - a.mean(0), b - b.mean(0)
    cross = np.linalg.norm(x.T @ y, "nuc")
    return float(cross / (np.linalg.norm(x) * np.linalg.norm(y) + 1e-12))


def examine(candidate: Candidate, rng: np.random.Generator) -> Finding:
    """Evidence against the null and stability of a chosen candidate."""
    split = candidate.split
    values = candidate.representation.values[candidate.representation.present]
    white = whiten(values).apply(values)
    null = null_evidence(white.shape[1], split.outcomes, rng=rng) / len(white)
    p_value = (1 + int((null >= split.evidence).sum())) / (1 + len(null))
    stability = _stability(white, split, rng)
    threshold = float(np.quantile(null, 0.95))
    return Finding(
        candidate.representation.name,
        candidate.probability,
        split.separation,
        split.evidence,
        threshold,
        p_value,
        stability,
        bool(split.evidence > threshold and stability > 0.8),
    )


def null_evidence(axes: int, outcomes: int, *, rng: np.random.Generator) -> Array:
    """Largest evidence, in nats over all samples, that the search finds in featureless data.

    The likelihood ratio of shapes hardly depends on the number of samples, so that few serve.
    """
    largest = []
    for _ in range(NULL_DRAWS):
        white = rng.normal(size=(NULL_SAMPLES, axes))
        splits = pursue(white, outcomes, rng=rng, starts=40, iterations=10)
        largest.append(max((s.evidence for s in splits), default=0.0) * NULL_SAMPLES)
    return np.array(largest)


def _stability(white: Array, split: Split, rng: np.random.Generator, draws: int = 5) -> float:
    """Mean agreement of the partition with those re-fitted to bootstrap samples."""
    scores = []
    for _ in range(draws):
        index = rng.integers(0, len(white), len(white))
        again = splits_along(white[index], split.direction[None], split.outcomes)[0]
        scores.append(agreement(again.probability, split.probability[index]))
    return float(np.mean(scores))


def nothing_found(samples: int, outcomes: int) -> Finding:
    probability = np.full((samples, outcomes), 1.0 / outcomes)
    return Finding("none", probability, 0.0, 0.0, 0.0, 1.0, 0.0, False)


def from_labels(
    representations: Sequence[Representation], labels: NDArray[np.int64], outcomes: int
) -> Finding:
    """Outcomes as given where known, by linear discriminant analysis elsewhere."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    known = labels >= 0
    probability = np.full((len(labels), outcomes), 1e-6)
    probability[known, labels[known]] = 1.0
    complete = [r.values for r in representations if r.present.all()]
    if not known.all() and complete and len(np.unique(labels[known])) > 1:
        features = np.concatenate(complete, axis=1)
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        lda.fit(features[known], labels[known])
        probability[np.ix_(~known, lda.classes_)] = lda.predict_proba(features[~known])
    elif not known.all():
        probability[~known] = 1.0 / outcomes
    probability /= probability.sum(1, keepdims=True)
    return Finding("labels", probability, np.inf, np.inf, 0.0, 0.0, 1.0, True)
