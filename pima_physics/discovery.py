"""Discovery of categorical nodes: candidates from every representation, selected by evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pima_physics.dag import DAG
from pima_physics.dataset import Data
from pima_physics.evidence import (
    Candidate,
    Finding,
    agreement,
    conditional_evidence,
    examine,
    from_labels,
    nothing_found,
    with_consensus,
)
from pima_physics.factorial import product_of
from pima_physics.pursuit import pursue, splits_along, whiten
from pima_physics.representations import Representation
from pima_physics.single import ENOUGH_TO_WHITEN, find_prototypes
from pima_physics.structure import GraphPosterior, counts_by_target, fit_tables, graph_posterior
from pima_physics.structure_naming import naming_of

Array = NDArray[np.float64]

# Two partitions with a larger correlation of their probabilities count as one.
SAME = 0.95
MAX_CANDIDATES = 24
# Sets of candidates that are grown further, and rounds of conditional search.
BEAM, ROUNDS = 8, 2
# A cell of the other nodes needs this many samples to be searched by itself.
MIN_CELL, MAX_CELLS = 60, 4
# Evidence in nats over the whole sample that is asked of a candidate before it is compared.
MIN_NATS = 3.0


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
    candidates : tuple of (representation, evidence, separation)
        All that competed, best first.
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
        The samples themselves: a single node is also sought as groups around prototypes.

    Returns
    -------
    Discovery
    """
    rng = np.random.default_rng(seed)
    known = {
        node: values.cpu().numpy() for node, values in (labels or {}).items() if (values >= 0).any()
    }
    free = [i for i, node in enumerate(dag.nodes) if node not in known]
    pool = find_candidates(representations, sorted({dag.outcomes[i] for i in free}), rng=rng)
    findings: dict[int, Finding] = {
        i: from_labels(representations, known[node], dag.outcomes[i])
        for i, node in enumerate(dag.nodes)
        if node in known
    }
    wanted = [dag.outcomes[i] for i in free]
    chosen = select(pool, wanted)
    for _ in range(ROUNDS if len(free) > 1 else 0):
        more = find_conditionally(representations, chosen, wanted, rng=rng)
        pool = with_consensus(distinct([*pool, *more]), representations)
        again = select(pool, wanted)
        if all(a and b and a.split is b.split for a, b in zip(again, chosen, strict=True)):
            break
        chosen = again
    for i, candidate in zip(free, chosen, strict=True):
        findings[i] = (
            nothing_found(len(representations[0].values), dag.outcomes[i])
            if candidate is None
            else examine(candidate, rng)
        )
    if len(free) == 1 and data is not None:
        findings[free[0]] = _clearer(findings[free[0]], data, wanted[0], seed)
    probability = [findings[i].probability for i in range(len(dag.nodes))]
    order = naming_of(probability, dag.knowledge, free, intervened)
    ordered = tuple(findings[i] for i in order)
    return _with_graph(ordered, dag, pool, intervened)


def _clearer(found: Finding, data: Data, outcomes: int, seed: int) -> Finding:
    """The groups around prototypes, where they are clearer or nothing else can be trusted."""
    direct = find_prototypes(data, outcomes, seed=seed)
    if direct is None:
        return found
    return direct if data.size < ENOUGH_TO_WHITEN or direct.evidence > found.evidence else found


def find_candidates(
    representations: Sequence[Representation],
    outcomes: Sequence[int],
    *,
    rng: np.random.Generator,
) -> list[Candidate]:
    """Distinct partitions from all representations, best evidence first."""
    found = []
    for representation in representations:
        values = representation.values[representation.present]
        if len(values) < 8 or values.shape[1] == 0:
            continue
        white = whiten(values).apply(values)
        for count in outcomes:
            found += [Candidate.of(representation, s) for s in pursue(white, count, rng=rng)]
    return with_consensus(distinct(found), representations)


def find_conditionally(
    representations: Sequence[Representation],
    chosen: Sequence[Candidate | None],
    outcomes: Sequence[int],
    *,
    rng: np.random.Generator,
) -> list[Candidate]:
    """Partitions seen among samples that agree in all other chosen nodes.

    Where nodes depend on each other, the direction of one can be hidden by a combination of
    two. With the other nodes fixed only its own groups are left.
    """
    found = []
    for left_out in range(len(outcomes)):
        others = [c for i, c in enumerate(chosen) if i != left_out and c is not None]
        for cell in _largest_cells(others, len(representations[0].values)):
            for representation in representations:
                found += _pursue_in_cell(representation, cell, outcomes[left_out], rng)
    return found


def _largest_cells(others: Sequence[Candidate], size: int) -> list[NDArray[np.bool_]]:
    """Samples of the most frequent joint outcomes of some nodes."""
    if not others:
        return []
    joint = np.stack([c.label for c in others], axis=1)
    index, counts = np.unique(joint, axis=0, return_inverse=True, return_counts=True)[1:]
    order = counts.argsort()[::-1][:MAX_CELLS]
    return [index.reshape(-1) == k for k in order if counts[k] >= MIN_CELL]


def _pursue_in_cell(
    representation: Representation,
    cell: NDArray[np.bool_],
    outcomes: int,
    rng: np.random.Generator,
) -> list[Candidate]:
    inside = cell & representation.present
    if inside.sum() < max(MIN_CELL, 8 * representation.values.shape[1]):
        return []
    part = representation.values[inside]
    local = whiten(part)
    splits = pursue(local.apply(part), outcomes, rng=rng, starts=24, iterations=12, keep=3)
    splits = [s for s in splits if s.evidence * len(part) > MIN_NATS]
    if not splits:
        return []
    values = representation.values[representation.present]
    white = whiten(values).apply(values)
    # Correlating the local projection with the global axes expresses its direction in them.
    directions = np.stack([white.T @ local.apply(values) @ s.direction for s in splits])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return [Candidate.of(representation, s) for s in splits_along(white, directions, outcomes)]


def distinct(found: Sequence[Candidate]) -> list[Candidate]:
    """Drop weak partitions and near-copies; best evidence first, per number of outcomes."""
    counts: dict[int, int] = {}
    kept: list[Candidate] = []
    for candidate in sorted(found, key=lambda c: -c.split.evidence):
        split = candidate.split
        weak = split.evidence * len(split.probability) < MIN_NATS or split.rarest < 0.02
        if weak or counts.get(split.outcomes, 0) >= MAX_CANDIDATES:
            continue
        if all(agreement(candidate.probability, k.probability) < SAME for k in kept):
            kept.append(candidate)
            counts[split.outcomes] = counts.get(split.outcomes, 0) + 1
    return kept


def select(pool: Sequence[Candidate], outcomes: Sequence[int]) -> list[Candidate | None]:
    r"""Choose one candidate per node, each with groups of its own once the others are known.

    .. math:: \max_S\ E(n_1) + E(n_2 \mid n_1) + E(n_3 \mid n_1, n_2) + \dots

    with the evidence for modes among samples that agree in the nodes before. A partition that
    follows from these (their union, a copy) has no modes left and adds nothing, however clear
    its groups are; a mere statistical dependence between nodes costs little. Sets grow by one
    candidate at a time and the best ``BEAM`` of each size are kept.
    """
    front: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for _ in outcomes:
        grown: dict[tuple[int, ...], tuple[float, tuple[int, ...]]] = {}
        for score, chain in front:
            before = [pool[k] for k in chain]
            for j in range(len(pool)):
                longer = (*chain, j)
                if j in chain or _assign(pool, longer, outcomes) is None:
                    continue
                total = score + conditional_evidence(pool[j], before)
                key = tuple(sorted(longer))
                if total > grown.get(key, (-1.0, ()))[0]:
                    grown[key] = (total, longer)
        if not grown:
            break
        front = sorted(grown.values(), key=lambda g: (-g[0], g[1]))[:BEAM]
    chain = front[0][1]
    chosen: list[Candidate | None] = [None] * len(outcomes)
    for slot, j in zip(_assign(pool, chain, outcomes) or (), chain, strict=True):
        chosen[slot] = pool[j]
    return chosen


def _assign(
    pool: Sequence[Candidate], subset: Sequence[int], outcomes: Sequence[int]
) -> list[int] | None:
    """Node positions for candidates, in order of evidence; None where counts do not match."""
    open_slots = list(range(len(outcomes)))
    slots = []
    for j in subset:
        count = pool[j].split.outcomes
        slot = next((s for s in open_slots if outcomes[s] == count), None)
        if slot is None:
            return None
        open_slots.remove(slot)
        slots.append(slot)
    return slots


def _with_graph(
    findings: tuple[Finding, ...],
    dag: DAG,
    pool: Sequence[Candidate],
    intervened: torch.Tensor | None,
) -> Discovery:
    """Score the graph on the soft joint counts."""
    responsibility = product_of([f.probability for f in findings])
    weights = responsibility.reshape(-1, *dag.outcomes)
    counts, rows = weights.sum(0), None
    if intervened is not None:
        counts, rows = counts_by_target(weights, intervened.cpu().numpy())
    posterior = graph_posterior(
        counts, knowledge=dag.knowledge, intervened=rows, generator=np.random.default_rng(0)
    )
    net = fit_tables(counts, posterior.dag, 1.0, intervened=rows)
    listed = tuple((c.representation.name, c.split.evidence, c.split.separation) for c in pool)
    return Discovery(findings, responsibility, posterior, tuple(net.tables), listed)
