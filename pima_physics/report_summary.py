"""The first section: what was found, in words, and what to keep in mind."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pima_physics import plots_graph as graphs
from pima_physics import plots_statistics as statistics
from pima_physics import plots_tree as view
from pima_physics import report_evidence as evidence
from pima_physics import report_features as features
from pima_physics import report_fit as fit
from pima_physics import report_graph as drawing
from pima_physics import report_physics as physics
from pima_physics.plots_parameters import parameter_names
from pima_physics.report_blocks import Block, Heading, Listing, Note, Paragraph, Section
from pima_physics.report_calibration import judged_samples
from pima_physics.report_format import counted, joined, number, percent, short

MOST_ITEMS = 8


def sample_count(tree: xr.DataTree) -> int | None:
    """Number of samples, from whichever group has the dimension."""
    paths = [
        "posterior",
        *(f"{g}/{m}" for g in ("reconstruction", "parameters") for m in view.children(tree, g)),
    ]
    for path in paths:
        group = view.dataset(tree, path)
        if group is not None and "sample" in group.sizes:
            return int(group.sizes["sample"])
    return None


def key_facts(tree: xr.DataTree) -> list[tuple[str, str]]:
    """Label and value of the figures at the top of the page."""
    facts, size, judged = [], sample_count(tree), evidence.supported(tree)
    names, modalities = view.nodes(tree), view.modalities(tree)
    if size is not None:
        facts.append(("samples", f"{size:,}".replace(",", " ")))
    if modalities:
        facts.append(("modality" if len(modalities) == 1 else "modalities", str(len(modalities))))
    if names and judged:
        facts.append(("features supported", f"{sum(judged.values())} of {len(names)}"))
    elif names:
        facts.append(("feature" if len(names) == 1 else "features", str(len(names))))
    if graphs.has_graph(tree):
        joined_pairs = [e for e in graphs.edges(tree) if e.status != "uncertain"]
        arrows = sum(e.status == "directed" for e in joined_pairs)
        facts.append(("edges with a known direction", f"{arrows} of {len(joined_pairs)}"))
    parameters = sum(len(parameter_names(tree, m)) for m in view.children(tree, "parameters"))
    if parameters:
        facts.append(("physical parameter" + "s" * (parameters > 1), str(parameters)))
    return facts


def summary_section(tree: xr.DataTree) -> Section:
    """Findings, then caveats, then the run's own warnings."""
    blocks: list[Block] = [Paragraph(_opening(tree))]
    found = _feature_items(tree) + _graph_items(tree) + _physics_items(tree) + _fit_items(tree)
    if found:
        blocks += [Heading("What was found"), Listing(found)]
    blocks += [Heading("What to keep in mind"), Listing(_caveats(tree))]
    own = view.warnings_of(tree)
    if own:
        blocks.append(Heading("Warnings of this run"))
        blocks += [Note("Warning", short(text, 600), "caution") for text in own]
    return Section("summary", "Summary", blocks)


def _opening(tree: xr.DataTree) -> str:
    names, modalities, size = view.nodes(tree), view.modalities(tree), sample_count(tree)
    what = counted(size, "sample") if size is not None else "an unknown number of samples"
    if modalities:
        kinds = joined([short(view.readable(m), 40) for m in modalities[:MOST_ITEMS]])
        what += f" of {counted(len(modalities), 'modality', 'modalities')} ({kinds})"
    sought = counted(len(names), "categorical feature") if names else "no categorical features"
    return (
        f"This run describes {what} by {sought}: properties that every sample has in one of "
        "a few outcomes, shared by all modalities, with a graph of how they depend on each "
        "other."
    )


def _feature_items(tree: xr.DataTree) -> list[tuple[str, str]]:
    shares, judged, items = features.shares(tree), evidence.supported(tree), []
    own = {m: statistics.feature_own_shares(tree, m) for m in shares}
    for name in view.nodes(tree)[:MOST_ITEMS]:
        by_modality = {m: s.get(name, np.nan) for m, s in shares.items()}
        known = {m: s for m, s in by_modality.items() if np.isfinite(s)}
        parts: list[str] = []
        if known:
            best = max(known, key=lambda m: known[m])
            parts.append(
                f"goes with {percent(known[best])} of the variance of "
                f"{short(view.readable(best), 40)}"
            )
            parts += _borrowed(own, best, name, known[best])
            low = [short(view.readable(m), 40) for m, s in known.items() if s < 0.02 and m != best]
            if low:
                parts.append(f"and hardly with {joined(low)}")
        frequencies = features.outcome_shares(tree, name)
        text = " ".join(parts)
        verdict = {
            True: "supported by the evidence",
            False: "not supported by the evidence",
            None: "",
        }[judged.get(name)]
        outcomes = f"outcomes {frequencies}" if frequencies else ""
        said = "; ".join(part for part in (verdict, text, outcomes) if part)
        items.append((short(view.readable(name), 60) + ":", (said or "no summary stored") + "."))
    left = len(view.nodes(tree)) - MOST_ITEMS
    return items + ([("", f"{counted(left, 'more feature')} below.")] if left > 0 else [])


def _borrowed(
    own: dict[str, dict[str, float]], modality: str, node: str, share: float
) -> list[str]:
    """A warning where nearly all of a share belongs to other features too."""
    part = own.get(modality, {}).get(node)
    if part is None or len(own[modality]) < 2 or part > 0.2 * share:
        return []
    return [f"(but adds only {percent(part)} to what the other features explain)"]


def _graph_items(tree: xr.DataTree) -> list[tuple[str, str]]:
    edges = [e for e in graphs.edges(tree) if e.status != "uncertain"]
    if not graphs.has_graph(tree):
        return [("Graph:", "none stored.")]
    if not edges:
        return [("Graph:", "no pair of features is joined.")]
    said = " ".join(drawing.sentence(edge) for edge in edges[:MOST_ITEMS])
    left = len(edges) - MOST_ITEMS
    return [("Graph:", said + (f" {counted(left, 'more edge')} below." if left > 0 else ""))]


def _physics_items(tree: xr.DataTree) -> list[tuple[str, str]]:
    pairs = [(m, p) for m in view.children(tree, "parameters") for p in parameter_names(tree, m)]
    items = [
        (short(view.readable(p), 60) + ":", physics.trend(tree, m, p))
        for m, p in pairs[:MOST_ITEMS]
    ]
    return items or [("Physics:", "no simulator was used, so there are no physical parameters.")]


def _fit_items(tree: xr.DataTree) -> list[tuple[str, str]]:
    named = fit.metrics(tree)
    tested = {m: named[f"r2_test_{m}"] for m in view.modalities(tree) if f"r2_test_{m}" in named}
    items = []
    if tested:
        text = joined([f"{short(view.readable(m), 40)} {number(v)}" for m, v in tested.items()])
        items.append(("Held-out explained variance (R²):", text + "."))
    return items


def _why(tree: xr.DataTree, weak: list[str]) -> str:
    """What speaks against nodes without support, each reason once."""
    known = evidence.doubts(tree)
    why = {n: known.get(n, "the evidence does not support it") for n in weak}
    reasons = list(dict.fromkeys(why.values()))
    if len(reasons) == 1:
        return f"{reasons[0][0].upper()}{reasons[0][1:]}."
    said = [
        f"{joined([short(view.readable(n), 40) for n in weak if why[n] == reason])}: {reason}"
        for reason in reasons
    ]
    return "; ".join(said) + "."


def _caveats(tree: xr.DataTree) -> list[tuple[str, str]]:
    judged = evidence.supported(tree)
    weak = [n for n, yes in judged.items() if not yes]
    items = [
        (
            "Numbers are only labels.",
            "Any renumbering of outcomes, and any exchange of features that play the same role, "
            "fits equally well. A feature is named by what it changes, not by its number.",
        ),
        (
            "Directions need more than observation.",
            "Graphs with the same independences cannot be told apart from observations alone "
            "(Markov equivalence). Only arrowheads that all of them share are drawn; everything "
            "else about direction is open.",
        ),
        (
            "Association is not effect.",
            "Means by outcome compare samples as they were observed. What would happen after an "
            "intervention is another question; `pima-physics intervene` answers it under the "
            "graph.",
        ),
    ]
    if weak:
        named = joined([short(view.readable(n), 40) for n in weak])
        items.insert(0, (f"Do not interpret {named}.", _why(tree, weak)))
    elif not judged and view.nodes(tree):
        items.insert(
            0,
            (
                "Evidence unknown.",
                "The run did not store whether its features are "
                "supported by evidence; treat them as hypotheses.",
            ),
        )
    if not judged_samples(tree) and fit.reproduced(tree):
        items.append(
            (
                "Reconstructions flatter.",
                "They were made for samples the model was "
                "given; held-out figures are the fair ones.",
            )
        )
    return items
