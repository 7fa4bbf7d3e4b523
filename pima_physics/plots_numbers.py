"""Figures of numbers: calibration and training history."""

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
    x = view.horizontal(history[found[0]])
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
