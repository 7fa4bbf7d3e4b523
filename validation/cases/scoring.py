"""What a method found, and its scores against the truth: the same for every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from pima_physics.cpdags import cpdag
from pima_physics.plots_parameters import parameter_names
from pima_physics.plots_tree import children
from pima_physics.truth import Truth
from pima_physics.units import convert, difference
from pima_physics.validation.graphs import compare_graphs
from pima_physics.validation.metrics import match_nodes, parameter_recovery

COLUMNS = {
    "worst": "worst node accuracy",
    "ari": "joint ARI",
    "shd": "CPDAG SHD",
    "log_score": "cross-modal log score (nats/value)",
    "coverage": "90 % coverage",
    "r2": "cross-modal R2",
    "parameters": "parameter error (rmse/std)",
    "elbo": "held-out ELBO (nats/sample)",
}
"""Scores of :func:`score` and their headings."""


@dataclass(frozen=True)
class Found:
    """What a method says of all samples.

    Attributes
    ----------
    labels : int array (sample, node), optional
    graph : array (node, node), optional
        CPDAG (parent, child); of the true nodes in their order where there are no labels.
    crossmodal : mapping
        Modality -> (observed, mean, std), held-out samples, predicted from the others alone.
    parameters : mapping
        Physical parameter -> (values, standard errors, unit).
    elbo : float, optional
        Mean bound of the held-out samples, in nats, for values as standardised by `prepare_fit`.
    """

    labels: np.ndarray | None = None
    graph: np.ndarray | None = None
    crossmodal: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(
        default_factory=dict
    )
    parameters: Mapping[str, tuple[np.ndarray, np.ndarray, str]] = field(default_factory=dict)
    elbo: float | None = None


def from_tree(tree: xr.DataTree) -> Found:
    """What a fit of this package says."""
    posterior = tree["posterior"].to_dataset()
    crossmodal = {}
    for name in children(tree, "crossmodal"):
        group = tree[f"crossmodal/{name}"].to_dataset()
        observed, mean, std = (group[k].values.astype(float) for k in ("observed", "mean", "std"))
        crossmodal[name] = observed, mean, std
    parameters = {}
    for modality in children(tree, "parameters"):
        group = tree[f"parameters/{modality}"].to_dataset()
        for name in parameter_names(tree, modality):
            if name in group and f"{name}_std" in group and group[name].dims == ("sample",):
                unit = str(group[name].attrs["units"])
                parameters[name] = (group[name].values, group[f"{name}_std"].values, unit)
    labels = posterior["node_outcome"].transpose("sample", "node").values.astype(int)
    graph = tree["graph"].to_dataset()["cpdag"].values
    elbo = tree["metrics"].to_dataset().get("elbo_test")
    return Found(labels, graph, crossmodal, parameters, elbo=None if elbo is None else float(elbo))


def score(found: Found, truth: Truth, nodes: Sequence[str] | None = None) -> dict[str, float]:
    """Scores by name, NaN where the method says nothing; see ``COLUMNS``.

    A graph is compared in the order in which its nodes match the known factors; where there are
    fewer nodes than factors, what lacks a node has no edges.
    """
    factors = list(nodes or (str(n) for n in truth.graph["parent"].values))
    scores: dict[str, float] = {}
    places = list(range(len(factors)))
    if found.labels is not None:
        known = np.stack([truth.labels[name].values for name in factors], axis=1)
        match = match_nodes(known, found.labels, factors=factors)
        scores |= {"worst": match.worst, "mean": match.mean, "ari": match.ari, "nmi": match.nmi}
        places = [int(name.removeprefix("node_")) if name else -1 for name in match.nodes]
    if found.graph is not None and len(factors) > 1:
        matched = np.zeros((len(factors),) * 2, dtype=int)
        for i, a in enumerate(places):
            for j, b in enumerate(places):
                if a >= 0 and b >= 0:
                    matched[i, j] = int(found.graph[a, b])
        true = cpdag(truth.graph.sel(parent=factors, child=factors).values)
        compared = compare_graphs(true, matched)
        scores |= {"shd": compared.shd, "skeleton_f1": compared.f1}
    if found.elbo is not None:
        scores["elbo"] = found.elbo
    return scores | _crossmodal(found) | _parameters(found, truth)


def _crossmodal(found: Found) -> dict[str, float]:
    """Means over the modalities; spreads are in units of that of the observed values."""
    rows: list[tuple[float, float, float]] = []
    for observed, mean, std in found.crossmodal.values():
        known = np.isfinite(observed) & np.isfinite(mean) & (std > 0)
        if not known.any():
            continue
        z = (observed[known] - mean[known]) / std[known]
        spread = float(np.std(observed[known]))
        log = float(-0.5 * np.mean(z**2 + 2 * np.log(std[known] / spread) + np.log(2 * np.pi)))
        centre = np.nanmean(observed, axis=0, keepdims=True)
        total = np.nansum((observed - centre) ** 2)
        r2 = 1 - float(np.sum((observed[known] - mean[known]) ** 2) / total)
        rows.append((log, float((np.abs(z) <= 1.6448536).mean()), r2))
    if not rows:
        return {}
    log_score, coverage, r2 = np.mean(rows, axis=0)
    return {"log_score": float(log_score), "coverage": float(coverage), "r2": float(r2)}


def _parameters(found: Found, truth: Truth) -> dict[str, float]:
    """Mean over the parameters of the rmse in units of the spread of the truth."""
    errors, covered = [], []
    for name, (values, std, unit) in found.parameters.items():
        if name not in truth.parameters:
            continue
        true = truth.parameters[name]
        target: Any = str(true.attrs["units"])
        estimate = convert(np.asarray(values, dtype=float), unit, target)
        error = convert(np.asarray(std, dtype=float), difference(unit), difference(target))
        recovery = parameter_recovery(estimate, true.values, error)
        errors.append(recovery.rmse / float(np.nanstd(true.values)))
        covered.append(recovery.coverage[0.9])
    if not errors:
        return {}
    return {"parameters": float(np.mean(errors)), "parameter_coverage": float(np.mean(covered))}
