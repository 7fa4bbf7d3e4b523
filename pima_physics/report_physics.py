"""Section on the physical parameters that a simulator's decoder inferred."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pima_physics import plots
from pima_physics import plots_parameters as parameters
from pima_physics import plots_tree as view
from pima_physics.report_blocks import (
    Block,
    Details,
    Figure,
    Heading,
    Note,
    Paragraph,
    Section,
    Table,
    share_cell,
)
from pima_physics.report_covariates import covariate_blocks
from pima_physics.report_figures import panel
from pima_physics.report_format import joined, number, percent, short, with_error

MOST_PARAMETERS = 12
MOST_COMPONENTS = 64
NEAR = 0.01  # a value within 1 % of the range from a bound sits at the bound
FEW = 0.05


def physics_section(tree: xr.DataTree) -> Section:
    """Parameters by feature outcome and by component, with units and errors."""
    title, found = "Physical parameters", view.children(tree, "parameters")
    if not found:
        text = (
            "No modality of this run was explained by a simulator, so there are no physical "
            "parameters. A physics decoder (`decoder: {physics: …}`) would give some."
        )
        return Section("parameters", title, [Paragraph(text)])
    blocks: list[Block] = []
    for modality in found:
        blocks += [Heading(view.readable(modality)), *_modality(tree, modality)]
    return Section("parameters", title, blocks)


def _modality(tree: xr.DataTree, modality: str) -> list[Block]:
    names = parameters.parameter_names(tree, modality)[:MOST_PARAMETERS]
    panels = []
    for position, name in enumerate(names):
        words = short(view.readable(name), 40)
        panels.append(
            panel(
                plots.plot_parameters,
                tree,
                modality,
                parameter=name,
                key=f"parameters-{modality}-{position}",
                title=words,
                alt=f"{words} by outcome: " + trend(tree, modality, name),
            )
        )
    caption = (
        "Small points are samples, large points the mean of an outcome with two standard "
        "errors, for the feature that goes with most of the parameter's variance. Look for "
        "means further apart than their errors and for groups that do not overlap."
    )
    blocks: list[Block] = [Figure(panels, caption)]
    leading = {n: best[0] for n in names if (best := leading_node(tree, modality, n))}
    headings = {n: _heading(tree, modality, n) for n in names}
    blocks += covariate_blocks(tree, modality, leading, headings)
    blocks += _bound_notes(tree, modality, names)
    blocks += _law_notes(tree, modality)
    blocks += _share_table(tree, modality, names)
    blocks += _outcome_table(tree, modality, names)
    blocks += _component_table(tree, modality, names)
    blocks += _common_table(tree, modality)
    return blocks


def leading_node(tree: xr.DataTree, modality: str, name: str) -> tuple[str, float] | None:
    """The node with the largest variance share of a parameter, and that share."""
    shares = parameters.parameter_shares(tree, modality, name)
    if not shares:
        return None
    best = max(shares, key=lambda node: shares[node])
    return best, shares[best]


def trend(tree: xr.DataTree, modality: str, name: str) -> str:
    """The change of a parameter over the outcomes of its leading node, in one sentence."""
    leading = leading_node(tree, modality, name)
    if leading is None:
        return "no value by feature outcome is known."
    groups = parameters.parameter_groups(tree, modality, name, leading[0])
    if len(groups) < 2:
        return "only one outcome has samples."
    unit = _unit(tree, modality, name)
    ordered = sorted(groups, key=lambda g: g.mean)
    low, high = ordered[0], ordered[-1]
    node = short(view.readable(leading[0]), 40)
    gap, error = high.mean - low.mean, float(np.hypot(low.error, high.error))
    if not gap > 3 * error:  # also where the error is not known
        return (
            f"does not differ clearly between the outcomes of {node} "
            f"(largest difference {with_error(gap, error, unit)})."
        )
    order = " < ".join(str(g.outcome) for g in ordered)
    return (
        f"rises from {with_error(low.mean, low.error, unit)} at {node} {low.outcome} to "
        f"{with_error(high.mean, high.error, unit)} at {node} {high.outcome} "
        f"(outcomes by value: {order}; {percent(leading[1])} of its variance)."
    )


def _unit(tree: xr.DataTree, modality: str, name: str) -> str:
    path = f"parameters/{modality}"
    for candidate in (name, f"{name}_by_component"):
        array = view.variable(tree, path, candidate)
        if array is not None:
            return view.unit_of(array)
    return ""


def _heading(tree: xr.DataTree, modality: str, name: str) -> str:
    unit = _unit(tree, modality, name)
    return short(view.readable(name), 40) + (f" ({short(unit, 24)})" if unit else "")


def _bound_notes(tree: xr.DataTree, modality: str, names: tuple[str, ...]) -> list[Block]:
    """Parameters of which more than 5 % of the samples sit at a bound."""
    stuck = []
    for name in names:
        values = view.variable(tree, f"parameters/{modality}", name)
        bounds = None if values is None else view.bounds_of(values)
        if values is None or bounds is None:
            continue
        low, high = bounds
        shown = f"{number(low)} to {number(high)}"
        # On the scale that the parameter is fitted on: the lower decades of a rate are no bound.
        if values.attrs.get("parameter_scale") == "log" and 0 < low < high < np.inf:
            values, low, high = np.log(values.clip(min=low)), np.log(low), np.log(high)
        # With one open end there is no range: 1 % of the bound itself then.
        width = high - low if np.isfinite(high - low) else min(abs(low), abs(high))
        margin = NEAR * width
        at = float(((values <= low + margin) | (values >= high - margin)).mean())
        if at > FEW:
            stuck.append(
                f"{short(view.readable(name), 40)} ({percent(at)} of the samples, bounds "
                f"{shown} {_unit(tree, modality, name)}".rstrip()
                + ")"
            )
    if not stuck:
        return []
    text = (
        f"{joined(stuck)}. Values at a bound are not estimates: widen the bounds or question "
        "the simulator."
    )
    return [Note("Parameters at their bounds", text, "caution")]


def _law_notes(tree: xr.DataTree, modality: str) -> list[Block]:
    """What the law leaves, and what a discrepancy network adds."""
    ratio, share, added = (
        view.variable(tree, "metrics", f"{kind}_{modality}")
        for kind in ("misfit_ratio", "misfit_share", "discrepancy_share")
    )
    blocks: list[Block] = []
    if ratio is not None and share is not None:
        text = (
            f"With every sample's best parameters the residuals are {number(float(ratio))} times "
            f"the noise, and {percent(float(share))} of their variance is systematic along the "
            "curve."
        )
        wrong = any("the law does not describe" in w and w.startswith(f"{modality}:")
                    for w in view.warnings_of(tree))  # fmt: skip
        if wrong:
            text += " The standard errors do not contain this: question the law."
            blocks.append(
                Note("The law does not describe these data to within noise", text, "caution")
            )
        else:
            blocks.append(Paragraph(text))
    if added is not None:
        blocks.append(
            Paragraph(f"The discrepancy network adds {percent(float(added))} of the variance.")
        )
    return blocks


def _share_table(tree: xr.DataTree, modality: str, names: tuple[str, ...]) -> list[Block]:
    nodes, rows = view.nodes(tree), []
    for name in names:
        shares = parameters.parameter_shares(tree, modality, name)
        if shares:
            own = parameters.parameter_own_shares(tree, modality, name) if len(nodes) > 1 else {}
            cells = [share_cell(shares.get(n, float("nan")), own.get(n)) for n in nodes]
            rows.append([_heading(tree, modality, name), *cells])
    if not rows:
        return []
    columns = ["Parameter", *(short(view.readable(n), 40) for n in nodes)]
    caption = "Share of each parameter's variance between samples that goes with each feature"
    return [Table(caption, columns, rows)]


def _outcome_table(tree: xr.DataTree, modality: str, names: tuple[str, ...]) -> list[Block]:
    rows = []
    for name in names:
        leading = leading_node(tree, modality, name)
        if leading is None:
            continue
        for group in parameters.parameter_groups(tree, modality, name, leading[0]):
            where = f"{short(view.readable(leading[0]), 40)} = {group.outcome}"
            rows.append(
                [
                    _heading(tree, modality, name),
                    where,
                    str(group.count),
                    with_error(group.mean, group.error),
                    number(group.spread),
                ]
            )
    columns = ["Parameter", "Outcome", "Samples", "Mean ± standard error", "Spread (std)"]
    caption = "Parameters by outcome of the feature that goes with most of their variance"
    return [Table(caption, columns, rows)] if rows else []


def _common_table(tree: xr.DataTree, modality: str) -> list[Block]:
    """Parameters that were inferred with one value for all samples."""
    group, rows = view.dataset(tree, f"parameters/{modality}"), []
    if group is None:
        return []
    for name, array in group.data_vars.items():
        if array.attrs.get("common"):
            shown = with_error(float(array), float(group[f"{name}_std"]))
            rows.append([_heading(tree, modality, str(name)), shown])
    columns = ["Parameter", "Value ± standard error"]
    return [Table("Parameters with one value for all samples", columns, rows)] if rows else []


def _component_table(tree: xr.DataTree, modality: str, names: tuple[str, ...]) -> list[Block]:
    group = view.dataset(tree, f"parameters/{modality}")
    held = [n for n in names if group is not None and f"{n}_by_component" in group.data_vars]
    if group is None or not held:
        return []
    size = min(group.sizes["component"], MOST_COMPONENTS)
    first = _component_names(tree, group, size)
    columns = [_heading(tree, modality, n) for n in held]
    rows: list[list[str]] = []
    for k in range(size):
        cells = []
        for name in held:
            error = group.get(f"{name}_by_component_std")
            value = float(group[f"{name}_by_component"].values[k])
            cells.append(with_error(value, float("nan") if error is None else float(error[k])))
        rows.append([*first[k], *cells])
    heads = ["Component", "Weight"][: len(first[0])]
    table = Table(
        "Parameters by component (joint outcome), with their errors", [*heads, *columns], rows
    )
    blocks: list[Block] = [table]
    if group.sizes["component"] > size:
        blocks.append(Paragraph(f"Only the first {size} components are listed."))
    return [Details("Parameters by component", blocks)] if size > 8 else blocks


def _component_names(tree: xr.DataTree, group: xr.Dataset, size: int) -> list[list[str]]:
    """First cells of every component's row: joint outcome, and weight where known."""
    outcome = view.variable(tree, "components", "outcome")
    weight = view.variable(tree, "components", "weight")
    names = list(view.labels(group, "component"))[:size]
    if outcome is not None and outcome.sizes["component"] == group.sizes["component"]:
        nodes = [short(view.readable(n), 24) for n in view.labels(outcome, "node")]
        table = outcome.transpose("component", "node").values
        names = [
            ", ".join(f"{n} {int(o)}" for n, o in zip(nodes, row, strict=True))
            for row in table[:size]
        ]
    if weight is not None and weight.size == group.sizes["component"]:
        return [[n, percent(float(w))] for n, w in zip(names, weight.values[:size], strict=True)]
    return [[n] for n in names]
