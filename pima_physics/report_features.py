"""Section on the features: what each node changes in every modality."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pima_physics import plots
from pima_physics import plots_statistics as statistics
from pima_physics import plots_tree as view
from pima_physics.report_blocks import (
    Bar,
    Block,
    Figure,
    Heading,
    Note,
    Panel,
    Paragraph,
    Section,
    Table,
    share_cell,
)
from pima_physics.report_figures import panel
from pima_physics.report_format import percent, short

MOST_NODES = 6
MOST_MODALITIES = 6
MOST_TILES = 160  # of at most 64 x 64 pixels: below 3 MB even when they are pure noise


def shares(tree: xr.DataTree) -> dict[str, dict[str, float]]:
    """Variance share by modality and node."""
    found = {m: statistics.feature_shares(tree, m) for m in view.children(tree, "features")}
    return {modality: by_node for modality, by_node in found.items() if by_node}


def features_section(tree: xr.DataTree) -> Section:
    """Table of variance shares, then one figure per modality."""
    title, names = "What each feature changes", view.nodes(tree)
    if not names:
        return Section("features", title, [Paragraph("This run stored no features (nodes).")])
    found = shares(tree)
    blocks: list[Block] = []
    if found:
        blocks += [_share_table(tree, names, found), _reading_note(len(names))]
    else:
        text = (
            "This run stored no mean of the data by feature outcome, so what the features "
            "change cannot be shown."
        )
        blocks.append(Paragraph(text))
        frequencies = _frequency_table(tree, names)
        blocks += [frequencies] if frequencies else []
    left = MOST_TILES
    for modality in list(found)[:MOST_MODALITIES]:
        tiles = _tiles(tree, modality)
        drawn = min(len(found[modality]), MOST_NODES, left // tiles if tiles else MOST_NODES)
        left -= drawn * tiles
        blocks += [
            Heading(view.readable(modality)),
            _figure(tree, modality, found[modality], drawn),
        ]
    if len(found) > MOST_MODALITIES:
        left = [short(view.readable(m)) for m in list(found)[MOST_MODALITIES:]]
        blocks.append(Paragraph("Not drawn, to keep the page small: " + ", ".join(left) + "."))
    return Section("features", title, blocks)


def outcome_shares(tree: xr.DataTree, node: str) -> str:
    """``0: 55 %, 1: 45 %`` of the samples; "" when not known."""
    outcomes = view.assigned_outcomes(tree, node)
    if outcomes is None or len(outcomes) == 0:
        return ""
    size = view.outcome_counts(tree).get(node, int(outcomes.max()) + 1)
    parts = [f"{k}:\u00a0{percent(float((outcomes == k).mean()))}" for k in range(min(size, 12))]
    return ", ".join(parts) + (", …" if size > 12 else "")


def _share_table(
    tree: xr.DataTree, names: tuple[str, ...], found: dict[str, dict[str, float]]
) -> Table:
    own = {m: statistics.feature_own_shares(tree, m) if len(names) > 1 else {} for m in found}
    rows = []
    for name in names:
        row: list[str | Bar] = [short(view.readable(name)), outcome_shares(tree, name) or "n/a"]
        row += [
            share_cell(by_node.get(name, float("nan")), own[modality].get(name))
            for modality, by_node in found.items()
        ]
        rows.append(row)
    columns = ["Feature", "Outcomes (share of samples)", *(view.readable(m) for m in found)]
    return Table("Share of each modality's variance that goes with each feature", columns, rows)


def _frequency_table(tree: xr.DataTree, names: tuple[str, ...]) -> Table | None:
    rows = [[short(view.readable(name)), outcome_shares(tree, name)] for name in names]
    rows = [row for row in rows if row[1]]
    columns = ["Feature", "Outcomes (share of samples)"]
    return Table("How often each outcome occurs", columns, rows) if rows else None


def _reading_note(count: int) -> Note:
    text = (
        "Outcome numbers are labels without order or meaning of their own: another run may "
        "number them differently, or find the same features in another order."
    )
    if count > 1:
        text += (
            " The shares are associations. Features that depend on each other share what they "
            "explain; “own” (the solid part of the bar) is what a feature adds to all the "
            "others together. A large share with a small own part shows another feature."
        )
    return Note("How to read this", text)


def _kind(tree: xr.DataTree, modality: str) -> str:
    mean = view.variable(tree, f"features/{modality}", "mean")
    return view.field_kind(
        [] if mean is None else [mean.sizes[d] for d in mean.dims if d not in ("node", "outcome")]
    )


def _tiles(tree: xr.DataTree, modality: str) -> int:
    """Images that one node of this modality takes: a mean per outcome and a difference."""
    mean = view.variable(tree, f"features/{modality}", "mean")
    if mean is None or _kind(tree, modality) not in ("image", "colour"):
        return 0
    return min(mean.sizes["outcome"], plots.MOST_OUTCOMES) + 1


def _figure(
    tree: xr.DataTree, modality: str, by_node: dict[str, float], drawn: int
) -> Figure | Paragraph:
    if drawn == 0:
        return Paragraph("Not drawn, to keep the page small.")
    ranked = sorted(by_node, key=lambda name: -np.nan_to_num(by_node[name]))
    kind = _kind(tree, modality)
    panels: list[Panel] = []
    for position, node in enumerate(ranked[:drawn]):
        panels += _panels(
            tree, modality, node, kind, f"features-{modality}-{position}", by_node[node]
        )
    return Figure(panels, _caption(modality, kind, len(ranked), drawn))


def _panels(
    tree: xr.DataTree, modality: str, node: str, kind: str, key: str, share: float
) -> list[Panel]:
    words, where = short(view.readable(node), 40), view.readable(modality)
    about = f"{words}: {percent(share)} of the variance"
    alt = (
        f"Observed mean of {where} for each outcome of {words}; the feature explains "
        f"{percent(share)} of the variance of {where}."
    )
    drawn = [panel(plots.plot_features, tree, modality, node, key=key, alt=alt, title=about)]
    if kind in ("image", "colour"):
        alt = (
            f"Difference between the two most different mean images of {where} over the "
            f"outcomes of {words}."
        )
        drawn.append(
            panel(
                plots.plot_feature_difference,
                tree,
                modality,
                node,
                key=f"{key}-difference",
                alt=alt,
                title=f"{words}: difference",
            )
        )
    return drawn


def _caption(modality: str, kind: str, count: int, drawn: int) -> str:
    name = short(view.readable(modality))
    looks = {
        "curve": "Lines are means of the observed data, one per outcome; bands are one standard "
        "deviation between samples. Look for lines that part by more than their bands.",
        "scalar": "Points are means of the observed data; bars are one standard deviation between "
        "samples. Look for points further apart than their bars.",
        "image": "Mean observed image of each outcome, then the difference of the two that differ "
        "most. Look for structure in the difference; a flat one means that the feature "
        "leaves this modality alone.",
    }
    text = (
        looks["curve" if kind == "curves" else "image" if kind == "colour" else kind]
        if kind != "other"
        else "Too many dimensions to draw."
    )
    tail = (
        f" Drawn: the {drawn} of {count} features with the largest share." if count > drawn else ""
    )
    return f"{name}: what the features change, largest effect first. {text}{tail}"
