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
    cells_of,
    columns_of,
    conditional_nats,
    first_distinct,
    judge,
    refine,
)
from pima_physics.pursuit import pursue
from pima_physics.search_polish import polish
from pima_physics.search_starts import FEWER_STARTS, STEPS, inside_cells, starts_in
from pima_physics.views import View

Array = NDArray[np.float64]

# Sets kept per size, sets whose nodes are exchanged, and rounds of exchange.
BEAM, EXCHANGED, ROUNDS = 6, 4, 4
# Candidates kept per view: for the first node, for a further one, for one in exchange.
FIRST, FURTHER, EXCHANGE = 8, 4, 5
# Sweeps in which the last sets settle.
SETTLED = 10
# Sets that are polished, the best ones.
POLISHED = 3
# What a set leaves unexplained counts this often: blind to wrong nodes, a missing one shows only in
# part.
UNEXPLAINED = 3.0
# Two partitions with a larger agreement count as one.
SAME = 0.95


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
    direct : bool
        Around nodes that fitted parameters show by themselves.
    nested : bool
        Around all nodes but one, as the latent shows them without it.
    """

    nodes: tuple[Node, ...]
    judgement: Judgement
    left: float = 0.0
    confirmed: tuple[bool, ...] = ()
    direct: bool = False
    nested: bool = False

    @staticmethod
    def of(nodes: Sequence[Node]) -> Found:
        """A set with its judgement."""
        return Found(tuple(nodes), judge(nodes))

    @property
    def free(self) -> list[Node]:
        """Nodes that were not given."""
        return [n for n in self.nodes if n.view is not None]

    @property
    def score(self) -> float:
        """What sets are compared by."""
        return self.judgement.score - UNEXPLAINED * self.left


def find_sets(
    views: Sequence[View],
    outcomes: Sequence[int],
    *,
    rng: np.random.Generator,
    known: Sequence[Node] = (),
    hints: Sequence[Node] = (),
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
    hints : sequence of Node
        What other views show, whose directions are started from as well.

    Returns
    -------
    list of Found
        Nodes that were given come first. Sets are smaller than wanted where no further groups
        show.
    """
    starts = [starts_in(v, rng, hints) for v in views]
    front = [Found(tuple(known), Judgement(0.0, np.zeros(0), np.zeros(0)))]
    for depth in range(len(outcomes)):
        grown: list[Sequence[Node]] = []
        for found in front:
            for count in sorted(set(lacking(found.nodes[len(known) :], outcomes))):
                keep = FURTHER if depth else FIRST
                more = _candidates(views, found.nodes, starts, count, keep)
                grown += [(*found.nodes, node) for node in more]
        if not grown:
            return [f for f in front if f.nodes]
        front = _best(grown, sweeps=4 if depth or known else 1)
    front = _exchange(views, _with_left(views, front, starts), starts, len(known))
    # What sets leave unexplained can only make them worse: it is measured where it can decide.
    settled = _best([f.nodes for f in front], sweeps=SETTLED)
    better = [f for f in settled if f.score > front[0].score]
    return distinct_sets([*front, *_with_left(views, better, starts)])


def polished(
    sets: Sequence[Found], views: Sequence[View], *, rng: np.random.Generator
) -> list[Found]:
    """The sets and the best of them with their nodes at their clearest, best first.

    Parameters
    ----------
    views : sequence of View
        In which the sets were found.
    """
    turned = [polish(f.nodes, rng=rng) for f in sets[:POLISHED]]
    starts = [starts_in(v, rng) for v in views]
    new = _with_left(views, [Found.of(nodes) for nodes in turned], starts)
    return distinct_sets([*new, *sets])


def further(
    views: Sequence[View],
    nodes: Sequence[Node],
    outcomes: int,
    keep: int,
    *,
    rng: np.random.Generator,
) -> list[Node]:
    """Nodes that the pursuit finds beside those given, the clearest of every view."""
    starts = [starts_in(v, rng) for v in views]
    return _candidates(views, nodes, starts, outcomes, keep)


def unexplained(views: Sequence[View], nodes: Sequence[Node], *, rng: np.random.Generator) -> float:
    """Evidence of one more node than those given, in nats over the samples of the views."""
    starts = [starts_in(v, rng) for v in views]
    nothing = Judgement(0.0, np.zeros(0), np.zeros(0))
    return _with_left(views, [Found(tuple(nodes), nothing)], starts)[0].left


def _with_left(
    views: Sequence[View], front: Sequence[Found], starts: Sequence[Array]
) -> list[Found]:
    """The sets with the evidence that they leave unexplained, best first."""
    measured = []
    for found in front:
        more = _candidates(views, found.nodes, starts, 2, 1)
        left = max((conditional_nats(n, found.nodes) for n in more), default=0.0)
        measured.append(replace(found, left=left))
    return sorted(measured, key=lambda f: -f.score)


def lacking(nodes: Sequence[Node], outcomes: Sequence[int]) -> list[int]:
    """Numbers of outcomes of which a set has too few nodes, each as often as they lack."""
    return sorted((Counter(outcomes) - Counter(n.outcomes for n in nodes)).elements())


def _exchange(
    views: Sequence[View], front: list[Found], starts: Sequence[Array], known: int
) -> list[Found]:
    """Replace one node at a time by others, until the best set stays the same."""
    fewer, done = [s[:FEWER_STARTS] for s in starts], []
    for _ in range(ROUNDS):
        changed: list[Sequence[Node]] = []
        for found in front[:EXCHANGED]:
            if any(found is d for d in done):  # what it leads to is known
                continue
            done.append(found)
            for j in range(known, len(found.nodes)):
                rest = [*found.nodes[:j], *found.nodes[j + 1 :]]
                for node in _candidates(views, rest, fewer, found.nodes[j].outcomes, EXCHANGE):
                    changed.append([*found.nodes[:j], node, *found.nodes[j + 1 :]])
        best = front[0]
        # Sets that would not be exchanged in their turn, whatever they leave, are not measured.
        least = front[EXCHANGED - 1].score if len(front) >= EXCHANGED else -np.inf
        new = [f for f in _best(changed, sweeps=3) if f.score > least]
        front = distinct_sets([*front, *_with_left(views, new, fewer)])
        if same_nodes(front[0].nodes, best.nodes):
            break
    return front


def _best(new: Sequence[Sequence[Node]], *, sweeps: int) -> list[Found]:
    """Refine and judge sets; the best distinct ones."""
    return distinct_sets([Found.of(s) for s in refine(new, sweeps=sweeps)])


def distinct_sets(sets: Sequence[Found]) -> list[Found]:
    """The best of several sets, each with other nodes."""
    ordered = sorted(sets, key=lambda f: -f.score)
    return first_distinct(ordered, lambda a, b: same_nodes(a.nodes, b.nodes), BEAM)


def same_nodes(a: Sequence[Node], b: Sequence[Node]) -> bool:
    """Whether every node of a set is one of another, too."""
    return all(max(agreement(x.probability, y.probability) for y in b) > SAME for x in a)


def _candidates(
    views: Sequence[View],
    others: Sequence[Node],
    starts: Sequence[Array],
    outcomes: int,
    keep: int,
) -> list[Node]:
    """Partitions that are blind to the other nodes of a set."""
    found = []
    for view, start in zip(views, starts, strict=True):
        columns, cells = columns_of(others, view.present), cells_of(others, view.present)
        begin = [start, *inside_cells(view, cells, outcomes, start)]
        if outcomes > 2:  # the direction of several groups in a row also tells two of them
            some = np.concatenate(begin)
            begin.append(pursue(view.white, columns, 2, some, cells=cells, steps=STEPS))
        steps = STEPS * (outcomes - 1)
        some = np.concatenate(begin)
        axes = pursue(view.white, columns, outcomes, some, cells=cells, steps=steps)
        shown = [(conditional_nats(n, others), n) for n in along(view, axes, outcomes)]
        for nats, node in sorted(shown, key=lambda pair: -pair[0])[:keep]:
            new = all(agreement(node.probability, o.probability) < SAME for o in others)
            if new and nats > 0.0 and node.probability.mean(0).min() > RAREST:
                found.append(node)
    return found
