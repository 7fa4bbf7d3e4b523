"""Figures of numbers: physical parameters, calibration, training history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pima_physics import plots_statistics as statistics
from pima_physics import plots_style as look
from pima_physics import plots_tree as view

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
MOST_POINTS = 250


def parameter_names(tree: xr.DataTree, modality: str) -> tuple[str, ...]:
    """Physical parameters of a modality that vary, without their companions.

    Companions carry errors and means of a group; a number without dimensions is fixed.
    """
    group = view.dataset(tree, f"parameters/{modality}")
    if group is None:
        return ()
    endings = ("_by_component_std", "_by_component", "_by_outcome_std", "_by_outcome", "_std")
    varying = [str(name) for name, array in group.data_vars.items() if array.ndim]
    bare = (next((n.removesuffix(e) for e in endings if n.endswith(e)), n) for n in varying)
    return tuple(dict.fromkeys(bare))


def parameter_shares(tree: xr.DataTree, modality: str, parameter: str) -> dict[str, float]:
    """Variance share of a per-sample parameter by the outcome of every node."""
    values = view.variable(tree, f"parameters/{modality}", parameter)
    if values is None:
        return {}
    shares = {}
    for node in view.nodes(tree):
        outcomes = view.assigned_outcomes(tree, node)
        if outcomes is not None and len(outcomes) == values.size:
            shares[node] = statistics.group_share(values.values.astype(float), outcomes)
    return {node: share for node, share in shares.items() if np.isfinite(share)}


def parameter_own_shares(tree: xr.DataTree, modality: str, parameter: str) -> dict[str, float]:
    """Variance share of a per-sample parameter that each node adds to all the others."""
    values = view.variable(tree, f"parameters/{modality}", parameter)
    assigned = view.variable(tree, "posterior", "node_outcome")
    if values is None or assigned is None or values.size != assigned.sizes["sample"]:
        return {}
    outcomes = assigned.transpose("sample", "node").values.astype(int)
    shares = statistics.own_shares(values.values.astype(float)[:, None], outcomes)
    names = view.labels(assigned, "node")
    return {n: float(s) for n, s in zip(names, shares, strict=True) if np.isfinite(s)}


def plot_parameters(
    tree: xr.DataTree,
    modality: str,
    ax: Axes | None = None,
    *,
    parameter: str | None = None,
    node: str | None = None,
) -> Axes:
    """A physical parameter against the outcome of a node.

    Small points are samples, large ones the mean with two standard errors.  Without per-sample
    values the components are shown with their own errors.

    Parameters
    ----------
    tree : xarray.DataTree
        Results; uses ``/parameters/<modality>`` and ``/posterior/node_outcome``.
    modality : str
        Name of the modality that a simulator explains.
    ax : matplotlib.axes.Axes, optional
        Where to draw.
    parameter, node : str, optional
        Default: the first parameter, and the node that explains most of its variance.
    """
    ax = look.new_axes(ax)
    names = parameter_names(tree, modality)
    if not names:
        return look.note(ax, "no physical parameters stored")
    parameter = parameter or names[0]
    shares = parameter_shares(tree, modality, parameter)
    if node is None and shares:
        node = max(shares, key=lambda name: shares[name])
    values = view.variable(tree, f"parameters/{modality}", parameter)
    outcomes = view.assigned_outcomes(tree, node) if node is not None else None
    if values is None or outcomes is None or len(outcomes) != values.size:
        return _by_component(ax, tree, modality, parameter)
    return _by_outcome(ax, tree, modality, values, outcomes, str(node))


def _by_outcome(
    ax: Axes,
    tree: xr.DataTree,
    modality: str,
    values: xr.DataArray,
    outcomes: np.ndarray,
    node: str,
) -> Axes:
    std = view.variable(tree, f"parameters/{modality}", f"{values.name}_std")
    numbers = values.values.astype(float)
    shift = np.random.default_rng(0).uniform(-0.22, 0.22, len(numbers))
    shown = np.arange(0, len(numbers), max(1, -(-len(numbers) // MOST_POINTS)))
    groups = statistics.group_statistics(numbers, outcomes, None if std is None else std.values)
    for k, group in enumerate(groups):
        own = shown[outcomes[shown] == group.outcome]
        ax.plot(
            k + shift[own],
            numbers[own],
            linestyle="none",
            marker=look.marker(k),
            markersize=2.6,
            alpha=0.45,
            color=look.colour(k),
            markeredgewidth=0,
        )
        ax.errorbar(
            k,
            group.mean,
            yerr=2 * np.nan_to_num(group.error),
            color=look.INK,
            capsize=4,
            marker=look.marker(k),
            markersize=7,
            markerfacecolor=look.colour(k),
            linewidth=1.4,
            zorder=5,
        )
    ax.plot(
        range(len(groups)),
        [g.mean for g in groups],
        color=look.MUTED,
        linewidth=0.9,
        linestyle=":",
        zorder=4,
    )
    ax.set_xticks(range(len(groups)), [f"{g.outcome} (n = {g.count})" for g in groups])
    ax.set_xlim(-0.5, len(groups) - 0.5)
    ax.set_xlabel(view.plain(f"outcome of {view.readable(node)}", 40))
    look.label_side(ax, view.plain(view.axis_label(values), 40))
    look.style(ax)
    return ax


def _by_component(ax: Axes, tree: xr.DataTree, modality: str, parameter: str) -> Axes:
    path = f"parameters/{modality}"
    values = view.variable(tree, path, f"{parameter}_by_component")
    if values is None:
        return look.note(ax, "no value per component stored")
    std = view.variable(tree, path, f"{parameter}_by_component_std")
    error = None if std is None else 2 * np.nan_to_num(std.values.astype(float))
    ax.errorbar(
        np.arange(values.size),
        values.values.astype(float),
        yerr=error,
        marker="o",
        linestyle="none",
        color=look.colour(0),
        capsize=3,
    )
    names = [name.removeprefix("component ") for name in view.labels(values, "component")]
    every = max(1, -(-len(names) // 12))
    ax.set_xticks(range(0, len(names), every), [view.plain(n, 12) for n in names[::every]])
    ax.set_xlabel("component (joint outcome)")
    unit = view.unit_of(values)
    name = view.readable(values.attrs.get("long_name", parameter))
    look.label_side(ax, view.plain(f"{name} ({unit})" if unit else name, 40))
    look.style(ax)
    return ax


def plot_calibration(
    tree: xr.DataTree,
    modalities: Sequence[str] | None = None,
    ax: Axes | None = None,
    *,
    group: str = "reconstruction",
    held_out: bool = False,
) -> Axes:
    """Share of observed values inside predicted intervals against the nominal share.

    On the diagonal the stated uncertainty is right; below it intervals are too narrow.
    With ``held_out`` only samples that the fit never saw are counted, where they are marked.
    """
    ax = look.new_axes(ax)
    ax.plot([0, 1], [0, 1], color=look.MUTED, linewidth=1, linestyle=":", label="ideal")
    for k, modality in enumerate(modalities or view.children(tree, group)):
        data = view.dataset(tree, f"{group}/{modality}")
        if data is None or not {"mean", "std", "observed"} <= set(data.data_vars):
            continue
        chosen = view.held_out_in(tree, data) if held_out else None
        picked = slice(None) if chosen is None else chosen
        observed, mean, std = (
            data[n].transpose("sample", ...).values.astype(float)[picked]
            for n in ("observed", "mean", "std")
        )
        ax.plot(
            LEVELS,
            statistics.coverage(observed, mean, std, LEVELS),
            color=look.colour(k),
            marker=look.marker(k),
            markersize=4,
            linestyle=look.line(k),
            linewidth=1.5,
            label=view.plain(view.readable(modality)),
        )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("nominal share of the interval")
    ax.set_ylabel("observed share inside")
    look.style(ax)
    look.legend(ax, loc="upper left")
    return ax


def _phases(history: xr.Dataset) -> list[tuple[int, int, str]]:
    """Runs of equal ``phase`` as (first, last, name)."""
    if "phase" not in history.data_vars:
        return []
    names = [view.as_text(value) for value in history["phase"].values]
    meanings = view.as_text(history["phase"].attrs.get("flag_meanings", "")).split()
    if meanings and all(n.isdigit() and int(n) < len(meanings) for n in names):
        names = [meanings[int(n)] for n in names]
    starts = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    ends = [*starts[1:], len(names)]
    return [(a, b, names[a]) for a, b in zip(starts, ends, strict=True)]


def plot_history(
    tree: xr.DataTree, ax: Axes | None = None, *, terms: Sequence[str] | None = None
) -> Axes:
    """Training history; default the bound on training and validation data, by epoch.

    The vertical range ignores the first tenth of the epochs, where the bound is far below its
    later values, so that the part that matters can be seen.
    """
    ax = look.new_axes(ax)
    history = view.dataset(tree, "history")
    wanted = terms or ("elbo", "validation_elbo")
    found = [t for t in wanted if history is not None and t in history.data_vars]
    if history is None or not found:
        return look.note(ax, "no training history stored")
    series = [np.asarray(history[t].values, dtype=float) for t in found]
    x, _ = view.horizontal(history[found[0]])
    for k, (term, values) in enumerate(zip(found, series, strict=True)):
        seen = np.isfinite(values)  # a term may be measured in some epochs only
        ax.plot(
            x[seen],
            values[seen],
            color=look.colour(k),
            linestyle=look.line(k),
            linewidth=1.5,
            label=view.plain(view.readable(term)),
        )
    late = np.concatenate([v[len(v) // 10 if len(v) > 20 else 0 :] for v in series])
    late = late[np.isfinite(late)]
    if len(late) and late.max() > late.min():
        margin = 0.08 * (late.max() - late.min())
        ax.set_ylim(late.min() - margin, late.max() + margin)
    for start, _, name in _phases(history):
        ax.axvline(x[start], color=look.MUTED, linewidth=0.7, linestyle="--")
        ax.annotate(
            view.plain(name, 14),
            (x[start], 0.02),
            xycoords=("data", "axes fraction"),
            fontsize=7.5,
            color=look.MUTED,
            rotation=90,
            va="bottom",
            ha="left",
            xytext=(2, 0),
            textcoords="offset points",
        )
    unit = view.unit_of(history[found[0]])
    ax.set_xlabel("epoch")
    ax.set_ylabel(f"per sample ({unit})" if unit else "nats per sample")
    look.style(ax)
    look.legend(ax)
    return ax
