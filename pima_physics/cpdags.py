"""Equivalence classes of graphs: which arrows the data, interventions and knowledge fix.

Two graphs fit observational data equally well when they share skeleton and v-structures. The
class is shown as one matrix, its CPDAG (completed partially directed acyclic graph):

    cpdag[i, j] = 1, cpdag[j, i] = 0    i -> j in every member
    cpdag[i, j] = cpdag[j, i] = 1       i -- j, both directions occur

Interventions orient each edge that a target set cuts (one end inside, one outside), background
knowledge orients others, and Meek's four rules carry both to their consequences. The rules are
complete: every edge left undirected does occur in both directions.

References: C. Meek, UAI 1995; A. Hauser and P. Bühlmann, "Characterization and greedy learning
of interventional Markov equivalence classes", JMLR 13, 2012.
"""

from __future__ import annotations

import itertools

import numpy as np

from pima_physics.errors import InputError
from pima_physics.knowledge import SOFT, Knowledge, find_cycle


def is_acyclic(dag: np.ndarray) -> bool:
    """True where ``dag`` (parent, child) has no directed cycle."""
    return find_cycle(dag) is None


def cpdag(
    dag: np.ndarray, knowledge: Knowledge | None = None, *, targets: np.ndarray | None = None
) -> np.ndarray:
    """Return the equivalence class of a graph.

    Parameters
    ----------
    dag : array (L, L)
        ``dag[parent, child]`` is nonzero where the edge is present.
    knowledge : Knowledge, optional
        Orients edges of which it admits one direction only.
    targets : bool array (R, L), optional
        One row per experiment: the nodes intervened upon in it. Rows without targets
        (observation) orient nothing.

    Returns
    -------
    int array (L, L)
        1 where i -> j is possible; both directions 1 where undirected.

    Raises
    ------
    InputError
        For a cyclic graph, one that breaks the knowledge, or shapes that do not fit.
    """
    edges = _edges(dag)
    if knowledge is not None:
        broken = knowledge.violations(edges)
        if broken:
            raise InputError("The graph breaks the background knowledge.", found="; ".join(broken))
    skeleton = edges | edges.T
    fixed = immoral_arrows(edges)
    if targets is not None:
        soft = knowledge is not None and knowledge.interventions == SOFT
        fixed |= edges & cut_pairs(relative(targets) if soft else targets, len(edges))
    if knowledge is not None:
        fixed |= edges & ~knowledge.allowed.T
    directed = meek(skeleton, fixed)
    return (skeleton & ~directed.T).astype(int)


def immoral_arrows(dag: np.ndarray) -> np.ndarray:
    """Return the arrows i -> k of all v-structures i -> k <- j, i and j not adjacent; bool."""
    edges = np.asarray(dag).astype(bool)
    apart = ~(edges | edges.T) & ~np.eye(len(edges), dtype=bool)
    # i -> k is in a v-structure when some other parent j of k is not adjacent to i.
    return edges & ((apart.astype(int) @ edges.astype(int)) > 0)


def cut_pairs(targets: np.ndarray, size: int) -> np.ndarray:
    """Return the pairs separated by some target set, bool (size, size), symmetric."""
    inside = np.atleast_2d(np.asarray(targets)).astype(bool)
    if inside.shape[1] != size:
        raise InputError(
            "The intervention targets do not fit the graph.",
            found=f"shape {inside.shape}",
            expected=f"(experiments, {size})",
        )
    return (inside[:, :, None] != inside[:, None, :]).any(axis=0)


def relative(targets: np.ndarray) -> np.ndarray:
    """Return soft targets relative to the first experiment, bool (R, L).

    A soft intervention leaves a dependence as it is and tells by the difference between
    experiments alone: a node has one table in those that act on it and one in the others, and
    exchanging the two changes nothing. An edge is decided where the experiments are divided
    differently for its two ends. (Perfect ones decide even in a single experiment.)
    """
    inside = np.atleast_2d(np.asarray(targets)).astype(bool)
    return inside ^ inside[:1]


def meek(skeleton: np.ndarray, directed: np.ndarray) -> np.ndarray:
    """Close a set of arrows under Meek's rules.

    For an undirected a - b, orient a -> b when

    1. k -> a, and k and b are not adjacent (else a new v-structure);
    2. a -> k -> b (else a cycle);
    3. a - k -> b and a - m -> b, k and m not adjacent;
    4. a - m -> k -> b, m and b not adjacent, a and k adjacent.

    Parameters
    ----------
    skeleton : bool array (L, L), symmetric
    directed : bool array (L, L)
        Arrows known so far.

    Returns
    -------
    bool array (L, L)
        All arrows that follow.
    """
    adjacent, arrows = np.asarray(skeleton).astype(bool), np.asarray(directed).astype(bool).copy()
    while True:
        open_edges = adjacent & ~arrows & ~arrows.T
        new = [
            (a, b)
            for a, b in np.argwhere(open_edges)
            if _follows(adjacent, arrows, open_edges, int(a), int(b))
        ]
        if not new:
            return arrows
        # One at a time: orienting an edge may decide about its neighbours.
        arrows[new[0][0], new[0][1]] = True


def possible_parents(graph: np.ndarray, node: int) -> list[tuple[int, ...]]:
    """Return every set of parents that a node has in some member of an equivalence class.

    Parameters
    ----------
    graph : array (L, L)
        A CPDAG, oriented further by knowledge or interventions or not.
    node : int

    Returns
    -------
    list of sorted tuples of int
        At most 2^u for u undirected edges at the node.
    """
    possible = np.asarray(graph).astype(bool)
    certain, skeleton = possible & ~possible.T, possible | possible.T
    open_ends = np.flatnonzero(possible[node] & possible[:, node])
    found = []
    for choice in itertools.product((False, True), repeat=len(open_ends)):
        arrows = certain.copy()
        arrows[open_ends, node] = choice
        arrows[node, open_ends] = ~np.array(choice, dtype=bool)
        if _extends(skeleton, certain, arrows):
            found.append(tuple(int(p) for p in np.flatnonzero(arrows[:, node])))
    return found


def _extends(skeleton: np.ndarray, certain: np.ndarray, arrows: np.ndarray) -> bool:
    """True where arrows are part of a member of the class with these certain arrows."""
    while True:
        arrows = meek(skeleton, arrows)
        if (arrows & arrows.T).any() or find_cycle(arrows) is not None:
            return False
        left = np.argwhere(skeleton & ~arrows & ~arrows.T)
        if not len(left):
            return bool((immoral_arrows(arrows) <= certain).all())
        # What the rules leave open can be chosen either way, if anything can.
        arrows[left[0][0], left[0][1]] = True


def same_class(
    dags: np.ndarray, reference: np.ndarray, targets: np.ndarray | None = None
) -> np.ndarray:
    """Return which of many graphs are equivalent to a reference graph.

    Parameters
    ----------
    dags : array (D, L, L)
    reference : array (L, L)
    targets : bool array (R, L), optional

    Returns
    -------
    bool array (D,)
        Equal skeleton, equal v-structures and equal direction of every cut edge.
    """
    many, one = np.asarray(dags).astype(bool), np.asarray(reference).astype(bool)
    same = (_symmetric(many) == _symmetric(one)).all((-2, -1))
    same &= (_colliders(many) == _colliders(one)).all((-3, -2, -1))
    if targets is not None:
        cut = cut_pairs(targets, len(one))
        same &= ((many & cut) == (one & cut)).all((-2, -1))
    return same


def _follows(
    adjacent: np.ndarray, arrows: np.ndarray, undirected: np.ndarray, a: int, b: int
) -> bool:
    """True where one of Meek's rules demands a -> b."""
    if (arrows[:, a] & ~adjacent[:, b] & (np.arange(len(arrows)) != b)).any():
        return True
    if (arrows[a] & arrows[:, b]).any():
        return True
    middle = np.flatnonzero(undirected[a] & arrows[:, b])
    if any(not adjacent[k, m] for k in middle for m in middle if k < m):
        return True
    into_b = np.flatnonzero(adjacent[a] & arrows[:, b])
    start = undirected[a] & ~adjacent[:, b] & (np.arange(len(arrows)) != b)
    return any((start & arrows[:, k]).any() for k in into_b)


def _edges(dag: np.ndarray) -> np.ndarray:
    edges = np.asarray(dag).astype(bool)
    if edges.ndim != 2 or edges.shape[0] != edges.shape[1]:
        raise InputError("The graph is not a square matrix.", found=f"shape {edges.shape}")
    cycle = find_cycle(edges)
    if cycle is not None:
        loop = " -> ".join(str(node) for node in [*cycle, cycle[0]])
        raise InputError("The graph has a directed cycle.", found=loop)
    return edges


def _symmetric(dags: np.ndarray) -> np.ndarray:
    return dags | np.swapaxes(dags, -1, -2)


def _colliders(dags: np.ndarray) -> np.ndarray:
    """v-structures [..., i, j, k]: i -> k <- j with i, j not adjacent."""
    apart = ~_symmetric(dags)
    apart &= ~np.eye(dags.shape[-1], dtype=bool)
    return dags[..., :, None, :] & dags[..., None, :, :] & apart[..., :, :, None]
