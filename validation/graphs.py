"""Distances between a learned graph and a known one.

Graphs are matrices (parent, child) with 1 where i -> j is possible: a DAG, or a CPDAG with both
directions 1 where undirected. Compare CPDAGs with CPDAGs: direction within an equivalence class
is not something that a method can be right or wrong about.

Reference: L. Henckel, T. Würtzen and S. Weichwald, "Adjustment identification distance",
UAI 2024 (`adjustment_distance`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pima_physics.errors import InputError

STRATEGIES = ("parent", "ancestor", "oset")


@dataclass(frozen=True)
class GraphComparison:
    """How a learned graph differs from the true one.

    Attributes
    ----------
    shd : int
        Structural Hamming distance: pairs of nodes whose relation differs, each counted once.
    precision, recall, f1 : float
        Of the skeleton (joined or not). NaN where undefined (no edge learned, none true).
    orientation : float
        Share of the pairs joined in both graphs whose arrow mark (->, <-, --) agrees.
    true_edges, learned_edges : int
    """

    shd: int
    precision: float
    recall: float
    f1: float
    orientation: float
    true_edges: int
    learned_edges: int

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{'SHD':<22}{self.shd:>6d}",
                f"{'edges true / learned':<22}{self.true_edges:>3d}/{self.learned_edges}",
                f"{'skeleton precision':<22}{self.precision:>6.2f}",
                f"{'skeleton recall':<22}{self.recall:>6.2f}",
                f"{'skeleton F1':<22}{self.f1:>6.2f}",
                f"{'orientation':<22}{self.orientation:>6.2f}",
            ]
        )


def compare_graphs(truth: ArrayLike, learned: ArrayLike) -> GraphComparison:
    """Compare two DAGs or two CPDAGs, arrays (L, L) over (parent, child)."""
    true, guess = _pair(truth, learned)
    upper = np.triu_indices(len(true), 1)
    joined_true, joined_guess = (true | true.T)[upper], (guess | guess.T)[upper]
    both = joined_true & joined_guess
    hits = int(both.sum())
    same = (true[upper] == guess[upper]) & (true.T[upper] == guess.T[upper])
    precision = _share(hits, int(joined_guess.sum()))
    recall = _share(hits, int(joined_true.sum()))
    return GraphComparison(
        shd=int((~same).sum()),
        precision=precision,
        recall=recall,
        f1=_share(2 * hits, int(joined_true.sum() + joined_guess.sum())),
        orientation=_share(int((same & both).sum()), hits),
        true_edges=int(joined_true.sum()),
        learned_edges=int(joined_guess.sum()),
    )


def shd(truth: ArrayLike, learned: ArrayLike) -> int:
    """Structural Hamming distance; each pair of nodes that differs counts once."""
    return compare_graphs(truth, learned).shd


def adjustment_distance(
    truth: ArrayLike, learned: ArrayLike, *, strategy: str = "parent"
) -> tuple[float, int]:
    """Return the adjustment identification distance, normalised to 0..1, and as a count.

    The share of ordered pairs (treatment, effect) for which the learned graph would lead to a
    wrong adjustment set, hence to a biased causal effect.

    Parameters
    ----------
    truth : array (L, L)
        DAG or CPDAG.
    learned : array (L, L)
        DAG or CPDAG.
    strategy : {"parent", "ancestor", "oset"}
        How an adjustment set is read off the learned graph.

    Raises
    ------
    InputError
        Where ``gadjid`` is not installed.
    """
    try:
        import gadjid
    except ImportError as error:
        raise InputError(
            "The adjustment distance needs the package gadjid.",
            found="not installed",
            fix="pip install gadjid",
        ) from error
    if strategy not in STRATEGIES:
        raise InputError(f"Unknown strategy {strategy!r}.", expected=", ".join(STRATEGIES))
    distance = getattr(gadjid, f"{strategy}_aid")  # a compiled module without type stubs
    true, guess = _pair(truth, learned)
    normalised, mistakes = distance(
        _gadjid_code(true), _gadjid_code(guess), edge_direction="from row to column"
    )
    return float(normalised), int(mistakes)


def _gadjid_code(graph: np.ndarray) -> np.ndarray:
    # gadjid: 1 = directed, 2 = undirected, each undirected edge entered once
    undirected = np.triu(graph & graph.T)
    return (graph & ~graph.T).astype(np.int8) + 2 * undirected.astype(np.int8)


def _pair(truth: ArrayLike, learned: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    true, guess = np.asarray(truth).astype(bool), np.asarray(learned).astype(bool)
    if true.ndim != 2 or true.shape[0] != true.shape[1] or true.shape != guess.shape:
        raise InputError(
            "The graphs cannot be compared.",
            found=f"true {true.shape}, learned {guess.shape}",
            expected="two square matrices over the same nodes",
            fix="match the nodes first (validation.metrics.match_nodes)",
        )
    if true.diagonal().any() or guess.diagonal().any():
        raise InputError("A graph has an edge from a node to itself.")
    return true, guess


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
