"""Ours and its peers behind one signature: samples -> CPDAG."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pima_physics.cpdags import cpdag, is_acyclic
from pima_physics.structure import GraphPosterior, graph_posterior

EXHAUSTIVE = 4  # pgmpy builds every graph as an object: 0.1 s at 4 nodes, minutes at 6
Method = Callable[[np.ndarray, Sequence[int]], np.ndarray]


def joint_counts(drawn: np.ndarray, outcomes: Sequence[int]) -> np.ndarray:
    """Count joint outcomes of samples (N, L)."""
    counts = np.zeros(tuple(outcomes))
    np.add.at(counts, tuple(drawn.T), 1)
    return counts


def ours(drawn: np.ndarray, outcomes: Sequence[int], seed: int = 0) -> GraphPosterior:
    """Return the graph posterior with default settings."""
    generator = np.random.default_rng(seed)
    return graph_posterior(joint_counts(drawn, outcomes), generator=generator)


def ges(drawn: np.ndarray, outcomes: Sequence[int]) -> np.ndarray:
    """Greedy equivalence search of causal-learn, BDeu score, its defaults."""
    from causallearn.search.ScoreBased.GES import ges as search  # type: ignore[import-not-found]

    return _from_endpoints(search(drawn, "local_score_BDeu")["G"].graph)


def pc(drawn: np.ndarray, outcomes: Sequence[int]) -> np.ndarray:
    """Return the PC algorithm's graph (causal-learn), chi-square test at its default of 5 %."""
    from causallearn.search.ConstraintBased.PC import pc as search  # type: ignore

    return _from_endpoints(search(drawn, 0.05, "chisq", show_progress=False).G.graph)


def pgmpy_search(drawn: np.ndarray, outcomes: Sequence[int]) -> np.ndarray:
    """Search of pgmpy with BDeu: exhaustive up to four nodes, hill climbing beyond."""
    import pandas as pd
    from pgmpy.estimators import (  # type: ignore[import-not-found]
        ExhaustiveSearch,
        HillClimbSearch,
    )

    size = drawn.shape[1]
    columns = [f"n{i}" for i in range(size)]
    frame = pd.DataFrame(
        {
            name: pd.Categorical(drawn[:, i], categories=range(outcomes[i]))
            for i, name in enumerate(columns)
        }
    )
    if size <= EXHAUSTIVE:
        found = ExhaustiveSearch(frame, scoring_method="bdeu").estimate()
    else:
        found = HillClimbSearch(frame).estimate(scoring_method="bdeu", show_progress=False)
    dag = np.zeros((size, size), dtype=int)
    for parent, child in found.edges():
        dag[columns.index(parent), columns.index(child)] = 1
    assert is_acyclic(dag)
    return cpdag(dag)


PEERS: dict[str, Method] = {"GES": ges, "PC": pc, "pgmpy": pgmpy_search}


def _from_endpoints(graph: np.ndarray) -> np.ndarray:
    """Turn causal-learn's end marks into a CPDAG; contradictory arrows become undirected."""
    joined = (graph != 0) & (graph.T != 0)
    directed = (graph == -1) & (graph.T == 1)  # tail at i, arrow at j
    return (joined & ~directed.T).astype(int)
