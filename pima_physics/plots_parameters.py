"""Physical parameters by the outcome of a node: their groups and their figure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pima_physics import plots_statistics as statistics
from pima_physics import plots_style as look
from pima_physics import plots_tree as view

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 250


def parameter_names(tree: xr.DataTree, modality: str) -> tuple[str, ...]:
    """Physical parameters of a modality that were inferred, without their companions.

    Companions carry errors and means of a group; a number without dimensions is fixed, and one
    with the attribute ``known_from`` is known.
    """
    group = view.dataset(tree, f"parameters/{modality}")
    if group is None:
        return ()
    endings = ("_by_component_std", "_by_component", "_by_outcome_std", "_by_outcome", "_std")
    varying = [str(name) for name, array in group.data_vars.items()
               if array.ndim and "known_from" not in array.attrs]  # fmt: skip
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


def parameter_groups(
    tree: xr.DataTree, modality: str, parameter: str, node: str
) -> tuple[statistics.Group, ...]:
    """A per-sample parameter by the outcome of a node, empty without values per sample.

    Counts and spreads are those of the likeliest outcomes; means and errors are those of the
    results where stored, which weigh samples by their probability.
    """
    path = f"parameters/{modality}"
    values, std = (view.variable(tree, path, n) for n in (parameter, f"{parameter}_std"))
    outcomes = view.assigned_outcomes(tree, node)
    if values is None or outcomes is None or len(outcomes) != values.size:
        return ()
    own = None if std is None else std.values.astype(float)
    groups = statistics.group_statistics(values.values.astype(float), outcomes, own)
    means, errors = (
        view.variable(tree, path, f"{parameter}_by_outcome{end}") for end in ("", "_std")
    )
    if means is None or errors is None or node not in view.labels(means, "node"):
        return groups
    at = view.labels(means, "node").index(node)
    mean, error = (a.transpose("node", "outcome").values[at] for a in (means, errors))
    return tuple(
        replace(g, mean=float(mean[g.outcome]), error=float(error[g.outcome]))
        if g.outcome < len(mean)
        else g
        for g in groups
    )


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
    groups = parameter_groups(tree, modality, parameter, node) if node is not None else ()
    if not groups:
        return _by_component(ax, tree, modality, parameter)
    return _by_outcome(ax, tree, modality, parameter, str(node), groups)


def _by_outcome(
    ax: Axes,
    tree: xr.DataTree,
    modality: str,
    parameter: str,
    node: str,
    groups: tuple[statistics.Group, ...],
) -> Axes:
    values = view.variable(tree, f"parameters/{modality}", parameter)
    outcomes = view.assigned_outcomes(tree, node)
    assert values is not None and outcomes is not None  # there would be no groups
    numbers = values.values.astype(float)
    shift = np.random.default_rng(0).uniform(-0.22, 0.22, len(numbers))
    shown = np.arange(0, len(numbers), max(1, -(-len(numbers) // MOST_POINTS)))
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
    names = look.outcome_ticks([str(g.outcome) for g in groups], [g.count for g in groups])
    ax.set_xticks(range(len(groups)), names)
    ax.set_xlim(-0.5, len(groups) - 0.5)
    ax.set_xlabel(view.plain(f"outcome of {view.readable(node)}", 40))
    _name_parameter(ax, parameter, values)
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
    _name_parameter(ax, parameter, values)
    look.style(ax)
    return ax


def _name_parameter(ax: Axes, parameter: str, values: xr.DataArray) -> None:
    """Its own name with unit: a law's description ("of the plate") says little by itself."""
    label = view.with_unit(view.readable(parameter), view.unit_of(values))
    look.label_side(ax, view.plain(label, 40))
