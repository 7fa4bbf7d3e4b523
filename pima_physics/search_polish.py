"""Sets of nodes at their clearest: directions turn to where the evidence is largest.

The pursuit ends where a direction is Fisher's discriminant of its own groups. Where groups are
rare, close to each other or not in a row, it drifts from the feature to such a point nearby, with
less evidence. From there a few rounds of random turns, narrower after each that did not help,
climb what a set is judged by: the evidence of a node alone or among samples that agree in the
other nodes, whichever is less.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pima_physics.modes import fit_mixture, full_cuts, histograms
from pima_physics.modes_evidence import multimodality_of_all
from pima_physics.nodesets import (
    CHANCE_NATS,
    Node,
    along,
    cells_of,
    judge,
    nats_in_cells,
)
from pima_physics.views import View

Array = NDArray[np.float64]

# Rounds of so many turns each, the first by about this angle (radian), and how it shrinks.
ROUNDS, TURNS, ANGLE, NARROWER = 10, 16, 0.35, 0.6
SWEEPS, ITERATIONS = 2, 10


def polish(nodes: Sequence[Node], *, rng: np.random.Generator) -> list[Node]:
    """Turn the nodes of a set, one after the other, as long as its score grows."""
    best, score = list(nodes), judge(nodes).score
    for _ in range(SWEEPS):
        before = score
        for j, node in enumerate(best):
            if node.view is None:
                continue
            others = [n for i, n in enumerate(best) if i != j]
            axis = _clearest_axis(node.view, node, others, rng)
            turned = along(node.view, axis[None], node.outcomes)[0]
            changed = [*best[:j], turned, *best[j + 1 :]]
            found = judge(changed).score
            if found > score:
                best, score = changed, found
        if score == before:
            break
    return best


def _clearest_axis(
    view: View, node: Node, others: Sequence[Node], rng: np.random.Generator
) -> Array:
    axis, angle, size = node.axis, ANGLE, len(node.axis)
    value = _values(view, axis[None], node.outcomes, others, 0.0)[0]
    for _ in range(ROUNDS if size > 1 else 0):
        turned = axis + angle * rng.normal(size=(TURNS, size)) / np.sqrt(size)
        turned /= np.linalg.norm(turned, axis=1, keepdims=True)
        values = _values(view, turned, node.outcomes, others, value)
        if values.max() > value:
            axis, value = turned[values.argmax()], values.max()
        else:
            angle *= NARROWER
    return axis


def _values(view: View, axes: Array, outcomes: int, others: Sequence[Node], least: float) -> Array:
    """Nats of every direction, alone or given the others; 0 where it is not above ``least``."""
    bins, masses = histograms(view.white @ axes.T)
    mixtures = fit_mixture(masses, outcomes, iterations=ITERATIONS)
    cells = cells_of(others, view.present)
    values, (some, cuts) = np.zeros(len(axes)), full_cuts(mixtures, outcomes)
    alone = multimodality_of_all(masses[some], list(cuts)) * len(bins) - CHANCE_NATS
    # The rest costs several times as much, and can only be less.
    some, cuts, alone = some[alone > least], cuts[alone > least], alone[alone > least]
    rest = alone if cells is None else nats_in_cells(cells, bins[:, some], cuts)
    values[some] = np.minimum(alone, rest)
    return values
