"""Nodes that parameters fitted to single samples show by themselves, and sets around them.

Fitted parameters have few axes, no network smoothed them, and features add up in them more often
than in a latent space, among whose many directions the best set may be a wrong one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from pima_physics.evidence import above_chance, clear, predicted
from pima_physics.nodesets import Node, given, judge
from pima_physics.search import Found, find_sets, lacking, unexplained
from pima_physics.search_beside import beside
from pima_physics.views import View, split

# Choices of as many wanted nodes that are searched for, those with the fewest outcomes first.
CHOICES = 3


def shown_directly(
    views: Sequence[View],
    wanted: Sequence[int],
    fixed: Sequence[Node],
    *,
    rng: np.random.Generator,
    completing: bool = True,
    finest: View | None = None,
) -> tuple[list[Node], list[Found]]:
    """Nodes to keep, and sets of all wanted nodes around them, best first.

    As many nodes as show something beside each other, of some choice of the wanted ones. They are
    kept if no bend explains them, or if the straight views show nothing stronger beside the set.

    Parameters
    ----------
    views : sequence of View
        All views of the samples.
    wanted : sequence of int
        Numbers of outcomes.
    fixed : sequence of Node
        Nodes that were given.
    completing : bool
        Climb to the last missing node rather than search for it as for any other.
    finest : View, optional
        The latent and all that was fitted, side by side: that node is seen best in it.
    """
    straight, bent = split(views)
    direct = _by_themselves(straight, wanted, fixed, rng)
    if not direct:
        return [], []
    known = [*fixed, *(as_given(n, views) for n in direct)]
    missing = lacking(direct, wanted)
    if completing and len(missing) == 1:
        seen = straight
        if finest is not None:
            seen = [*(v for v in straight if v.representation.kind != "parameters"), finest]
        node = beside(seen, known, missing[0], rng=rng, witnesses=bent, finest=finest)
        sets = [Found.of([*known, *([] if node is None else [node])])]
    else:
        found = find_sets(straight, missing, rng=rng, known=known) if missing else []
        sets = found or [Found.of(known)]
    sets = [replace(joined(found, fixed, direct), direct=True) for found in sets]
    if not all(clear(n) for n in direct):
        weakest = min(n.nats for n in direct)
        if unexplained(straight, sets[0].nodes, rng=rng) > weakest:
            return [], []
    return direct, sets


def _by_themselves(
    straight: Sequence[View], wanted: Sequence[int], fixed: Sequence[Node], rng: np.random.Generator
) -> list[Node]:
    views = [v for v in straight if v.representation.kind == "parameters"]
    for size in range(len(wanted) if views else 0, 0, -1):
        choices = sorted(set(combinations(sorted(wanted), size)), key=sum)[:CHOICES]
        sets = [f for some in choices for f in find_sets(views, some, rng=rng, known=fixed)[:1]]
        full = [f for f in sets if sum(map(_stands, f.free, f.judgement.conditional)) == size]
        if full:
            return max(full, key=lambda f: f.score).free
    return []


def _stands(node: Node, conditional: float) -> bool:
    """More than chance alone, and something beside the others."""
    return above_chance(node, np.inf) and conditional > 0.0


def as_given(node: Node, views: Sequence[View]) -> Node:
    """A node with its outcomes for all samples, predicted where its view is absent."""
    probability, present = node.probability, node.view.present if node.view else None
    if present is not None and not present.all():
        shown = [v.representation for v in views]
        probability = probability.copy()
        probability[~present] = predicted(shown, present, node.label, node.outcomes)
    return given(probability)


def joined(found: Found, fixed: Sequence[Node], kept: Sequence[Node]) -> Found:
    """A set with the kept nodes as what they are, not as given."""
    nodes = (*fixed, *kept, *found.free)
    return replace(found, nodes=nodes, judgement=judge(nodes))
