"""Sections on the graph and on the evidence for each feature."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pima_physics import plots_graph as graphs
from pima_physics import plots_tree as view
from pima_physics import report_graph as drawing
from pima_physics.report_blocks import (
    Block,
    Details,
    Figure,
    Note,
    Paragraph,
    Section,
    Table,
)
from pima_physics.report_format import number, probability, short

TABLE_ROWS = 64


def supported(tree: xr.DataTree) -> dict[str, bool]:
    """Whether the evidence supports each node; {} when the run did not judge."""
    array = view.variable(tree, "discovery", "supported")
    if array is None:
        return {}
    names = view.labels(array, "node")
    return {name: bool(np.nan_to_num(v)) for name, v in zip(names, array.values, strict=True)}


def doubts(tree: xr.DataTree) -> dict[str, str]:
    """Why the evidence does not support a node, of those of which this is known."""
    array = view.variable(tree, "discovery", "doubt")
    if array is None:
        return {}
    texts = [view.as_text(why) for why in array.values]
    return {n: t for n, t in zip(view.labels(array, "node"), texts, strict=True) if t}


def graph_section(tree: xr.DataTree) -> Section:
    """The graph, its legend, edge probabilities and conditional tables."""
    title = "How the features depend on each other"
    if not graphs.has_graph(tree):
        text = (
            "This run stored no graph, so nothing can be said about how features depend on "
            "each other."
        )
        return Section("graph", title, [Paragraph(text)])
    edges = graphs.edges(tree)
    caption = (
        "Boxes are features, lines join features that depend on each other. Look at the "
        "kind of line first: an arrow is drawn only where data, given knowledge or "
        "interventions determine the direction; a plain line could point either way. The "
        "thicker the line, the more probable that the two are joined. The number is the "
        "probability of the arrow's direction, on lines without one that of being joined. "
        "Where a box stands means nothing."
    )
    panels = [drawing.draw_graph(tree, supported(tree)), drawing.legend()]
    blocks: list[Block] = [_equivalence(tree), Figure(panels, caption, wide=True)]
    blocks += _edge_table(edges)
    blocks += _disagreements(edges)
    blocks += _conditional_tables(tree)
    return Section("graph", title, blocks)


def _equivalence(tree: xr.DataTree) -> Note:
    if graphs.has_equivalence_class(tree):
        text = (
            "Graphs that imply the same independences fit observational data equally well "
            "(they are Markov equivalent). The drawing shows what all of them have in common. "
            "A line without an arrowhead is an open question, not a weak effect; tiers, "
            "labels or interventions can settle it."
        )
    else:
        text = (
            "The run stored no equivalence class, so directions cannot be judged: every edge "
            "of the trained graph is drawn without an arrowhead."
        )
    return Note("What the data can and cannot say", text)


STATUS = {
    "directed": "→ in this direction",
    "undirected": "— direction open",
    "uncertain": "probably not joined",
}


def _edge_table(edges: tuple[graphs.Edge, ...]) -> list[Block]:
    if not edges:
        return [Paragraph("No pair of features is joined: in this run they look independent.")]
    rows = [
        [
            f"{short(view.readable(e.first))} / {short(view.readable(e.second))}",
            STATUS[e.status],
            probability(e.adjacent),
            probability(e.forward),
            probability(e.backward),
            number(e.strength),
        ]
        for e in edges
    ]
    caption = "Pairs of features: probability that they are joined, and of each direction"
    columns = [
        "Pair (first / second)",
        "In the graph",
        "Joined",
        "First → second",
        "Second → first",
        "Trained strength",
    ]
    return [Table(caption, columns, rows)]


def _disagreements(edges: tuple[graphs.Edge, ...]) -> list[Block]:
    """Where exact scores and the gradient-trained graph differ, the report says so."""
    said = []
    for edge in edges:
        pair = f"{short(view.readable(edge.first))} and {short(view.readable(edge.second))}"
        if edge.trained == "none" and edge.status != "uncertain":
            said.append(f"{pair} are joined by the score but not in the trained graph")
        elif edge.trained in ("forward", "backward") and edge.status == "uncertain":
            said.append(f"{pair} are joined in the trained graph but not by the score")
        elif edge.trained == "backward" and edge.status == "directed":
            said.append(f"{pair} are joined with opposite directions")
    if not said:
        return []
    text = "; ".join(said) + ". Treat these pairs as open."
    return [Note("Trained graph and score disagree", text, "caution")]


def _conditional_tables(tree: xr.DataTree) -> list[Block]:
    group = view.dataset(tree, "graph")
    if group is None:
        return []
    tables = [
        _conditional(str(name), group[name])
        for name in group.data_vars
        if str(name).startswith("table_")
    ]
    found = [table for table in tables if table is not None]
    return [Details("Probabilities of each feature given its parents", found)] if found else []


def _conditional(name: str, array: xr.DataArray) -> Table | None:
    node = name.removeprefix("table_")
    squeezed = array.squeeze(drop=True)
    own = next((d for d in squeezed.dims if str(d) in (node, f"outcome_{node}", "outcome")), None)
    if squeezed.ndim == 0:
        return None
    own = own if own is not None else squeezed.dims[-1]
    squeezed = squeezed.transpose(..., own)
    values = squeezed.values.reshape(-1, squeezed.sizes[own])
    if len(values) > TABLE_ROWS:
        return None
    parents = [str(d) for d in squeezed.dims[:-1]]
    rows = []
    for index, row in zip(np.ndindex(*squeezed.shape[:-1]), values, strict=True):
        given = [
            f"{short(view.readable(p.removeprefix('outcome_')), 24)} = {i}"
            for p, i in zip(parents, index, strict=True)
        ]
        rows.append([", ".join(given) or "always", *(probability(p) for p in row)])
    columns = ["Given", *(f"P(outcome {k})" for k in range(values.shape[1]))]
    return Table(f"Probability of the outcomes of {short(view.readable(node))}", columns, rows)


def discovery_section(tree: xr.DataTree) -> Section:
    """Which features the evidence supports, and how much of it there is."""
    title = "Evidence for each feature"
    group = view.dataset(tree, "discovery")
    if group is None or "node" not in group.dims:
        text = (
            "This run stored no evidence about its features. Whether a feature is real or an "
            "artefact of the fit cannot be told from this report."
        )
        return Section("evidence", title, [Paragraph(text)])
    columns, texts = ["Feature"], [[short(view.readable(n)) for n in view.labels(group, "node")]]
    for name, heading, form in (
        ("supported", "Supported", lambda v: "yes" if v else "no"),
        ("evidence", "Evidence (nats per sample)", number),
        ("separation", "Separation (std)", number),
        ("stability", "Stability", probability),
        ("shared", "Known to a second modality (nats per sample)", number),
        ("confirmed", "Confirmed", lambda v: "yes" if v else "no"),
        ("representation", "Found in", lambda v: short(view.readable(v))),
    ):
        if name in group.data_vars and group[name].dims == ("node",):
            columns.append(heading)
            texts.append([form(v) for v in group[name].values])
    if "Supported" in columns:
        at, known = columns.index("Supported"), doubts(tree)
        texts[at] = [
            f"{yes}: {known[n]}" if n in known else yes
            for yes, n in zip(texts[at], view.labels(group, "node"), strict=True)
        ]
    lead = (
        "Evidence is how much better two or more groups describe the samples than one group, "
        "beyond what chance would give. Separation is the distance between the groups in "
        "standard deviations. Stability is how often the same grouping returns when samples "
        "are redrawn. Confirmed: the latent or fitted parameters show the groups, too, not only "
        "principal components, whose bends look like groups. A feature that no second modality "
        "knows of is one of a single modality. A feature without support may still be useful, but "
        "do not interpret it."
    )
    if any("(look " in text for column in texts for text in column):
        lead += (
            " Look 2 and further ones: the first latent left features in doubt, and what latents "
            "that were trained from other weights have in common shows them more clearly."
        )
    table = Table("Evidence for each feature", columns, [list(r) for r in zip(*texts, strict=True)])
    return Section("evidence", title, [Paragraph(lead), table])
