"""Section on several fits of one experiment: do the same features and edges come back?"""

from __future__ import annotations

import numpy as np
import xarray as xr

from pima_physics import plots_tree as view
from pima_physics.report_blocks import Block, Note, Paragraph, Section, Table
from pima_physics.report_format import number, percent, probability, short

TITLE = "Whether it comes back in other fits"
TABLE_ROWS = 64


def replicas_section(tree: xr.DataTree) -> Section:
    """Stability of features and edges over starts and bootstrap samples."""
    if "replicas" not in tree.children:
        text = (
            "The model was fitted once, so nothing is known of how far features and edges depend "
            "on the initial weights or on the choice of samples. `restarts` and `bootstrap` in "
            "the experiment's `training` fit it several times."
        )
        return Section("replicas", TITLE, [Paragraph(text)])
    found = tree["replicas"].to_dataset()
    kinds = found["kind"].values.astype(str)
    starts, drawn = int((kinds == "start").sum()), int((kinds == "bootstrap").sum())
    failed = int(found.attrs.get("failed", 0))
    text = (
        f"{starts} fits from different initial weights, {drawn} to training samples drawn with "
        f"replacement. Rule: {view.as_text(found.attrs.get('rule', ''))}. Features of the other "
        "fits are matched to those of the kept one by the samples that they share; edges are "
        "scored anew in every fit."
    )
    share = float(found["majority_share"])
    agreed = (
        f"The most frequent equivalence class of graphs was found in {percent(share)} of the fits."
    )
    blocks: list[Block] = [Paragraph(text)]
    if failed:
        lost = f"{failed} of {failed + found.sizes['replica']} fits failed and are left out below."
        blocks += [Note("Not every fit could be trained", lost, "caution"), _failed(found)]
    if found.sizes["replica"] > 1:
        kind = "info" if share == 1.0 else "caution"
        blocks += [_nodes(found), Note("Do the fits agree on the graph?", agreed, kind)]
        blocks += [_edges(found)]
    else:
        blocks += [Paragraph("One fit is left, so nothing is known of how far it is stable.")]
    blocks += [_fits(found)]
    return Section("replicas", TITLE, blocks)


def _nodes(found: xr.Dataset) -> Table:
    others = found["agreement"].values[found["chosen"].values == 0]
    rows = [
        [short(view.readable(str(node))), percent(own.mean()), percent(own.min())]
        for node, own in zip(found["node"].values, others.T, strict=True)
    ]
    caption = "Training samples with the same outcome in the other fits as in the kept one"
    return Table(caption, ["Feature", "Mean", "Least similar fit"], rows)


def _edges(found: xr.Dataset) -> Block:
    names = [short(view.readable(str(n))) for n in found["parent"].values]
    joined = found["mean_skeleton_probability"].values
    arrows = found["mean_edge_probability"].values
    each = found["edge_probability"].values
    both = each + np.swapaxes(each, 1, 2)
    rows = [
        [
            f"{names[i]} / {names[j]}",
            probability(joined[i, j]),
            f"{both[:, i, j].min():.2f} to {both[:, i, j].max():.2f}",
            probability(arrows[i, j]),
            probability(arrows[j, i]),
        ]
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ][:TABLE_ROWS]
    if not rows:
        return Paragraph("With one feature there are no edges to compare.")
    columns = ["Pair (first / second)", "Joined", "Range", "First → second", "Second → first"]
    return Table("Probabilities of edges, mean over all fits", columns, rows)


def _failed(found: xr.Dataset) -> Table:
    rows = [
        [str(kind), str(int(seed)), short(str(reason).splitlines()[0], 120)]
        for kind, seed, reason in zip(
            found["failed_kind"].values,
            found["failed_seed"].values,
            found["failed_reason"].values,
            strict=True,
        )
    ][:TABLE_ROWS]
    return Table("Fits that failed", ["Kind", "Seed", "Reason"], rows)


def _fits(found: xr.Dataset) -> Table:
    rows = [
        [
            f"{k + 1}{' (kept)' if found['chosen'].values[k] else ''}",
            str(found["kind"].values[k]),
            str(int(found["seed"].values[k])),
            number(float(found["validation_bound"].values[k])),
            number(float(found["evidence"].values[k])),
        ]
        for k in range(found.sizes["replica"])
    ][:TABLE_ROWS]
    columns = ["Fit", "Kind", "Seed", "Bound per held-out sample (nats)", "Evidence (nats/sample)"]
    return Table("The fits", columns, rows)
