"""Groups of one node that directions show as several nodes.

Three groups that are not in a row part along two directions, along each one of them from the other
two: as two nodes of two outcomes of which no sample has both. Where a node of three outcomes is
wanted, and the set shows none, they are this node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pima_physics.evidence import Finding
from pima_physics.factorial import product_of
from pima_physics.factorial_choice import stacks_of
from pima_physics.factorial_evidence import Searched, findings_in
from pima_physics.factorial_mixture import refit
from pima_physics.nodesets import RAREST
from pima_physics.representations import Representation
from pima_physics.views import searched

Array = NDArray[np.float64]

# Joint outcomes with less than this share of the samples that independent nodes had are empty.
EMPTY = 0.1


@dataclass(frozen=True)
class Merged:
    """Several nodes that are one.

    Attributes
    ----------
    place : int
        Of the wanted node that they are.
    probability : array, shape (sample, outcome)
    """

    place: int
    probability: Array


def merged(findings: Sequence[Finding]) -> Merged | None:
    """Nodes that together have as many joint outcomes as a further one that nothing shows.

    Returns
    -------
    Merged or None
        None where every node shows, or those that do have more joint outcomes.
    """
    shown = [f.probability for f in findings if f.evidence > f.null and not f.given]
    missing = [i for i, f in enumerate(findings) if f.evidence <= f.null]
    for size in range(2, len(shown) + 1):
        for some in combinations(shown, size):
            full = _occupied(some)
            for i in missing:
                if full is not None and full.sum() == findings[i].probability.shape[1]:
                    joint = product_of(some)[:, full].clip(min=1e-12)
                    return Merged(i, joint / joint.sum(1, keepdims=True))
    return None


def _occupied(nodes: Sequence[Array]) -> NDArray[np.bool_] | None:
    """Which joint outcomes have samples, where some of them clearly have none."""
    alone = [np.eye(p.shape[1])[p.argmax(1)] for p in nodes]
    share = product_of(alone).mean(0)
    independent = product_of([a.mean(0, keepdims=True) for a in alone])[0]
    empty = share < EMPTY * independent
    clear = empty.any() and bool((share[~empty] > RAREST).all())
    return ~empty if clear else None


def finding_of_groups(
    groups: Array,
    others: Sequence[Array],
    representations: Sequence[Representation],
    rng: np.random.Generator,
) -> Finding | None:
    """How sure groups (sample, outcome) are that need not be in a row, beside other nodes.

    Returns
    -------
    Finding or None
        In the view that shows them best; None where there are too few samples for as many joint
        outcomes.
    """
    part = searched(len(groups), rng)
    straight = [r for r in representations if r.straight and not r.derived]
    everyone, found = [*others, groups], []
    for stack in stacks_of(representations):
        mixture = Searched.of(stack, part, [groups.shape[1]], others)
        if mixture is not None:
            own = product_of([p[mixture.rows] for p in everyone])
            fit = refit(mixture.x, own, mixture.outcomes, steps=1)
            found += findings_in(mixture, fit, straight, everyone, rng)
    return max(found, key=lambda f: (f.supported, f.evidence), default=None)
