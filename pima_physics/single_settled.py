"""Discovery of one node by itself: prototypes, read again with one covariance for all groups.

Prototypes need no covariance to be found, but know none either: along directions in which all
groups are wide they cut where nothing is. A linear discriminant learned from their groups knows
the covariance, gives better groups, and these a better discriminant, until they stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pima_physics.evidence import BEND, STABLE, Finding, predicted
from pima_physics.evidence_null import against_chance
from pima_physics.prototypes import Block
from pima_physics.representations import Representation
from pima_physics.single import groups_around_prototypes
from pima_physics.single_evidence import evidence_between
from pima_physics.single_mixture import stack_of

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

# Parts of the samples that take turns to be predicted, turns until groups stay, and the least
# probability in a pool.
FOLDS, TURNS, LEAST = 5, 8, 1e-6


@dataclass(frozen=True)
class Proposal:
    """One way to see a node.

    Attributes
    ----------
    finding : Finding
    contrast : float
        Nats per sample by which it is ranked, beside what a second modality knows.
    sure : bool
        Whether it has more evidence than chance shows, by any test, and is stable.
    """

    finding: Finding
    contrast: float
    sure: bool

    @staticmethod
    def of(finding: Finding, contrast: float, *, shown: bool = False) -> Proposal:
        """Rank a finding by its own evidence, or as shown otherwise."""
        clear = shown or finding.evidence > finding.null
        return Proposal(finding, contrast, bool(clear and finding.stability > STABLE))


def around_prototypes(
    representations: Sequence[Representation], outcomes: int, *, seed: int
) -> Proposal | None:
    """Groups around prototypes of the principal components of all modalities, settled.

    Returns
    -------
    Proposal or None
        None where no modality shows groups that the samples fill.
    """
    stack = stack_of(representations)
    views = [r for r in representations if r.name.startswith("components of")]
    if stack is None or not views:
        return None
    # Absent modalities are gaps.
    blocks = [
        Block(r.values, np.repeat(r.present[:, None].astype(float), r.values.shape[1], axis=1))
        for r in views
    ]
    names = [r.name.removeprefix("components of ") for r in views]
    found = groups_around_prototypes(blocks, names, outcomes, seed=seed)
    if found is None:
        return None
    probability = settled(found.probability.argmax(1), representations, outcomes, seed=seed)
    if probability is None:
        probability = found.probability
    label, present = probability.argmax(1), stack.present
    between = evidence_between(stack.values[present], label[present], outcomes)
    chance, size = against_chance(between.nats, stack.values.shape[1], outcomes), len(label)
    more = between.nats > chance.threshold
    # Support asks for more than a bend of one continuous feature shows.
    bend = BEND * (outcomes - 1)
    asked = chance.threshold / size + bend
    finding = replace(
        found,
        probability=probability,
        separation=between.apart,
        evidence=between.nats / size,
        null=asked,
        bend=bend,
        axes=stack.values.shape[1],
        p_value=chance.p_value,
        supported=bool(between.nats / size > asked and found.stability > STABLE),
    )
    return Proposal.of(finding, between.contrast, shown=more or found.evidence > found.null)


def settled(
    label: Labels, representations: Sequence[Representation], outcomes: int, *, seed: int
) -> Array | None:
    """Outcome probabilities by a linear discriminant of all modalities, learned until they stay.

    It is cross-fitted, so that no sample has a say in its own outcome.

    Parameters
    ----------
    label : int array, shape (sample,)

    Returns
    -------
    array, shape (sample, outcome), or None
        None where no modality is complete, or groups are too small.
    """
    from sklearn.model_selection import StratifiedKFold

    views = _complete(representations)
    if not views:
        return None
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    found: Array | None = None
    for _ in range(TURNS):
        if np.bincount(label, minlength=outcomes).min() < FOLDS:
            break
        found = np.empty((len(label), outcomes))
        for known, rest in folds.split(label, label):
            told = np.zeros(len(label), dtype=bool)
            told[known] = True
            found[rest] = predicted(views, told, label, outcomes)
        if (found.argmax(1) == label).all():
            break
        label = found.argmax(1)
    return found


def _complete(representations: Sequence[Representation]) -> list[Representation]:
    """Components of the modalities that every sample has."""
    return [
        r
        for r in representations
        if r.name.startswith("components of") and r.present.all() and r.values.any()
    ]


def pooled(probability: Array, representations: Sequence[Representation], *, seed: int) -> Array:
    """Outcome probabilities seen in one way, pooled with what all modalities together say.

    Groups were seen along one direction, or drawn by covariances of their own; a sample near their
    border is told better by all modalities. Both have equal weight: square roots of the product.

    References
    ----------
    C. Genest, J. Zidek, "Combining probability distributions", Statistical Science 1, 1986
    (logarithmic pool).
    """
    if len(_complete(representations)) < 2:
        return probability  # what the only modality says is in it already
    said = settled(probability.argmax(1), representations, probability.shape[1], seed=seed)
    if said is None:
        return probability
    both = np.sqrt(np.clip(probability, LEAST, None) * np.clip(said, LEAST, None))
    return both / both.sum(1, keepdims=True)
