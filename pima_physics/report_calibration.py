"""Section on whether the stated uncertainty matches the errors made."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pima_physics import plots
from pima_physics import plots_statistics as statistics
from pima_physics import plots_tree as view
from pima_physics.posterior_checks import FEWEST as FEWEST_JUDGED
from pima_physics.posterior_checks import predictive_checks
from pima_physics.report_blocks import Block, Figure, Note, Paragraph, Section, Table
from pima_physics.report_figures import panel
from pima_physics.report_fit import FEWEST, SHORTFALL, reproduced
from pima_physics.report_format import counted, percent, short

CHECKS = {
    "spread": "size of the stated errors",
    "coverage": "share inside the intervals",
    "bias": "misses on average at some place",
    "shape": "what is left looks like noise",
    "level": "errors the same at high and low values",
    "outcomes": "misses on average for some outcome",
}
"""What each posterior predictive check looks at, in words."""


def coverage_rows(
    tree: xr.DataTree, *, held_out: bool, group: str = "reconstruction"
) -> list[tuple[str, np.ndarray]]:
    """Coverage of the central 50, 90 and 95 % intervals by modality."""
    rows = []
    for modality in reproduced(tree, group):
        data = tree[f"{group}/{modality}"].to_dataset().transpose("sample", ...)
        chosen = view.held_out_in(tree, data) if held_out else None
        picked = slice(None) if chosen is None else chosen
        observed, mean, std = (
            data[n].values.astype(float)[picked] for n in ("observed", "mean", "std")
        )
        rows.append((modality, statistics.coverage(observed, mean, std, (0.5, 0.9, 0.95))))
    return rows


def judged_samples(tree: xr.DataTree) -> int:
    """Number of held-out samples that every modality is judged by; 0 = all samples instead."""
    counts = [0]
    for modality in reproduced(tree):
        chosen = view.held_out_in(tree, tree[f"reconstruction/{modality}"].to_dataset())
        counts.append(0 if chosen is None else int(chosen.sum()))
    fewest = min(counts[1:], default=0)
    return fewest if fewest >= FEWEST else 0


def calibration_section(tree: xr.DataTree) -> Section:
    """Whether stated uncertainty matches the errors made."""
    title = "Whether the stated uncertainty is right"
    if not reproduced(tree):
        text = (
            "This run stored no reconstructions with their spread, so its uncertainty cannot "
            "be checked here."
        )
        return Section("calibration", title, [Paragraph(text)])
    judged = judged_samples(tree)
    basis = (
        f"{counted(judged, 'held-out sample')}"
        if judged
        else "all stored samples, training samples included, so this is the easy case"
    )
    rows = coverage_rows(tree, held_out=judged > 0)
    others = [
        (f"{m}, from {_given(tree, m)} alone", v)
        for m, v in coverage_rows(tree, held_out=False, group="crossmodal")
    ]
    table = Table(
        "Share of observed values inside the model's intervals",
        ["Modality", "50 % interval", "90 % interval", "95 % interval"],
        [[short(view.readable(m)), *(percent(v) for v in found)] for m, found in rows + others],
    )
    figure = Figure(
        [
            panel(
                plots.plot_calibration,
                tree,
                reproduced(tree)[:8],
                key="calibration",
                held_out=judged > 0,
                alt="Observed share of values inside predicted intervals against the nominal. "
                + " ".join(
                    f"{short(view.readable(m))}: {percent(v[1])} inside the 90 % interval."
                    for m, v in rows
                ),
            )
        ],
        "Observed against nominal share, one line per modality. Look for the dotted diagonal: "
        "below it the model is too sure of itself, above it too cautious.",
    )
    blocks: list[Block] = [Paragraph(f"Counted over {basis}."), table, figure]
    blocks += _factors(tree) + _verdict(rows + others)
    blocks += _predictive_blocks(tree)
    return Section("calibration", title, blocks)


def _given(tree: xr.DataTree, modality: str) -> str:
    """What a cross-modal prediction was made from."""
    return view.as_text(tree[f"crossmodal/{modality}"].attrs.get("given", "the others"))


def _factors(tree: xr.DataTree) -> list[Block]:
    """By how much intervals of predictions from other modalities were widened."""
    words = []
    for modality in reproduced(tree, "crossmodal"):
        attrs = tree[f"crossmodal/{modality}"].attrs
        samples = int(attrs.get("interval_factor_samples", 0))
        if samples:
            factor = float(attrs["interval_factor"])
            words.append(
                f"{short(view.readable(modality))} by {factor:.2f} "
                f"(from {counted(samples, 'validation sample')})"
            )
    if not words:
        return []
    text = (
        "The stated spreads of predictions from other modalities were multiplied, so that 90 % "
        f"of the values of validation samples lie inside their intervals: {'; '.join(words)}. "
        "A factor of 1 would mean that the model alone had been right; what lies between is "
        "error that it does not know of."
    )
    return [Paragraph(text)]


def _predictive_blocks(tree: xr.DataTree) -> list[Block]:
    """Where held-out data differ from what the model says of them."""
    checks = list(predictive_checks(tree, reproduced(tree)[:8]))
    if not checks:
        return []
    rows = []
    for check in checks:
        modality, _, name = check.claim.rpartition(": ")
        result = {"passed": "holds", "failed": "differs", "open": "cannot be told"}[check.status]
        words = [
            short(view.readable(modality)),
            CHECKS[name],
            result,
            short(check.evidence.rpartition(" (")[0], 160),
        ]
        rows.append(words)
    failed = sum(check.status == "failed" for check in checks)
    text = (
        "Each line compares the data with what the model says of them. It differs where the "
        "discrepancy is larger than chance (1 %) and than a tenth of the stated spread. "
        f"Held-out samples where there are {FEWEST_JUDGED} or more, else all. "
        f"{failed} of {len(checks)} differ: there the model is an approximation, and this says of "
        "what kind."
    )
    heads = ["Modality", "Compared", "Result", "Largest discrepancy"]
    return [Paragraph(text), Table("Posterior predictive checks", heads, rows)]


def _verdict(rows: list[tuple[str, np.ndarray]]) -> list[Block]:
    sure = [short(view.readable(m)) for m, v in rows if v[1] < 0.9 - SHORTFALL]
    if not sure:
        return []
    text = (
        f"{', '.join(sure)}: clearly fewer than 90 % of the values lie inside the 90 % "
        "interval. Read the stated errors of this modality as too small."
    )
    return [Note("Too sure", text, "caution")]
