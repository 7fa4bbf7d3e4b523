"""Physical parameters against a number that is known of every sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pima_physics import plots_statistics as statistics
from pima_physics import plots_style as look
from pima_physics import plots_tree as view
from pima_physics.plots_parameters import parameter_groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 250
# A covariate goes with a node that explains more of its variance than it leaves.
SHARE = 0.5


@dataclass(frozen=True)
class Level:
    """One outcome of a node: its covariate, and a parameter with its standard error.

    Attributes
    ----------
    place, width : float
        Mean of the covariate and its spread between samples.
    mean, error, spread : float
        Of the parameter: mean, standard error of the mean, standard deviation between samples.
    """

    outcome: int
    count: int
    place: float
    width: float
    mean: float
    error: float
    spread: float


def covariates(tree: xr.DataTree, node: str) -> dict[str, float]:
    """Covariates that vary with a node: the share of their variance by outcome, best first.

    Among equals, numbers with a unit come before codes and other plain numbers.
    """
    group, outcomes = view.dataset(tree, "covariates"), view.assigned_outcomes(tree, node)
    if group is None or outcomes is None:
        return {}
    shares = {}
    for name, array in group.data_vars.items():
        values = array.values.astype(float)
        share = statistics.group_share(values, outcomes) if len(values) == len(outcomes) else np.nan
        if share > SHARE:
            shares[str(name)] = share
    order = sorted(shares, key=lambda n: (-round(shares[n], 2), not view.unit_of(group[n]), n))
    return {name: shares[name] for name in order}


def levels(
    tree: xr.DataTree, modality: str, parameter: str, node: str, covariate: str
) -> tuple[Level, ...]:
    """A parameter by outcome of a node, in the order of a covariate.

    Means and errors are those of :func:`pima_physics.plots_parameters.parameter_groups`.
    """
    known = view.variable(tree, "covariates", covariate)
    outcomes = view.assigned_outcomes(tree, node)
    if known is None or outcomes is None or known.size != len(outcomes):
        return ()
    places = {
        g.outcome: g for g in statistics.group_statistics(known.values.astype(float), outcomes)
    }
    found = [
        Level(g.outcome, g.count, places[g.outcome].mean, places[g.outcome].spread,
              g.mean, g.error, g.spread)
        for g in parameter_groups(tree, modality, parameter, node)
        if g.outcome in places
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda level: level.place))


def plot_against(
    tree: xr.DataTree,
    modality: str,
    ax: Axes | None = None,
    *,
    parameter: str,
    node: str,
    covariate: str,
) -> Axes:
    """A physical parameter by outcome of a node against a covariate.

    Small points are samples; large ones the mean of an outcome with two standard errors, at the
    mean of the covariate, with its standard deviation between samples across.
    """
    ax = look.new_axes(ax)
    found = levels(tree, modality, parameter, node, covariate)
    if not found:
        return look.note(ax, "no values stored")
    values = tree[f"parameters/{modality}"].to_dataset()[parameter]
    known = tree["covariates"].to_dataset()[covariate]
    outcomes = view.assigned_outcomes(tree, node)
    assert outcomes is not None
    x, y = known.values.astype(float), values.values.astype(float)
    shown = np.arange(0, len(y), max(1, -(-len(y) // MOST_POINTS)))
    ordered = sorted(level.outcome for level in found)
    for level in found:
        k = ordered.index(level.outcome)  # as in the other figures of the node
        own = shown[outcomes[shown] == level.outcome]
        ax.plot(
            x[own], y[own], linestyle="none", marker=look.marker(k), markersize=2.6, alpha=0.45,
            color=look.colour(k), markeredgewidth=0,
        )  # fmt: skip
        ax.errorbar(
            level.place, level.mean, xerr=np.nan_to_num(level.width),
            yerr=2 * np.nan_to_num(level.error), color=look.INK, capsize=4, marker=look.marker(k),
            markersize=7, markerfacecolor=look.colour(k), linewidth=1.4, zorder=5,
        )  # fmt: skip
    ax.plot(
        [level.place for level in found], [level.mean for level in found],
        color=look.MUTED, linewidth=0.9, linestyle=":", zorder=4,
    )  # fmt: skip
    ax.margins(x=0.08)
    ax.set_xlabel(view.plain(view.axis_label(known), 40))
    unit = view.unit_of(values)
    name = view.readable(parameter)
    look.label_side(ax, view.plain(f"{name} ({unit})" if unit else name, 30))
    look.style(ax)
    return ax
