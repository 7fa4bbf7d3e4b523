"""The sets of nodes that all views of the samples show together, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pima_physics.discovery_direct import all_given, joined, shown_before_the_last, shown_directly
from pima_physics.evidence import above_chance, bend_nats, beyond_bend, clear, confirmed_by
from pima_physics.evidence_cuts import cuts_through
from pima_physics.nodesets import (
    CHANCE_NATS,
    SAME_PARTITION,
    Node,
    agreement,
    conditional_nats,
    first_distinct,
    given,
    in_best_views,
    judge,
    refine,
)
from pima_physics.representations import ALL, COMBINED, STACKED, Representation
from pima_physics.search import (
    Found,
    distinct_sets,
    find_sets,
    further,
    lacking,
    polished,
)
from pima_physics.search_starts import hints_of
from pima_physics.views import View, searched, split

Array = NDArray[np.float64]

# Of so many nodes, all but the last are also sought by themselves.
SEVERAL = 3
# A set that leaves more unexplained, in nats, is searched for once more.
LEFT = 2.0
# Groups of a view from which the search of wider ones begins, the clearest.
HINTS = 6
# The best sets, which are compared once more with every node in the view that shows it best, and
# turns in which their nodes settle there.
SETTLED, SETTLINGS = 4, 2


def find_nodes(
    representations: Sequence[Representation],
    wanted: Sequence[int],
    known: Sequence[Array] = (),
    *,
    rng: np.random.Generator,
    polishing: bool = True,
) -> list[Found]:
    """Sets of nodes, best first.

    What parameters fitted to single samples show by themselves is kept, and the rest is sought
    beside it. Where they show nothing, they and the latent are searched together: a continuous
    prior straightens what principal components bend, and bends look like groups. Nodes that these
    show above chance are kept; the other views are searched for those that they do not show. Where
    a node is not clear, the sets of the first search are also polished, and compete with these.

    Parameters
    ----------
    wanted : sequence of int
        Numbers of outcomes.
    known : sequence of array, shape (sample, outcome)
        Outcome probabilities of nodes that were given.
    polishing : bool
        Polish where a node is not clear, and climb to the last one beside known ones. Where nodes
        are counted this would help false ones, too.
    """
    if not wanted:
        return []
    size = len(representations[0].values)
    part = searched(size, rng)
    views = [v for r in representations if (v := View.of_part(r, part)) is not None]
    fixed = [given(p[part]) for p in known]
    finest = next((v for v in views if v.representation.kind == COMBINED), None)
    whole = next((v for v in views if v.representation.name == ALL), None)
    views = [v for v in views if v is not finest and v is not whole]
    straight, _ = split(views)
    direct, sets = shown_directly(
        views, wanted, fixed, rng=rng, completing=polishing, finest=finest
    )
    finer, nested, kept = finest if direct else None, [], []
    if not direct and straight:
        sets = find_sets(straight, wanted, rng=rng, known=fixed)
        if polishing and len(wanted) >= SEVERAL and sets:
            sure = sets[0] if _all_clear(sets[0], wanted) else None
            kept, nested = shown_before_the_last(views, wanted, fixed, whole, rng=rng, sure=sure)
        if nested and max(wanted) == 2:
            direct, sets, finer, nested = kept, nested, whole, []
        else:
            sets = _searched_again(sets, straight, wanted, fixed, rng)
    shown = _shown(sets[0], direct) if sets else []
    missing = lacking(shown, wanted)
    # Bends win over what straight views show faintly; where they show nothing, they may be right.
    faint = bool(direct) and (sets[0].direct or _shows_last(sets[0].nodes))
    beyond = faint and polishing
    more = _with_others(shown, wanted, fixed, views, rng, beyond_bends=beyond)
    sure = [n for n in shown if clear(n)]  # the others do not stand in the way of clear ones
    if not direct and len(sure) < len(shown) and _stronger(shown, missing, fixed, views, rng):
        more += _with_others(sure, wanted, fixed, views, rng, beyond_bends=beyond)
    more = [f for f in more if len(_shown(f)) > len(shown)]
    unclear = bool(missing) or not all(clear(n) for n in shown)
    if sets and polishing and unclear and not (direct or nested):
        sets = polished(sets, straight, rng=rng)
    best = sorted([*more, *sets], key=_rank, reverse=True)
    settled = [_clearest(f, views, finer) for f in best[:SETTLED]]
    settled.sort(key=lambda f: (-_cuts(f, straight), *_rank(f)), reverse=True)
    # Around nodes of which one may be two of three outcomes, the score tells.
    around = [f for f in (_clearest(n, views, whole) for n in nested) if f.score > settled[0].score]
    return [*around, *settled, *best[SETTLED:]]


def _shows_last(nodes: Sequence[Node]) -> bool:
    """Whether the last node shows among samples that agree in the others, if not by itself."""
    *others, last = nodes
    return conditional_nats(last, others) > CHANCE_NATS


def _all_clear(found: Found, wanted: Sequence[int]) -> bool:
    """Whether a set has all nodes, and no bend explains one."""
    return len(_shown(found)) == len(wanted) and all(clear(n) for n in found.free)


def _searched_again(
    sets: list[Found],
    views: Sequence[View],
    wanted: Sequence[int],
    fixed: Sequence[Node],
    rng: np.random.Generator,
) -> list[Found]:
    """Sets of a search, and of another where the best one leaves something unexplained.

    Then some start did not find a node that is there.
    """
    if not sets or sets[0].left <= LEFT:
        return sets
    return distinct_sets([*sets, *find_sets(views, wanted, rng=rng, known=fixed)])


def _with_others(
    shown: Sequence[Node],
    wanted: Sequence[int],
    fixed: Sequence[Node],
    views: Sequence[View],
    rng: np.random.Generator,
    *,
    beyond_bends: bool,
) -> list[Found]:
    """Sets of nodes that are kept and what views with bends show beside them.

    Where few samples have all modalities, no view shows what each of them does: the nodes of the
    best set are then kept in their turn, and the rest is sought beside them.
    """
    straight, others = split(views)
    frozen = all_given(fixed, shown, views)
    missing = lacking(shown, wanted)
    found = _elsewhere(others, missing, frozen, rng, beyond_bends=beyond_bends)
    sets = [joined(f, fixed, shown) for f in found if not _cuts(f, straight)]
    more = [f for f in sets if len(shown) < len(_shown(f)) < len(wanted)]
    if more and not any(v.representation.name == STACKED for v in views):
        best = _shown(max(more, key=_rank))
        sets += _with_others(best, wanted, fixed, views, rng, beyond_bends=beyond_bends)
    return sets


def _stronger(
    shown: Sequence[Node],
    missing: Sequence[int],
    fixed: Sequence[Node],
    views: Sequence[View],
    rng: np.random.Generator,
) -> bool:
    """Whether views with bends show more clear nodes beside the kept ones than are missing."""
    kept, others = all_given(fixed, shown, views), split(views)[1]
    new = [n for view in others for n in hints_of(view, rng) if _beyond_bends(n, kept)]
    distinct = first_distinct(
        sorted(new, key=lambda n: -n.nats),
        lambda a, b: agreement(a.probability, b.probability) >= SAME_PARTITION,
        len(missing) + 1,
    )
    return len(distinct) > len(missing)


def _elsewhere(
    views: Sequence[View],
    missing: Sequence[int],
    frozen: Sequence[Node],
    rng: np.random.Generator,
    *,
    beyond_bends: bool,
) -> list[Found]:
    """The best set of missing nodes in each view that shows as many, beside known ones.

    Few axes show a feature that random directions of many may all miss: what narrow views show is
    where the search of wider ones begins. The widest is always searched: of samples that have all
    modalities, it shows what each of them shows.

    Parameters
    ----------
    beyond_bends : bool
        Only a node that no bend explains, neither alone nor among samples alike.
    """
    if not missing:
        return []
    if beyond_bends and len(missing) == 1:
        nodes = further(views, frozen, missing[0], 1, rng=rng)
        return [Found.of([*frozen, n]) for n in nodes if _beyond_bends(n, frozen)]
    found: list[Found] = []
    hints: list[Node] = []
    ordered = sorted(views, key=lambda v: v.white.shape[1])
    least = len(missing) if any(v.representation.name == STACKED for v in views) else 1
    for view in ordered:
        shown = hints_of(view, rng)
        beside = [n for n in shown if above_chance(n, conditional_nats(n, frozen))]
        if len(beside) >= least or view is ordered[-1]:
            found += find_sets([view], missing, rng=rng, known=frozen, hints=hints)[:1]
        hints += shown[:HINTS]
    return found


def _beyond_bends(node: Node, known: Sequence[Node]) -> bool:
    return clear(node) and conditional_nats(node, known) > bend_nats(node)


def _clearest(found: Found, views: Sequence[View], finer: View | None) -> Found:
    """Every node in the view that shows it best, and whether a view without bends shows it.

    A clearer node makes the others clearer, which are blind to it: they settle in turns, as long
    as the set gets better, in views without bends, which would draw them away. What was averaged
    in the finer view stays there.
    """
    views = views if finer is None else [*views, finer]
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
    pairs = zip(nodes, in_best_views(nodes, views), strict=True)
    nodes = [n if n.view and n.view.representation.name == ALL else m for n, m in pairs]
    return replace(found, nodes=tuple(nodes), judgement=judge(nodes), confirmed=tuple(confirmed))


def _cuts(found: Found, straight: Sequence[View]) -> int:
    """Nodes of views with bends that cut through something continuous."""
    return sum(cuts_through(straight, n) for n in _bent(found))


def _bent(found: Found) -> list[Node]:
    """Nodes of views with bends."""
    return [n for n in found.free if n.view and not n.view.representation.straight]


def _rank(found: Found) -> tuple[int, float]:
    """Nodes above chance, then the score, to which components add what no bend explains."""
    bent = [n for n in found.nodes if n.view and not n.view.representation.straight]
    free = len(found.judgement.evidence)
    share = np.prod([beyond_bend(n) / max(n.nats, 1e-9) for n in bent]) ** (1.0 / max(free, 1))
    return len(_shown(found)), found.score - (1.0 - float(share)) * found.judgement.score


def _shown(found: Found, kept: Sequence[Node] = ()) -> list[Node]:
    """Nodes that are kept anyway, or have more evidence than chance would show."""
    each = zip(found.free, found.judgement.conditional, strict=True)
    return [n for n, c in each if any(n is k for k in kept) or above_chance(n, c)]
