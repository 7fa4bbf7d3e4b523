"""Directions from which groups are sought in a view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pima_physics.nodesets import Node, agreement, along, first_distinct
from pima_physics.pursuit import blind_axes, evidence_along, pursue, starting_directions, whiten
from pima_physics.views import View

Array = NDArray[np.float64]

# Steps of a pursuit per group beyond the first.
STEPS = 18
# Directions from which all groups of a view are sought once, and agreement of groups that are the
# same: the weakest of three features is found from one direction in a hundred.
MANY, ALIKE = 400, 0.98
# Of the groups found so, and all together, directions from which further nodes are sought.
KEPT, STARTS, FEWER_STARTS = 32, 48, 16
# Cells of the other nodes that are searched by themselves, and their least size.
CELLS, MIN_CELL, PER_CELL = 4, 60, 3
# Directions from which what a view shows is sought for others to begin with.
HINTING = 100


def hints_of(view: View, rng: np.random.Generator) -> list[Node]:
    """Groups that a short look at a view shows, clearest first."""
    return shown_by(view, starting_directions(view.white, HINTING, rng))


def shown_by(view: View, start: Array) -> list[Node]:
    """Groups that a view shows by itself from directions (direction, axis), clearest first."""
    nothing = np.zeros((len(view.white), 0))
    axes = pursue(view.white, nothing, 2, start, steps=STEPS)
    clear = sorted((n for n in along(view, axes, 2) if n.evidence > 0.0), key=lambda n: -n.evidence)
    return first_distinct(
        clear, lambda a, b: agreement(a.probability, b.probability) >= ALIKE, KEPT
    )


def starts_in(view: View, rng: np.random.Generator, hints: Sequence[Node] = ()) -> Array:
    """Directions of all groups that a view shows by itself, clearest first, then others.

    Parameters
    ----------
    hints : sequence of Node
        What other views show: in many axes random directions may all miss it.
    """
    start = starting_directions(view.white, MANY, rng)
    if hints:
        scores = np.stack([n.score[view.present] for n in hints], axis=1)
        start = np.concatenate([blind_axes(view.white, scores, np.zeros((len(scores), 0))), start])
    found = np.array([n.axis for n in shown_by(view, start)]).reshape(-1, start.shape[1])
    return np.concatenate([found, start])[:STARTS]


def inside_cells(
    view: View, cells: NDArray[np.int64] | None, outcomes: int, start: Array
) -> list[Array]:
    """Directions of groups among samples that agree in all other nodes.

    Where nodes depend on each other, the direction of one can be hidden by a combination of
    two. With the other nodes fixed only its own groups are left.
    """
    if cells is None:
        return []
    counts = np.bincount(cells)
    found = []
    for k in counts.argsort()[::-1][:CELLS]:
        if counts[k] < max(MIN_CELL, 8 * view.white.shape[1]):
            continue
        part = view.white[cells == k]
        local = whiten(part)
        white = local.apply(part)
        begin = start[:FEWER_STARTS] @ np.linalg.pinv(local.basis).T
        begin = begin / np.maximum(np.linalg.norm(begin, axis=1, keepdims=True), 1e-9)
        axes = pursue(white, np.zeros((len(white), 0)), outcomes, begin, steps=8)
        best = evidence_along(white, axes, outcomes).argsort()[::-1][:PER_CELL]
        directions = axes[best] @ local.basis.T
        norm = np.linalg.norm(directions, axis=1, keepdims=True)
        found.append(directions / np.maximum(norm, 1e-12))
    return found
