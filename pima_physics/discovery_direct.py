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
from pima_physics.nodesets import CHANCE_NATS, Node, given, judge
from pima_physics.search import Found, find_sets, lacking, same_nodes, unexplained
from pima_physics.search_beside import beside, sharpened
from pima_physics.views import View, split

# Sets of all nodes but one, the best ones, around which the last is sought.
LIKELY = 2
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
    known = all_given(fixed, direct, views)
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
    return (direct, sets) if _kept(direct, sets[0], straight, rng) else ([], [])


def shown_before_the_last(
    views: Sequence[View],
    wanted: Sequence[int],
    fixed: Sequence[Node],
    whole: View | None,
    *,
    rng: np.random.Generator,
    sure: Found | None = None,
) -> tuple[list[Node], list[Found]]:
    """All nodes but one as straight views show them, and a set with the last one beside them.

    What a set leaves unexplained tells a right one from unions of its nodes, as long as a node is
    left that shows. In the complete set it may be the weakest one's turn, which hardly does.

    Parameters
    ----------
    views, wanted, fixed
        As of `shown_directly`.
    whole : View, optional
        The latent and components side by side: groups that were found are told apart best in it.
    sure : Found, optional
        A set of all nodes, each of them clear. It stands, unless fewer nodes, others than these,
        leave nothing unexplained beside them.
    """
    straight, _ = split(views)
    sets: list[Found] = []
    for choice in _choices(wanted, len(wanted) - 1):
        best = find_sets(straight, choice, rng=rng, known=fixed)[:LIKELY]
        sets += [f for f in best if _stands(f, len(choice))]
        if sets and sets[0].score > 0.0 and all(clear(n) for n in sets[0].free):
            break  # it leaves little unexplained: another choice would know less
    likely = sorted(sets, key=lambda f: -f.score)[:LIKELY]
    if sure is not None:
        likely = [f for f in likely[:1] if not same_nodes(f.free, sure.free)]
        likely = [f for f in likely if f.left <= CHANCE_NATS]
    for found in likely:
        kept, around = _with_last(views, wanted, fixed, whole, found.free, rng)
        if kept:
            return kept, around
    return [], []


def _with_last(
    views: Sequence[View],
    wanted: Sequence[int],
    fixed: Sequence[Node],
    whole: View | None,
    nodes: list[Node],
    rng: np.random.Generator,
) -> tuple[list[Node], list[Found]]:
    """Nodes and the set with the last one beside them; nothing where they do not hold in it."""
    straight, bent = split(views)
    known = all_given(fixed, nodes, views)
    (count,) = lacking(nodes, wanted)
    # What a node of two outcomes shows lies where its shares say. Groups of more lie nearer to each
    # other: what they show depends on more than shares, and fits noise unless it is averaged.
    two = count == 2
    finest = None if two else straight[0]
    last = beside(
        straight,
        known,
        count,
        rng=rng,
        witnesses=bent,
        finest=finest,
        through_two=True,
        by_shares=two,
    )
    if last is not None and whole is not None:
        last = sharpened(last, whole, known, rng=rng, by_shares=two)
    found = joined(Found.of([*known, *([] if last is None else [last])]), fixed, nodes)
    functions = found.judgement.conditional[: len(nodes)].min() <= CHANCE_NATS
    if functions or not _kept(nodes, found, straight, rng):
        return [], []
    return nodes, [replace(found, nested=True)]


def _kept(
    nodes: Sequence[Node], found: Found, straight: Sequence[View], rng: np.random.Generator
) -> bool:
    """Whether no bend explains nodes, or nothing stronger shows beside the set around them."""
    if all(clear(n) for n in nodes):
        return True
    weakest = min(n.nats for n in nodes)
    return unexplained(straight, found.nodes, rng=rng) <= weakest


def _by_themselves(
    straight: Sequence[View], wanted: Sequence[int], fixed: Sequence[Node], rng: np.random.Generator
) -> list[Node]:
    views = [v for v in straight if v.representation.kind == "parameters"]
    for size in range(len(wanted) if views else 0, 0, -1):
        choices = _choices(wanted, size)
        sets = [f for some in choices for f in find_sets(views, some, rng=rng, known=fixed)[:1]]
        full = [f for f in sets if _stands(f, size)]
        if full:
            return max(full, key=lambda f: f.score).free
    return []


def _choices(wanted: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """Choices of so many of the wanted nodes, by their numbers of outcomes."""
    return sorted(set(combinations(sorted(wanted), size)), key=sum)[:CHOICES]


def _stands(found: Found, size: int) -> bool:
    """Whether so many nodes show more than chance alone, and something beside the others."""
    each = zip(found.free, found.judgement.conditional, strict=True)
    return sum(above_chance(n, np.inf) and c > 0.0 for n, c in each) == size


def all_given(fixed: Sequence[Node], kept: Sequence[Node], views: Sequence[View]) -> list[Node]:
    """Nodes that were given and kept ones, these taken as given in whatever view they were seen."""
    return [*fixed, *(as_given(n, views) for n in kept)]


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
