r"""What several fits of one experiment agree on: other initial weights, other bootstrap samples.

A node has no name of its own, so the replicas' nodes are matched to those of the chosen fit first:
outcomes within every pair of nodes, then the nodes, both as linear assignments of the share of
samples that agree. The joint counts of every replica, its axes in that order, give its graph
posterior under the experiment's background knowledge and targets; these are averaged.

.. math:: P(i \to j) = \frac{1}{R} \sum_r P_r(\pi_r(i) \to \pi_r(j))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pima_physics.dag import DAG
from pima_physics.matching import matched_share
from pima_physics.structure import GraphPosterior, aggregate, graph_posterior

Array = NDArray[Any]

START, BOOTSTRAP = "start", "bootstrap"
BOUND = "the highest bound per held-out sample"
EVIDENCE = "the most evidence for the nodes (too few held-out samples to compare bounds)"
PLAIN = {"units": "dimensionless"}
NATS = {"units": "dimensionless", "comment": "in nats"}


@dataclass(frozen=True)
class Replica:
    """What is kept of one fit.

    Attributes
    ----------
    kind : str
        "start" (all training samples) or "bootstrap" (as many, drawn with replacement).
    seed : int
        Of the initial weights and everything drawn while training.
    bound : float
        Mean bound of the validation samples, nats; NaN where they are too few.
    evidence : float
        Evidence for its nodes, nats per sample, summed.
    outcomes : int array (sample, node)
        Likeliest outcomes of the training samples, drawn or not.
    counts : array (experiment, C_1, ..., C_L)
        Expected joint counts of the samples that it was trained on, by set of targets.
    targets : bool array (experiment, node)
        Nodes set from outside in each.
    """

    kind: str
    seed: int
    bound: float
    evidence: float
    outcomes: Array
    counts: Array
    targets: Array


@dataclass(frozen=True)
class Failure:
    """A fit that could not be trained.

    Attributes
    ----------
    kind : str
        As of a `Replica`.
    seed : int
    reason : str
        The error's message.
    """

    kind: str
    seed: int
    reason: str


@dataclass(frozen=True)
class Match:
    """Nodes of a replica in the order of the chosen fit's.

    Attributes
    ----------
    nodes : int array (node,)
        Position in the replica of the node that is the chosen fit's.
    agreement : array (node,)
        Share of samples with the same outcome, outcomes matched.
    """

    nodes: Array
    agreement: Array


def better(replica: Replica, best: Replica | None) -> bool:
    """Whether a start is to be preferred: by `rule_of` the two."""
    if best is None:
        return True
    if rule_of(best) == BOUND:
        return replica.bound > best.bound
    return replica.evidence > best.evidence


def rule_of(replica: Replica) -> str:
    """The rule by which starts are compared; the same for all starts of an experiment."""
    return BOUND if np.isfinite(replica.bound) else EVIDENCE


def match(reference: Array, other: Array, sizes: Sequence[int]) -> Match:
    """Match nodes and outcomes of two fits of the same samples.

    Parameters
    ----------
    reference, other : int array (sample, node)
    sizes : sequence of int
        Numbers of outcomes; only nodes of equal size are matched.
    """
    from scipy.optimize import linear_sum_assignment

    count = len(sizes)
    # Below any agreement: nodes of different size are never matched.
    share = np.full((count, count), -1.0)
    for i in range(count):
        for j in range(count):
            if sizes[i] != sizes[j]:
                continue
            share[i, j] = matched_share(reference[:, i], other[:, j], sizes[i])
    _, nodes = linear_sum_assignment(-share)
    return Match(nodes, share[np.arange(count), nodes])


def replica_posterior(replica: Replica, order: Array, dag: DAG) -> GraphPosterior:
    """Graph posterior of a replica's counts, axes in the chosen fit's order of nodes.

    Knowledge and targets name nodes of the experiment, which are the chosen fit's.
    """
    counts = replica.counts.transpose(0, *(1 + np.asarray(order)))
    return graph_posterior(
        counts,
        knowledge=dag.knowledge,
        intervened=replica.targets,
        generator=np.random.default_rng(0),
    )


def said_of(failures: Sequence[Failure], size: int) -> tuple[str, ...]:
    """What the user should know of failed fits, in one sentence; nothing without any."""
    each = [f"{f.kind} with seed {f.seed} ({f.reason.splitlines()[0]})" for f in failures]
    text = f"{len(each)} of {size} fits failed and are left out: {'; '.join(each)}"
    return (text,) if each else ()


def replicas_group(
    replicas: Sequence[Replica], chosen: int, dag: DAG, failures: Sequence[Failure] = ()
) -> xr.Dataset:
    """The group ``/replicas`` of the results.

    Parameters
    ----------
    chosen : int
        Position of the fit that was kept; the others are described in terms of its nodes.
    failures : sequence of Failure
        Fits that are not among the replicas; attributes count both.
    """
    reference = replicas[chosen]
    matches = [match(reference.outcomes, r.outcomes, dag.outcomes) for r in replicas]
    posteriors = [
        replica_posterior(r, m.nodes, dag) for r, m in zip(replicas, matches, strict=True)
    ]
    whole = aggregate(posteriors)
    others = [m.agreement for k, m in enumerate(matches) if k != chosen]
    pair = ("parent", "child")
    variables: dict[str, Any] = {
        "kind": ("replica", np.array([r.kind for r in replicas], dtype=object)),
        "seed": ("replica", np.array([r.seed for r in replicas]), PLAIN),
        "chosen": ("replica", np.eye(len(replicas), dtype=np.int8)[chosen], PLAIN),
        "validation_bound": ("replica", np.array([r.bound for r in replicas]), NATS),
        "evidence": ("replica", np.array([r.evidence for r in replicas]), NATS),
        "matched_node": (("replica", "node"), np.stack([m.nodes for m in matches]), PLAIN),
        "agreement": (("replica", "node"), np.stack([m.agreement for m in matches]), PLAIN),
        "edge_probability": (
            ("replica", *pair), np.stack([p.edge_probability for p in posteriors]), PLAIN,
        ),
        "cpdag": (("replica", *pair), np.stack([p.cpdag for p in posteriors]), PLAIN),
        "stability": ("node", _mean(others, len(dag.nodes)), PLAIN),
        "mean_edge_probability": (pair, whole.edge_probability, PLAIN),
        "mean_skeleton_probability": (pair, whole.skeleton_probability, PLAIN),
        "majority_cpdag": (pair, whole.cpdag, PLAIN),
        "majority_share": ((), whole.agreement, PLAIN),
    }  # fmt: skip
    found = xr.Dataset(
        variables,
        coords={
            "replica": ("replica", np.arange(len(replicas)), PLAIN),
            "node": list(dag.nodes),
            "parent": list(dag.nodes),
            "child": list(dag.nodes),
        },
        attrs={
            "rule": f"of the starts, the one with {rule_of(reference)} was kept",
            "matching": "nodes and outcomes matched to the kept fit's by samples that agree",
            "finished": len(replicas),
            "failed": len(failures),
        },
    )
    if failures:
        found["failed_kind"] = ("failure", np.array([f.kind for f in failures], dtype=object))
        found["failed_seed"] = ("failure", np.array([f.seed for f in failures]), PLAIN)
        found["failed_reason"] = ("failure", np.array([f.reason for f in failures], dtype=object))
    for name, words in MEANINGS.items():
        found[name].attrs["long_name"] = words
    return found


def _mean(others: Sequence[Array], nodes: int) -> Array:
    """Mean over the fits that were not kept; NaN where all of them failed."""
    return np.mean(others, axis=0) if others else np.full(nodes, np.nan)


MEANINGS = {
    "kind": "other initial weights (start), or also samples drawn again (bootstrap)",
    "chosen": "1: the fit that was kept",
    "validation_bound": "mean bound of the validation samples; NaN: too few to compare",
    "evidence": "for the nodes, per sample, summed",
    "matched_node": "position in the replica of the node that is this one",
    "agreement": "training samples with the same outcome as in the kept fit",
    "edge_probability": "probability of parent -> child, nodes as in the kept fit",
    "cpdag": "class of the most probable graph, nodes as in the kept fit",
    "stability": "mean agreement of the replicas that were not kept",
    "mean_edge_probability": "probability of parent -> child, mean over the replicas",
    "mean_skeleton_probability": "probability of being joined, mean over the replicas",
    "majority_cpdag": "the most frequent class",
    "majority_share": "share of the replicas with the most frequent class",
}
