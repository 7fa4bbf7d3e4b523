"""A fit in words: what ``print(result)`` shows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from pima_physics.units import pretty

CAVEAT = (
    "  Directions: only '->' is settled by the data and what was known before; '--' may point\n"
    "  either way (Markov equivalence). Numbers of outcomes are labels without meaning."
)
# Edges less probable than this are not listed.
FAINT = 0.05
MOST = 12


def summary(tree: xr.DataTree) -> str:
    """Text of a results tree."""
    sections = (_head, _bound, _modalities, _features, _edges, _parameters, _warnings)
    return "\n".join(line for section in sections for line in section(tree))


def number(value: float, error: float | None = None) -> str:
    """A number to four digits, or value and error to the digits that the error allows."""
    if not math.isfinite(value):
        return "n/a" if math.isnan(value) else f"{value:g}"
    if error is None or not (math.isfinite(error) and error > 0):
        return f"{value:.4g}"
    places = 1 - math.floor(math.log10(error))
    if places < -3 or places > 6:
        return f"{value:.4g} ± {error:.2g}"
    if places < 0:
        return f"{round(value, places):.0f} ± {round(error, places):.0f}"
    return f"{value:.{places}f} ± {error:.{places}f}"


def _named(tree: xr.DataTree, group: str) -> xr.Dataset:
    return tree[group].to_dataset()


def _value(data: xr.Dataset, name: str) -> float:
    return float(data[name]) if name in data else math.nan


def _head(tree: xr.DataTree) -> Iterator[str]:
    metrics = _named(tree, "metrics")
    counts = [int(_value(metrics, f"samples_{p}")) for p in ("train", "validation", "test")]
    yield f"{tree.attrs.get('title', 'Fit')}"
    yield (
        f"  {sum(counts)} samples: {counts[0]} training, {counts[1]} validation, {counts[2]} test; "
        f"seed {tree.attrs.get('seed', 'unknown')}, "
        f"pima_physics {tree.attrs.get('package_version', '')}"
    )


def _bound(tree: xr.DataTree) -> Iterator[str]:
    metrics, history = _named(tree, "metrics"), _named(tree, "history")
    parts = [p for p in ("train", "validation", "test") if f"elbo_{p}" in metrics]
    values = ", ".join(f"{p} {number(_value(metrics, f'elbo_{p}'))}" for p in parts)
    yield f"\nEvidence bound (ELBO, nats per sample): {values}"
    terms = [str(n) for n in history.data_vars if str(n) not in ("phase", "elbo")]
    terms = [n for n in terms if n.startswith("reconstruction") or n in ("prior", "entropy")]
    if terms and history.sizes["epoch"]:
        last = history.isel(epoch=-1)
        shown = ", ".join(f"{n.replace('_', ' ', 1)} {number(float(last[n]))}" for n in terms)
        yield f"  last epoch: {shown}"


def _modalities(tree: xr.DataTree) -> Iterator[str]:
    metrics = _named(tree, "metrics")
    yield "\nModalities (explained variance R2, 90 % coverage of test samples)"
    for name in tree["features"].children:
        tests = [
            f"train {number(_value(metrics, f'r2_train_{name}'))}",
            f"test {number(_value(metrics, f'r2_test_{name}'))}",
            f"coverage {number(_value(metrics, f'coverage_90_{name}'))}",
        ]
        start = f"r2_test_{name}_given_"
        tests += [
            f"from {str(key).removeprefix(start)} alone {number(float(value))}"
            for key, value in metrics.items()
            if str(key).startswith(start)
        ]
        yield f"  {name}: {', '.join(tests)}"


def _features(tree: xr.DataTree) -> Iterator[str]:
    found, posterior = _named(tree, "discovery"), _named(tree, "posterior")
    counts = posterior["node"].attrs.get("outcomes", [])
    yield "\nFeatures"
    for k, node in enumerate(found["node"].values):
        outcome = posterior["node_outcome"].values[:, k]
        size = int(np.atleast_1d(counts)[k])
        shares = ", ".join(f"{o}: {100 * (outcome == o).mean():.0f} %" for o in range(size))
        row = found.isel(node=k)
        words = ["supported" if int(row["supported"]) else "NOT SUPPORTED by the evidence"]
        if "doubt" in row and str(row["doubt"].item()):
            words[0] += f" ({row['doubt'].item()})"
        words += [
            f"{label} {number(float(row[name]))}{unit}"
            for name, label, unit in (
                ("evidence", "evidence", " nats/sample"),
                ("null", "null", ""),
                ("separation", "separation", " std"),
                ("stability", "stability", ""),
                ("shared", "known to a second modality", " nats/sample"),
            )
            if name in row
        ]
        yield f"  {node} ({shares}): {', '.join(words)}; found in {row['representation'].item()}"


def _edges(tree: xr.DataTree) -> Iterator[str]:
    graph = _named(tree, "graph")
    names = [str(n) for n in graph["parent"].values]
    cpdag, probability = graph["cpdag"].values, graph["edge_probability"].values
    yield "\nGraph (probability of being joined; of each direction)"
    lines = []
    for i, first in enumerate(names):
        for j in range(i + 1, len(names)):
            joined = probability[i, j] + probability[j, i]
            kind = int(cpdag[i, j]), int(cpdag[j, i])
            if kind == (0, 0) and joined < FAINT:
                continue
            sign = {(1, 0): "->", (0, 1): "<-", (1, 1): "--", (0, 0): "?"}[kind]
            lines.append(
                f"  {first} {sign} {names[j]}: {min(joined, 1.0):.2f} "
                f"(-> {probability[i, j]:.2f}, <- {probability[j, i]:.2f})"
                f"{'' if any(kind) else ' not in the trained graph'}"
            )
    yield from lines or ["  no edges"]
    if len(names) > 1:
        yield f"  best class over the next: {number(_value(graph, 'log_bayes_factor'))} nats"
    yield CAVEAT


def _parameters(tree: xr.DataTree) -> Iterator[str]:
    if "parameters" not in tree.children:
        return
    owned = np.nan_to_num(_named(tree, "posterior")["node_probability"].values).sum(0)
    for modality, node in tree["parameters"].children.items():
        group = node.to_dataset()
        yield f"\nPhysical parameters of {modality} ({group.attrs.get('simulator', 'law')})"
        for name in parameter_names(group):
            array = group[name]
            unit = pretty(str(array.attrs["units"]))
            label = f"{name} ({unit})" if unit else name
            if array.ndim == 0:
                error = group.get(f"{name}_std")
                shown = number(float(array), None if error is None else float(error))
                words = "fixed" if error is None else "inferred, one value for all samples"
                yield f"  {label}: {shown}, {words}"
                continue
            if "known_from" in array.attrs:
                span = f"{number(float(array.min()))} to {number(float(array.max()))}"
                yield f"  {label}: {span}, known from {array.attrs['known_from']}"
                continue
            yield f"  {label}: {_by_outcome(group, name, owned)}"


def parameter_names(group: xr.Dataset) -> list[str]:
    """Parameters of a group without their companions."""
    companions = ("_by_component", "_by_outcome")
    names = [str(n) for n in group.data_vars]
    kept = [n for n in names if not any(n.removesuffix("_std").endswith(e) for e in companions)]
    return [n for n in kept if not (n.endswith("_std") and n.removesuffix("_std") in kept)]


def _by_outcome(group: xr.Dataset, name: str, owned: np.ndarray) -> str:
    """Means by outcome of the node that explains most of the parameter's variance."""
    means, errors = group[f"{name}_by_outcome"], group[f"{name}_by_outcome_std"]
    weight = np.where(np.isfinite(means.values), owned, 0.0)
    values = np.nan_to_num(means.values)
    total = np.maximum(weight.sum(1, keepdims=True), 1e-300)
    centre = (weight * values).sum(1, keepdims=True) / total
    between = (weight * (values - centre) ** 2).sum(1) / total[:, 0]
    node = int(between.argmax())
    row, error = means.values[node], errors.values[node]
    size = int(np.atleast_1d(group["node"].attrs["outcomes"])[node])
    cells = [f"{k}: {number(float(row[k]), float(error[k]))}" for k in range(min(size, MOST))]
    return f"by {group['node'].values[node]} {', '.join(cells)}"


def _warnings(tree: xr.DataTree) -> Iterator[str]:
    found: list[Any] = json.loads(tree.attrs.get("warnings", "[]"))
    if found:
        yield "\nWarnings"
        yield from (f"  - {text}" for text in found)
