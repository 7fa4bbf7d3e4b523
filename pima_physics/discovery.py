"""Discovery of categorical nodes in views of the samples, and of the graph between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from pima_physics.dag import DAG
from pima_physics.dataset import Data
from pima_physics.evidence import Finding, above_chance, confirmed_by, finding_of, from_labels
from pima_physics.factorial import product_of
from pima_physics.nodesets import (
    Node,
    given,
    judge,
    refine,
    seen_in,
)
from pima_physics.representations import Representation
from pima_physics.search import Found, find_sets
from pima_physics.sharing import nothing_shared, shared_nats
from pima_physics.single_choice import find_single
from pima_physics.structure import GraphPosterior, best_network, counts_by_target
from pima_physics.structure_errors import doubt_of
from pima_physics.structure_naming import naming_of
from pima_physics.views import SEARCHED, View

Array = NDArray[np.float64]

# Turns in which nodes settle in the views that show them best.
SETTLINGS = 2


@dataclass(frozen=True)
class Discovery:
    """Discovered nodes of the training samples, in the order of the DAG.

    Attributes
    ----------
    findings : tuple of Finding
    responsibility : array, shape (sample, component)
    graph_posterior : GraphPosterior
        From the soft joint counts.
    tables : tuple of array
    candidates : tuple of (views, score, unexplained)
        Sets of nodes that competed, best first, with their scores in nats over the searched
        samples, and the evidence of a further node that each leaves unexplained.
    """

    findings: tuple[Finding, ...]
    responsibility: Array
    graph_posterior: GraphPosterior
    tables: tuple[Array, ...]
    candidates: tuple[tuple[str, float, float], ...]

    @property
    def graph(self) -> NDArray[np.int64]:
        """Best DAG (parent, child)."""
        return self.graph_posterior.dag

    @property
    def total_evidence(self) -> float:
        """Sum of the nodes' evidence, by which restarts are compared."""
        return float(sum(f.evidence for f in self.findings))


@dataclass(frozen=True)
class _Chosen:
    """A node, its evidence given the others, and whether a view without bends shows it."""

    node: Node
    conditional: float
    confirmed: bool


def discover(
    representations: Sequence[Representation],
    dag: DAG,
    *,
    seed: int = 0,
    labels: Mapping[str, torch.Tensor] | None = None,
    intervened: torch.Tensor | None = None,
    data: Data | None = None,
) -> Discovery:
    """Find the nodes of a DAG in the data.

    Parameters
    ----------
    representations : sequence of Representation
        Different views of the same samples; no single one serves all data.
    dag : DAG
        How many nodes with how many outcomes.
    labels : mapping, optional
        Node -> outcome per sample, -1 = unknown.
    intervened : Tensor of bool, shape (sample, node), optional
    data : Data, optional
        The samples themselves: what the modalities have in common, and a single node's groups.

    Returns
    -------
    Discovery
    """
    rng = np.random.default_rng(seed)
    known = {
        node: values.cpu().numpy() for node, values in (labels or {}).items() if (values >= 0).any()
    }
    findings: dict[int, Finding] = {
        i: from_labels(representations, known[node], dag.outcomes[i])
        for i, node in enumerate(dag.nodes)
        if node in known
    }
    free = [i for i, node in enumerate(dag.nodes) if node not in known]
    wanted = [dag.outcomes[i] for i in free]
    sets: list[Found] = []
    if len(dag.nodes) == len(free) == 1 and data is not None:
        findings[0] = find_single(representations, data, wanted[0], seed=seed)
    else:
        given_ones = [f.probability for f in findings.values()]
        sets = find_nodes(representations, wanted, given_ones, rng=rng)
        chosen = _in_slots(sets[0], wanted) if sets else [None] * len(free)
        for i, c in zip(free, chosen, strict=True):
            findings[i] = _finding(c, representations, dag.outcomes[i], rng)
    if data is not None:
        findings = _with_shared(findings, free, representations, data, seed)
    probability = [findings[i].probability for i in range(len(dag.nodes))]
    order = naming_of(probability, dag.knowledge, free, intervened)
    ordered = tuple(findings[i] for i in order)
    return _with_graph(ordered, dag, sets, intervened)


def find_nodes(
    representations: Sequence[Representation],
    wanted: Sequence[int],
    known: Sequence[Array] = (),
    *,
    rng: np.random.Generator,
) -> list[Found]:
    """Sets of nodes, best first.

    The latent and the parameters fitted to single samples go first, together: a continuous prior
    straightens what principal components bend, and bends look like groups. Nodes that these show
    above chance are kept; the other views are searched for those that they do not show.

    Parameters
    ----------
    wanted : sequence of int
        Numbers of outcomes.
    known : sequence of array, shape (sample, outcome)
        Outcome probabilities of nodes that were given.
    """
    if not wanted:
        return []
    size = len(representations[0].values)
    part = np.sort(rng.permutation(size)[:SEARCHED])
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
    best = sorted(more, key=lambda f: (-len(f.nodes), -f.score)) + sets
    return [_clearest(f, views) for f in best[:1]] + best[1:]


def _clearest(found: Found, views: Sequence[View]) -> Found:
    """Every node in the view that shows it best, and whether a view without bends shows it.

    A clearer node makes the others clearer, which are blind to it: they settle in turns, as long
    as the set gets better, in views without bends, which would draw them away.
    """
    straight = [v for v in views if v.representation.straight]
    nodes, score = list(found.nodes), judge(found.nodes).score
    for _ in range(SETTLINGS):
        settled = refine([_in_best_views(nodes, straight)], sweeps=4)[0]
        better = judge(settled).score
        if better <= score:
            break
        nodes, score = settled, better
    confirmed = [
        confirmed_by(straight, nodes, j) for j, n in enumerate(nodes) if n.view is not None
    ]
    nodes = _in_best_views(nodes, views)
    return Found(tuple(nodes), judge(nodes), found.left, tuple(confirmed))


def _in_best_views(nodes: Sequence[Node], views: Sequence[View]) -> list[Node]:
    best = [seen_in(views, nodes, j) for j in range(len(nodes))]
    pairs = zip(nodes, best, strict=True)
    return [b if b is not None and b.nats > n.nats else n for n, b in pairs]


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


def _in_slots(found: Found, wanted: Sequence[int]) -> list[_Chosen | None]:
    """Nodes at the places with as many outcomes, the clearest first."""
    free = [n for n in found.nodes if n.view is not None]
    confirmed = found.confirmed or (True,) * len(free)
    each = zip(free, found.judgement.conditional, confirmed, strict=True)
    left = sorted((_Chosen(*c) for c in each), key=lambda c: -c.node.evidence)
    slots: list[_Chosen | None] = []
    for outcomes in wanted:
        i = next((i for i, c in enumerate(left) if c.node.outcomes == outcomes), None)
        slots.append(None if i is None else left.pop(i))
    return slots


def _finding(
    chosen: _Chosen | None,
    representations: Sequence[Representation],
    outcomes: int,
    rng: np.random.Generator,
) -> Finding:
    if chosen is None:
        return finding_of(None, 0.0, representations, outcomes, rng)
    given_rest, sure = chosen.conditional, chosen.confirmed
    return finding_of(chosen.node, given_rest, representations, outcomes, rng, confirmed=sure)


def _with_shared(
    findings: Mapping[int, Finding],
    free: Sequence[int],
    representations: Sequence[Representation],
    data: Data,
    seed: int,
) -> dict[int, Finding]:
    """What a second modality knows of each node; no support where it knows of nothing at all."""
    each = {
        i: replace(f, shared=shared_nats(f.probability, representations, data.names))
        if np.isnan(f.shared)
        else f
        for i, f in findings.items()
    }
    if nothing_shared([f.shared for f in each.values()], representations, data, seed=seed):
        each |= {i: replace(each[i], supported=False) for i in free}
    return each


def _with_graph(
    findings: tuple[Finding, ...],
    dag: DAG,
    sets: Sequence[Found],
    intervened: torch.Tensor | None,
) -> Discovery:
    """Score the graph on the soft joint counts."""
    responsibility = product_of([f.probability for f in findings])
    weights = responsibility.reshape(-1, *dag.outcomes)
    if intervened is None:
        counts, rows = weights.sum(0), None
    else:
        counts, rows = counts_by_target(weights, intervened.cpu().numpy())
    doubt = doubt_of([f.probability for f in findings])
    posterior, net = best_network(counts, knowledge=dag.knowledge, intervened=rows, doubt=doubt)
    listed = tuple((_names(found), found.score, found.left) for found in sets)
    return Discovery(findings, responsibility, posterior, tuple(net.tables), listed)


def _names(found: Found) -> str:
    return ", ".join(n.view.representation.name for n in found.nodes if n.view is not None)
