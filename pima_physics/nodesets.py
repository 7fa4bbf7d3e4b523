r"""Sets of proposed nodes: each is refined blind to the others, and judged beside them.

A node shows itself by modes along its direction, at best among samples that agree in the nodes
known before it. A set is judged by its weakest members in any order of becoming known,

.. math:: s = \operatorname{mean}_{\pi}\ \Big(\prod_j
              E(n_{\pi_j} \mid n_{\pi_1}, \dots, n_{\pi_{j-1}})\Big)^{1/L}

with the evidence E in nats over all samples, at most that of the node by itself: a partition
that shows only beside another is rather a part of it. A copy or a function of other nodes has
no modes left once these are known. The search takes off what a set leaves unexplained, the
evidence of one more node given the set: sets of half-features (unions of the same two nodes)
pass each other's test, but leave a whole node behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pima_physics.modes import BINS, Mixture1D, all_cuts, fit_mixture, histograms
from pima_physics.modes_evidence import multimodality_of_all, nats_over_cells
from pima_physics.nodesets_order import in_any_order
from pima_physics.pursuit import blind_axes, masses_in_cells, within_cells
from pima_physics.views import View

Array = NDArray[np.float64]
T = TypeVar("T")

# What one fixed direction of featureless data shows at most, in nats over all samples.
CHANCE_NATS = 4.0
SMALLEST_CELL = 20
# Groups with a smaller share of the samples are outliers rather than outcomes.
RAREST = 0.02
# Partitions in two views with less agreement are not taken for the same feature.
SAME_PARTITION = 0.8


@dataclass(frozen=True)
class Node:
    """A proposed categorical feature: a partition along one direction of a view.

    Attributes
    ----------
    view : View or None
        None for outcomes that were given.
    axis : array, shape (axis,)
        Unit vector in the whitened view.
    probability : array, shape (sample, outcome)
        Equal where the view is absent.
    score : array, shape (sample,)
        Expected group mean: the groups in their order along the direction.
    mixture : Mixture1D
        With a single projection.
    bins : int array, shape (present sample,)
    mass : array, shape (bin,)
    """

    view: View | None
    axis: Array
    probability: Array
    score: Array
    mixture: Mixture1D
    bins: NDArray[np.int64]
    mass: Array

    @property
    def outcomes(self) -> int:
        """Number of groups."""
        return self.probability.shape[1]

    def assign(self, white: Array) -> Array:
        """Outcome probabilities of samples (sample, axis) of the whitened view."""
        index = histograms(white @ self.axis[:, None])[0][:, 0]
        return self.mixture.responsibility[0][:, index].T

    @cached_property
    def label(self) -> NDArray[np.int64]:
        """Likeliest outcome per sample."""
        return self.probability.argmax(1)

    @property
    def nats(self) -> float:
        """Evidence over all samples."""
        return self.evidence * len(self.bins)

    @cached_property
    def evidence(self) -> float:
        """Nats per present sample over the best density with a single mode."""
        parted = len(self.cuts) == self.outcomes - 1
        return float(multimodality_of_all(self.mass[None], [self.cuts])[0]) if parted else 0.0

    @cached_property
    def cuts(self) -> NDArray[np.int64]:
        """Bins at which the groups part."""
        return all_cuts(self.mixture)[0]


@dataclass(frozen=True)
class Judgement:
    """How good a set of nodes is.

    Attributes
    ----------
    score : float
    evidence, conditional : array, shape (node,)
        Nats over all samples, alone and given the other nodes.
    """

    score: float
    evidence: Array
    conditional: Array


def given(probability: Array) -> Node:
    """A node whose outcomes were given."""
    empty = np.zeros((1, 1))
    mixture = Mixture1D(empty, empty, empty, np.zeros((1, 1, BINS)), np.zeros(1))
    none = np.zeros(0, dtype=np.int64)
    score = probability @ np.arange(probability.shape[1], dtype=float)
    return Node(None, np.zeros(0), probability, score, mixture, none, np.zeros(BINS))


def along(view: View, axes: Array, outcomes: int, *, iterations: int = 15) -> list[Node]:
    """The partitions along some directions (direction, axis) of a view."""
    bins, mass = histograms(view.white @ axes.T)
    mixtures = fit_mixture(mass, outcomes, iterations=iterations)
    views = [view] * len(axes)
    return _settle(views, list(axes), mixtures, list(bins.T), list(mass))


def _settle(
    views: Sequence[View],
    axes: Sequence[Array],
    mixtures: Mixture1D,
    bins: Sequence[NDArray[np.int64]],
    masses: Sequence[Array],
) -> list[Node]:
    nodes = []
    for j, (view, axis, index, mass) in enumerate(zip(views, axes, bins, masses, strict=True)):
        mixture = mixtures.take(j)
        found = mixture.responsibility[0][:, index].T
        probability = np.full((len(view.present), found.shape[1]), 1.0 / found.shape[1])
        probability[view.present] = found
        score = probability @ mixture.mean[0]
        nodes.append(Node(view, axis, probability, score, mixture, index, mass))
    return nodes


def columns_of(nodes: Sequence[Node], present: NDArray[np.bool_]) -> Array:
    """Outcome probabilities of some nodes, one column of each left out."""
    parts = [n.probability[present][:, 1:] for n in nodes]
    return np.concatenate([*parts, np.zeros((int(present.sum()), 0))], axis=1)


def cells_of(nodes: Sequence[Node], present: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """Joint outcome of some nodes, one number per sample; None without nodes."""
    return joint_code(np.stack([n.label[present] for n in nodes], axis=1)) if nodes else None


def refine(sets: Sequence[Sequence[Node]], *, sweeps: int) -> list[list[Node]]:
    """Turn every node's direction blind to the other nodes of its set, in sweeps over nodes.

    All sets have the same number of nodes; those of the same number of outcomes go together.
    """
    refined = [list(s) for s in sets]
    for sweep in range(sweeps):
        ends = sweep in (0, sweeps - 1)
        for j in range(len(refined[0]) if refined else 0):
            for outcomes in {s[j].outcomes for s in refined}:
                members = [s for s in refined if s[j].outcomes == outcomes and s[j].view]
                if members:
                    _turn(members, j, outcomes, iterations=15 if ends else 8)
    return refined


def _turn(sets: Sequence[list[Node]], j: int, outcomes: int, *, iterations: int) -> None:
    views = [view for nodes in sets if (view := nodes[j].view) is not None]
    axes = [_axis_in(view, nodes, j)[0] for view, nodes in zip(views, sets, strict=True)]
    seen = [histograms(v.white @ a[:, None]) for v, a in zip(views, axes, strict=True)]
    bins, masses = [index[:, 0] for index, _ in seen], [mass[0] for _, mass in seen]
    mixtures = fit_mixture(np.stack(masses), outcomes, iterations=iterations)
    for nodes, node in zip(sets, _settle(views, axes, mixtures, bins, masses), strict=True):
        nodes[j] = node


def _axis_in(view: View, nodes: Sequence[Node], j: int) -> Array:
    """Direction of one node of a set in a view, blind to the others, shape (1, axis)."""
    others = [n for i, n in enumerate(nodes) if i != j]
    node, cells = nodes[j], cells_of(others, view.present)
    score = node.score[view.present]
    if cells is not None:
        found = within_cells(node.probability[view.present], node.mixture.weight[0], cells)
        score = found @ node.mixture.mean[0]
    return blind_axes(view.white, score[:, None], columns_of(others, view.present))


def seen_in(views: Sequence[View], nodes: Sequence[Node], j: int) -> Node | None:
    """The same partition as one node of a set, in the view that shows it most clearly.

    Returns
    -------
    Node or None
        None where no view shows the partition.
    """
    node, best = nodes[j], None
    for view in views if node.view is not None else []:
        again = along(view, _axis_in(view, nodes, j), node.outcomes)[0]
        same = agreement(again.probability, node.probability) > SAME_PARTITION
        if same and (best is None or again.nats > best.nats):
            best = again
    return best


def in_best_views(nodes: Sequence[Node], views: Sequence[View]) -> list[Node]:
    """A set with every node in the view that shows it best."""
    best = [seen_in(views, nodes, j) for j in range(len(nodes))]
    pairs = zip(nodes, best, strict=True)
    return [b if b is not None and b.nats > n.nats else n for n, b in pairs]


def judge(nodes: Sequence[Node]) -> Judgement:
    """Score of a set; outcomes that were given are taken for granted."""
    free = [j for j, n in enumerate(nodes) if n.view is not None]
    given_ones = [n for n in nodes if n.view is None]

    def nats(j: int, before: frozenset[int]) -> float:
        others = [*given_ones, *(nodes[i] for i in sorted(before))]
        alone = conditional_nats(nodes[j], ())
        return min(alone, conditional_nats(nodes[j], others)) if others else alone

    evidence = np.array([nodes[j].nats for j in free])
    shown = all(nodes[j].probability.mean(0).min() > RAREST for j in free)
    score, rest = in_any_order(free, nats)
    return Judgement(score if free and shown else 0.0, evidence, rest)


def conditional_nats(node: Node, others: Sequence[Node]) -> float:
    """Nats for modes of a node among samples that agree in others, over all samples.

    What a featureless cell of its size shows by chance is taken off.
    """
    assert node.view is not None
    cells = cells_of(others, node.view.present)
    if cells is None or len(node.cuts) < node.outcomes - 1:  # without all cuts it has no evidence
        return max(node.nats - CHANCE_NATS, 0.0)
    return float(nats_in_cells(cells, node.bins[:, None], node.cuts[None])[0])


def nats_in_cells(
    cells: NDArray[np.int64], bins: NDArray[np.int64], cuts: NDArray[np.int64]
) -> Array:
    """Nats for modes between cuts (direction, cut) among samples alike, over all cells."""
    return nats_over_cells(*masses_in_large_cells(cells, bins), cuts, chance=CHANCE_NATS)


def masses_in_large_cells(
    cells: NDArray[np.int64], bins: NDArray[np.int64]
) -> tuple[Array, NDArray[np.int64]]:
    """`masses_in_cells` that are large enough to show modes."""
    masses, counts = masses_in_cells(cells, bins)
    large = counts >= SMALLEST_CELL
    return masses[large], counts[large]


def joint_code(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number 0, 1, ... per distinct row."""
    code = np.zeros(len(labels), dtype=np.int64)
    for column in labels.T:
        code = code * (column.max(initial=0) + 1) + column
        code = (np.cumsum(np.bincount(code) > 0) - 1)[code]
    return code


def agreement(a: Array, b: Array) -> float:
    """Cramer-like agreement of two soft partitions, 0 to 1."""
    if a.shape[1] != b.shape[1]:
        return 0.0
    ones = np.full(len(a), 1.0 / len(a))  # a product: means of so few columns are slow
    x, y = a - ones @ a, b - ones @ b
    cross = np.linalg.norm(x.T @ y, "nuc")
    return float(cross / (np.linalg.norm(x) * np.linalg.norm(y) + 1e-12))


def first_distinct(items: Iterable[T], same: Callable[[T, T], bool], most: int) -> list[T]:
    """The first items, at most so many, of which none is the same as one before it."""
    kept: list[T] = []
    for item in items:
        if len(kept) == most:
            break
        if not any(same(item, k) for k in kept):
            kept.append(item)
    return kept
