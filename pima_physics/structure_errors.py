r"""Label errors that explain an edge away.

Labels of a common cause that are sometimes wrong make its effects depend on each other; whatever
the cause does not tell of them looks like an edge. Soft counts do not help where groups are not
Gaussian: the errors are then larger, and more lopsided, than the responsibilities say. Counts

.. math:: E[N_r(y)] = N_r \sum_c p_{G, r}(c) \prod_l M_l[c_l, y_l]

of every experiment r (what was set in it has a distribution of its own, and no errors where the
value is known) are therefore fitted with label errors M under the best graph and under those with
an edge less, each paying half the log of the sample size per table entry and its errors by an
exponential prior whose mean is twice what the outcome probabilities say.
If fewer edges with some errors explain the counts better, these errors are returned, to be
undone before the graph is scored. A true edge this weak beside a node this uncertain cannot be told
from errors: the data do not say.

Reference: A. Dempster, N. Laird, D. Rubin, J. R. Stat. Soc. B 39, 1977 (the iteration).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pima_physics.cpdags import cpdag, same_class
from pima_physics.structure_labels import deconvolve, reliability
from pima_physics.structure_search import all_dags, matrices

Array = NDArray[np.float64]

# How many times more labels may be wrong than outcome probabilities say: the mean of the prior of
# an outcome's error rate, and the most of all labels of a node.
MISJUDGED = 2.0
# No discovered label is taken to be surer: mixtures think little of tails that are not Gaussian.
SUREST = 0.005
# Nodes from which, and up to which, errors are sought: two have no edge to explain away, and the
# graphs to compare become many.
FEWEST, LARGEST = 3, 4
# Labels with less doubt were given.
SURE = 1e-5
STEPS, TOLERANCE = 300, 1e-4


@dataclass(frozen=True)
class _Fit:
    """A graph, the label errors that suit it, and their penalised log likelihood in nats."""

    dag: NDArray[np.bool_]
    confusion: list[Array]
    score: float


def label_errors(
    counts: Array,
    dag: Array,
    doubt: Array | Sequence[float],
    acted: NDArray[np.bool_] | None = None,
) -> list[list[Array]] | None:
    """Errors with which a graph of fewer edges explains the counts better.

    Parameters
    ----------
    counts : array (C_1, ..., C_L), or (R, C_1, ..., C_L) with ``acted``
        Of labels, or sums of outcome probabilities; one table per experiment.
    dag : array (L, L)
        The best graph where labels are taken as they are.
    doubt : array (L,) or (R, L)
        Error rate of every node's labels, as their probabilities say (`doubt_of`). Nought where
        labels were given.
    acted : bool array (R, L), optional
        Nodes that were cut off their parents in each experiment.

    Returns
    -------
    list of lists of arrays (C_l, C_l), or None
        p(label | true outcome) in every experiment; None where no edge is explained away.
    """
    acted = np.zeros((1, counts.ndim), dtype=bool) if acted is None else acted
    tables = counts.reshape(len(acted), *counts.shape[-acted.shape[1] :])
    said = np.broadcast_to(np.asarray(doubt, dtype=float), acted.shape)
    sizes = tables.reshape(len(tables), -1).sum(1)
    told = (said > SURE) & (sizes[:, None] > 0.0)
    if not FEWEST <= acted.shape[1] <= LARGEST or not told.any():
        return None
    share = np.where(told, sizes[:, None], 0.0)
    mean = (share * said).sum(0) / np.maximum(share.sum(0), 1e-300)
    rates = MISJUDGED * np.where(told.any(0), np.maximum(mean, SUREST), 0.0)
    case = _Case(tables, acted, told, rates)
    first = best = case.fit(np.asarray(dag, dtype=bool))
    while True:
        fits = [case.fit(graph) for graph in _with_an_edge_less(best.dag, acted)]
        better = max(fits, key=lambda f: f.score, default=best)
        if better.score <= best.score:
            break
        best = better
    return None if best is first else case.in_experiments(best.confusion)


def doubt_of(marginals: Sequence[Array], intervened: NDArray[np.bool_] | None = None) -> Array:
    """Share of wrong labels that the outcome probabilities (sample, outcome) of each node say.

    Samples of which they say nothing at all, as they were not searched, do not count.

    Parameters
    ----------
    intervened : bool array (sample, L), optional

    Returns
    -------
    array (L,), or (R, L)
        With interventions in each experiment, in the order of `counts_by_target`.
    """
    wrong = np.stack([1.0 - p.max(1) for p in marginals], axis=1)
    told = np.stack([(p != p[:, :1]).any(1) for p in marginals], axis=1)

    def share(part: NDArray[np.bool_]) -> Array:
        known = told & part[:, None]
        return (wrong * known).sum(0) / known.sum(0).clip(min=1)

    if intervened is None:
        return share(np.ones(len(wrong), dtype=bool))
    rows, group = np.unique(np.asarray(intervened, dtype=bool), axis=0, return_inverse=True)
    group = group.reshape(-1)
    return np.stack([share(group == r) for r in range(len(rows))])


def undone(counts: Array, errors: Sequence[Sequence[Array]]) -> Array:
    """Counts (R, C_1, ..., C_L) of the true outcomes, as many as such labels are worth."""
    each = zip(counts, errors, strict=True)
    return np.stack([reliability(list(e)) * deconvolve(table, list(e)) for table, e in each])


def _with_an_edge_less(dag: NDArray[np.bool_], acted: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """One graph of every class that a member of the graph's class has after losing an edge."""
    every = matrices(all_dags(len(dag)))
    found: dict[bytes, NDArray[np.bool_]] = {}
    for member in every[same_class(every, dag, acted)]:
        for i, j in np.argwhere(member):
            fewer = member.copy()
            fewer[i, j] = False
            found.setdefault(cpdag(fewer, targets=acted).tobytes(), fewer)
    return list(found.values())


@dataclass(frozen=True)
class _Case:
    """Counts (R, C_1, ..., C_L), nodes acted on and nodes with doubt (R, L), error rates (L,)."""

    counts: Array
    acted: NDArray[np.bool_]
    doubted: NDArray[np.bool_]
    rates: Array

    @property
    def outcomes(self) -> tuple[int, ...]:
        return self.counts.shape[1:]

    def fit(self, dag: NDArray[np.bool_]) -> _Fit:
        counts, total = self.counts, float(self.counts.sum())
        doubt = self.rates
        confusion = [
            np.full((c, c), e / (c - 1)) + np.eye(c) * (1.0 - e - e / (c - 1))
            for c, e in zip(self.outcomes, np.where(doubt > SURE, doubt / 2.0, 0.0), strict=True)
        ]
        share, old, score = self._joint(counts, dag), -np.inf, -np.inf
        for _ in range(STEPS):
            expected = self._along(share, [m.T for m in confusion])
            ratio = counts / np.maximum(expected, 1e-300)
            wrong = np.array([float((1.0 - np.diag(m)).sum()) for m in confusion])
            cost = float((wrong / np.maximum(doubt, SURE)).sum())
            score = float((counts * np.log(np.maximum(expected, 1e-300))).sum()) - cost
            if score - old < TOLERANCE:
                break
            old = score
            true = share * self._along(ratio, confusion)
            confusion = [
                self._channel(share, ratio, confusion, node) if rate > SURE else confusion[node]
                for node, rate in enumerate(doubt)
            ]
            share = self._joint(true, dag)
        return _Fit(dag, confusion, score - 0.5 * _free_entries(dag, self.outcomes) * np.log(total))

    def in_experiments(self, confusion: Sequence[Array]) -> list[list[Array]]:
        """The errors of every experiment: none where labels are sure."""
        return [
            [m if told else np.eye(len(m)) for m, told in zip(confusion, row, strict=True)]
            for row in self.doubted
        ]

    def _joint(self, counts: Array, dag: NDArray[np.bool_]) -> Array:
        """Joint probability of every experiment with the tables that suit the counts."""
        joint = np.ones_like(counts)
        nodes = range(counts.ndim - 1)
        for node in nodes:
            others = tuple(i + 1 for i in nodes if i != node)
            acted = self.acted[:, node].reshape(-1, *[1] * len(self.outcomes))
            outside = tuple(i + 1 for i in nodes if i != node and not dag[i, node])
            family = (counts * ~acted).sum(axis=(0, *outside), keepdims=True) + 1e-9
            own = counts.sum(axis=others, keepdims=True) + 1e-9
            tables = np.where(acted, own, family)
            joint = joint * tables / tables.sum(axis=node + 1, keepdims=True)
        return joint / joint.sum(axis=tuple(i + 1 for i in nodes), keepdims=True)

    def _along(self, array: Array, matrices_: Sequence[Array]) -> Array:
        """Apply the matrix of every node that is doubted to its axis, experiment by experiment."""
        for node, matrix in enumerate(matrices_):
            told = self.doubted[:, node]
            before = len(told) * math.prod(self.outcomes[:node])
            turned = matrix @ array.reshape(before, self.outcomes[node], -1)
            turned = turned.reshape(array.shape)
            if not told.all():
                turned = np.where(told.reshape(-1, *[1] * len(self.outcomes)), turned, array)
            array = turned
        return array

    def _channel(self, share: Array, ratio: Array, confusion: Sequence[Array], node: int) -> Array:
        """Likeliest errors of one node given the expected true outcomes, under the prior."""
        rate, size = float(self.rates[node]), len(confusion[node])
        keep = [np.eye(size) if k == node else m for k, m in enumerate(confusion)]
        told = self.doubted[:, node]
        back = np.moveaxis(self._along(ratio, keep)[told], node + 1, 0).reshape(size, -1)
        forth = np.moveaxis(share[told], node + 1, 0).reshape(size, -1)
        pairs = forth @ back.T * confusion[node]
        kept = np.diag(pairs)
        total = pairs.sum(1)
        # off / e - kept / (1 - e) = 1 / rate
        linear = total + 1.0 / rate
        root = np.sqrt(np.maximum(linear**2 - 4.0 / rate * (total - kept), 0.0))
        error = np.clip(0.5 * rate * (linear - root), 1e-6, 0.5)
        error *= min(1.0, rate / float(error @ total / total.sum()))
        off = pairs - np.diag(kept) + 1e-12 * (1.0 - np.eye(size))
        return off / off.sum(1, keepdims=True) * error[:, None] + np.diag(1.0 - error)


def _free_entries(dag: NDArray[np.bool_], sizes: Sequence[int]) -> int:
    each = np.array(sizes)
    return int(sum((c - 1) * np.prod(each[dag[:, j]]) for j, c in enumerate(sizes)))
