"""Draw outcomes from a DAG, spread them, drop modalities: what all generators share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pima_physics.errors import DataError, Problems, closest

GRAPHS: dict[str, tuple[tuple[int, int], ...]] = {
    "fork": ((0, 1), (0, 2)),
    "chain": ((0, 1), (1, 2)),
    "collider": ((0, 2), (1, 2)),
    "full": ((0, 1), (0, 2), (1, 2)),
    "empty": (),
}
"""Named graphs over three nodes as (parent, child) positions."""


@dataclass(frozen=True)
class Draw:
    """Outcomes drawn from a DAG.

    Attributes
    ----------
    outcomes : ndarray of int, shape (N, L)
    intervened_on : ndarray of int, shape (N,)
        Position of the node that was set from outside, -1 for none.
    intervened_value : ndarray of int, shape (N,)
        The outcome that it was set to, -1 for none.
    """

    outcomes: np.ndarray
    intervened_on: np.ndarray
    intervened_value: np.ndarray


def adjacency(graph: str | Sequence[tuple[str, str]], nodes: Sequence[str]) -> np.ndarray:
    """Return the (parent, child) 0/1 matrix of a named or an explicit acyclic graph.

    Raises
    ------
    DataError
        For an unknown graph name or node, or an edge list with a cycle.
    """
    nodes = tuple(nodes)
    edges = _named_edges(graph, nodes) if isinstance(graph, str) else [tuple(e) for e in graph]
    problems = Problems()
    for edge in edges:
        for node in set(edge) - set(nodes):
            problems.add(DataError(f"unknown node '{node}' in edge {edge}", expected=nodes))
    problems.raise_if_any()
    matrix = np.zeros((len(nodes), len(nodes)), dtype=np.int64)
    for parent, child in edges:
        matrix[nodes.index(parent), nodes.index(child)] = 1
    topological_order(matrix, nodes)
    return matrix


def _named_edges(name: str, nodes: tuple[str, ...]) -> list[tuple[str, str]]:
    if name not in GRAPHS:
        near = closest(name, GRAPHS)
        raise DataError(
            f"unknown graph '{name}'",
            expected=f"one of {', '.join(GRAPHS)}, or a list of (parent, child) pairs",
            fix=f"did you mean '{near}'?" if near else None,
        )
    return [(nodes[parent], nodes[child]) for parent, child in GRAPHS[name]]


def topological_order(matrix: np.ndarray, nodes: Sequence[str]) -> list[int]:
    """Return node positions with every parent before its children; DataError on a cycle."""
    order: list[int] = []
    while len(order) < len(matrix):
        free = [
            node
            for node in range(len(matrix))
            if node not in order and set(np.flatnonzero(matrix[:, node])) <= set(order)
        ]
        if not free:
            stuck = [nodes[node] for node in range(len(matrix)) if node not in order]
            raise DataError(f"the graph has a cycle among {stuck}", expected="an acyclic graph")
        order.extend(free)
    return order


def conditional_table(
    own: int, parents: Sequence[int], *, weights: Sequence[float] | None = None
) -> np.ndarray:
    r"""Return a clear but not deterministic table p(own | parents), own axis last.

    Every parent pulls the node towards its own position:

    .. math:: p(n = o \mid pa) \propto
        \exp\Big(\tfrac12 \kappa_P \, t(o) \sum_{p} t(n_p)\Big), \qquad t \in [-1, 1]

    ========  ===========================================================================
    t(o)      position of an outcome: -1 for the first, 1 for the last, evenly between
    kappa_P   log 4 with one parent, log 3 with more
    ========  ===========================================================================

    With two outcomes: P = 0.8 / 0.2 with one parent; 0.9 / 0.5 / 0.5 / 0.1 with two. A node without
    parents is uniform, or has the given ``weights``.

    Returns
    -------
    ndarray, shape (*parents, own)
    """
    if not parents:
        table = np.ones(own) if weights is None else np.asarray(weights, dtype=float)
        return table / table.sum()
    kappa = np.log(4.0) if len(parents) == 1 else np.log(3.0)
    positions = np.meshgrid(*(np.linspace(-1.0, 1.0, size) for size in parents), indexing="ij")
    pull = np.sum(positions, axis=0)[..., None]
    logits = 0.5 * kappa * pull * np.linspace(-1.0, 1.0, own)
    table = np.exp(logits)
    return table / table.sum(axis=-1, keepdims=True)


def root_weights(
    weights: Sequence[float] | Mapping[str, Sequence[float]] | None,
    nodes: Sequence[str],
    outcomes: Sequence[int],
    matrix: np.ndarray,
) -> dict[str, Sequence[float]]:
    """Return the root marginals asked for, checked; one sequence means every root node."""
    roots = [node for i, node in enumerate(nodes) if not matrix[:, i].any()]
    if weights is None:
        return {}
    asked = dict(weights) if isinstance(weights, Mapping) else dict.fromkeys(roots, weights)
    problems = Problems()
    for node, values in asked.items():
        if node not in roots:
            problems.add(DataError(f"weights name '{node}'", expected=f"root nodes {roots}"))
            continue
        size = outcomes[list(nodes).index(node)]
        array = np.asarray(values, dtype=float)
        if array.shape != (size,) or (array < 0).any() or abs(array.sum() - 1) > 1e-6:
            problems.add(
                DataError(
                    f"weights of node '{node}' are not its probabilities",
                    found=list(values),
                    expected=f"{size} non-negative numbers that sum to 1",
                )
            )
    problems.raise_if_any()
    return asked


def draw_outcomes(
    samples: int,
    nodes: Sequence[str],
    outcomes: Sequence[int],
    matrix: np.ndarray,
    generator: np.random.Generator,
    *,
    weights: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
    intervened: float = 0.0,
    do: Mapping[str, int] | None = None,
) -> Draw:
    """Draw joint outcomes, parents first; some samples have one node set from outside.

    A perfect intervention cuts the node from its parents: target and outcome are uniform. ``do``
    sets nodes in all samples.
    """
    roots = root_weights(weights, nodes, outcomes, matrix)
    fixed = _fixed(do or {}, nodes, outcomes)
    target, value = _interventions(samples, outcomes, generator, intervened)
    drawn = np.zeros((samples, len(nodes)), dtype=np.int64)
    for node in topological_order(matrix, nodes):
        parents = np.flatnonzero(matrix[:, node]).tolist()
        table = conditional_table(
            outcomes[node], [outcomes[p] for p in parents], weights=roots.get(nodes[node])
        )
        rows = np.broadcast_to(
            table[tuple(drawn[:, p] for p in parents)], (samples, table.shape[-1])
        )
        # inverse of the cumulative distribution; the last column is left out against rounding
        uniform = generator.random((samples, 1))
        drawn[:, node] = (uniform > np.cumsum(rows, axis=1)[:, :-1]).sum(axis=1)
        drawn[:, node] = np.where(target == node, value, drawn[:, node])
        drawn[:, node] = fixed.get(node, drawn[:, node])
    return Draw(drawn, target, value)


def _fixed(do: Mapping[str, int], nodes: Sequence[str], outcomes: Sequence[int]) -> dict[int, int]:
    """Positions of nodes set in all samples, with their outcomes."""
    problems, found = Problems(), {}
    for node, value in do.items():
        if node not in nodes:
            problems.add(DataError(f"do names '{node}'", expected=f"one of {', '.join(nodes)}"))
            continue
        position = list(nodes).index(node)
        if value not in range(outcomes[position]):
            expected = f"0 to {outcomes[position] - 1}"
            problems.add(DataError(f"do: '{node}' has no outcome {value}", expected=expected))
        found[position] = int(value)
    problems.raise_if_any()
    return found


def _interventions(
    samples: int, outcomes: Sequence[int], generator: np.random.Generator, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    target = generator.integers(len(outcomes), size=samples)
    value = np.floor(generator.random(samples) * np.asarray(outcomes)[target]).astype(np.int64)
    chosen = generator.random(samples) < fraction
    return np.where(chosen, target, -1), np.where(chosen, value, -1)


def spread(
    outcome: np.ndarray, size: int, separation: float, generator: np.random.Generator
) -> np.ndarray:
    r"""Return the position u of each sample: Gaussian around the centre of its outcome.

    .. math:: u = \frac{o}{C - 1} + \sigma \epsilon, \qquad \sigma = \frac{1}{(C - 1) s}

    The first centre is u = 0 and the last u = 1 whatever C is, neighbours lie ``separation`` (s)
    sigma apart, and a linear rule between two of them errs with probability Phi(-s/2).
    """
    step = 1.0 / (size - 1)
    return step * (outcome + generator.normal(size=outcome.shape) / separation)


def drop_modalities(
    arrays: Mapping[str, np.ndarray], missing: float, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return copies in which a fraction of the samples lost one whole modality (NaN)."""
    size = len(next(iter(arrays.values())))
    lost = generator.integers(len(arrays), size=size)
    lost = np.where(generator.random(size) < missing, lost, -1)
    result = {}
    for position, (name, values) in enumerate(arrays.items()):
        result[name] = values.astype(np.float32)
        result[name][lost == position] = np.nan
    return result


def check_options(
    *,
    samples: int,
    separation: float = 1.0,
    nuisance: float = 0.0,
    missing: float = 0.0,
    intervened: float = 0.0,
    image_size: int = 8,
    points: int = 2,
    outcomes: Sequence[int] = (2,),
    nodes: Sequence[str] = ("node",),
) -> None:
    """Raise one DataError that names every generator option out of range."""
    rules = [
        ("samples", samples, samples >= 1, "at least 1"),
        ("separation", separation, separation > 0, "a positive number of sigma"),
        ("nuisance", nuisance, nuisance >= 0, "0 or more"),
        ("missing", missing, 0 <= missing <= 1, "a fraction 0..1"),
        ("intervened", intervened, 0 <= intervened <= 1, "a fraction 0..1"),
        ("image_size", image_size, image_size >= 8, "at least 8 pixels"),
        ("points", points, points >= 2, "at least 2"),
        (
            "outcomes",
            outcomes,
            len(outcomes) == len(nodes) and min(outcomes) >= 2,
            f"2 or more for each of {', '.join(nodes)}",
        ),
    ]
    problems = Problems()
    for name, found, good, expected in rules:
        if not good:
            problems.add(
                DataError(f"option '{name}' is out of range", found=found, expected=expected)
            )
    problems.raise_if_any()
