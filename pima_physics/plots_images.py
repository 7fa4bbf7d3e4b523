"""Rows of images on one axes, with a colour bar in the data's unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pima_physics import plots_style as look
from pima_physics import plots_tree as view

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def limits(images: Sequence[np.ndarray]) -> tuple[float, float]:
    """Common lowest and highest finite value, never equal."""
    pooled = np.concatenate([image.ravel() for image in images])
    finite = pooled[np.isfinite(pooled)]
    if len(finite) == 0:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def colours(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """A colour image in [0, 1]: values of 0..1 and 0..255 as they are, others stretched."""
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    return np.nan_to_num(np.clip((image - low) / (high - low), 0, 1))


def mosaic(
    ax: Axes,
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    *,
    unit: str = "",
    columns: int = 3,
    diverging: bool = False,
) -> Axes:
    """Draw ``images`` side by side on ``ax`` with one colour scale, each under its title."""
    low, high = limits(images)
    if diverging:
        high = max(abs(low), abs(high))
        low = -high
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    columns = max(1, min(columns, len(images)))
    # Titles stay as large as they are when more rows make the images smaller.
    gap, head = 0.08 * width, max(0.22, 0.13 * -(-len(images) // columns)) * height
    shown: Any = None
    for k, (image, title) in enumerate(zip(images, titles, strict=True)):
        left, top = (k % columns) * (width + gap), (k // columns) * (height + head)
        extent = (left, left + image.shape[1], top + image.shape[0], top)
        if image.ndim == 3:
            ax.imshow(colours(image, low, high), extent=extent, interpolation="none")
        else:
            shown = ax.imshow(
                image,
                extent=extent,
                vmin=low,
                vmax=high,
                interpolation="none",
                cmap="RdBu_r" if diverging else "viridis",
            )
        ax.text(
            left + width / 2,
            top - 0.05 * height,
            view.plain(title, 22),
            ha="center",
            va="bottom",
            color=look.INK,
            fontsize=9,
        )
    rows = -(-len(images) // columns)
    ax.set_xlim(-0.02 * width, columns * (width + gap) - gap + 0.02 * width)
    ax.set_ylim(rows * (height + head) - head + 0.02 * height, -head)
    ax.set_aspect("equal")
    ax.set_axis_off()
    ax.patch.set_alpha(0.0)
    if shown is not None:
        _colour_bar(ax, shown, unit)
    return ax


def _colour_bar(ax: Axes, shown: Any, unit: str) -> None:
    bar = ax.figure.colorbar(
        shown, ax=ax, orientation="horizontal", fraction=0.06, pad=0.03, aspect=30
    )
    bar.ax.tick_params(colors=look.INK, labelsize=8.5, color=look.MUTED)
    bar.outline.set_visible(False)
    bar.set_label(view.plain(unit, 40), color=look.INK, fontsize=9.5)
