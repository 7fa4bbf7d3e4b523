"""Single-cell signalling data (Sachs et al. 2005) against the biologists' consensus graph.

Two uses of `sachs.nc`: the 5 400 discretised rows without their conditions, and all 7 466 cells
with the reagents that act on a measured protein as perfect interventions (levels by terciles).

The reagents' targets are those of K. Sachs et al., Science 308, 523 (2005), Table 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pima_physics.structure import graph_posterior
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


def compare(path: Path, *, draws: int = 2000, say=print) -> str:
    """Return a markdown table: distance and edges of every method on `sachs.nc`."""
    import xarray as xr

    data = xr.load_dataset(path)
    truth = np.asarray(data["adjacency"])
    rows = ["| data | method | SHD | skeleton F1 | arrows right | arrows drawn |", "|---" * 6 + "|"]

    def add(source: str, method: str, graph: np.ndarray) -> None:
        result = compare_graphs(truth, graph)
        directed = graph.astype(bool) & ~graph.astype(bool).T
        right = int((directed & (truth > 0)).sum())
        rows.append(
            f"| {source} | {method} | {result.shd} | {result.f1:.2f} | {right} "
            f"| {int(directed.sum())} of {result.learned_edges} edges |"
        )
        say(rows[-1])

    levels = np.asarray(data["level"]).astype(int)
    levels = levels - levels.min(0)
    outcomes = levels.max(0) + 1
    source = f"{len(levels)} rows, pooled"
    found = graph_posterior(
        joint_counts(levels, outcomes), generator=np.random.default_rng(0), draws=draws
    )
    add(source, "ours", found.cpdag)
    for name, method in PEERS.items():
        try:
            add(source, name, method(levels, outcomes))
        except ImportError:
            say(f"{name} is not installed")
    counts, acted, total = _experiments(data)
    found = graph_posterior(
        counts, intervened=acted, generator=np.random.default_rng(0), draws=draws
    )
    add(f"{total} cells, interventions", "ours", found.cpdag)
    add("-", "empty graph", np.zeros_like(truth))
    return "\n".join(rows)


def _experiments(data) -> tuple[np.ndarray, np.ndarray, int]:
    """Joint counts of tercile levels, one table per set of intervened proteins."""
    signal = np.asarray(data["fluorescence"], dtype=float)
    keep = np.isfinite(signal).all(1)
    signal, reagent = signal[keep], np.asarray(data["reagent"]).astype(bool)[keep]
    proteins = [str(name) for name in data["protein"].values]
    agents = [str(name) for name in data["agent"].values]
    acted = np.zeros(signal.shape, dtype=bool)
    for agent, protein in TARGETS.items():
        acted[:, proteins.index(protein)] |= reagent[:, agents.index(agent)]
    cuts = np.quantile(signal, [1 / 3, 2 / 3], axis=0)
    levels = (signal[:, None, :] > cuts[None]).sum(1)
    groups, which = np.unique(acted, axis=0, return_inverse=True)
    which = np.reshape(which, -1)
    shape = (3,) * len(proteins)
    tables = [joint_counts(levels[which == g], shape) for g in range(len(groups))]
    return np.stack(tables), groups, len(signal)
