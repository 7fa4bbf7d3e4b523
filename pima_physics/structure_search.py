"""Posterior over directed acyclic graphs, given the score of every family.

A graph is a row of L parent sets, bit j of entry l set where j -> l. Up to six nodes all graphs
are listed (25, 543, 29 281 and 3 781 503 for 3 to 6 nodes), so that every statement about the
posterior is exact. Beyond, graphs are drawn: an order exactly from its posterior by dynamic
programming over subsets, parents given the order, and each graph is weighted by one over the
number of orders that it fits, which turns the order prior into a uniform prior over graphs.

References: M. Koivisto and K. Sood, JMLR 5, 2004 (the dynamic programme); B. Ellis and W. Wong,
JASA 103, 2008 (the weights); R. He, J. Tian and H. Wu, JMLR 17, 2016 (direct sampling).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pima_physics.errors import InputError

LISTED = 6  # 7 nodes have 1.1e9 graphs
SAMPLED = 12  # the dynamic programme holds 2^L sums per node


@lru_cache(maxsize=LISTED)
def all_dags(size: int) -> np.ndarray:
    """List every DAG on ``size`` nodes (at most 6): parent-set codes, uint8 (D, size).

    Node k joins each DAG on the first k nodes with parents P and children C wherever no
    descendant of C (nor C) is in P.
    """
    if size > LISTED:
        raise InputError("Too many nodes to list all graphs.", found=size, expected=LISTED)
    if size == 0:
        return np.zeros((1, 0), dtype=np.uint8)
    smaller = all_dags(size - 1)
    below = _descendants(smaller)
    new, parts = size - 1, []
    for children in range(2**new):
        reached = np.full(len(smaller), children, dtype=np.uint8)
        for j in range(new):
            if children >> j & 1:
                reached |= below[:, j]
        with_child = smaller | np.array(
            [(children >> j & 1) << new for j in range(new)], dtype=np.uint8
        )
        for parents in range(2**new):
            fits = reached & np.uint8(parents) == 0
            rows = np.empty((int(fits.sum()), size), dtype=np.uint8)
            rows[:, :new] = with_child[fits]
            rows[:, new] = parents
            parts.append(rows)
    dags = np.concatenate(parts)
    dags.setflags(write=False)
    return dags


def total_scores(dags: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the log score of every graph (D,), the sum over its families."""
    total = np.zeros(len(dags))
    for node in range(dags.shape[1]):
        total += scores[node][dags[:, node]]
    return total


def matrices(dags: np.ndarray) -> np.ndarray:
    """Turn parent-set codes (D, L) into matrices [parent, child], bool (D, L, L)."""
    codes = np.asarray(dags, dtype=int)
    parents = np.arange(codes.shape[1])
    return (codes[:, None, :] >> parents[None, :, None] & 1).astype(bool)


def edge_probabilities(dags: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the posterior probability of every edge [parent, child] from normalised weights."""
    size = dags.shape[1]
    codes = np.arange(2**size)
    member = (codes[:, None] >> np.arange(size) & 1).astype(float)
    sets = [np.bincount(dags[:, node], weights, minlength=2**size) for node in range(size)]
    return np.clip(np.stack([member.T @ share for share in sets], axis=1), 0.0, 1.0)


def best_dag(scores: np.ndarray) -> np.ndarray:
    """Return the parent-set codes (L,) of the best graph, exactly, by the order programme.

    Reference: T. Silander and P. Myllymäki, UAI 2006.
    """
    size = len(scores)
    best = np.stack([_zeta(row, np.maximum) for row in scores])
    value = np.full(2**size, -np.inf)
    value[0], last = 0.0, np.zeros(2**size, dtype=int)
    for code in range(1, 2**size):
        nodes = [node for node in range(size) if code >> node & 1]
        options = [value[code ^ 1 << node] + best[node, code ^ 1 << node] for node in nodes]
        pick = int(np.argmax(options))
        value[code], last[code] = options[pick], nodes[pick]
    result, code = np.zeros(size, dtype=int), 2**size - 1
    codes = np.arange(2**size)
    while code:
        node = int(last[code])
        code ^= 1 << node
        inside = codes & ~code == 0
        result[node] = int(codes[inside][np.argmax(scores[node][inside])])
    return result


def sample_dags(
    scores: np.ndarray, draws: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw graphs from the posterior under a uniform prior over graphs.

    Returns
    -------
    dags : int array (D, L)
        The distinct graphs drawn, as parent-set codes.
    weights : array (D,)
        Their importance weights, summing to one.
    """
    size = len(scores)
    if size > SAMPLED:
        raise InputError(
            "Too many nodes for the graph posterior.",
            found=size,
            expected=f"at most {SAMPLED}",
            fix="leave out nodes, or score a part of them at a time",
        )
    sums = np.stack([_zeta(row, np.logaddexp) for row in scores])
    forward = _forward(sums)
    codes = np.arange(2**size)
    left = np.full(draws, 2**size - 1)
    drawn = np.zeros((draws, size), dtype=int)
    everyone = np.arange(size)
    for _ in range(size):
        before = left[:, None] & ~(1 << everyone)
        logits = forward[before] + sums[everyone[None, :], before]
        logits[(left[:, None] >> everyone & 1) == 0] = -np.inf
        # The last node of the order, by the Gumbel-max trick.
        last = np.argmax(logits + generator.gumbel(size=logits.shape), axis=1)
        left = left & ~(1 << last)
        pairs, group = np.unique(np.stack([last, left], 1), axis=0, return_inverse=True)
        group = np.reshape(group, -1)
        for g, (node, predecessors) in enumerate(pairs):
            inside = codes[codes & ~predecessors == 0]
            share = np.exp(scores[node][inside] - sums[node, predecessors])
            chosen = np.flatnonzero(group == g)
            drawn[chosen, node] = generator.choice(inside, len(chosen), p=share / share.sum())
    dags, repeats = np.unique(drawn, axis=0, return_counts=True)
    weights = repeats / _linear_extensions(dags)
    return dags, weights / weights.sum()


def _zeta(row: np.ndarray, combine: np.ufunc) -> np.ndarray:
    """Combine a function of sets over all subsets of each set (fast zeta transform)."""
    result = row.copy()
    size = int(np.log2(len(row)))
    for bit in range(size):
        view = result.reshape(-1, 2, 2**bit)
        view[:, 1] = combine(view[:, 1], view[:, 0])
    return result


def _forward(sums: np.ndarray) -> np.ndarray:
    """Log sum over all orders of each set of nodes, (2^L,)."""
    size = len(sums)
    value = np.full(2**size, -np.inf)
    value[0] = 0.0
    for code in range(1, 2**size):
        nodes = [node for node in range(size) if code >> node & 1]
        options = [value[code ^ 1 << node] + sums[node, code ^ 1 << node] for node in nodes]
        value[code] = np.logaddexp.reduce(options)
    return value


def _linear_extensions(dags: np.ndarray, chunk: int = 512) -> np.ndarray:
    """Count the orders that each graph fits (D,), by adding the last node of each down-set."""
    size = dags.shape[1]
    result = []
    for start in range(0, len(dags), chunk):
        part = dags[start : start + chunk]
        count = np.zeros((2**size, len(part)))
        count[0] = 1.0
        for code in range(1, 2**size):
            for node in range(size):
                if code >> node & 1:
                    before = code ^ 1 << node
                    count[code] += np.where(part[:, node] & ~before == 0, count[before], 0.0)
        result.append(count[-1])
    return np.concatenate(result)


def _descendants(dags: np.ndarray) -> np.ndarray:
    """Descendants of every node as codes, uint8 (D, L)."""
    size = dags.shape[1]
    children = np.zeros_like(dags)
    for child in range(size):
        for parent in range(size):
            bit = (dags[:, child] >> np.uint8(parent)) & np.uint8(1)
            children[:, parent] |= bit << np.uint8(child)
    for _ in range(size):  # a path has at most L - 1 steps
        reached = children.copy()
        for node in range(size):
            for child in range(size):
                has = (children[:, node] >> np.uint8(child)) & np.uint8(1)
                reached[:, node] |= has * children[:, child]
        children = reached
    return children
