"""Discovery of categorical nodes: candidates from every representation, selected by evidence."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pima_physics.dag import DAG
from pima_physics.evidence import (
    Candidate,
    Finding,
    agreement,
    examine,
    from_labels,
    nothing_found,
)
from pima_physics.factorial import product_of
from pima_physics.pursuit import pursue, whiten
from pima_physics.representations import Representation
from pima_physics.structure import GraphPosterior, counts_by_target, fit_tables, graph_posterior

Array = NDArray[np.float64]

# Two partitions with a larger correlation of their probabilities count as one.
SAME = 0.95
MAX_CANDIDATES = 16
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
    chosen = select(pool, [dag.outcomes[i] for i in free])
    for i, candidate in zip(free, chosen, strict=True):
        findings[i] = (
            nothing_found(len(representations[0].values), dag.outcomes[i])
            if candidate is None
            else examine(candidate, rng)
        )
    ordered = tuple(findings[i] for i in range(len(dag.nodes)))
    return _with_graph(ordered, dag, pool, intervened)


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
            for split in pursue(white, count, rng=rng):
                if split.evidence * len(values) < MIN_NATS or split.rarest < 0.02:
                    continue
                probability = np.full((len(representation.values), count), 1.0 / count)
                probability[representation.present] = split.probability
                found.append(Candidate(representation, split, probability))
    found.sort(key=lambda c: -c.split.evidence)
    distinct: list[Candidate] = []
    for candidate in found:
        if all(agreement(candidate.probability, d.probability) < SAME for d in distinct):
            distinct.append(candidate)
    kept: list[Candidate] = []
    for count in outcomes:
        kept += [c for c in distinct if c.split.outcomes == count][:MAX_CANDIDATES]
    return kept


def select(pool: Sequence[Candidate], outcomes: Sequence[int]) -> list[Candidate | None]:
    r"""Choose one candidate per node so that each tells much that the others do not.

    .. math:: \max_S \sum_{j \in S} E_j\, \frac{H(n_j \mid n_{S \setminus j})}{H(n_j)}

    with evidence E. A partition that follows from the others (their union, their xor, a copy)
    has no conditional entropy and counts for nothing, however clear its groups are.
    """
    best: list[Candidate | None] = [None] * len(outcomes)
    for size in range(len(outcomes), 0, -1):
        score, found = _best_subset(pool, list(outcomes), size)
        if found is not None and score > 0:
            return found
    return best


def _best_subset(
    pool: Sequence[Candidate], outcomes: list[int], size: int
) -> tuple[float, list[Candidate | None] | None]:
    """Best assignment of ``size`` candidates to nodes with matching outcome counts."""
    labels = np.stack([c.label for c in pool], axis=1) if pool else np.zeros((0, 0), int)
    best_score, best = 0.0, None
    for subset in itertools.combinations(range(len(pool)), size):
        slots = _assign([pool[j].split.outcomes for j in subset], outcomes)
        if slots is None:
            continue
        score = sum(
            pool[j].split.evidence * relative_entropy(labels, j, [k for k in subset if k != j])
            for j in subset
        )
        if score > best_score:
            best_score = score
            best = [None] * len(outcomes)
            for slot, j in zip(slots, subset, strict=True):
                best[slot] = pool[j]
    return best_score, best


def _assign(counts: Sequence[int], outcomes: Sequence[int]) -> list[int] | None:
    """Node positions for candidates, in order of evidence; None where counts do not match."""
    open_slots = list(range(len(outcomes)))
    slots = []
    for count in counts:
        slot = next((s for s in open_slots if outcomes[s] == count), None)
        if slot is None:
            return None
        open_slots.remove(slot)
        slots.append(slot)
    return slots


def relative_entropy(labels: NDArray[np.int64], j: int, others: Sequence[int]) -> float:
    """H(label j | other labels) / H(label j), between 0 (follows from them) and 1."""
    code = np.zeros(len(labels), dtype=np.int64)
    for other in others:
        code = code * (labels[:, other].max() + 1) + labels[:, other]
    _, code = np.unique(code, return_inverse=True)
    table = np.zeros((code.max() + 1, labels[:, j].max() + 1))
    np.add.at(table, (code, labels[:, j]), 1.0 / len(labels))
    own = table.sum(0)
    entropy = -(own * np.log(own + 1e-300)).sum()
    joint = -(table * np.log(table + 1e-300)).sum()
    rest = table.sum(1)
    conditional = joint + (rest * np.log(rest + 1e-300)).sum()
    return float(conditional / max(entropy, 1e-12))


def _with_graph(
    findings: tuple[Finding, ...],
    dag: DAG,
    pool: Sequence[Candidate],
    intervened: torch.Tensor | None,
) -> Discovery:
    """Score the graph on the soft joint counts."""
    responsibility = product_of([f.probability for f in findings])
    weights = responsibility.reshape(-1, *dag.outcomes)
    if intervened is None:
        counts, rows = weights.sum(0), None
    else:
        counts, rows = counts_by_target(weights, intervened.cpu().numpy())
    posterior = graph_posterior(
        counts,
        knowledge=dag.knowledge,
        intervened=rows,
        generator=np.random.default_rng(0),
    )
    net = fit_tables(counts, posterior.dag, 1.0, intervened=rows)
    listed = tuple((c.representation.name, c.split.evidence, c.split.separation) for c in pool)
    return Discovery(findings, responsibility, posterior, tuple(net.tables), listed)
