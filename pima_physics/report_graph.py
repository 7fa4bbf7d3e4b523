"""The graph as hand-made SVG: large text, page colours, honest arrows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from pima_physics import plots_graph as graphs
from pima_physics import plots_tree as view
from pima_physics.report_blocks import Panel
from pima_physics.report_figures import safe
from pima_physics.report_format import joined, probability, short

WIDTH, BOX_HEIGHT, LETTER = 400.0, 46.0, 8.2


def draw_graph(tree: xr.DataTree, supported: Mapping[str, bool]) -> Panel:
    """The CPDAG with edge probabilities as inline SVG.

    Parameters
    ----------
    tree : xarray.DataTree
        Results; see :func:`pima_physics.plots_graph.edges`.
    supported : mapping
        Node to whether the evidence supports it; others get a dashed outline.
    """
    names, edges = view.nodes(tree), graphs.edges(tree)
    counts = view.outcome_counts(tree)
    width = WIDTH if len(names) <= 6 else WIDTH * len(names) / 6
    height = 96.0 if len(names) <= 2 else 0.72 * width
    room = np.array([(width - 150) / 2, (height - BOX_HEIGHT - 24) / 2])
    centre = graphs.positions(len(names)) * room + [width / 2, height / 2]
    places = dict(zip(names, centre, strict=True))
    shapes = [_edge(edge, places) for edge in edges]
    shapes += [_label(edge, places) for edge in edges]
    shapes += [_node(name, places[name], counts.get(name), supported.get(name)) for name in names]
    return Panel(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'class="graph" role="img" aria-label="{safe(describe(names, edges))}">'
        + "".join(shapes)
        + "</svg>"
    )


def describe(names: tuple[str, ...], edges: tuple[graphs.Edge, ...]) -> str:
    """The graph in words."""
    said = [sentence(edge) for edge in edges if edge.status != "uncertain"]
    start = f"Graph of {joined([short(view.readable(n)) for n in names])}."
    return " ".join([start, *(said or ["No edges."])])


def sentence(edge: graphs.Edge) -> str:
    """One edge in words."""
    first, second = short(view.readable(edge.first)), short(view.readable(edge.second))
    sure = f" (probability {probability(edge.adjacent)})" if np.isfinite(edge.adjacent) else ""
    if edge.status == "directed":
        if np.isfinite(edge.forward):
            said = f"{probability(edge.adjacent)}, for this direction {probability(edge.forward)}"
            sure = f" (probability of being joined {said})"
        return f"{first} → {second}{sure}."
    if edge.status == "undirected":
        return f"{first} — {second}, direction not determined{sure}."
    return f"{first} and {second} may be joined{sure}."


def _box_width(name: str) -> float:
    return max(100.0, min(len(view.readable(name)), 16) * LETTER + 24)


def _border(start: np.ndarray, end: np.ndarray, name: str, gap: float) -> np.ndarray:
    """Point where the line from ``start`` leaves the box around it, ``gap`` further on."""
    step = end - start
    half = np.array([_box_width(name) / 2, BOX_HEIGHT / 2])
    with np.errstate(divide="ignore"):
        share = float(np.min(np.where(step != 0, half / np.abs(step), np.inf)))
    return start + step * share + gap * step / np.linalg.norm(step)


def _edge(edge: graphs.Edge, places: Mapping[str, np.ndarray]) -> str:
    start, end = places[edge.first], places[edge.second]
    stroke = 1.5 + 5.5 * edge.weight
    directed = edge.status == "directed"
    tip = _border(end, start, edge.second, 3)
    tail = _border(start, end, edge.first, 3)
    along = (tip - tail) / np.linalg.norm(tip - tail)
    across, head = np.array([-along[1], along[0]]), 9 + stroke
    neck = tip - along * head * 0.9 if directed else tip
    kind = f"edge {edge.status}"
    line = (
        f'<line class="{kind}" x1="{tail[0]:.1f}" y1="{tail[1]:.1f}" x2="{neck[0]:.1f}" '
        f'y2="{neck[1]:.1f}" stroke-width="{stroke:.1f}"/>'
    )
    if not directed:
        return line
    base = tip - along * head
    corners = (tip, base + across * head * 0.6, base - across * head * 0.6)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return line + f'<polygon class="arrow" points="{points}"/>'


def _label(edge: graphs.Edge, places: Mapping[str, np.ndarray]) -> str:
    if not np.isfinite(edge.claimed):
        return ""
    start = _border(places[edge.first], places[edge.second], edge.first, 0)
    end = _border(places[edge.second], places[edge.first], edge.second, 0)
    # Off the middle, where the lines of opposite nodes would cross.
    x, y = start + 0.42 * (end - start)
    text = safe(probability(edge.claimed))
    wide = 8.5 * len(probability(edge.claimed)) + 8
    return (
        f'<rect class="plate" x="{x - wide / 2:.1f}" y="{y - 11:.1f}" width="{wide:.1f}" '
        f'height="22" rx="5"/><text x="{x:.1f}" y="{y + 5:.1f}" class="number">{text}</text>'
    )


def _node(name: str, place: np.ndarray, outcomes: int | None, supported: bool | None) -> str:
    x, y = place
    wide = _box_width(name)
    kind = "node" if supported in (None, True) else "node doubtful"
    below = [f"{outcomes} outcomes"] if outcomes else []
    if supported is False:
        below = ["not supported"]
    title = safe(view.readable(name))
    text_y = y - 3 if below else y + 5
    return (
        f'<g><title>{title}</title><rect class="{kind}" x="{x - wide / 2:.1f}" '
        f'y="{y - BOX_HEIGHT / 2:.1f}" width="{wide:.1f}" height="{BOX_HEIGHT:.0f}" rx="10"/>'
        f'<text x="{x:.1f}" y="{text_y:.1f}" class="name">{safe(short(view.readable(name), 16))}'
        f"</text>"
        + "".join(
            f'<text x="{x:.1f}" y="{y + 14:.1f}" class="small">{safe(line)}</text>'
            for line in below
        )
        + "</g>"
    )


def legend() -> Panel:
    """What lines and outlines of the graph mean."""
    rows = (
        (
            '<line class="edge directed" x1="4" y1="14" x2="44" y2="14" stroke-width="5"/>'
            '<polygon class="arrow" points="58,14 43,6 43,22"/>',
            "number: this direction",
        ),
        (
            '<line class="edge undirected" x1="4" y1="14" x2="58" y2="14" stroke-width="5"/>',
            "direction open; number: joined",
        ),
        (
            '<line class="edge uncertain" x1="4" y1="14" x2="58" y2="14" stroke-width="3"/>',
            "probably not joined",
        ),
        (
            '<rect class="node doubtful" x="8" y="4" width="46" height="20" rx="6"/>',
            "feature not supported",
        ),
    )
    places = ((0, 0), (220, 0), (0, 32), (220, 32))
    drawn = "".join(
        f'<g transform="translate({x} {y})">{shape}<text x="66" y="19" class="small left">'
        f"{safe(text)}</text></g>"
        for (shape, text), (x, y) in zip(rows, places, strict=True)
    )
    words = (
        "Legend. Arrow: the same direction in all equivalent graphs; number: probability of this "
        "direction. Plain line: joined, direction open; number: probability of being joined. "
        "Dotted line: probably not joined, but not excluded. Dashed box: feature not supported."
    )
    return Panel(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 500 64" '
        f'class="graph" role="img" aria-label="{safe(words)}">{drawn}</svg>'
    )
