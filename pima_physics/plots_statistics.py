r"""Numbers behind the figures: variance shares, group means, coverage.  Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from pima_physics import plots_tree as view


@dataclass(frozen=True)
class Group:
    """Values of one outcome: number, mean, spread between samples, standard error of the mean."""

    outcome: int
    count: int
    mean: float
    spread: float
    error: float


def variance_share(mean: np.ndarray, std: np.ndarray, count: np.ndarray) -> float:
    r"""Share of the variance of a modality that goes with the outcome of one node.

    .. math:: \eta^2 = \frac{\sum_t \sum_k w_k (m_{kt} - \bar m_t)^2}
                            {\sum_t \sum_k w_k \left[(m_{kt} - \bar m_t)^2 + s_{kt}^2\right]}

    ============ ==================================== =====================
    symbol       meaning                              argument
    ============ ==================================== =====================
    m, s         mean and std of outcome k, point t   (outcome, ...) arrays
    w            share of the samples of outcome k    ``count``, normalised
    ============ ==================================== =====================

    Returns NaN when fewer than two outcomes have samples.  It is an association: correlated nodes
    share what they explain.
    """
    usable = np.isfinite(count) & (count > 0)
    means, spreads = mean[usable].reshape(usable.sum(), -1), std[usable].reshape(usable.sum(), -1)
    if len(means) < 2:
        return float("nan")
    finite = np.isfinite(means).all(0) & np.isfinite(spreads).all(0)
    weight = (count[usable] / count[usable].sum())[:, None]
    centre = (weight * means).sum(0)
    between = (weight * (means - centre) ** 2).sum(0)[finite].sum()
    total = between + (weight * spreads**2).sum(0)[finite].sum()
    return float(between / total) if total > 0 else float("nan")


def feature_shares(tree: xr.DataTree, modality: str) -> dict[str, float]:
    """:func:`variance_share` of every node for one modality ({} without the variables)."""
    group = view.dataset(tree, f"features/{modality}")
    if group is None or not {"mean", "std", "count"} <= set(group.data_vars):
        return {}
    dims = ("node", "outcome", ...)
    mean, std = group["mean"].transpose(*dims).values, group["std"].transpose(*dims).values
    count = group["count"].transpose("node", "outcome").values.astype(float)
    names = view.labels(group, "node")
    return {name: variance_share(mean[i], std[i], count[i]) for i, name in enumerate(names)}


def own_shares(values: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    r"""Share of the variance that each node adds to all the other nodes together.

    .. math:: \mathrm{own}_l = \frac{\mathrm{RSS}_{-l} - \mathrm{RSS}}{\mathrm{TSS}}

    with RSS the residual sum of squares of the additive least-squares fit on the outcomes (n, L)
    of all nodes, RSS without node l, and TSS that of the mean; ``values`` has shape (n, p).  Rows
    with a missing value are left out; NaN when too few rows remain.  A node that only repeats
    others has no own share, however large its :func:`variance_share`.
    """
    whole = np.isfinite(values).all(axis=1)
    y, c = values[whole], outcomes[whole]
    codes = [
        np.eye(int(c[:, k].max(initial=0)) + 1)[np.maximum(c[:, k], 0)][:, 1:]
        for k in range(c.shape[1])
    ]
    if len(y) < 2 + sum(code.shape[1] for code in codes):
        return np.full(c.shape[1], np.nan)
    total = ((y - y.mean(0)) ** 2).sum()
    if total == 0:
        return np.full(c.shape[1], np.nan)

    def residual(skipped: int | None) -> float:
        kept = [code for k, code in enumerate(codes) if k != skipped]
        design = np.hstack([np.ones((len(y), 1)), *kept])
        return float(((y - design @ np.linalg.lstsq(design, y)[0]) ** 2).sum())

    full = residual(None)
    return np.array([max(0.0, residual(k) - full) / total for k in range(c.shape[1])])


def feature_own_shares(tree: xr.DataTree, modality: str, points: int = 400) -> dict[str, float]:
    """:func:`own_shares` of every node for one modality, over at most ``points`` points."""
    observed = view.variable(tree, f"reconstruction/{modality}", "observed")
    assigned = view.variable(tree, "posterior", "node_outcome")
    if observed is None or assigned is None or "sample" not in observed.dims:
        return {}
    outcomes = assigned.transpose("sample", "node").values.astype(int)
    values = observed.transpose("sample", ...).values.astype(float)
    flat = values.reshape(len(values), -1)
    if len(flat) != len(outcomes):
        return {}
    shares = own_shares(flat[:, :: max(1, -(-flat.shape[1] // points))], outcomes)
    names = view.labels(assigned, "node")
    return {n: float(s) for n, s in zip(names, shares, strict=True) if np.isfinite(s)}


def group_statistics(
    values: np.ndarray, outcomes: np.ndarray, std: np.ndarray | None = None
) -> tuple[Group, ...]:
    r"""Mean and errors of ``values`` (n,) per outcome (n,).

    The error of a mean over n samples is :math:`\sqrt{(\mathrm{spread}^2 + \overline{s^2})/n}`,
    where s is each sample's own posterior standard deviation (zero if not given).
    """
    groups = []
    own = np.zeros_like(values) if std is None else np.nan_to_num(std)
    for outcome in np.unique(outcomes[outcomes >= 0]):
        chosen = (outcomes == outcome) & np.isfinite(values)
        n = int(chosen.sum())
        if n == 0:
            continue
        spread = float(values[chosen].std(ddof=1)) if n > 1 else float("nan")
        variance = (0.0 if n == 1 else spread**2) + float((own[chosen] ** 2).mean())
        # One sample without its own uncertainty says nothing about the error of its mean.
        error = np.sqrt(variance / n) if variance > 0 or n > 1 else float("nan")
        groups.append(Group(int(outcome), n, float(values[chosen].mean()), spread, float(error)))
    return tuple(groups)


def group_share(values: np.ndarray, outcomes: np.ndarray) -> float:
    """Variance share of a scalar by outcome (NaN with fewer than two groups)."""
    groups = group_statistics(values, outcomes)
    if len(groups) < 2:
        return float("nan")
    mean = np.array([g.mean for g in groups])
    spread = np.array([0.0 if np.isnan(g.spread) else g.spread for g in groups])
    return variance_share(mean, spread, np.array([g.count for g in groups], dtype=float))


def coverage(
    observed: np.ndarray, mean: np.ndarray, std: np.ndarray, levels: Sequence[float]
) -> np.ndarray:
    """Share of observed values inside the central normal interval of each nominal level."""
    from scipy.stats import norm

    usable = np.isfinite(observed) & np.isfinite(mean) & np.isfinite(std) & (std > 0)
    if not usable.any():
        return np.full(len(levels), np.nan)
    score = np.abs(observed[usable] - mean[usable]) / std[usable]
    return np.array([(score <= norm.ppf(0.5 + level / 2)).mean() for level in levels])


def sample_errors(observed: xr.DataArray, mean: xr.DataArray) -> np.ndarray:
    """Root mean square error of every sample (first dimension); NaN where nothing was observed."""
    difference = np.asarray(observed.values, dtype=float) - np.asarray(mean.values, dtype=float)
    squares = difference.reshape(len(difference), -1) ** 2
    seen = np.isfinite(squares)
    totals, counts = np.where(seen, squares, 0.0).sum(1), seen.sum(1)
    return np.sqrt(np.where(counts > 0, totals / np.maximum(counts, 1), np.nan))


def r_squared(observed: np.ndarray, mean: np.ndarray) -> float:
    """Explained variance, pooled over samples and points, against the mean curve (or image)."""
    seen = np.isfinite(observed) & np.isfinite(mean)
    if not seen.any():
        return float("nan")
    held = np.where(seen, observed, 0.0).astype(float)
    centre = held.sum(0) / np.maximum(seen.sum(0), 1)
    residual = np.where(seen, observed - mean, 0.0)
    total = np.where(seen, observed - centre, 0.0)
    return float(1 - (residual**2).sum() / (total**2).sum()) if (total**2).sum() > 0 else np.nan


def example_samples(errors: np.ndarray, count: int = 3) -> tuple[int, ...]:
    """Positions of samples from the best to the worst reconstructed, evenly spaced by rank.

    Best, median and worst for ``count=3``: examples chosen by rank cannot flatter the fit.
    """
    order = np.argsort(np.where(np.isfinite(errors), errors, np.inf), kind="stable")
    order = order[np.isfinite(errors[order])]
    if len(order) == 0:
        return ()
    ranks = np.linspace(0, len(order) - 1, min(count, len(order)))
    return tuple(dict.fromkeys(int(order[round(r)]) for r in ranks))
