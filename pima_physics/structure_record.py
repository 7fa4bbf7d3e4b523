"""The answer of the graph posterior as a record, and the answer of several replicas together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pima_physics.errors import InputError


@dataclass(frozen=True)
class GraphPosterior:
    """What the counts say about the graph.

    Attributes
    ----------
    nodes : tuple of str
    edge_probability : array (L, L)
        P(parent -> child), over all graphs.
    skeleton_probability : array (L, L), symmetric
        P(the two nodes are joined).
    dag : int array (L, L)
        The best graph; among equivalent ones an arbitrary member.
    cpdag : int array (L, L)
        Its equivalence class (1 where i -> j is possible), given interventions and knowledge.
    log_evidence : float
        Log marginal likelihood of the counts under the best graph, nats.
    log_bayes_factor : float
        Of the best graph over the best one of another class, times their prior odds (a factor
        of two for each edge more), nats; inf without a rival.
    class_probability : float
        Posterior probability of the best graph's class.
    sample_size : float
        Total (effective) count that was scored.
    method : str
        How the probabilities were computed.
    agreement : float
        Share of replicas with this CPDAG (`aggregate`); 1 for a single posterior.
    """

    nodes: tuple[str, ...]
    edge_probability: np.ndarray
    skeleton_probability: np.ndarray
    dag: np.ndarray
    cpdag: np.ndarray
    log_evidence: float
    log_bayes_factor: float
    class_probability: float
    sample_size: float
    method: str
    agreement: float = 1.0

    def __str__(self) -> str:
        lines = [
            f"graph of {', '.join(self.nodes)} from {self.sample_size:.0f} samples ({self.method})",
            f"best class: probability {self.class_probability:.2f}, "
            f"{self.log_bayes_factor:.1f} nats above the next, agreement {self.agreement:.0%}",
        ]
        for i, parent in enumerate(self.nodes):
            for j, child in enumerate(self.nodes):
                joined = self.skeleton_probability[i, j]
                if j <= i or (joined < 0.05 and not (self.cpdag[i, j] or self.cpdag[j, i])):
                    continue
                mark = {(1, 0): "->", (0, 1): "<-", (1, 1): "--", (0, 0): "  "}
                sign = mark[int(self.cpdag[i, j]), int(self.cpdag[j, i])]
                lines.append(
                    f"  {parent} {sign} {child}   joined {joined:.2f}, "
                    f"-> {self.edge_probability[i, j]:.2f}, <- {self.edge_probability[j, i]:.2f}"
                )
        return "\n".join(lines)


def aggregate(
    posteriors: Sequence[GraphPosterior], permutations: Sequence[Sequence[int]] | None = None
) -> GraphPosterior:
    """Combine replicas (seeds, bootstrap samples) into one statement.

    Probabilities are averaged. The class is the most frequent one (then the one of higher
    evidence) and ``agreement`` is its share; ``log_bayes_factor`` is the median, negated where
    a replica preferred another class.

    Parameters
    ----------
    permutations : sequence of int sequences, optional
        ``permutations[r][l]`` is the node of replica r that corresponds to node l of the
        first; outcomes need no matching, the posterior does not depend on their labels.
    """
    if not posteriors:
        raise InputError("There is no posterior to aggregate.")
    size = len(posteriors[0].nodes)
    orders = permutations if permutations is not None else [range(size)] * len(posteriors)
    grids = [np.ix_(list(order), list(order)) for order in orders]
    if len(grids) != len(posteriors) or any(sorted(order) != list(range(size)) for order in orders):
        raise InputError(
            "The replicas' nodes are not matched.", expected=f"one permutation of {size} each"
        )
    pairs = list(zip(posteriors, grids, strict=True))
    classes = [p.cpdag[grid].tobytes() for p, grid in pairs]
    votes, evidence = Counter(classes), {}
    for key, posterior in zip(classes, posteriors, strict=True):
        evidence[key] = max(evidence.get(key, -np.inf), posterior.log_evidence)
    winner = max(votes, key=lambda key: (votes[key], evidence[key]))
    member, grid = pairs[classes.index(winner)]
    agree = np.array([key == winner for key in classes])
    chances = np.array([p.class_probability for p in posteriors])
    factors = np.array([p.log_bayes_factor for p in posteriors])
    return GraphPosterior(
        nodes=posteriors[0].nodes,
        edge_probability=np.mean([p.edge_probability[g] for p, g in pairs], axis=0),
        skeleton_probability=np.mean([p.skeleton_probability[g] for p, g in pairs], axis=0),
        dag=member.dag[grid],
        cpdag=member.cpdag[grid],
        log_evidence=float(np.mean([p.log_evidence for p in posteriors])),
        log_bayes_factor=float(np.median(np.where(agree, factors, -factors))),
        class_probability=float(np.mean(np.where(agree, chances, 0.0))),
        sample_size=float(np.mean([p.sample_size for p in posteriors])),
        method=f"mean of {len(posteriors)} replicas",
        agreement=votes[winner] / len(posteriors),
    )
