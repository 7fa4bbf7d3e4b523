"""Colours and helpers shared by all figures; matplotlib's object interface only."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Every colour has at least 3:1 contrast on its background (tested).  The report swaps each light
# colour for a CSS variable, so that the same figure reads well on a dark page too.
INK, MUTED, GRID = "#1c2430", "#565f6d", "#d5dbe3"
SERIES = (
    "#1f5fa8",
    "#c2570c",
    "#1b7f5c",
    "#8a3ea8",
    "#c0305f",
    "#7a5c1e",
    "#127a8a",
    "#5f6672",
)
DARK = {
    INK: "#e7eaef",
    MUTED: "#a9b2be",
    GRID: "#3a4250",
    **dict(
        zip(
            SERIES,
            (
                "#7fb2ee",
                "#f2a164",
                "#6bcfa8",
                "#cf9be6",
                "#f28bac",
                "#d8b878",
                "#6ccbd8",
                "#b4bac4",
            ),
            strict=True,
        )
    ),
}
# Behind text on top of lines: the report takes its own background for it.
PAPER = "#fefefe"
# More names than these would hide the lines, or run into each other below the axis.
MOST_INSIDE, MOST_COUNTED = 4, 5
LINES = ("-", "--", "-.", ":")
# Characters along the vertical axis of a small figure.
SIDE = 28
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def colour(index: int) -> str:
    """Colour of outcome (or series) ``index``; repeats after eight."""
    return SERIES[index % len(SERIES)]


def line(index: int) -> Any:
    """Line style of outcome ``index``: never told by colour alone."""
    # Shifted when the colours repeat, so that outcomes 0 and 8 still differ.
    return LINES[(index + index // len(SERIES)) % len(LINES)]


def marker(index: int) -> str:
    """Marker of outcome ``index``."""
    return MARKERS[(index + index // len(SERIES)) % len(MARKERS)]


def new_axes(ax: Axes | None, size: tuple[float, float] = (3.6, 2.8)) -> Axes:
    """``ax`` itself, or the axes of a new figure that belongs to no global state."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.patch.set_alpha(0.0)
    return figure.add_subplot()


def style(ax: Axes, grid: bool = True) -> None:
    """Quiet axes: two spines, thin grid, transparent background, text in the ink colour."""
    ax.patch.set_alpha(0.0)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        ax.spines[side].set_color(MUTED)
    ax.tick_params(colors=INK, which="both", labelsize=9, color=MUTED)
    for text in (ax.xaxis.label, ax.yaxis.label, ax.title):
        text.set_color(INK)
        text.set_fontsize(9.5)
    for text in (ax.xaxis.get_offset_text(), ax.yaxis.get_offset_text()):
        text.set_color(INK)
        text.set_fontsize(8.5)
    if grid:
        ax.grid(True, color=GRID, linewidth=0.6)
        ax.set_axisbelow(True)


def label_side(ax: Axes, text: str) -> None:
    """Name the vertical axis, in two lines where one would be longer than the axis."""
    ax.set_ylabel(fill(text, SIDE))


def legend(ax: Axes, **options: Any) -> None:
    """A legend in the ink colour, beside the axes where many are named; none where nothing is."""
    handles, names = ax.get_legend_handles_labels()
    if not handles:
        return
    chosen: dict[str, Any] = {"loc": "best"}
    if len(handles) > MOST_INSIDE:
        chosen = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.0}
    chosen |= {"facecolor": PAPER, "framealpha": 0.8, "edgecolor": "none"}
    box = ax.legend(handles, names, **(chosen | {"fontsize": 9, "labelcolor": INK} | options))
    box.get_title().set_color(INK)
    box.get_title().set_fontsize(9)


def outcome_ticks(outcomes: Sequence[str], counts: Sequence[int]) -> list[str]:
    """Names of outcomes below an axis, with their numbers of samples where there is room."""
    if len(outcomes) > MOST_COUNTED:
        return list(outcomes)
    return [f"{name}\nn = {count}" for name, count in zip(outcomes, counts, strict=True)]


def note(ax: Axes, text: str) -> Axes:
    """An empty axes that says why there is nothing to see."""
    ax.set_axis_off()
    ax.patch.set_alpha(0.0)
    ax.text(
        0.5,
        0.5,
        text,
        ha="center",
        va="center",
        color=MUTED,
        wrap=True,
        fontsize=9,
        transform=ax.transAxes,
    )
    return ax
