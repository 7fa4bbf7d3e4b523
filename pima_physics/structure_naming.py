r"""Which found feature is which named node, where interventions or knowledge tell the names apart.

Features are found without names, while targets and background knowledge speak of named nodes. A
naming :math:`\pi` is scored by the best graph that it admits; the values that a node was set to
are counted by a distribution of their own, so that namings which set other nodes compare fairly:

.. math:: s(\pi) = \max_G \log p(N_\pi \mid G, do) + \sum_l \log p(\text{values of } l \mid do(l))

Namings that the data cannot tell apart score alike; the order given is then kept. Targets alone
often leave names open: a root that is set to its usual values looks like a child that is set. The
values that nodes were set to settle it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import torch
from scipy.special import gammaln

from pima_physics.knowledge import Knowledge
from pima_physics.structure_scores import (
    as_experiments,
    counts_by_target,
    family_scores,
    log_prior,
)
from pima_physics.structure_search import best_dag, total_scores

log = logging.getLogger("pima_physics.training")

# Beyond so many namings, pairs are exchanged as long as that helps.
MOST_NAMINGS = 120
# A naming is preferred at odds of 20 to 1; closer ones are not told apart.
CLEARLY = math.log(20.0)


@dataclass(frozen=True)
class Naming:
    """Which feature each node names.

    Attributes
    ----------
    order : tuple of int
        ``order[l]`` is the feature that node l names; only features with equally many outcomes
        are exchanged.
    lead : float
        Nats over the order given, at least 0.
    unsure : tuple of int
        Nodes that other namings, less than 20 times less probable, give another feature.
    """

    order: tuple[int, ...]
    lead: float
    unsure: tuple[int, ...]


def name_features(
    counts: np.ndarray,
    *,
    intervened: np.ndarray | None = None,
    knowledge: Knowledge | None = None,
    fixed: Sequence[int] = (),
) -> Naming:
    """Return the best naming of features.

    Parameters
    ----------
    counts : array (C_1, ..., C_L), or (R, C_1, ..., C_L) with ``intervened``
        Expected joint counts of the features; one table per experiment (`counts_by_target`).
    intervened : bool array (R, L), optional
        Nodes set from outside in each experiment, by name.
    knowledge : Knowledge, optional
    fixed : sequence of int
        Nodes whose feature is known (by labels, say) and stays.
    """
    tables, acted = as_experiments(counts, intervened)
    sizes = tables.shape[1:]
    start = tuple(range(len(sizes)))
    groups = _groups(sizes, fixed)
    if math.prod(math.factorial(len(group)) for group in groups) <= MOST_NAMINGS:
        scores = {o: _score(tables, o, acted, knowledge) for o in _all(start, groups)}
    else:
        scores = _climb(tables, start, groups, acted, knowledge)
    top = max(scores, key=lambda order: scores[order])
    order = top if scores[top] > scores[start] + CLEARLY else start
    rivals = [o for o, s in scores.items() if s > scores[order] - CLEARLY]
    unsure = [n for n in start if any(rival[n] != order[n] for rival in rivals)]
    return Naming(order, scores[order] - scores[start], tuple(unsure))


def _climb(
    tables: np.ndarray,
    start: tuple[int, ...],
    groups: list[list[int]],
    acted: np.ndarray,
    knowledge: Knowledge | None,
) -> dict[tuple[int, ...], float]:
    """Namings on the way of exchanges that each raise the score, and their neighbours."""
    scores = {start: _score(tables, start, acted, knowledge)}
    order = start
    while True:
        for candidate in _exchanges(order, groups):
            if candidate not in scores:
                scores[candidate] = _score(tables, candidate, acted, knowledge)
        best = max(scores, key=lambda o: scores[o])
        if best == order:
            return scores
        order = best


def naming_of(
    probability: Sequence[np.ndarray],
    knowledge: Knowledge,
    free: Sequence[int],
    intervened: Any = None,
) -> tuple[int, ...]:
    """Return the best naming of features given by their outcome probabilities (N, C_l) each.

    Parameters
    ----------
    free : sequence of int
        Nodes whose feature is not known by labels.
    intervened : bool array or tensor (N, L), optional
        Nodes set from outside in each sample, by name.
    """
    acted = None if intervened is None else np.asarray(torch.as_tensor(intervened).cpu())
    plain = bool(knowledge.allowed[~np.eye(len(knowledge), dtype=bool)].all())
    if len(free) < 2 or (plain and (acted is None or not acted.any())):
        return tuple(range(len(probability)))
    joint = probability[0]
    for number, other in enumerate(probability[1:]):
        joint = joint[..., None] * other.reshape(len(other), *(1,) * (number + 1), -1)
    counts, rows = joint.sum(0), None
    if acted is not None:
        counts, rows = counts_by_target(joint, acted)
    fixed = [node for node in range(len(probability)) if node not in free]
    found = name_features(counts, intervened=rows, knowledge=knowledge, fixed=fixed)
    if found.unsure:
        names = ", ".join(knowledge.nodes[node] for node in found.unsure)
        log.warning(
            "targets and knowledge do not settle which feature each of these nodes is: %s; give "
            "the values that nodes were set to, or labels",
            names,
        )
    return found.order


def _groups(sizes: Sequence[int], fixed: Sequence[int]) -> list[list[int]]:
    """Nodes whose features can be exchanged."""
    free = [node for node in range(len(sizes)) if node not in fixed]
    kinds = dict.fromkeys(sizes[node] for node in free)
    return [[node for node in free if sizes[node] == size] for size in kinds]


def _all(start: tuple[int, ...], groups: list[list[int]]) -> Iterator[tuple[int, ...]]:
    """Every naming."""
    if not groups:
        yield start
        return
    for rest in _all(start, groups[1:]):
        for choice in permutations(groups[0]):
            order = list(rest)
            for node, feature in zip(groups[0], choice, strict=True):
                order[node] = feature
            yield tuple(order)


def _exchanges(order: tuple[int, ...], groups: list[list[int]]) -> Iterator[tuple[int, ...]]:
    """Namings that differ by one exchange."""
    for group in groups:
        for i, first in enumerate(group):
            for second in group[i + 1 :]:
                other = list(order)
                other[first], other[second] = order[second], order[first]
                yield tuple(other)


def _score(
    tables: np.ndarray, order: tuple[int, ...], acted: np.ndarray, knowledge: Knowledge | None
) -> float:
    named = tables.transpose(0, *(1 + feature for feature in order))
    scores = family_scores(named, equivalent_sample_size=1.0, knowledge=knowledge, intervened=acted)
    scores += log_prior(acted.shape[1])
    score = float(total_scores(best_dag(scores)[None], scores)[0])
    for node in range(acted.shape[1]):
        others = tuple(axis for axis in range(acted.shape[1]) if axis != node)
        values = named[acted[:, node]].sum(0).sum(others)
        score += _log_evidence(values)
    return score


def _log_evidence(counts: np.ndarray) -> float:
    """Log marginal likelihood of one multinomial under a uniform Dirichlet prior."""
    total, size = counts.sum(), len(counts)
    return float(gammaln(size) - gammaln(size + total) + gammaln(1.0 + counts).sum())
