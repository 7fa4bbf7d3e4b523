"""Figures of the data themselves: what a node changes, and how well samples are reproduced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pima_physics import plots_images as images
from pima_physics import plots_statistics as statistics
from pima_physics import plots_style as look
from pima_physics import plots_tree as view

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Outcomes shown at most, and images that leave room for numbers of samples above them.
MOST_OUTCOMES, WIDE = 12, 6


def _feature(tree: xr.DataTree, modality: str, node: str) -> xr.Dataset | None:
    """Mean, std and count of one node, only the outcomes that have samples."""
    group = view.dataset(tree, f"features/{modality}")
    if group is None or not {"mean", "std", "count"} <= set(group.data_vars):
        return None
    position = view.node_position(group, node)
    if position is None:
        return None
    chosen = group.isel(node=position)
    used = np.flatnonzero(np.nan_to_num(chosen["count"].values.astype(float)) > 0)
    # More than a dozen outcomes cannot be told apart by eye: the most frequent, in order.
    frequent = used[np.argsort(-chosen["count"].values[used], kind="stable")[:MOST_OUTCOMES]]
    chosen = chosen.isel(outcome=np.sort(frequent))
    return chosen.transpose("outcome", ...) if len(used) else None


def _thin(field: xr.DataArray, limit: int = 200) -> xr.DataArray:
    """A curve of at most ``limit`` points, for the size of the page."""
    step = max(1, -(-field.shape[-1] // limit))
    return field[..., ::step]


def plot_features(tree: xr.DataTree, modality: str, node: str, ax: Axes | None = None) -> Axes:
    """What the outcomes of ``node`` look like in ``modality``: observed mean per outcome.

    Curves with a band of one standard deviation between samples, scalars as points with that bar,
    images side by side.  Outcomes without samples are left out, and of more than twelve the rarest.

    Parameters
    ----------
    tree : xarray.DataTree
        Results; uses ``/features/<modality>``: mean, std, count over (node, outcome, ...).
    modality, node : str
        Names as in the tree.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = look.new_axes(ax)
    chosen = _feature(tree, modality, node)
    if chosen is None:
        return look.note(ax, "no means by outcome stored")
    kind = view.field_kind(chosen["mean"].shape[1:])
    if kind == "scalar":
        return _scalar_features(ax, chosen, modality, node)
    if kind in ("curve", "curves"):
        return _curve_features(ax, chosen, modality, node)
    if kind == "other":
        return look.note(ax, f"{chosen['mean'].ndim - 1} dimensions: not drawn")
    titles = (_outcomes if chosen.sizes["outcome"] > WIDE else _counted)(chosen)
    pictures = [view.as_image(field) for field in chosen["mean"]]
    return images.mosaic(
        ax,
        pictures,
        titles,
        unit=_value_label(chosen["mean"], modality),
        columns=3 if len(pictures) <= WIDE else 4,
    )


def _value_label(array: xr.DataArray, modality: str) -> str:
    name = array.attrs.get("long_name") or array.attrs.get("variable") or modality
    return view.with_unit(view.readable(name), view.unit_of(array))


def _outcomes(chosen: xr.Dataset) -> list[str]:
    return [name.removeprefix("outcome ") for name in view.labels(chosen, "outcome")]


def _counted(chosen: xr.Dataset) -> list[str]:
    pairs = zip(_outcomes(chosen), chosen["count"].values, strict=True)
    return [f"{outcome} (n = {int(count)})" for outcome, count in pairs]


def _scalar_features(ax: Axes, chosen: xr.Dataset, modality: str, node: str) -> Axes:
    mean, std = chosen["mean"].values.reshape(-1), chosen["std"].values.reshape(-1)
    for k, (m, s) in enumerate(zip(mean, std, strict=True)):
        ax.errorbar(
            k,
            m,
            yerr=s,
            color=look.colour(k),
            marker=look.marker(k),
            markersize=6,
            capsize=3,
            linewidth=1.5,
        )
    names = look.outcome_ticks(_outcomes(chosen), [int(n) for n in chosen["count"].values])
    ax.set_xticks(range(len(mean)), names)
    ax.set_xlim(-0.6, len(mean) - 0.4)
    ax.set_xlabel(view.plain(f"outcome of {node}"))
    look.label_side(ax, view.plain(_value_label(chosen["mean"], modality), 40))
    look.style(ax)
    return ax


def _curve_features(ax: Axes, chosen: xr.Dataset, modality: str, node: str) -> Axes:
    for k, name in enumerate(_counted(chosen)):
        mean = _thin(view.as_lines(chosen["mean"].isel(outcome=k)))
        std = _thin(view.as_lines(chosen["std"].isel(outcome=k)))
        x = view.horizontal(mean)
        for row, (m, s) in enumerate(zip(mean.values, std.values, strict=True)):
            ax.fill_between(x, m - s, m + s, color=look.colour(k), alpha=0.16, linewidth=0)
            ax.plot(
                x,
                m,
                color=look.colour(k),
                linestyle=look.line(k),
                linewidth=1.7,
                label=name if row == 0 else None,
            )
    view.label_below(ax, mean)
    look.label_side(ax, view.plain(_value_label(chosen["mean"], modality), 40))
    look.style(ax)
    look.legend(ax, title=view.plain(f"outcome of {view.readable(node)}", 26))
    return ax


def plot_feature_difference(
    tree: xr.DataTree, modality: str, node: str, ax: Axes | None = None
) -> Axes:
    """Difference of the two most different mean images of ``node`` (colours averaged)."""
    ax = look.new_axes(ax)
    chosen = _feature(tree, modality, node)
    if chosen is None or chosen.sizes["outcome"] < 2:
        return look.note(ax, "fewer than two outcomes with samples")
    if view.field_kind(chosen["mean"].shape[1:]) not in ("image", "colour"):
        return look.note(ax, "not an image: see the means by outcome")
    pictures = [view.as_image(field) for field in chosen["mean"]]
    flat = [picture.mean(-1) if picture.ndim == 3 else picture for picture in pictures]
    pairs = [(i, j) for i in range(len(flat)) for j in range(i + 1, len(flat))]
    spread = [np.nan_to_num((flat[j] - flat[i]) ** 2).mean() for i, j in pairs]
    i, j = pairs[int(np.argmax(spread))]
    names = view.labels(chosen, "outcome")
    title = f"{names[j]} minus {names[i]}".replace("outcome ", "")
    return images.mosaic(
        ax,
        [flat[j] - flat[i]],
        [title],
        diverging=True,
        unit="difference, " + _value_label(chosen["mean"], modality),
    )


def _reproduced(tree: xr.DataTree, path: str) -> xr.Dataset | None:
    group = view.dataset(tree, path)
    if group is None or not {"mean", "std", "observed"} <= set(group.data_vars):
        return None
    sample = group["mean"].dims[0] if "sample" not in group["mean"].dims else "sample"
    return group.transpose(sample, ...)


def plot_reconstruction(
    tree: xr.DataTree,
    modality: str,
    samples: Sequence[int] | None = None,
    ax: Axes | None = None,
    *,
    group: str = "reconstruction",
) -> Axes:
    """Observed data and the model's mean with a band of two standard deviations.

    Parameters
    ----------
    tree : xarray.DataTree
        Results; uses ``/<group>/<modality>``: mean, std (likelihood noise included), observed.
    modality : str
        Name of the modality.
    samples : sequence of int, optional
        Positions along ``sample``; default: best, median and worst by error.
    ax : matplotlib.axes.Axes, optional
        Where to draw.
    group : str, optional
        Group to read: "reconstruction", or "crossmodal" for :func:`plot_crossmodal`.
    """
    ax = look.new_axes(ax)
    data = _reproduced(tree, f"{group}/{modality}")
    if data is None:
        return look.note(ax, "no reconstruction stored")
    if samples is None:
        samples = statistics.example_samples(
            statistics.sample_errors(data["observed"], data["mean"])
        )
    kind = view.field_kind(data["mean"].shape[1:])
    if not len(samples) or kind == "other":
        return look.note(ax, "nothing that could be drawn")
    if kind == "scalar":
        return _scalar_reconstruction(ax, data, modality, samples)
    if kind in ("curve", "curves"):
        return _curve_reconstruction(ax, data, modality, samples)
    names = view.labels(data, "sample")
    rows = (data["observed"], data["mean"])
    pictures = [view.as_image(row.isel(sample=k)) for row in rows for k in samples]
    titles = [f"sample {names[k]}" for k in samples] + ["model"] * len(samples)
    return images.mosaic(
        ax, pictures, titles, columns=len(samples), unit=_value_label(data["mean"], modality)
    )


def plot_crossmodal(
    tree: xr.DataTree,
    modality: str,
    samples: Sequence[int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """As :func:`plot_reconstruction`, for predictions from the other modalities alone.

    Reads ``/crossmodal/<modality>``; says so on the axes when the run stored none.
    """
    return plot_reconstruction(tree, modality, samples, ax, group="crossmodal")


def _curve_reconstruction(
    ax: Axes, data: xr.Dataset, modality: str, samples: Sequence[int]
) -> Axes:
    names = view.labels(data, "sample")
    for index, k in enumerate(samples):
        one = data.isel(sample=k)
        lines = {n: _thin(view.as_lines(one[n]), 120) for n in ("mean", "std", "observed")}
        x = view.horizontal(lines["mean"])
        rows = zip(*(lines[n].values for n in ("mean", "std", "observed")), strict=True)
        for row, (m, s, o) in enumerate(rows):
            shade, first = look.colour(index), row == 0
            ax.fill_between(x, m - 2 * s, m + 2 * s, color=shade, alpha=0.18, linewidth=0)
            ax.plot(
                x,
                o,
                color=look.INK,
                marker=look.marker(index),
                markersize=2.4,
                linestyle="none",
                label="observed" if first and index == 0 else None,
            )
            ax.plot(
                x,
                m,
                color=shade,
                linestyle=look.line(index),
                linewidth=1.7,
                label=view.plain(f"model, sample {names[k]}") if first else None,
            )
    view.label_below(ax, lines["mean"])
    look.label_side(ax, view.plain(_value_label(data["mean"], modality), 40))
    look.style(ax)
    look.legend(ax)
    return ax


def _scalar_reconstruction(
    ax: Axes, data: xr.Dataset, modality: str, samples: Sequence[int]
) -> Axes:
    at = np.arange(len(samples))
    values = {
        n: data[n].values.reshape(data.sizes["sample"], -1)[list(samples), 0]
        for n in ("mean", "std", "observed")
    }
    ax.errorbar(
        at,
        values["mean"],
        yerr=2 * values["std"],
        color=look.colour(0),
        marker="s",
        linestyle="none",
        capsize=3,
        label="model ± 2 std",
    )
    ax.plot(at, values["observed"], color=look.INK, marker="o", linestyle="none", label="observed")
    names = view.labels(data, "sample")
    ax.set_xticks(at, [view.plain(names[k], 10) for k in samples])
    ax.set_xlabel("sample")
    look.label_side(ax, view.plain(_value_label(data["mean"], modality), 40))
    look.style(ax)
    look.legend(ax)
    return ax
