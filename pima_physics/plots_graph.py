"""The graph as data for drawing: which edges, how sure, which direction the data support."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from pima_physics import plots_tree as view

FAINT = 0.05  # pairs below this probability are not drawn


@dataclass(frozen=True)
class Edge:
    """A pair of nodes.

    Attributes
    ----------
    first, second : str
        Names; for a directed edge the arrow runs from ``first`` to ``second``.
    status : str
        "directed" or "undirected" (in the CPDAG), or "uncertain" (not in it, but not excluded).
    adjacent : float
        Probability that the two are joined in either direction; NaN when not known.
    forward, backward : float
        Probability of ``first -> second`` and of ``second -> first``.
    strength : float
        Edge strength of the trained graph, the larger of the two directions; NaN if absent.
    trained : str
        Direction in the trained graph: "forward", "backward" or "none"; "" when not known.
    """

    first: str
    second: str
    status: str
    adjacent: float
    forward: float
    backward: float
    strength: float
    trained: str

    @property
    def weight(self) -> float:
        """What the line's width shows: probability, else strength, else 1."""
        for value in (self.adjacent, self.strength):
            if np.isfinite(value):
                return float(np.clip(value, 0, 1))
        return 1.0

    @property
    def claimed(self) -> float:
        """Probability of what is drawn: of this direction for an arrow, else of being joined."""
        return self.forward if self.status == "directed" else self.adjacent


def _matrix(tree: xr.DataTree, name: str) -> np.ndarray | None:
    array = view.variable(tree, "graph", name)
    if array is None or not {"parent", "child"} <= set(array.dims):
        return None
    return np.asarray(array.transpose("parent", "child").values, dtype=float)


def _trained(adjacency: np.ndarray | None, i: int, j: int) -> str:
    if adjacency is None:
        return ""
    return "forward" if adjacency[i, j] else "backward" if adjacency[j, i] else "none"


def edges(tree: xr.DataTree) -> tuple[Edge, ...]:
    """Edges of the CPDAG and the pairs that stay possible.

    Without a CPDAG the trained adjacency gives the pairs, all undirected: a bare arrow that the
    data do not support is never shown.
    """
    cpdag, adjacency = _matrix(tree, "cpdag"), _matrix(tree, "adjacency")
    probability, strength = _matrix(tree, "edge_probability"), _matrix(tree, "edge_strength")
    pattern = cpdag if cpdag is not None else adjacency
    known = [m for m in (pattern, probability, strength) if m is not None]
    if not known:
        return ()
    names = view.labels(tree["graph"].to_dataset(), "parent")
    found = []
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            first, second = i, j
            one, other = (pattern[i, j], pattern[j, i]) if pattern is not None else (0, 0)
            if cpdag is not None and other and not one:
                first, second = j, i
            p = (
                (np.nan, np.nan)
                if probability is None
                else (probability[first, second], probability[second, first])
            )
            a = np.nan if strength is None else max(strength[i, j], strength[j, i])
            adjacent = float(np.clip(p[0] + p[1], 0, 1))
            status = "uncertain"
            if one or other:
                status = (
                    "directed" if cpdag is not None and bool(one) != bool(other) else ("undirected")
                )
            elif not (adjacent >= FAINT or (np.isnan(adjacent) and a >= FAINT)):
                continue
            found.append(
                Edge(
                    names[first],
                    names[second],
                    status,
                    adjacent,
                    float(p[0]),
                    float(p[1]),
                    float(a),
                    _trained(adjacency, first, second),
                )
            )
    return tuple(found)


def has_graph(tree: xr.DataTree) -> bool:
    """Whether anything about the graph was stored."""
    return any(_matrix(tree, n) is not None for n in ("cpdag", "adjacency", "edge_probability"))


def has_equivalence_class(tree: xr.DataTree) -> bool:
    """Whether the CPDAG was stored, so that directions can be judged."""
    return _matrix(tree, "cpdag") is not None


def positions(count: int) -> np.ndarray:
    """Places of the nodes in the square [-1, 1]^2, shape (count, 2), y downwards.

    An ellipse, not layers: the place of a node must not suggest a causal order that the data do
    not support, and no edge can run through a third node.
    """
    if count == 0:
        return np.zeros((0, 2))
    if count == 1:
        return np.zeros((1, 2))
    if count == 2:
        return np.array([[-1.0, 0.0], [1.0, 0.0]])
    if count == 4:
        return np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    angle = -np.pi / 2 + 2 * np.pi * np.arange(count) / count
    places = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    low, high = places.min(axis=0), places.max(axis=0)
    return 2 * (places - low) / (high - low) - 1
