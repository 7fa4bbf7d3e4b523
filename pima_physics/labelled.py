"""Nodes whose outcomes are known of some samples: named by these, seen in all.

A discriminant learned from few labels is right for few. Labels say, though, which of the groups
that all samples show, labelled or not, are meant: they are sought as in discovery without labels,
blind to the other nodes, also from where the discriminant points. They are taken where they
show more than chance does and miss no more of the known labels than the discriminant misses of
those that it was not taught (three times fewer wrong outcomes where one label in twenty was known).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pima_physics.evidence import Finding, above_chance, outcomes_of, predicted
from pima_physics.nodesets import (
    Node,
    agreement,
    along,
    columns_of,
    given,
    in_best_views,
    refine,
)
from pima_physics.pursuit import blind_axes, pursue, starting_directions
from pima_physics.representations import Representation
from pima_physics.single import ENOUGH_TO_WHITEN
from pima_physics.views import View, searched

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

FOLDS, SWEEPS = 5, 8
# Times that every node is sought beside the others, and directions that it is sought from.
TURNS, STARTS = 2, 40
SURE = 1e-6


def find_labelled(
    representations: Sequence[Representation],
    known: Mapping[int, Labels],
    outcomes: Sequence[int],
    *,
    rng: np.random.Generator,
) -> dict[int, Finding]:
    """Outcomes of the nodes that have labels.

    Parameters
    ----------
    known : mapping of int array, shape (sample,)
        By node; -1 where unknown.
    outcomes : sequence of int
        Of every node.
    rng : Generator
        Not used where every outcome is known, or with too few samples to see groups in.
    """
    first = {i: _taught(representations, labels, outcomes[i]) for i, labels in known.items()}
    size = len(representations[0].values)
    if size < ENOUGH_TO_WHITEN or all((labels >= 0).all() for labels in known.values()):
        return {i: _finding(first[i], labels) for i, labels in known.items()}
    nodes = _shown(representations, [first[i] for i in known], list(known.values()), rng)
    found = {}
    for (i, labels), node in zip(known.items(), nodes, strict=True):
        probability = first[i]
        if node.view is not None and above_chance(node, np.inf):
            seen = _named(outcomes_of(node, representations), labels)
            probability = seen if _agrees(seen, labels, representations, rng) else probability
        found[i] = _finding(probability, labels)
    return found


def _taught(representations: Sequence[Representation], labels: Labels, outcomes: int) -> Array:
    """Outcome probabilities: as given where known, predicted by a discriminant elsewhere."""
    known = labels >= 0
    probability = np.zeros((len(labels), outcomes))
    probability[known, labels[known]] = 1.0
    probability[~known] = predicted(representations, known, labels, outcomes)
    return probability


def _finding(probability: Array, labels: Labels) -> Finding:
    known = labels >= 0
    probability = probability + SURE
    probability[known] = SURE
    probability[known, labels[known]] = 1.0
    probability /= probability.sum(1, keepdims=True)
    return Finding("labels", probability, np.inf, np.inf, 0.0, 0.0, 1.0, True, np.inf)


def _shown(
    representations: Sequence[Representation],
    first: Sequence[Array],
    known: Sequence[Labels],
    rng: np.random.Generator,
) -> list[Node]:
    """The nodes in the views that show them best; as guessed from the labels where none does."""
    part = searched(len(representations[0].values), rng)
    views = [v for r in representations if (v := View.of_part(r, part)) is not None]
    straight = [v for v in views if v.representation.straight and not v.representation.derived]
    nodes = [given(p[part]) for p in first]
    open_ones = [(j, labels) for j, labels in enumerate(known) if (labels < 0).any()]
    for _ in range(TURNS):
        for j, labels in open_ones:
            nodes[j] = _meant(nodes, j, straight, labels[part], rng)
    return in_best_views(refine([nodes], sweeps=SWEEPS)[0], views)


def _meant(
    nodes: Sequence[Node],
    j: int,
    views: Sequence[View],
    labels: Labels,
    rng: np.random.Generator,
) -> Node:
    """The groups, blind to the other nodes, that agree best with the labels of one."""
    node, most = nodes[j], -np.inf
    others = [n for i, n in enumerate(nodes) if i != j]
    for view in views:
        told = labels[view.present] >= 0
        if not told.any():
            continue
        blind = columns_of(others, view.present)
        guess = blind_axes(view.white, nodes[j].score[view.present][:, None], blind)
        start = np.concatenate([guess, starting_directions(view.white, STARTS, rng)])
        found = np.concatenate([guess, pursue(view.white, blind, node.outcomes, start)])
        given_ones = np.eye(node.outcomes)[labels[view.present][told]]
        for seen in along(view, found, node.outcomes):
            same = agreement(seen.probability[view.present][told], given_ones)
            if same > most:
                node, most = seen, same
    return node


def _named(probability: Array, labels: Labels) -> Array:
    """Outcomes in the order of the known labels."""
    from scipy.optimize import linear_sum_assignment

    known = labels >= 0
    table = np.zeros((probability.shape[1],) * 2)
    np.add.at(table, labels[known], probability[known])
    return probability[:, linear_sum_assignment(-table)[1]]


def _agrees(
    seen: Array,
    labels: Labels,
    representations: Sequence[Representation],
    rng: np.random.Generator,
) -> bool:
    """Whether groups miss no more labels than a discriminant misses of those it was not taught.

    One standard deviation of their number, and one label, are left to chance.
    """
    known = np.flatnonzero(labels >= 0)
    wrong, missed = int((seen[known].argmax(1) != labels[known]).sum()), 0
    for fold in np.array_split(rng.permutation(known), FOLDS):
        taught = labels >= 0
        taught[fold] = False
        guess = np.full(len(labels), -1)
        guess[~taught] = predicted(representations, taught, labels, seen.shape[1]).argmax(1)
        missed += int((guess[fold] != labels[fold]).sum())
    return wrong <= missed + np.sqrt(missed + 1.0)
