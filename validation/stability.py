"""Do the same features come back? Over seeds, over subsets, and edges over bootstrap samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from pima_physics.errors import InputError
from pima_physics.structure import graph_posterior
from pima_physics.validation.metrics import match_nodes


@dataclass(frozen=True)
class Stability:
    """Agreement of several fits of the same samples.

    Attributes
    ----------
    nodes : tuple of str
        Nodes of the first fit.
    agreement : array (fits - 1, node)
        Share of samples that agree with the first fit, nodes and outcomes matched.
    edges : array (fits, node, node)
        Probability of parent -> child in every fit, nodes in the order of the first.
    """

    nodes: tuple[str, ...]
    agreement: np.ndarray
    edges: np.ndarray

    @property
    def worst(self) -> float:
        """Agreement of the least stable node in the least similar fit."""
        return float(self.agreement.min())

    def __str__(self) -> str:
        rows = [f"{len(self.agreement) + 1} fits"]
        rows += [
            f"  {name}: median agreement {np.median(found):.3f}, worst {found.min():.3f}"
            for name, found in zip(self.nodes, self.agreement.T, strict=True)
        ]
        for i, first in enumerate(self.nodes):
            for j, second in enumerate(self.nodes):
                seen = self.edges[:, i, j]
                if i != j and np.nanmax(seen) >= 0.05:
                    low, high = np.nanmin(seen), np.nanmax(seen)
                    rows.append(f"  {first} -> {second}: probability {low:.2f} to {high:.2f}")
        return "\n".join(rows)


def compare_fits(results: Sequence[Any]) -> Stability:
    """Compare fits of the same samples (other seeds, or other halves with the rest predicted).

    Parameters
    ----------
    results : sequence of FitResult or DataTree
        Two or more, with the same samples in the same order and as many nodes.
    """
    trees = [r if isinstance(r, xr.DataTree) else r.to_datatree() for r in results]
    if len(trees) < 2:
        raise InputError("stability needs two results or more", found=len(trees))
    labels = [_outcomes(tree) for tree in trees]
    first, names = labels[0].values, [str(n) for n in labels[0]["node"].values]
    if len({found.shape for found in labels}) > 1:
        raise InputError(
            "the results differ in samples or nodes", found=[found.shape for found in labels]
        )
    rows, edges = [], [_edges(trees[0], names)]
    for tree, other in zip(trees[1:], labels[1:], strict=True):
        found = match_nodes(
            first, other.values, factors=names, nodes=[str(n) for n in other["node"].values]
        )
        rows.append(found.accuracy)
        edges.append(_edges(tree, found.nodes))
    return Stability(tuple(names), np.stack(rows), np.stack(edges))


@dataclass(frozen=True)
class EdgeBootstrap:
    """Edge probabilities over bootstrap samples, arrays (parent, child)."""

    nodes: tuple[str, ...]
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    draws: int

    def __str__(self) -> str:
        rows = [f"{self.draws} bootstrap samples, median (5 % to 95 %)"]
        for i, first in enumerate(self.nodes):
            for j, second in enumerate(self.nodes):
                if i != j and self.high[i, j] >= 0.05:
                    rows.append(
                        f"  {first} -> {second}: {self.median[i, j]:.2f} "
                        f"({self.low[i, j]:.2f} to {self.high[i, j]:.2f})"
                    )
        return "\n".join(rows)


def bootstrap_edges(
    results: Any, generator: np.random.Generator, *, draws: int = 100
) -> EdgeBootstrap:
    """Edge probabilities when samples are drawn again with replacement.

    Uncertain outcomes are drawn from their probabilities in each replicate, so that the spread
    holds both kinds of doubt. The nodes themselves are kept: refitting them is what
    :func:`compare_fits` compares.
    """
    tree = results if isinstance(results, xr.DataTree) else results.to_datatree()
    given = tree["posterior"].to_dataset()["node_probability"]
    given = given.transpose("sample", "node", "outcome")
    probability = np.nan_to_num(given.values)
    sizes = tuple(int(n) for n in np.isfinite(given.values).any(0).sum(1))
    found = []
    for _ in range(draws):
        rows = probability[generator.integers(0, len(probability), len(probability))]
        cut = generator.random((*rows.shape[:2], 1))
        outcomes = (rows.cumsum(-1) < cut).sum(-1).clip(max=np.array(sizes) - 1)
        counts = np.zeros(sizes)
        np.add.at(counts, tuple(outcomes.T), 1)
        found.append(graph_posterior(counts, generator=generator).edge_probability)
    low, median, high = np.quantile(np.stack(found), [0.05, 0.5, 0.95], axis=0)
    names = tuple(str(n) for n in given["node"].values)
    return EdgeBootstrap(names, median, low, high, draws)


def _outcomes(tree: xr.DataTree) -> xr.DataArray:
    return tree["posterior"].to_dataset()["node_outcome"].transpose("sample", "node")


def _edges(tree: xr.DataTree, order: Sequence[str]) -> np.ndarray:
    """Edge probabilities with rows and columns in that order; NaN where unknown."""
    size = len(order)
    group = tree["graph"].to_dataset() if "graph" in tree.children else xr.Dataset()
    if "edge_probability" not in group:
        return np.full((size, size), np.nan)
    names = [str(n) for n in group["parent"].values]
    places = [names.index(name) for name in order]
    return group["edge_probability"].transpose("parent", "child").values[np.ix_(places, places)]
