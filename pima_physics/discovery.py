"""Discovery of categorical nodes in views of the samples, and of the graph between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from pima_physics.dag import DAG
from pima_physics.dataset import Data
from pima_physics.dataset_groups import worth_of_counts
from pima_physics.discovery_merged import Merged, finding_of_groups, merged
from pima_physics.discovery_sets import find_nodes
from pima_physics.evidence import Finding, finding_of
from pima_physics.factorial import product_of
from pima_physics.factorial_choice import COMPARABLE, find_factorial
from pima_physics.labelled import find_labelled
from pima_physics.nodesets import Node
from pima_physics.representations import Representation, combined
from pima_physics.search import Found
from pima_physics.sharing import nothing_shared, shared_nats
from pima_physics.single_choice import find_single
from pima_physics.structure import GraphPosterior, best_network, counts_by_target
from pima_physics.structure_errors import doubt_of
from pima_physics.structure_naming import naming_of
from pima_physics.views import SEARCHED

Array = NDArray[np.float64]

# Nodes that show less than so many times what they must show are not clear.
CLEAR = 1.5

Candidate = tuple[str, float, float]
"""Views of a set of nodes, its score, and what it leaves unexplained."""


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
    candidates : tuple of Candidate
        Sets of nodes that competed, best first, with their scores in nats over the searched
        samples, and the evidence of a further node that each leaves unexplained.
    worth : float
        Independent samples that each counts as in the joint counts, 1 where none belong together.
    """

    findings: tuple[Finding, ...]
    responsibility: Array
    graph_posterior: GraphPosterior
    tables: tuple[Array, ...]
    candidates: tuple[Candidate, ...]
    worth: float = 1.0

    @property
    def graph(self) -> NDArray[np.int64]:
        """Best DAG (parent, child)."""
        return self.graph_posterior.dag

    @property
    def total_evidence(self) -> float:
        """Sum of the nodes' evidence, by which restarts are compared."""
        return float(sum(f.evidence for f in self.findings))

    @property
    def score(self) -> float:
        """What sets of nodes are compared by, in nats per sample."""
        return self.candidates[0][1] / self.searched if self.candidates else 0.0

    @property
    def searched(self) -> int:
        """Number of samples among which nodes were sought."""
        return min(len(self.responsibility), SEARCHED)

    @property
    def clear(self) -> bool:
        """Whether all nodes are supported and show more than they must, alone and in sum.

        Nodes that were given are, and one by itself is sought in more than a latent.
        """
        sought = [f for f in self.findings if not f.given]
        if len(self.findings) < 2 or not sought:
            return True
        asked = [CLEAR * f.null for f in sought]
        each = [f.supported and f.evidence >= a for f, a in zip(sought, asked, strict=True)]
        return all(each) and self.score >= float(np.mean(asked))

    @property
    def in_doubt(self) -> bool:
        """Whether another latent may show more: not clear, but something is supported."""
        return not self.clear and any(f.supported and not f.given for f in self.findings)

    def doubt(self, intervened: NDArray[np.bool_] | None = None) -> Array:
        """Share of wrong labels of every node as its probabilities say; see `doubt_of`."""
        return doubt_of([f.probability for f in self.findings], intervened)


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
    labelled = {i: known[node] for i, node in enumerate(dag.nodes) if node in known}
    findings = find_labelled(representations, labelled, dag.outcomes, rng=rng)
    free = [i for i, node in enumerate(dag.nodes) if node not in known]
    wanted = [dag.outcomes[i] for i in free]
    listed: list[Candidate] = []
    if len(dag.nodes) == len(free) == 1 and data is not None:
        findings[0] = find_single(representations, data, wanted[0], seed=seed)
    else:
        given_ones = [f.probability for f in findings.values()]
        found, listed = _several(representations, wanted, given_ones, seed, rng)
        findings |= dict(zip(free, found, strict=True))
    if data is not None:
        findings = _with_shared(findings, free, representations, data, seed)
    groups = None if data is None else data.groups
    findings = {i: findings[i].among(groups) if i in free else findings[i] for i in findings}
    probability = [findings[i].probability for i in range(len(dag.nodes))]
    order = naming_of(probability, dag.knowledge, free, intervened)
    ordered = tuple(findings[i] for i in order)
    return _with_graph(ordered, dag, listed, intervened, groups)


def _several(
    representations: Sequence[Representation],
    wanted: Sequence[int],
    known: Sequence[Array],
    seed: int,
    rng: np.random.Generator,
) -> tuple[list[Finding], list[Candidate]]:
    """Nodes along directions, or of a factorial mixture, and the sets that competed.

    Directions show two outcomes most clearly, and know more only in a row. For more, a mixture of
    which some start is the directions' own set tells which table of outcomes adds up. For two, it
    is tried where a node is not supported, and has to support more of them. Around what fitted
    parameters show by themselves no other set is looked for.
    """
    shown = [*representations, *combined(representations)]
    sets, found = _along(shown, wanted, known, rng)
    several = max(wanted, default=0) > 2
    if several and (one := merged(found)) is not None:
        sets, found = _around(one, shown, wanted, known, rng) or (sets, found)
    listed = [(_names(f), f.score, f.left) for f in sets]
    whole = all(f.separation > 0.0 for f in found)
    complete = whole and bool(sets) and sets[0].direct
    if complete or (not several and all(f.supported for f in found)):
        return found, listed
    along = [f.probability for f in found] if whole else None
    own = np.random.default_rng(seed)
    mixture = find_factorial(representations, wanted, known, along=along, rng=own)
    if mixture is None:
        return found, listed
    entry = (mixture.findings[0].representation, mixture.score, mixture.left)
    if several and sets:
        asked = 1.0 if sets[0].nested else COMPARABLE
        better = not mixture.along and mixture.score > asked * max(sets[0].score, 0.0)
    else:
        better = mixture.supported > sum(f.supported for f in found)
    return (list(mixture.findings), [entry, *listed]) if better else (found, [*listed, entry])


def _along(
    shown: Sequence[Representation],
    wanted: Sequence[int],
    known: Sequence[Array],
    rng: np.random.Generator,
) -> tuple[list[Found], list[Finding]]:
    """Sets of nodes along directions, and what the best one shows of each."""
    sets = find_nodes(shown, wanted, known, rng=rng)
    chosen = _in_slots(sets[0], wanted) if sets else [None] * len(wanted)
    pairs = zip(chosen, wanted, strict=True)
    return sets, [_finding(c, shown, count, rng) for c, count in pairs]


def _around(
    one: Merged,
    shown: Sequence[Representation],
    wanted: Sequence[int],
    known: Sequence[Array],
    rng: np.random.Generator,
) -> tuple[list[Found], list[Finding]] | None:
    """Sets around a node that directions show as several; None where it cannot be judged."""
    rest = [count for i, count in enumerate(wanted) if i != one.place]
    sets, found = _along(shown, rest, [*known, one.probability], rng)
    others = [*known, *(f.probability for f in found)]
    own = finding_of_groups(one.probability, others, shown, rng)
    if own is None:
        return None
    return sets, [*found[: one.place], own, *found[one.place :]]


def _in_slots(found: Found, wanted: Sequence[int]) -> list[_Chosen | None]:
    """Nodes at the places with as many outcomes, the clearest first."""
    free = found.free
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
    listed: Sequence[Candidate],
    intervened: torch.Tensor | None,
    groups: NDArray[np.int64] | None,
) -> Discovery:
    """Score the graph on the soft joint counts."""
    responsibility = product_of([f.probability for f in findings])
    worth = worth_of_counts([f.probability for f in findings], groups)
    weights = worth * responsibility.reshape(-1, *dag.outcomes)
    acted = None if intervened is None else intervened.cpu().numpy()
    counts, rows = (weights.sum(0), None) if acted is None else counts_by_target(weights, acted)
    doubt = doubt_of([f.probability for f in findings], acted)
    posterior, net = best_network(counts, knowledge=dag.knowledge, intervened=rows, doubt=doubt)
    return Discovery(findings, responsibility, posterior, tuple(net.tables), tuple(listed), worth)


def _names(found: Found) -> str:
    return ", ".join(n.view.representation.name for n in found.nodes if n.view is not None)
