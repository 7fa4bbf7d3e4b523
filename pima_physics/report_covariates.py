"""Part of the report: physical parameters against what is known of every sample."""

from __future__ import annotations

import xarray as xr

from pima_physics import plots_covariates as against
from pima_physics import plots_tree as view
from pima_physics.report_blocks import Block, Figure, Table
from pima_physics.report_figures import panel
from pima_physics.report_format import number, percent, short, with_error

# Covariates shown in figures of one node; all others are named below them.
MOST_SHOWN = 1


def covariate_blocks(
    tree: xr.DataTree, modality: str, leading: dict[str, str], headings: dict[str, str]
) -> list[Block]:
    """Figures and a table of parameters whose leading node goes with a known number.

    Parameters
    ----------
    leading : mapping of str
        Parameter -> the node that goes with most of its variance.
    headings : mapping of str
        Parameter -> its name with its unit.
    """
    blocks: list[Block] = []
    for node in dict.fromkeys(leading.values()):
        shares = against.covariates(tree, node)
        for covariate in list(shares)[:MOST_SHOWN]:
            names = [p for p, n in leading.items() if n == node]
            blocks += _one(tree, modality, names, node, covariate, shares, headings)
    return blocks


def _one(
    tree: xr.DataTree,
    modality: str,
    names: list[str],
    node: str,
    covariate: str,
    shares: dict[str, float],
    headings: dict[str, str],
) -> list[Block]:
    words, feature = short(view.readable(covariate), 40), short(view.readable(node), 40)
    panels = [
        panel(
            against.plot_against, tree, modality, parameter=name, node=node, covariate=covariate,
            key=f"against-{modality}-{covariate}-{name}",
            title=f"{short(view.readable(name), 40)} against {words}",
            alt=_sentence(tree, modality, name, node, covariate),
        )
        for name in names
    ]  # fmt: skip
    others = [f"{view.readable(n)} ({percent(s)})" for n, s in shares.items() if n != covariate]
    caption = (
        f"Parameters by outcome of {feature}, against {words}, of whose variance "
        f"{percent(shares[covariate])} goes with that feature. The fit did not see it. Large "
        "points: mean of an outcome with two standard errors, across the standard deviation of "
        f"{words} between its samples. Small points: samples."
    )
    if others:
        caption += f" Also varying with {feature}: {', '.join(others[:6])}."
    blocks: list[Block] = [Figure(panels, caption)]
    rows = []
    known = tree["covariates"].to_dataset()[covariate]
    for k, level in enumerate(against.levels(tree, modality, names[0], node, covariate)):
        cells = []
        for name in names:
            own = against.levels(tree, modality, name, node, covariate)
            cells.append(with_error(own[k].mean, own[k].error) if k < len(own) else "")
        place = number(level.place)
        if level.width > 0:
            place += f" (std {number(level.width)})"
        rows.append([place, str(level.outcome), str(level.count), *cells])
    columns = [view.axis_label(known, covariate), feature, "Samples", *(headings[n] for n in names)]
    blocks.append(Table(f"Mean ± standard error by {words}", columns, rows))
    return blocks


def _sentence(tree: xr.DataTree, modality: str, name: str, node: str, covariate: str) -> str:
    found = against.levels(tree, modality, name, node, covariate)
    unit = view.unit_of(tree["covariates"].to_dataset()[covariate])
    own = view.unit_of(tree[f"parameters/{modality}"].to_dataset()[name])
    means = "; ".join(
        f"{with_error(level.mean, level.error, own)} at {number(level.place)} {unit}".rstrip()
        for level in found
    )
    return f"{view.readable(name)} against {view.readable(covariate)}: {means}."
