"""What nodes show one after the other, in any order of becoming known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Orders of up to three nodes are all tried, of more nodes this many.
ORDERS = 6
# Of nats: a node that shows nothing takes the score near zero, not the logarithm to infinity.
LEAST = 1e-3


def in_any_order(
    free: Sequence[int], nats: Callable[[int, frozenset[int]], float]
) -> tuple[float, Array]:
    """Score of a set, and what every node shows given all others.

    Parameters
    ----------
    free : sequence of int
        Nodes that were not given.
    nats : callable
        (node, nodes that are known before it) -> its evidence.

    Returns
    -------
    score : float
        Geometric mean over the nodes, averaged over orders.
    rest : array, shape (node,)
    """
    seen: dict[tuple[int, frozenset[int]], float] = {}

    def once(j: int, before: Sequence[int]) -> float:
        key = (j, frozenset(before))
        if key not in seen:
            seen[key] = nats(*key)
        return seen[key]

    chains = np.array([[once(j, o[:i]) for i, j in enumerate(o)] for o in _orders(free)])
    rest = np.array([once(j, [i for i in free if i != j]) for j in free])
    score = float(np.exp(np.log(chains + LEAST).mean(1)).mean()) if len(free) else 0.0
    return score, rest


def _orders(free: Sequence[int]) -> list[tuple[int, ...]]:
    if len(free) <= 3:
        return list(permutations(free))
    rng = np.random.default_rng(0)
    return [tuple(rng.permutation(free).tolist()) for _ in range(ORDERS)]
