r"""Label errors that explain an edge away.

Labels of a common cause that are sometimes wrong make its effects depend on each other; whatever
the cause does not tell of them looks like an edge. Soft counts do not help where groups are not
Gaussian: the errors are then larger, and more lopsided, than the responsibilities say. Counts

.. math:: E[N(y)] = N \sum_c p_G(c) \prod_l M_l[c_l, y_l]

are therefore fitted with label errors M under the best graph and under those with an edge less,
each paying half the log of the sample size per table entry and its errors by an exponential prior
whose mean is twice what the outcome probabilities say.
If fewer edges with some errors explain the counts better, these errors are returned, to be
undone before the graph is scored. A true edge this weak beside a node this uncertain cannot be told
from errors: the data do not say.

Reference: A. Dempster, N. Laird, D. Rubin, J. R. Stat. Soc. B 39, 1977 (the iteration).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pima_physics.cpdags import cpdag, same_class
from pima_physics.structure_labels import along_axes
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


def label_errors(counts: Array, dag: Array, doubt: Sequence[float]) -> list[Array] | None:
    """Errors with which a graph of fewer edges explains the counts better.

    Parameters
    ----------
    counts : array (C_1, ..., C_L)
        Of labels, or sums of outcome probabilities.
    dag : array (L, L)
        The best graph where labels are taken as they are.
    doubt : sequence of float
        Error rate of every node's labels, as their probabilities say (`doubt_of`). Nought where
        labels were given.

    Returns
    -------
    list of arrays (C_l, C_l), or None
        p(label | true outcome); None where no edge is explained away.
    """
    total = float(counts.sum())
    said = np.asarray(doubt, dtype=float)
    rates = MISJUDGED * np.where(said > SURE, np.maximum(said, SUREST), 0.0)
    if not FEWEST <= counts.ndim <= LARGEST or total <= 0.0 or rates.max() <= SURE:
        return None
    first = best = _fit(counts, np.asarray(dag, dtype=bool), rates)
    while True:
        fits = [_fit(counts, graph, rates) for graph in _with_an_edge_less(best.dag)]
        better = max(fits, key=lambda f: f.score, default=best)
        if better.score <= best.score:
            return None if best is first else best.confusion
        best = better


def doubt_of(marginals: Sequence[Array]) -> list[float]:
    """Share of wrong labels that the outcome probabilities (sample, outcome) of each node say."""
    return [float(1.0 - p.max(1).mean()) for p in marginals]


def _with_an_edge_less(dag: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """One graph of every class that a member of the graph's class has after losing an edge."""
    every = matrices(all_dags(len(dag)))
    found: dict[bytes, NDArray[np.bool_]] = {}
    for member in every[same_class(every, dag)]:
        for i, j in np.argwhere(member):
            fewer = member.copy()
            fewer[i, j] = False
            found.setdefault(cpdag(fewer).tobytes(), fewer)
    return list(found.values())


def _fit(counts: Array, dag: NDArray[np.bool_], doubt: Array) -> _Fit:
    sizes, total = counts.shape, float(counts.sum())
    confusion = [
        np.full((c, c), e / (c - 1)) + np.eye(c) * (1.0 - e - e / (c - 1))
        for c, e in zip(sizes, np.where(doubt > SURE, doubt / 2.0, 0.0), strict=True)
    ]
    share, old, score = _tables_of(counts, dag), -np.inf, -np.inf
    for _ in range(STEPS):
        expected = along_axes(share, [m.T for m in confusion])
        ratio = counts / np.maximum(expected, 1e-300)
        wrong = np.array([float((1.0 - np.diag(m)).sum()) for m in confusion])
        cost = float((wrong / np.maximum(doubt, SURE)).sum())
        score = float((counts * np.log(np.maximum(expected, 1e-300))).sum()) - cost
        if score - old < TOLERANCE:
            break
        old = score
        true = share * along_axes(ratio, confusion)
        confusion = [
            _channel(share, ratio, confusion, node, rate) if rate > SURE else confusion[node]
            for node, rate in enumerate(doubt)
        ]
        share = _tables_of(true, dag)
    return _Fit(dag, confusion, score - 0.5 * _free_entries(dag, sizes) * np.log(total))


def _tables_of(counts: Array, dag: NDArray[np.bool_]) -> Array:
    """Joint probability with the tables of a graph that suit the counts."""
    joint = np.ones_like(counts)
    for node in range(counts.ndim):
        others = tuple(i for i in range(counts.ndim) if i != node and not dag[i, node])
        family = counts.sum(axis=others, keepdims=True) + 1e-9
        joint = joint * family / family.sum(axis=node, keepdims=True)
    return joint / joint.sum()


def _free_entries(dag: NDArray[np.bool_], sizes: Sequence[int]) -> int:
    each = np.array(sizes)
    return int(sum((c - 1) * np.prod(each[dag[:, j]]) for j, c in enumerate(sizes)))


def _channel(
    share: Array, ratio: Array, confusion: Sequence[Array], node: int, rate: float
) -> Array:
    """Likeliest errors of one node given the expected true outcomes, under the prior."""
    size = len(confusion[node])
    keep = [np.eye(size) if k == node else m for k, m in enumerate(confusion)]
    back = np.moveaxis(along_axes(ratio, keep), node, 0).reshape(size, -1)
    pairs = np.moveaxis(share, node, 0).reshape(size, -1) @ back.T * confusion[node]
    kept = np.diag(pairs)
    total = pairs.sum(1)
    # off / e - kept / (1 - e) = 1 / rate
    linear = total + 1.0 / rate
    root = np.sqrt(np.maximum(linear**2 - 4.0 / rate * (total - kept), 0.0))
    error = np.clip(0.5 * rate * (linear - root), 1e-6, 0.5)
    error *= min(1.0, rate / float(error @ total / total.sum()))
    off = pairs - np.diag(kept) + 1e-12 * (1.0 - np.eye(size))
    return off / off.sum(1, keepdims=True) * error[:, None] + np.diag(1.0 - error)
