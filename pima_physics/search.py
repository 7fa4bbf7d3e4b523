"""Search for sets of nodes: sets grow by one node at a time, then single nodes are exchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pima_physics.nodesets import (
    RAREST,
    Judgement,
    Node,
    agreement,
    along,
    columns_of,
    conditional_nats,
    joint_code,
    judge,
    refine,
)
from pima_physics.pursuit import evidence_along, pursue, starting_directions, whiten
from pima_physics.views import View

Array = NDArray[np.float64]

# Sets kept per size, sets whose nodes are exchanged, and rounds of exchange.
BEAM, EXCHANGED, ROUNDS = 6, 4, 4
# Candidates kept per view: for the first node, for a further one, for one in exchange.
FIRST, FURTHER, EXCHANGE = 8, 4, 5
# Steps of a pursuit per group beyond the first, and sweeps in which the last sets settle.
STEPS, SETTLED = 18, 10
STARTS, FEWER_STARTS = 48, 16
# How often the weakest node of the best set is sought again from other starts.
AGAIN = 3
# Rounds of pursuits that begin near the best directions so far, how many of these are taken, how
# far in radian and how often around each they begin, and their steps.
NEAR_ROUNDS, NEAR_BEST, NEAR_ANGLES, NEAR_EACH, NEAR_STEPS = 2, 3, (0.1, 0.2, 0.4), 12, 10
# Two partitions with a larger agreement count as one.
SAME = 0.95
# Cells of the other nodes that are searched by themselves, and their least size.
CELLS, MIN_CELL, PER_CELL = 4, 60, 3


@dataclass(frozen=True)
class Starts:
    """Where pursuits in a view begin.

    Attributes
    ----------
    directions : array, shape (direction, axis)
    around : array, shape (NEAR_EACH, axis)
        Added to a direction that was found: starts in its neighbourhood.
    """

    directions: Array
    around: Array

    def fewer(self) -> Starts:
        """For pursuits that only exchange nodes."""
        return replace(self, directions=self.directions[:FEWER_STARTS])


@dataclass(frozen=True)
class Found:
    """A set of nodes and its judgement.

    Attributes
    ----------
    left : float
        Evidence of one more node given the set, in nats over all samples; 0 before the set is
        complete.
    confirmed : tuple of bool
        For every free node, whether the latent or fitted parameters show it too; empty where
        this was not looked at.
    """

    nodes: tuple[Node, ...]
    judgement: Judgement
    left: float = 0.0
    confirmed: tuple[bool, ...] = ()

    @property
    def score(self) -> float:
        """What sets are compared by."""
        return self.judgement.score - self.left


def find_sets(
    views: Sequence[View],
    outcomes: Sequence[int],
    *,
    rng: np.random.Generator,
    known: Sequence[Node] = (),
) -> list[Found]:
    """Sets of nodes with the wanted numbers of outcomes, best first.

    Parameters
    ----------
    views : sequence of View
        Of the same samples.
    outcomes : sequence of int
        Number of groups of every wanted node, in any order.
    known : sequence of Node
        Nodes that are given: part of every set, never changed.

    Returns
    -------
    list of Found
        Nodes that were given come first. Sets are smaller than wanted where no further groups
        show.
    """
    starts = [_starts(v, rng) for v in views]
    front = [Found(tuple(known), Judgement(0.0, np.zeros(0), np.zeros(0)))]
    for depth in range(len(outcomes)):
        grown: list[Sequence[Node]] = []
        for found in front:
            for count in _missing(found.nodes[len(known) :], outcomes):
                keep = FURTHER if depth else FIRST
                # The last node of a set is the hardest to see: the others have taken the evidence.
                near = 0 if depth < len(outcomes) - 1 else NEAR_ROUNDS
                more = _candidates(views, found.nodes, starts, count, keep, near=near)
                grown += [(*found.nodes, node) for node in more]
        if not grown:
            return [f for f in front if f.nodes]
        front = _best(grown, sweeps=4 if depth or known else 1, most=BEAM)
    front = _exchange(views, _with_left(views, front, starts), starts, len(known))
    for _ in range(AGAIN if front else 0):
        front = _weakest_again(views, front, [_starts(v, rng) for v in views], len(known))
    settled = _best([f.nodes for f in front], sweeps=SETTLED, most=BEAM)
    return _distinct([*front, *_with_left(views, settled, starts)], BEAM)


def _with_left(
    views: Sequence[View], front: Sequence[Found], starts: Sequence[Starts]
) -> list[Found]:
    """The sets with the evidence that they leave unexplained, best first."""
    measured = []
    for found in front:
        more = _candidates(views, found.nodes, starts, 2, 1)
        left = max((conditional_nats(n, found.nodes) for n in more), default=0.0)
        measured.append(replace(found, left=left))
    return sorted(measured, key=lambda f: -f.score)


def _missing(nodes: Sequence[Node], outcomes: Sequence[int]) -> list[int]:
    """Numbers of outcomes of which a set has too few nodes."""
    return sorted(Counter(outcomes) - Counter(n.outcomes for n in nodes))


def _exchange(
    views: Sequence[View], front: list[Found], starts: Sequence[Starts], known: int
) -> list[Found]:
    """Replace one node at a time by others, until the best set stays the same."""
    fewer = [s.fewer() for s in starts]
    for _ in range(ROUNDS):
        changed: list[Sequence[Node]] = []
        for found in front[:EXCHANGED]:
            for j in range(known, len(found.nodes)):
                changed += _with_another(views, found.nodes, j, fewer)
        best = front[0]
        new = _with_left(views, _best(changed, sweeps=3, most=BEAM), fewer)
        front = _distinct([*front, *new], BEAM)
        if _same(front[0].nodes, best.nodes):
            break
    return front


def _weakest_again(
    views: Sequence[View], front: list[Found], starts: Sequence[Starts], known: int
) -> list[Found]:
    """Seek the weakest node of the best set from other starts, and in their neighbourhood."""
    nodes, judged = front[0].nodes, front[0].judgement
    j = known + int(np.minimum(judged.evidence, judged.conditional).argmin())
    changed = _with_another(views, nodes, j, starts, near=NEAR_ROUNDS)
    new = _with_left(views, _best(changed, sweeps=4, most=2), [s.fewer() for s in starts])
    return _distinct([*front, *new], BEAM)


def _with_another(
    views: Sequence[View],
    nodes: Sequence[Node],
    j: int,
    starts: Sequence[Starts],
    *,
    near: int = 0,
) -> list[Sequence[Node]]:
    """A set with other nodes in one place."""
    before, after = nodes[:j], nodes[j + 1 :]
    others = [*before, *after]
    more = _candidates(views, others, starts, nodes[j].outcomes, EXCHANGE, near=near)
    return [[*before, node, *after] for node in more]


def _best(new: Sequence[Sequence[Node]], *, sweeps: int, most: int) -> list[Found]:
    """Refine and judge sets; the best distinct ones."""
    return _distinct([Found(tuple(s), judge(s)) for s in refine(new, sweeps=sweeps)], most)


def _distinct(sets: Sequence[Found], most: int) -> list[Found]:
    kept: list[Found] = []
    for found in sorted(sets, key=lambda f: -f.score):
        if len(kept) < most and not any(_same(found.nodes, k.nodes) for k in kept):
            kept.append(found)
    return kept


def _same(a: Sequence[Node], b: Sequence[Node]) -> bool:
    return all(max(agreement(x.probability, y.probability) for y in b) > SAME for x in a)


def _candidates(
    views: Sequence[View],
    others: Sequence[Node],
    starts: Sequence[Starts],
    outcomes: int,
    keep: int,
    *,
    near: int = 0,
) -> list[Node]:
    """Partitions that are blind to the other nodes of a set."""
    found = []
    for view, start in zip(views, starts, strict=True):
        columns = columns_of(others, view.present)
        begin = [start.directions, *_inside_cells(view, others, outcomes, start.directions)]
        if outcomes > 2:  # the direction of several groups in a row also tells two of them
            begin.append(pursue(view.white, columns, 2, np.concatenate(begin), steps=STEPS))
        steps = STEPS * (outcomes - 1)
        axes = pursue(view.white, columns, outcomes, np.concatenate(begin), steps=steps)
        shown = _shown_along(view, axes, outcomes, others, max(keep, NEAR_BEST))
        for _ in range(near if shown else 0):
            best = np.stack([n.axis for n in shown[:NEAR_BEST]])
            axes = pursue(view.white, columns, outcomes, _around(best, start), steps=NEAR_STEPS)
            axes = np.concatenate([best, axes])
            shown = _shown_along(view, axes, outcomes, others, max(keep, NEAR_BEST))
        found += shown[:keep]
    return found


def _starts(view: View, rng: np.random.Generator) -> Starts:
    directions = starting_directions(view.white, STARTS, rng)
    around = rng.normal(size=(NEAR_EACH, directions.shape[1]))
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    return Starts(directions, around * np.resize(np.tan(NEAR_ANGLES), (NEAR_EACH, 1)))


def _around(axes: Array, start: Starts) -> Array:
    near = (axes[:, None] + start.around).reshape(-1, axes.shape[1])
    return near / np.linalg.norm(near, axis=1, keepdims=True)


def _shown_along(
    view: View, axes: Array, outcomes: int, others: Sequence[Node], most: int
) -> list[Node]:
    """The distinct new partitions along some directions, the clearest first."""
    nats = [(conditional_nats(n, others), n) for n in along(view, axes, outcomes)]
    kept: list[Node] = []
    for clear, node in sorted(nats, key=lambda pair: -pair[0]):
        if len(kept) == most or clear <= 0.0:
            break
        if node.probability.mean(0).min() > RAREST and all(
            agreement(node.probability, o.probability) < SAME for o in (*others, *kept)
        ):
            kept.append(node)
    return kept


def _inside_cells(view: View, others: Sequence[Node], outcomes: int, start: Array) -> list[Array]:
    """Directions of groups among samples that agree in all other nodes.

    Where nodes depend on each other, the direction of one can be hidden by a combination of
    two. With the other nodes fixed only its own groups are left.
    """
    if not others:
        return []
    code = joint_code(np.stack([o.label[view.present] for o in others], axis=1))
    counts = np.bincount(code)
    found = []
    for k in counts.argsort()[::-1][:CELLS]:
        if counts[k] < max(MIN_CELL, 8 * view.white.shape[1]):
            continue
        part = view.white[code == k]
        local = whiten(part)
        white = local.apply(part)
        begin = start[:FEWER_STARTS, : white.shape[1]]
        begin = begin / np.maximum(np.linalg.norm(begin, axis=1, keepdims=True), 1e-9)
        axes = pursue(white, np.zeros((len(white), 0)), outcomes, begin, steps=8)
        best = evidence_along(white, axes, outcomes).argsort()[::-1][:PER_CELL]
        directions = axes[best] @ local.basis.T
        norm = np.linalg.norm(directions, axis=1, keepdims=True)
        found.append(directions / np.maximum(norm, 1e-12))
    return found
