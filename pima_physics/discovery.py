"""Discovery of categorical nodes: candidates from every representation, selected by evidence."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pima_physics.dag import DAG
from pima_physics.factorial import product_of
from pima_physics.pursuit import Split, pursue, splits_along, whiten
from pima_physics.representations import Representation
from pima_physics.structure import GraphPosterior, counts_by_target, fit_tables, graph_posterior

Array = NDArray[np.float64]

# Two partitions with a larger correlation of their probabilities count as one.
SAME = 0.95
MAX_CANDIDATES = 16
# Evidence in nats over the whole sample that is asked of a candidate before it is compared.
MIN_NATS = 3.0
NULL_DRAWS, NULL_SAMPLES = 19, 500


@dataclass(frozen=True)
class Finding:
    """One discovered node.

    Attributes
    ----------
    representation : str
        Where the groups were seen ("labels" where they were given).
    probability : array, shape (sample, outcome)
    separation : float
        Smallest distance of neighbouring group means, in pooled standard deviations.
    evidence : float
        Nats per sample over the best density with a single mode.
    null : float
        95 % quantile of the evidence that the same search finds where there are no groups.
    p_value : float
    stability : float
        Agreement of the partition with those found from bootstrap samples, 0 to 1.
    supported : bool
        Evidence above the null and stable.
    """

    representation: str
    probability: Array
    separation: float
    evidence: float
    null: float
    p_value: float
    stability: float
    supported: bool


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


@dataclass(frozen=True)
class Candidate:
    """A split and the representation it was found in; absent samples have equal probabilities."""

    representation: Representation
    split: Split
    probability: Array

    @property
    def label(self) -> NDArray[np.int64]:
        """Likeliest outcome per sample."""
        return self.probability.argmax(1)


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
        node: values.cpu().numpy()
        for node, values in (labels or {}).items()
        if (values >= 0).any()
    }
    free = [i for i, node in enumerate(dag.nodes) if node not in known]
    pool = find_candidates(representations, sorted({dag.outcomes[i] for i in free}), rng=rng)
    findings: dict[int, Finding] = {
        i: _from_labels(representations, known[node], dag.outcomes[i])
        for i, node in enumerate(dag.nodes)
        if node in known
    }
    chosen = select(pool, [dag.outcomes[i] for i in free])
    for i, candidate in zip(free, chosen, strict=True):
        findings[i] = (
            _nothing_found(len(representations[0].values), dag.outcomes[i])
            if candidate is None
            else _examine(candidate, rng)
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
        if all(_agreement(candidate.probability, d.probability) < SAME for d in distinct):
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


def _agreement(a: Array, b: Array) -> float:
    """Cramer-like agreement of two soft partitions, 0 to 1."""
    if a.shape[1] != b.shape[1]:
        return 0.0
    x, y = a - a.mean(0), b - b.mean(0)
    cross = np.linalg.norm(x.T @ y, "nuc")
    return float(cross / (np.linalg.norm(x) * np.linalg.norm(y) + 1e-12))


def _examine(candidate: Candidate, rng: np.random.Generator) -> Finding:
    """Evidence against the null and stability of a chosen candidate."""
    split = candidate.split
    values = candidate.representation.values[candidate.representation.present]
    white = whiten(values).apply(values)
    null = null_evidence(white.shape[1], split.outcomes, rng=rng) / len(white)
    p_value = (1 + int((null >= split.evidence).sum())) / (1 + len(null))
    stability = _stability(white, split, rng)
    threshold = float(np.quantile(null, 0.95))
    return Finding(
        candidate.representation.name,
        candidate.probability,
        split.separation,
        split.evidence,
        threshold,
        p_value,
        stability,
        bool(split.evidence > threshold and stability > 0.8),
    )


def null_evidence(axes: int, outcomes: int, *, rng: np.random.Generator) -> Array:
    """Largest evidence, in nats over all samples, that the search finds in featureless data.

    The likelihood ratio of shapes hardly depends on the number of samples, so that few serve.
    """
    largest = []
    for _ in range(NULL_DRAWS):
        white = rng.normal(size=(NULL_SAMPLES, axes))
        splits = pursue(white, outcomes, rng=rng, starts=40, iterations=10)
        largest.append(max((s.evidence for s in splits), default=0.0) * NULL_SAMPLES)
    return np.array(largest)


def _stability(white: Array, split: Split, rng: np.random.Generator, draws: int = 5) -> float:
    """Mean agreement of the partition with those re-fitted to bootstrap samples."""
    scores = []
    for _ in range(draws):
        index = rng.integers(0, len(white), len(white))
        again = splits_along(white[index], split.direction[None], split.outcomes)[0]
        scores.append(_agreement(again.probability, split.probability[index]))
    return float(np.mean(scores))


def _nothing_found(samples: int, outcomes: int) -> Finding:
    probability = np.full((samples, outcomes), 1.0 / outcomes)
    return Finding("none", probability, 0.0, 0.0, 0.0, 1.0, 0.0, False)


def _from_labels(
    representations: Sequence[Representation], labels: NDArray[np.int64], outcomes: int
) -> Finding:
    """Outcomes as given where known, by linear discriminant analysis elsewhere."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    known = labels >= 0
    probability = np.full((len(labels), outcomes), 1e-6)
    probability[known, labels[known]] = 1.0
    complete = [r.values for r in representations if r.present.all()]
    if not known.all() and complete and len(np.unique(labels[known])) > 1:
        features = np.concatenate(complete, axis=1)
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        lda.fit(features[known], labels[known])
        probability[np.ix_(~known, lda.classes_)] = lda.predict_proba(features[~known])
    elif not known.all():
        probability[~known] = 1.0 / outcomes
    probability /= probability.sum(1, keepdims=True)
    return Finding("labels", probability, np.inf, np.inf, 0.0, 0.0, 1.0, True)


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
