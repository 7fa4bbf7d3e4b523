"""Graphs from `sachs.nc`: discretised levels, with and without the conditions as interventions.

Two uses of the data: the 5,400 rows of the widely used discretised file, whose conditions are not
known, so that interventions are pooled with observation; and all 7,466 cells in tercile levels
with the reagents that act on a measured protein as interventions. A reagent that acts on none
(cd3_cd28 and icam2 stimulate all cells, ly acts on PI3K) is no target.

References
----------
K. Sachs et al., Science 308, 523 (2005): data, targets (Table 1) and the consensus graph.
M. Scutari, Bayesian network repository of bnlearn, network "sachs": the published graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from pima_physics.structure import GraphPosterior, graph_posterior
from pima_physics.validation.cases.bayes_nets.methods import PEERS, joint_counts
from pima_physics.validation.graphs import compare_graphs

# reagent -> protein whose activity it sets
TARGETS: Mapping[str, str] = {
    "aktinhib": "akt",
    "g0076": "pkc",
    "psitect": "pip2",
    "u0126": "mek",
    "pma": "pkc",
    "b2camp": "pka",
}
PUBLISHED: Mapping[str, Sequence[str]] = {
    "erk": ("akt",),
    "mek": ("erk",),
    "pip3": ("pip2",),
    "pka": ("akt", "erk", "jnk", "mek", "p38", "raf"),
    "pkc": ("jnk", "mek", "p38", "pka", "raf"),
    "plc": ("pip2", "pip3"),
    "raf": ("mek",),
}
LEVELS = 3
# An edge is called sure from this probability on.
SURE = 0.8


@dataclass(frozen=True)
class Row:
    """One graph against the consensus.

    Attributes
    ----------
    shd : int
        Pairs of nodes that differ; an undirected mark for an arrow counts as one.
    edges, joined : int
        Edges learned; those of them whose pair is joined in the consensus.
    arrows, right : int
        Directed edges learned; those of them in the consensus, direction included.
    reversed : int
        Directed edges whose opposite is in the consensus.
    """

    data: str
    method: str
    shd: int
    edges: int
    joined: int
    arrows: int
    right: int
    reversed: int


@dataclass(frozen=True)
class Sure:
    """How many pairs and arrows that ours is sure of are in the consensus."""

    data: str
    pairs: int
    pairs_true: int
    arrows: int
    arrows_true: int


@dataclass(frozen=True)
class Study:
    """All rows, and the peers that were not there."""

    rows: tuple[Row, ...]
    sure: tuple[Sure, ...]
    missing: tuple[str, ...]


def run(path: Path, *, draws: int = 2000) -> Study:
    """Compare every method with the consensus graph."""
    data = xr.load_dataset(path)
    truth = np.asarray(data["adjacency"]).astype(int)
    rows, sure, missing = [], [], []
    levels = np.asarray(data["level"]).astype(int)
    levels -= levels.min(0)
    outcomes = (levels.max(0) + 1).tolist()
    counts, targets, total = experiments(data)
    pooled = f"{len(levels)} rows, pooled"
    cases: list[tuple[str, str, Callable[[], GraphPosterior]]] = [
        (pooled, "ours", lambda: _ours(joint_counts(levels, outcomes), draws)),
        (
            f"{total} cells, pooled", "ours", lambda: _ours(counts.sum(0), draws),
        ),
        (
            f"{total} cells, perfect interventions", "ours",
            lambda: _ours(counts, draws, intervened=targets),
        ),
        (
            f"{total} cells, soft interventions", "ours",
            lambda: _ours(counts, draws, intervened=targets, intervention="soft"),
        ),
    ]  # fmt: skip
    for name, method, find in cases:
        found = find()
        rows.append(score(name, method, truth, found.cpdag))
        sure.append(_sure(name, truth, found))
    for name, method in PEERS.items():
        try:
            rows.append(score(pooled, name, truth, method(levels, outcomes)))
        except ImportError:
            missing.append(name)
    rows.append(score("-", "published graph (17 arrows)", truth, published(data)))
    rows.append(score("-", "empty graph", truth, np.zeros_like(truth)))
    return Study(tuple(rows), tuple(sure), tuple(missing))


def _ours(counts: np.ndarray, draws: int, **options) -> GraphPosterior:
    return graph_posterior(counts, generator=np.random.default_rng(0), draws=draws, **options)


def score(data: str, method: str, truth: np.ndarray, graph: np.ndarray) -> Row:
    """Compare a CPDAG or DAG (parent, child) with the consensus DAG."""
    learned = np.asarray(graph).astype(bool)
    known = truth.astype(bool)
    arrows = learned & ~learned.T
    pairs = np.triu(learned | learned.T)
    return Row(
        data,
        method,
        compare_graphs(truth, graph).shd,
        int(pairs.sum()),
        int((pairs & (known | known.T)).sum()),
        int(arrows.sum()),
        int((arrows & known).sum()),
        int((arrows & known.T).sum()),
    )


def _sure(data: str, truth: np.ndarray, found: GraphPosterior) -> Sure:
    known = truth.astype(bool)
    pairs = np.triu(found.skeleton_probability >= SURE, 1)
    arrows = found.edge_probability >= SURE
    return Sure(
        data,
        int(pairs.sum()),
        int((pairs & (known | known.T)).sum()),
        int(arrows.sum()),
        int((arrows & known).sum()),
    )


def published(data: xr.Dataset) -> np.ndarray:
    """The graph that Sachs et al. published, in the order of the proteins."""
    names = [str(name) for name in data["protein"].values]
    graph = np.zeros((len(names), len(names)), dtype=int)
    for parent, children in PUBLISHED.items():
        for child in children:
            graph[names.index(parent), names.index(child)] = 1
    return graph


def experiments(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray, int]:
    """Joint counts of tercile levels, one table per set of targets; targets; cells."""
    signal = np.asarray(data["fluorescence"], dtype=float)
    keep = np.isfinite(signal).all(1)
    signal, reagent = signal[keep], np.asarray(data["reagent"]).astype(bool)[keep]
    proteins = [str(name) for name in data["protein"].values]
    agents = [str(name) for name in data["agent"].values]
    acted = np.zeros(signal.shape, dtype=bool)
    for agent, protein in TARGETS.items():
        acted[:, proteins.index(protein)] |= reagent[:, agents.index(agent)]
    cuts = np.quantile(signal, np.arange(1, LEVELS) / LEVELS, axis=0)
    levels = (signal[:, None, :] > cuts[None]).sum(1)
    groups, which = np.unique(acted, axis=0, return_inverse=True)
    which = np.reshape(which, -1)
    shape = (LEVELS,) * len(proteins)
    tables = [joint_counts(levels[which == g], shape) for g in range(len(groups))]
    return np.stack(tables), groups, len(signal)
