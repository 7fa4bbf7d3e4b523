"""Sections on how well the model reproduces and predicts data, and how its training went."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import xarray as xr

from pima_physics import plots
from pima_physics import plots_statistics as statistics
from pima_physics import plots_tree as view
from pima_physics.report_blocks import (
    Block,
    Details,
    Figure,
    Heading,
    Note,
    Panel,
    Paragraph,
    Section,
    Table,
)
from pima_physics.report_figures import panel
from pima_physics.report_format import number, short

NEEDED = {"mean", "std", "observed"}
RANKS = ("best", "median", "worst")
FEWEST = 5  # held-out samples below which a share means nothing
SHORTFALL = 0.05
MOST_MODALITIES = 6


def metrics(tree: xr.DataTree) -> dict[str, float]:
    """The run's named scalars."""
    group = view.dataset(tree, "metrics")
    if group is None:
        return {}
    found = {str(n): a for n, a in group.data_vars.items() if a.size == 1 and a.dtype.kind in "ifb"}
    return {name: float(array.values.reshape(())) for name, array in found.items()}


def reproduced(tree: xr.DataTree, group: str = "reconstruction") -> tuple[str, ...]:
    """Modalities with observed values, model mean and spread."""
    found = ((m, view.dataset(tree, f"{group}/{m}")) for m in view.children(tree, group))
    return tuple(m for m, data in found if data is not None and set(data.data_vars) >= NEEDED)


def reconstruction_section(tree: xr.DataTree) -> Section:
    """Best, median and worst reconstructed samples, and explained variance."""
    title, found = "How well the model reproduces the data", reproduced(tree)
    blocks: list[Block] = [*_explained_table(tree)]
    if not found:
        blocks.append(Paragraph("This run stored no reconstructions, so none can be shown."))
        return Section("reconstruction", title, blocks)
    blocks.append(
        Note(
            "How the examples were chosen",
            "By rank of their error, not by looks: the best, the median and the worst sample. The "
            "model saw the sample it reproduces here; prediction of one modality from another is "
            "judged in the next section.",
        )
    )
    for modality in found[:MOST_MODALITIES]:
        blocks += [Heading(view.readable(modality)), _examples(tree, modality, "reconstruction")]
    if len(found) > MOST_MODALITIES:
        left = ", ".join(short(view.readable(m)) for m in found[MOST_MODALITIES:])
        blocks.append(Paragraph(f"Not drawn, to keep the page small: {left}."))
    return Section("reconstruction", title, blocks)


def _examples(tree: xr.DataTree, modality: str, group: str) -> Figure:
    data = tree[f"{group}/{modality}"].to_dataset().transpose("sample", ...)
    chosen = statistics.example_samples(statistics.sample_errors(data["observed"], data["mean"]))
    kind, name = view.field_kind(data["mean"].shape[1:]), short(view.readable(modality))
    draw = plots.plot_crossmodal if group == "crossmodal" else plots.plot_reconstruction
    key = f"{group}-{modality}"
    if kind in ("curve", "curves"):
        names = view.labels(data, "sample")
        panels = [
            panel(
                draw,
                tree,
                modality,
                [k],
                key=f"{key}-{rank}",
                title=f"{rank} sample",
                alt=f"Observed {name} of sample {short(names[k], 30)} ({rank} by error) and the "
                "model's mean with a band of two standard deviations.",
            )
            for rank, k in zip(_ranks(len(chosen)), chosen, strict=True)
        ]
        caption = (
            "Dots are observed, the line is the model's mean, the band two standard "
            "deviations (noise included): about 95 % of the dots should lie inside. Look "
            "for a line that misses the shape of the dots."
        )
    elif kind == "scalar":
        panels = [
            panel(
                draw,
                tree,
                modality,
                list(chosen),
                key=key,
                alt=f"Observed and modelled {name} of the best, median and worst sample.",
            )
        ]
        caption = (
            "Best, median and worst sample, from left to right. Look for observed values "
            "outside the bars."
        )
    else:
        panels = [
            panel(
                draw,
                tree,
                modality,
                list(chosen),
                key=key,
                size=(3.8, 3.4),
                alt=f"Observed {name} (top) and the model's mean (bottom) of the best, "
                "median and worst sample.",
            )
        ]
        caption = (
            "Observed images above, the model's mean below; best, median and worst sample "
            "from left to right. Look for structure that the model leaves out."
        )
    return Figure(panels, f"{name}. {caption}")


def _ranks(count: int) -> Sequence[str]:
    return {0: (), 1: ("only",), 2: ("best", "worst")}.get(count, RANKS)


def _explained_table(tree: xr.DataTree) -> list[Block]:
    """R2 of every modality: as the run measured it, else pooled over what is stored."""
    named, rows, parts = metrics(tree), [], ("train", "validation", "test")
    known = view.modalities(tree)
    used = [p for p in parts if any(f"r2_{p}_{m}" in named for m in known)]
    for modality in known:
        values = [named.get(f"r2_{part}_{modality}", float("nan")) for part in used]
        if np.isfinite(values).any():
            rows.append([short(view.readable(modality)), *(number(v) for v in values)])
    if rows:
        titles = {"train": "Training samples", "validation": "Validation", "test": "Held out"}
        return [
            Table(
                "Explained variance (R²) of each modality; 1 is perfect, 0 is the mean",
                ["Modality", *(titles[p] for p in used)],
                rows,
            )
        ]
    for modality in reproduced(tree):
        data = tree[f"reconstruction/{modality}"].to_dataset().transpose("sample", ...)
        value = statistics.r_squared(*(data[n].values.astype(float) for n in ("observed", "mean")))
        rows.append([short(view.readable(modality)), number(value)])
    caption = "Explained variance (R²) over all stored samples, training samples included"
    return [Table(caption, ["Modality", "All samples"], rows)] if rows else []


def crossmodal_section(tree: xr.DataTree) -> Section:
    """Prediction of one modality from others: measures, then examples where stored."""
    title, rows, other = "Predicting one modality from another", [], []
    explained = re.compile(r"r2_(train|validation|test)_(.+)")
    for name, value in metrics(tree).items():
        match = explained.fullmatch(name)
        if match and match.group(2) in view.modalities(tree):
            continue
        split = re.fullmatch(r"(.+?)_(?:given|from)_(.+)", name)
        if split is None:
            other.append([short(view.readable(name)), number(value, 4)])
            continue
        measure, target = _measure(split.group(1), view.modalities(tree))
        rows.append([target, short(view.readable(split.group(2))), measure, number(value)])
    blocks: list[Block] = []
    if rows:
        columns = ["Predicted", "From", "Measure", "Value"]
        blocks.append(Table("Prediction of a modality that the model was not given", columns, rows))
    for modality in reproduced(tree, "crossmodal")[:MOST_MODALITIES]:
        blocks += [Heading(view.readable(modality)), _examples(tree, modality, "crossmodal")]
    if not blocks:
        text = (
            "This run measured no prediction of one modality from another. "
            "`pima-physics predict RUN DATA.nc --given MODALITY --output OUT.nc` makes one."
        )
        blocks.append(Paragraph(text))
    if other:
        blocks.append(
            Details(
                "Other measures", [Table("Other measures of the run", ["Measure", "Value"], other)]
            )
        )
    return Section("crossmodal", title, blocks)


def _measure(text: str, known: tuple[str, ...]) -> tuple[str, str]:
    """``r2_test_curve`` as ("r2 test", "curve")."""
    target = next((m for m in sorted(known, key=len, reverse=True) if text.endswith(f"_{m}")), "")
    measure = text.removesuffix(f"_{target}") if target else text
    words = view.readable(measure).replace("r2", "R²").replace("test", "(held out)")
    return short(words), short(view.readable(target)) or "n/a"


def history_section(tree: xr.DataTree) -> Section:
    """Bound and terms by epoch."""
    title, history = "How the training went", view.dataset(tree, "history")
    if history is None:
        return Section("training", title, [Paragraph("This run stored no training history.")])
    panels: list[Panel] = [
        panel(
            plots.plot_history,
            tree,
            key="history",
            title="evidence lower bound (ELBO)",
            alt="Evidence lower bound by epoch on training and validation samples.",
        )
    ]
    terms = [
        str(n)
        for n in history.data_vars
        if str(n) not in ("elbo", "validation_elbo", "phase")
        and history[n].dims == ("epoch",)
        and history[n].dtype.kind in "if"
        and view.unit_of(history[n]) == ""
    ]
    held = [t for t in terms if t.startswith("reconstruction")]
    rest = [t for t in ("prior", "entropy") if t in terms]
    for key, names in (("reconstruction terms", held), ("prior and entropy", rest)):
        if names:
            panels.append(
                panel(
                    plots.plot_history,
                    tree,
                    terms=names[:8],
                    key=f"history-{key}",
                    alt=f"{key} of the bound by epoch.",
                    title=key,
                )
            )
    caption = (
        "The bound that training maximises, and its parts. Look for curves that are flat "
        "at the end (training is done) and for a validation curve that stays close to the "
        "training curve; one that falls away means overfitting. Dashed lines "
        "begin phases: warm-up without features, held with the features as discovered, free "
        "with all trained together."
    )
    return Section("training", title, [Figure(panels, caption)])
