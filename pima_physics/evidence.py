"""How sure is a discovered feature: evidence against a null, and stability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from pima_physics.modes import BINS, Mixture1D, fit_mixture, multimodality
from pima_physics.pursuit import Split, cuts_of, pursue, splits_along, whiten
from pima_physics.representations import Representation

Array = NDArray[np.float64]

NULL_DRAWS, NULL_SAMPLES = 19, 500
# What one fixed direction of featureless data shows at most, in nats over all samples.
CHANCE_NATS = 4.0
SMALLEST_CELL = 20
# Partitions in two views with less agreement are not taken for the same feature.
SAME_IN_OTHER_VIEW = 0.8


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
    """A split and the representation it was found in; absent samples have equal probabilities.

    ``consensus`` is its evidence averaged over the two kinds of representation that show it best.
    """

    representation: Representation
    split: Split
    probability: Array
    consensus: float = 0.0

    @staticmethod
    def of(representation: Representation, split: Split) -> Candidate:
        """A candidate from a split of the samples that have the representation."""
        probability = np.full((len(representation.present), split.outcomes), 1.0 / split.outcomes)
        probability[representation.present] = split.probability
        return Candidate(representation, split, probability)

    @cached_property
    def label(self) -> NDArray[np.int64]:
        """Likeliest outcome per sample."""
        return self.probability.argmax(1)

    @cached_property
    def score(self) -> Array:
        """Expected group mean per sample: the groups in their order along the direction."""
        return self.probability @ self.split.mixture.mean[0]


def joint_code(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number 0, 1, ... per distinct row."""
    code = np.zeros(len(labels), dtype=np.int64)
    for column in labels.T:
        code = code * (column.max() + 1) + column
    return np.unique(code, return_inverse=True)[1].reshape(-1)


def conditional_evidence(candidate: Candidate, others: Sequence[Candidate]) -> float:
    """Nats per sample for modes along a candidate among samples that agree in the others.

    What a featureless cell of its size shows by chance is taken off.
    """
    split = candidate.split
    if not others:
        return candidate.consensus
    present = candidate.representation.present
    cells = joint_code(np.stack([o.label[present] for o in others], axis=1))
    counts = np.bincount(cells)
    masses = np.zeros((len(counts), BINS))
    np.add.at(masses, (cells, split.bins), 1.0)
    large = counts >= SMALLEST_CELL
    masses, counts = masses[large] / counts[large, None], counts[large]
    if not len(counts):
        return 0.0
    start = Mixture1D(*(np.repeat(x, len(counts), 0) for x in vars(split.mixture).values()))
    mixtures = fit_mixture(masses, split.outcomes, iterations=20, start=start)
    evidence = [multimodality(m, cuts_of(mixtures.take(k))) for k, m in enumerate(masses)]
    surplus = np.maximum(np.array(evidence) - CHANCE_NATS / counts, 0.0)
    own = float((surplus * counts).sum() / len(cells))
    return own * candidate.consensus / max(split.evidence, 1e-12)


def with_consensus(
    pool: Sequence[Candidate], representations: Sequence[Representation]
) -> list[Candidate]:
    """Candidates with their consensus: how clearly other kinds of representation show them.

    A nonlinear view can bend one feature into several apparent ones. These are artefacts of the
    view: another kind of view has no such groups along the direction that tells them best.
    """
    evidence: dict[str, Array] = {}
    for representation in representations:
        found = _evidence_in(pool, representation)
        kind = representation.kind
        evidence[kind] = np.maximum(evidence.get(kind, np.zeros(len(pool))), found)
    best = -np.sort(-np.stack(list(evidence.values())), axis=0)[:2]
    # Never more than its own: a neighbour of a clear feature does not borrow its evidence.
    return [
        replace(c, consensus=float(np.minimum(best[:, j], c.split.evidence).sum() / 2))
        for j, c in enumerate(pool)
    ]


def _evidence_in(pool: Sequence[Candidate], representation: Representation) -> Array:
    """Evidence of every candidate along its discriminant in one representation."""
    present = representation.present
    values = representation.values[present]
    evidence = np.zeros(len(pool))
    if len(values) < SMALLEST_CELL or values.shape[1] == 0:
        return evidence
    white = whiten(values).apply(values)
    for outcomes in {c.split.outcomes for c in pool}:
        members = [j for j, c in enumerate(pool) if c.split.outcomes == outcomes]
        scores = np.stack([pool[j].score[present] for j in members], axis=1)
        directions = (scores - scores.mean(0)).T @ white
        directions /= np.linalg.norm(directions, axis=1, keepdims=True) + 1e-300
        for j, split in zip(members, splits_along(white, directions, outcomes), strict=True):
            same = agreement(split.probability, pool[j].probability[present])
            evidence[j] = split.evidence if same > SAME_IN_OTHER_VIEW else 0.0
    return evidence


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
    null = np.array(null_evidence(white.shape[1], split.outcomes)) / len(white)
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


@lru_cache(maxsize=64)
def null_evidence(axes: int, outcomes: int) -> tuple[float, ...]:
    """Largest evidence, in nats over all samples, that the search finds in featureless data.

    The likelihood ratio of shapes hardly depends on the number of samples, so that few serve,
    and one set of Gaussian data serves all searches of the same size.
    """
    rng = np.random.default_rng(0)
    largest = []
    for _ in range(NULL_DRAWS):
        white = rng.normal(size=(NULL_SAMPLES, axes))
        splits = pursue(white, outcomes, rng=rng, starts=40, iterations=10, keep=6)
        largest.append(max((s.evidence for s in splits), default=0.0) * NULL_SAMPLES)
    return tuple(largest)


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
