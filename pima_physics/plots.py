"""Figures of a result: axes in, axes out, units on the axes, no global state.

Each function reads only the results tree (``results.nc``), so that a figure can be redrawn years
later without the model.  Without ``ax`` a new :class:`matplotlib.figure.Figure` is made;
``plot_history(tree).figure.savefig("history.pdf")`` saves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pima_physics import plots_graph as graphs
from pima_physics import plots_style as look
from pima_physics import plots_tree as view
from pima_physics.plots_fields import (
    MOST_OUTCOMES,
    plot_crossmodal,
    plot_feature_difference,
    plot_features,
    plot_reconstruction,
)
from pima_physics.plots_numbers import plot_calibration, plot_history
from pima_physics.plots_parameters import plot_parameters

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "MOST_OUTCOMES",
    "plot_calibration",
    "plot_crossmodal",
    "plot_feature_difference",
    "plot_features",
    "plot_graph",
    "plot_history",
    "plot_parameters",
    "plot_reconstruction",
]


def plot_graph(tree: xr.DataTree, ax: Axes | None = None) -> Axes:
    """The graph between nodes, as far as the data determine it.

    Arrows are edges that have this direction in every graph of the equivalence class; plain lines
    are edges of unknown direction; dotted lines are pairs that are probably not joined but not
    excluded.  Width: probability that the two are joined.  Number: on an arrow the probability of
    this direction, otherwise that of being joined.  Places have no meaning.

    Parameters
    ----------
    tree : xarray.DataTree
        Results; uses ``/graph``: cpdag, edge_probability, edge_strength, adjacency (any subset).
    ax : matplotlib.axes.Axes, optional
        Where to draw.
    """
    ax = look.new_axes(ax, (4.0, 3.0))
    names = view.nodes(tree)
    if not names or not graphs.has_graph(tree):
        return look.note(ax, "no graph stored")
    place = dict(zip(names, graphs.positions(len(names)) * [1, -1], strict=True))
    for edge in graphs.edges(tree):
        _draw_edge(ax, edge, place[edge.first], place[edge.second])
    for name, (x, y) in place.items():
        ax.text(
            x,
            y,
            view.plain(view.readable(name), 18),
            ha="center",
            va="center",
            fontsize=9,
            color=look.INK,
            zorder=6,
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": look.MUTED},
        )
    ax.set_xlim(-1.5, 1.5)
    ax.set_ylim(-1.4, 1.4)
    ax.set_axis_off()
    return ax


def _draw_edge(ax: Axes, edge: graphs.Edge, start: np.ndarray, end: np.ndarray) -> None:
    directed = edge.status == "directed"
    ax.annotate(
        "",
        xy=tuple(end),
        xytext=tuple(start),
        zorder=2,
        arrowprops={
            "arrowstyle": "-|>" if directed else "-",
            "linewidth": 0.8 + 3.5 * edge.weight,
            "color": look.MUTED if edge.status == "uncertain" else look.colour(0),
            "linestyle": ":" if edge.status == "uncertain" else "-",
            "shrinkA": 22,
            "shrinkB": 30 if directed else 22,
        },
    )
    if np.isfinite(edge.claimed):
        middle = start + 0.42 * (end - start)
        ax.text(
            middle[0],
            middle[1],
            f"{edge.claimed:.2f}",
            ha="center",
            va="center",
            fontsize=8.5,
            color=look.INK,
            zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.85},
        )
