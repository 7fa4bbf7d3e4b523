"""The sets of nodes that all views of the samples show together, best first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pima_physics.evidence import above_chance, beyond_bend, clear, confirmed_by
from pima_physics.nodesets import Node, given, in_best_views, judge, refine
from pima_physics.representations import Representation
from pima_physics.search import Found, find_sets, polished
from pima_physics.views import View, searched

Array = NDArray[np.float64]

# Turns in which nodes settle in the views that show them best.
SETTLINGS = 2


def find_nodes(
    representations: Sequence[Representation],
    wanted: Sequence[int],
    known: Sequence[Array] = (),
    *,
    rng: np.random.Generator,
    polishing: bool = True,
) -> list[Found]:
    """Sets of nodes, best first.

    The latent and the parameters fitted to single samples go first, together: a continuous prior
    straightens what principal components bend, and bends look like groups. Nodes that these show
    above chance are kept; the other views are searched for those that they do not show. Where a
    node is not clear, the sets of the first search are also polished, and compete with these.

    Parameters
    ----------
    wanted : sequence of int
        Numbers of outcomes.
    known : sequence of array, shape (sample, outcome)
        Outcome probabilities of nodes that were given.
    polishing : bool
        Polish where a node is not clear. Where nodes are counted this would help false ones, too.
    """
    if not wanted:
        return []
    size = len(representations[0].values)
    part = searched(size, rng)
    views = [v for r in representations if (v := View.of_part(r, part)) is not None]
    fixed = [given(p[part]) for p in known]
    straight = [v for v in views if v.representation.straight and not v.representation.derived]
    sets = find_sets(straight, wanted, rng=rng, known=fixed) if straight else []
    shown = _shown(sets[0]) if sets else []
    missing = sorted((Counter(wanted) - Counter(n.outcomes for n in shown)).elements())
    others = [v for v in views if not v.representation.straight]
    # The kept nodes are taken as given, in whatever view they were seen.
    frozen = [*fixed, *(given(n.probability) for n in shown)]
    more = [
        _joined(found, fixed, shown)
        for view in (others if missing else [])
        for found in find_sets([view], missing, rng=rng, known=frozen)[:1]
    ]
    more = [f for f in more if len(_shown(f)) > len(shown)]
    if sets and polishing and (missing or not all(clear(n) for n in shown)):
        sets = polished(sets, straight, rng=rng)
    best = sorted([*more, *sets], key=_rank, reverse=True)
    return [_clearest(f, views) for f in best[:1]] + best[1:]


def _clearest(found: Found, views: Sequence[View]) -> Found:
    """Every node in the view that shows it best, and whether a view without bends shows it.

    A clearer node makes the others clearer, which are blind to it: they settle in turns, as long
    as the set gets better, in views without bends, which would draw them away.
    """
    straight = [v for v in views if v.representation.straight]
    nodes, score = list(found.nodes), judge(found.nodes).score
    for _ in range(SETTLINGS):
        settled = refine([in_best_views(nodes, straight)], sweeps=4)[0]
        better = judge(settled).score
        if better <= score:
            break
        nodes, score = settled, better
    confirmed = [
        confirmed_by(straight, nodes, j) for j, n in enumerate(nodes) if n.view is not None
    ]
    nodes = in_best_views(nodes, views)
    return Found(tuple(nodes), judge(nodes), found.left, tuple(confirmed))


def _rank(found: Found) -> tuple[int, float]:
    """Nodes above chance, then the score, to which components add what no bend explains."""
    bent = [n for n in found.nodes if n.view and not n.view.representation.straight]
    free = len(found.judgement.evidence)
    share = np.prod([beyond_bend(n) / max(n.nats, 1e-9) for n in bent]) ** (1.0 / max(free, 1))
    return len(_shown(found)), found.score - (1.0 - float(share)) * found.judgement.score


def _joined(found: Found, fixed: Sequence[Node], shown: Sequence[Node]) -> Found:
    """A set with the kept nodes as what they are, not as given."""
    new = [n for n in found.nodes if n.view is not None]
    nodes = (*fixed, *shown, *new)
    return Found(nodes, judge(nodes), found.left)


def _shown(found: Found) -> list[Node]:
    """Nodes with more evidence than chance would show."""
    free = [n for n in found.nodes if n.view is not None]
    each = zip(free, found.judgement.conditional, strict=True)
    return [n for n, c in each if above_chance(n, c)]
