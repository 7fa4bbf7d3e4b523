r"""Compare the nodes that a run found with known factors.

The outcomes of a node have no names, so they are matched to the levels of a factor first.

    adjusted Rand index   agreement of two partitions, 0 expected by chance, 1 when equal [1]_
    accuracy              share of samples that agree under the best one-to-one matching

Samples are matched by their coordinate where both files have one, else by their order.

References
----------
.. [1] Hubert, Arabie 1985, Comparing partitions, Journal of Classification 2, 193-218.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pima_physics.errors import DataError, Problems
from pima_physics.validation.metrics import match_nodes, match_outcomes

MOST_LEVELS = 100
"""A factor with more levels is a continuous quantity: bin it first."""

PERMUTATIONS = 199
"""Size of the null distribution; left out above MOST_PERMUTED samples, where nothing is chance."""

MOST_PERMUTED = 20_000


def validate_run(results: xr.DataTree, labels: xr.Dataset) -> dict[str, Any]:
    """Compare the nodes with known factors.

    Parameters
    ----------
    results : DataTree
        Results of a fit, with ``/posterior/node_outcome`` (sample, node).
    labels : Dataset
        One variable with one dimension for each factor; NaN, and -1 in integers, is unknown.

    Returns
    -------
    dict
        ``factors``: for each factor the node matched with it (None where there were fewer nodes),
        adjusted_rand, accuracy, samples, matching (outcome to level); ``pairs``: the same numbers
        for every node and factor; ``worst_accuracy``, ``joint_adjusted_rand``, ``joint_nmi``,
        ``p_value`` and ``joint_p_value`` (accuracy and adjusted Rand against shuffled samples),
        ``occupied_components``, ``samples``. Plain numbers,
        text and lists only, so that it can be written as JSON.

    Raises
    ------
    DataError
        Where samples cannot be matched or a factor is no category; all factors at once.
    """
    outcomes = results["posterior"].to_dataset()["node_outcome"].transpose("sample", "node")
    nodes = [str(node) for node in outcomes["node"].values]
    factors = factor_codes(labels, outcomes)
    found = outcomes.values.astype(int)
    pairs = [
        {"node": node, "factor": name, **_compare(found[:, index], codes, levels)}
        for name, (codes, levels) in factors.items()
        for index, node in enumerate(nodes)
    ]
    match = match_nodes(
        np.stack([codes for codes, _ in factors.values()], axis=1),
        found,
        factors=list(factors),
        nodes=nodes,
        permutations=PERMUTATIONS if len(found) <= MOST_PERMUTED else 0,
        generator=np.random.default_rng(0),
    )
    chosen = zip(match.factors, match.nodes, match.accuracy, strict=True)
    return {
        "samples": len(found),
        "factors": {
            name: _pair(pairs, name, node) or _unmatched(float(accuracy), factors[name][0])
            for name, node, accuracy in chosen
        },
        "worst_accuracy": match.worst,
        "joint_adjusted_rand": _number(match.ari),
        "joint_nmi": _number(match.nmi),
        "p_value": _number(match.p_value),
        "joint_p_value": _number(match.p_ari),
        "occupied_components": match.occupied,
        "pairs": pairs,
    }


def factor_codes(
    labels: xr.Dataset, outcomes: xr.DataArray
) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Codes of known factors in the order of the run's samples (-1 = unknown), and their levels.

    Raises
    ------
    DataError
        Where samples cannot be matched or a factor is no category; all factors at once.
    """
    factors: dict[str, tuple[np.ndarray, list[str]]] = {}
    problems = Problems()
    for name in map(str, labels.data_vars):
        try:
            factors[name] = _levels(_matched(labels[name], outcomes), name)
        except DataError as error:
            problems.add(error)
    problems.raise_if_any()
    return factors


def categories(labels: xr.Dataset) -> xr.Dataset:
    """The variables that are categories of samples; all of them where none is."""
    names = [
        name
        for name, values in labels.data_vars.items()
        if values.ndim == 1 and len(np.unique(values.values.astype(str))) <= MOST_LEVELS + 1
    ]
    return labels[names] if names else labels


def table(record: dict[str, Any]) -> str:
    """Return the match of each factor as text."""
    rows = [("known factor", "node", "adjusted Rand", "accuracy", "samples")]
    rows += [
        (
            name,
            pair["node"] or "(none left)",
            f"{pair['adjusted_rand']:.3f}",
            f"{pair['accuracy']:.3f}",
            str(pair["samples"]),
        )
        for name, pair in record["factors"].items()
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:], "", _summary(record)])


def _summary(record: dict[str, Any]) -> str:
    parts = [f"worst accuracy {record['worst_accuracy']:.3f}"]
    if record["joint_adjusted_rand"] is not None:
        parts.append(f"joint outcomes: adjusted Rand {record['joint_adjusted_rand']:.3f}")
    if record["p_value"] is not None:
        parts.append(f"p = {record['p_value']:.3g} against shuffled samples")
    return ", ".join(parts)


def _pair(pairs: list[dict[str, Any]], factor: str, node: str) -> dict[str, Any] | None:
    for pair in pairs:
        if pair["factor"] == factor and pair["node"] == node:
            return {key: value for key, value in pair.items() if key != "factor"}
    return None


def _unmatched(accuracy: float, codes: np.ndarray) -> dict[str, Any]:
    """A factor without a node: guessing its most frequent level."""
    known = int((codes >= 0).sum())
    return {
        "node": None,
        "samples": known,
        "adjusted_rand": 0.0,
        "accuracy": accuracy,
        "matching": {},
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _matched(factor: xr.DataArray, outcomes: xr.DataArray) -> np.ndarray:
    """Return the values of a factor in the order of the run's samples; NaN where there is none."""
    if factor.ndim != 1:
        raise DataError(
            f"{factor.name} is no factor of the samples",
            found=f"dimensions {', '.join(map(str, factor.dims)) or 'none'}",
            expected="one dimension, the samples",
            fix="leave it out of --labels, or store one value per sample",
        )
    dim, values = factor.dims[0], factor.values
    if dim in factor.coords and "sample" in outcomes.coords:
        keys = factor.coords[dim].values.tolist()
        place = {key: index for index, key in enumerate(keys)}
        positions = [place.get(key, -1) for key in outcomes.coords["sample"].values.tolist()]
        if len(place) == len(keys) and max(positions, default=-1) >= 0:
            picked = values[np.array(positions)].astype(object)
            picked[np.array(positions) < 0] = np.nan
            return picked
    if len(values) != outcomes.sizes["sample"]:
        raise DataError(
            f"{factor.name} cannot be matched to the samples of the run",
            found=f"{len(values)} values for {outcomes.sizes['sample']} samples",
            expected="the same samples in the same order, or a common sample coordinate",
        )
    return values.astype(object)


def _levels(values: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """Return codes (-1 = unknown) and the names of the levels."""
    known = np.array([not _unknown(value) for value in values], dtype=bool)
    levels = sorted(set(values[known].tolist()))
    if len(levels) < 2 or len(levels) > MOST_LEVELS:
        raise DataError(
            f"{name} is no category that nodes could be compared with",
            found=f"{len(levels)} different known values",
            expected=f"2 to {MOST_LEVELS}",
            fix="bin a continuous quantity first" if len(levels) > MOST_LEVELS else None,
        )
    code = {level: index for index, level in enumerate(levels)}
    codes = np.array([code[v] if k else -1 for v, k in zip(values, known, strict=True)])
    return codes, [str(level) for level in levels]


def _unknown(value: Any) -> bool:
    if isinstance(value, float):
        return not np.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and value == -1


def _compare(found: np.ndarray, codes: np.ndarray, levels: list[str]) -> dict[str, Any]:
    """Return agreement of one node with one factor on the samples where it is known."""
    from sklearn.metrics import adjusted_rand_score

    known = codes >= 0
    mapping, accuracy = match_outcomes(codes, found)
    return {
        "samples": int(known.sum()),
        "adjusted_rand": float(adjusted_rand_score(codes[known], found[known])),
        "accuracy": accuracy,
        "matching": {str(o): levels[level] for o, level in enumerate(mapping) if level >= 0},
    }
