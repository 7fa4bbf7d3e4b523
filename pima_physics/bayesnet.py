r"""A Bayesian network of categorical nodes, and the causal questions that one can ask it.

.. math:: p(c) = \prod_l p(n_l \mid n_{pa(l)}), \qquad c = (n_1, ..., n_L)

=========  ===========================  ==========================================
symbol     name                         shape
=========  ===========================  ==========================================
dag        parents of every node        (L, L), ``dag[parent, child]``
table_l    p(n_l | parents)             one axis per node; size 1 where not a parent
joint      p(c)                         (C_1, ..., C_L)
=========  ===========================  ==========================================

Counterfactuals need more than the tables: a mechanism. The one used is Gumbel-max,
n_l = argmax_k (log p(k | pa) + g_k), because it is the common choice that is counterfactually
stable: an outcome changes only to one whose relative odds have grown. Tables alone do not
identify a mechanism, so a counterfactual is an answer *under this choice*. It is computed
exactly, without sampling (see `pima_physics.gumbel`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from pima_physics.errors import InputError, closest
from pima_physics.gumbel import gumbel_transition

Action = Mapping[str, int | np.ndarray]
Evidence = Mapping[str, int] | Sequence[int] | np.ndarray


@dataclass(frozen=True)
class BayesNet:
    """Nodes, their numbers of outcomes, the graph and the conditional tables.

    Parameters
    ----------
    nodes : tuple of str
    outcomes : tuple of int
        Number of outcomes C_l of every node.
    dag : array (L, L)
        ``dag[parent, child]`` is 1 where the edge is present.
    tables : tuple of arrays
        Table l has one axis per node in node order, of size 1 for nodes that are neither l nor
        its parents, and sums to one over axis l.

    Raises
    ------
    InputError
        Where the graph has a cycle or a table does not fit.
    """

    nodes: tuple[str, ...]
    outcomes: tuple[int, ...]
    dag: np.ndarray
    tables: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        dag = np.array(self.dag, dtype=int)
        topological_order(dag)
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "outcomes", tuple(int(count) for count in self.outcomes))
        tables = tuple(
            _checked(np.array(table, dtype=float), self, dag, node)
            for node, table in enumerate(self.tables)
        )
        for array in (dag, *tables):
            array.setflags(write=False)
        object.__setattr__(self, "dag", dag)
        object.__setattr__(self, "tables", tables)

    def index(self, node: str) -> int:
        """Return the position of a node; unknown names raise with the closest one."""
        if node not in self.nodes:
            near = closest(node, self.nodes)
            raise InputError(
                f"Unknown node {node!r}.",
                expected=f"one of {', '.join(self.nodes)}",
                fix=f"did you mean {near!r}?" if near else None,
            )
        return self.nodes.index(node)


def topological_order(dag: np.ndarray) -> list[int]:
    """Return the nodes, parents before children; a cycle raises InputError."""
    left = np.asarray(dag).astype(bool).copy()
    if left.ndim != 2 or left.shape[0] != left.shape[1]:
        raise InputError("The graph is not a square matrix.", found=f"shape {left.shape}")
    order: list[int] = []
    waiting = list(range(len(left)))
    while waiting:
        ready = [node for node in waiting if not left[waiting, node].any()]
        if not ready:
            raise InputError("The graph has a directed cycle.", found=f"among nodes {waiting}")
        order += ready
        waiting = [node for node in waiting if node not in ready]
    return order


def joint(net: BayesNet) -> np.ndarray:
    """Return p(c), shape (C_1, ..., C_L)."""
    return reduce(np.multiply, net.tables, np.ones(net.outcomes))


def do(net: BayesNet, action: Action) -> BayesNet:
    """Return the mutilated network: the nodes acted upon lose their parents.

    Parameters
    ----------
    action : mapping
        Node -> outcome (perfect intervention), or node -> probabilities (C_l,) from which the
        outcome is drawn (stochastic intervention). Several nodes at once are admitted.
    """
    dag, tables = net.dag.copy(), list(net.tables)
    for name, value in action.items():
        node = net.index(name)
        dag[:, node] = 0
        shape = [net.outcomes[node] if axis == node else 1 for axis in range(len(net.nodes))]
        tables[node] = _target(net, node, value).reshape(shape)
    return BayesNet(net.nodes, net.outcomes, dag, tuple(tables))


def conditional(net: BayesNet, evidence: Evidence) -> np.ndarray:
    """Return p(c | evidence), shape (C_1, ..., C_L).

    Parameters
    ----------
    evidence : mapping, vector or array
        Node -> outcome; or one outcome per node with -1 where unknown; or a distribution over
        joint outcomes (C_1, ..., C_L) such as a responsibility, which is taken as it is.
    """
    if not isinstance(evidence, Mapping):
        values = np.asarray(evidence)
        if values.shape == net.outcomes and np.issubdtype(values.dtype, np.floating):
            return _soft(net, values)
        if values.shape != (len(net.nodes),):
            raise InputError(
                "The evidence does not fit the network.",
                found=f"{values.dtype} array of shape {values.shape}",
                expected=f"({len(net.nodes)},) outcomes or {net.outcomes} probabilities",
            )
        evidence = {n: int(v) for n, v in zip(net.nodes, values, strict=True) if v >= 0}
    weights = joint(net)
    for name, value in evidence.items():
        node = net.index(name)
        shape = [-1 if axis == node else 1 for axis in range(weights.ndim)]
        weights = weights * _one_hot(net, node, value).reshape(shape)
    if weights.sum() <= 0:
        raise InputError("The evidence has probability zero.", found=dict(evidence))
    return weights / weights.sum()


def counterfactual(net: BayesNet, evidence: Evidence, action: Action) -> np.ndarray:
    r"""Return the joint distribution of what would have been, had ``action`` been taken.

    .. math:: p(c' \mid e, do) = \sum_c p(c \mid e) \prod_l T_l(n'_l \mid n_l, pa_l, pa'_l)

    Given a complete outcome c the noises of different nodes are independent, so the sum over
    c is exact; T_l is the Gumbel-max transition of `gumbel_transition`, or the action itself
    for the nodes acted upon. Cost K^2 L for K joint outcomes.

    Returns
    -------
    array (C_1, ..., C_L)
    """
    weights, factual = conditional(net, evidence), joint(net)
    if np.any(weights[factual <= 0] > 1e-12):
        raise InputError("The evidence puts weight on outcomes of probability zero.")
    twin = do(net, action)
    acted = {net.index(name) for name in action}
    known: dict[tuple[int, tuple[int, ...]], np.ndarray] = {}
    total = np.zeros(net.outcomes)
    for cell in zip(*np.nonzero((weights > 0) & (factual > 0)), strict=True):
        product = np.full(net.outcomes, weights[cell])
        for node, table in enumerate(net.tables):
            if node in acted:
                product *= twin.tables[node]
                continue
            # Only the node's own outcome and its parents' matter: axes of size 1 read index 0.
            sizes = zip(cell, table.shape, strict=True)
            where = tuple(int(i) if size > 1 else 0 for i, size in sizes)
            if (node, where) not in known:
                known[node, where] = _node_transition(table, node, where)
            product *= known[node, where]
        total += product
    return total / total.sum()


def effect(net: BayesNet, cause: str, target: str) -> np.ndarray:
    """Return p(target | do(cause = k)) for every k, shape (C_cause, C_target).

    The average effect of moving the cause from b to a is row a minus row b.
    """
    kept = net.index(target)
    others = tuple(axis for axis in range(len(net.nodes)) if axis != kept)
    count = net.outcomes[net.index(cause)]
    return np.stack([joint(do(net, {cause: k})).sum(others) for k in range(count)])


def average(net: BayesNet, values: np.ndarray, cause: str) -> np.ndarray:
    """Return E[values(c) | do(cause = k)] for every k, shape (C_cause, ...).

    Parameters
    ----------
    values : array (C_1, ..., C_L, ...)
        Any quantity per joint outcome, such as a physical parameter by component.
    """
    axes = len(net.nodes)
    count = net.outcomes[net.index(cause)]
    values = np.asarray(values)
    return np.stack([np.tensordot(joint(do(net, {cause: k})), values, axes) for k in range(count)])


def most_probable(net: BayesNet, evidence: Evidence | None = None) -> tuple[dict[str, int], float]:
    """Return the most probable joint outcome given the evidence, and its probability."""
    weights = conditional(net, {} if evidence is None else evidence)
    best = np.unravel_index(int(weights.argmax()), weights.shape)
    return {n: int(i) for n, i in zip(net.nodes, best, strict=True)}, float(weights[best])


def sample(net: BayesNet, size: int, generator: np.random.Generator) -> np.ndarray:
    """Draw outcomes from p(c), parents first; int array (size, L)."""
    drawn = np.zeros((size, len(net.nodes)), dtype=int)
    for node in topological_order(net.dag):
        table = np.moveaxis(net.tables[node], node, -1)
        others = [axis for axis in range(len(net.nodes)) if axis != node]
        rows = table[tuple(drawn[:, j] if net.dag[j, node] else 0 for j in others)]
        steps = np.broadcast_to(rows, (size, net.outcomes[node])).cumsum(-1)
        # Scaled by the last step, so that rounding never yields an outcome beyond the last.
        drawn[:, node] = (generator.random((size, 1)) * steps[:, -1:] >= steps).sum(-1)
    return drawn


def _node_transition(table: np.ndarray, node: int, where: tuple[int, ...]) -> np.ndarray:
    """Transition of one node from an observed cell to every cell of its own table."""
    after = np.moveaxis(table, node, -1)
    before = after[tuple(i for axis, i in enumerate(where) if axis != node)]
    return np.moveaxis(gumbel_transition(before, where[node], after), -1, node)


def _checked(table: np.ndarray, net: BayesNet, dag: np.ndarray, node: int) -> np.ndarray:
    axes = enumerate(net.outcomes)
    expected = tuple(count if j == node or dag[j, node] else 1 for j, count in axes)
    name = net.nodes[node]
    if table.shape != expected:
        raise InputError(
            f"The table of {name} does not fit the graph.", found=table.shape, expected=expected
        )
    sums = table.sum(axis=node, keepdims=True)
    if not np.all(table >= 0) or not np.allclose(sums, 1.0, atol=1e-4):
        raise InputError(f"The table of {name} is not normalised over its own axis {node}.")
    return table / sums


def _soft(net: BayesNet, weights: np.ndarray) -> np.ndarray:
    if not np.all(weights >= 0) or weights.sum() <= 0:
        raise InputError("The evidence is not a distribution: negative, NaN or all zero.")
    return weights / weights.sum()


def _one_hot(net: BayesNet, node: int, outcome: int) -> np.ndarray:
    count = net.outcomes[node]
    if not 0 <= int(outcome) < count or int(outcome) != outcome:
        raise InputError(
            f"Node {net.nodes[node]} has no outcome {outcome}.", expected=f"0 to {count - 1}"
        )
    return np.eye(count)[int(outcome)]


def _target(net: BayesNet, node: int, value: int | np.ndarray) -> np.ndarray:
    if np.ndim(value) == 0:
        return _one_hot(net, node, int(value))
    probabilities = np.asarray(value, dtype=float)
    if probabilities.shape != (net.outcomes[node],):
        raise InputError(
            f"Probabilities for {net.nodes[node]} do not fit.",
            found=probabilities.shape,
            expected=(net.outcomes[node],),
        )
    return _soft(net, probabilities)
