"""Which graph made these counts, and how sure can one be: the posterior over DAGs.

.. math:: p(G \\mid N) \\propto \\exp \\sum_l [s_l(pa_l) - |pa_l| \\log 2], \\; s_l = \\text{BDeu}

A pair is as likely joined as not, beforehand. Exact for up to six nodes (every graph that the
knowledge admits is listed), sampled for up to twelve. The best graph is exact in both cases.

A single arrow of the best graph means little: look at ``cpdag`` (which arrows the data can
decide at all), ``edge_probability`` and ``log_bayes_factor``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pima_physics.bayesnet import BayesNet
from pima_physics.cpdags import cpdag, relative, same_class
from pima_physics.errors import InputError
from pima_physics.knowledge import SOFT, Knowledge
from pima_physics.structure_errors import FEWEST, LARGEST, label_errors, undone
from pima_physics.structure_labels import deconvolve, reliability
from pima_physics.structure_record import GraphPosterior, aggregate
from pima_physics.structure_scores import (
    as_experiments,
    changed_tables,
    counts_by_target,
    family_scores,
    fit_tables,
    kind_of,
    log_prior,
    node_names,
)
from pima_physics.structure_search import (
    LISTED,
    all_dags,
    best_dag,
    edge_probabilities,
    matrices,
    sample_dags,
    total_scores,
)

__all__ = [
    "GraphPosterior",
    "aggregate",
    "best_network",
    "changed_tables",
    "counts_by_target",
    "fit_tables",
    "graph_posterior",
    "posterior_of_labels",
    "without_label_errors",
]

AVERAGED = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
TIE = 1e-6  # nats: equivalent graphs differ by rounding only
LARGEST_CLASS = 720  # the complete graph on six nodes has 6! equivalent directions


def graph_posterior(
    counts: np.ndarray,
    *,
    equivalent_sample_size: float | Sequence[float] = AVERAGED,
    knowledge: Knowledge | None = None,
    intervened: np.ndarray | None = None,
    intervention: str | None = None,
    confusion: list[np.ndarray] | None = None,
    labels: str = "soft",
    effective_size: float | None = None,
    nodes: Sequence[str] | None = None,
    max_parents: int | None = None,
    draws: int = 2000,
    generator: np.random.Generator | None = None,
) -> GraphPosterior:
    """Return the posterior over graphs of categorical nodes.

    Parameters
    ----------
    counts : array (C_1, ..., C_L), or (R, C_1, ..., C_L) with ``intervened``
        Expected joint counts, hard or soft; one table per experiment (`counts_by_target`).
    equivalent_sample_size : float or sequence of float
        Weight of the BDeu prior, in imaginary samples. Several values are averaged with equal
        prior weight: one fixed value is overconfident or biased to sparse or dense graphs,
        depending on how extreme the true tables are (measured; beyond six nodes the value of
        highest evidence is taken).
    knowledge : Knowledge, optional
        Holds in every graph considered.
    intervened : bool array (R, L), optional
        Nodes set from outside in each experiment.
    intervention : {"perfect", "stochastic", "soft"}, optional
        See `family_scores`.
    confusion : list of arrays (C_l, C_l), optional
        p(label | true outcome) of each node: undone before scoring (`deconvolve`), and the
        sample size reduced to what such labels are worth (`reliability`).
    labels : {"soft", "hard"}
        With ``confusion``: counts are sums of probabilities or of labels.
    effective_size : float, optional
        Counts are scaled to this total, where samples are correlated or weighted.
    nodes : sequence of str, optional
        Names; default those of the knowledge, else node_0, ...
    max_parents : int, optional
        Limit that speeds up many nodes; required edges are exempt.
    draws, generator
        Beyond six nodes, where ``generator`` is required.

    Raises
    ------
    InputError
        Where shapes do not fit, or beyond twelve nodes.
    """
    tables, acted = as_experiments(counts, intervened)
    if confusion is not None:
        tables = np.stack([deconvolve(table, confusion) for table in tables])
    total = float(tables.sum())
    if confusion is not None and effective_size is None:
        effective_size = total * reliability(confusion, labels=labels)
    if effective_size is not None and total > 0:
        tables, total = tables * (effective_size / total), float(effective_size)
    grid = np.array(equivalent_sample_size, dtype=float, ndmin=1)
    if not grid.size or np.any(grid <= 0):
        raise InputError("The equivalent sample size must be positive.", found=grid.tolist())
    scores = [
        log_prior(tables.ndim - 1)
        + family_scores(
            tables,
            equivalent_sample_size=float(size),
            knowledge=knowledge,
            intervened=acted,
            intervention=intervention,
            max_parents=max_parents,
        )
        for size in grid
    ]
    names = node_names(nodes, knowledge, tables.ndim - 1)
    found = _listed(scores) if len(names) <= LISTED else _sampled(scores, draws, generator)
    split = relative(acted) if kind_of(intervention, knowledge) == SOFT else acted
    return _summary(found, names, knowledge, split, total)


def posterior_of_labels(
    counts: np.ndarray,
    *,
    knowledge: Knowledge | None = None,
    intervened: np.ndarray | None = None,
    doubt: np.ndarray | Sequence[float] | None = None,
) -> GraphPosterior:
    """Posterior over graphs of nodes that were discovered, so that labels may be wrong.

    Label errors that explain an edge away are undone before scoring (`label_errors`); ``method``
    then says how large they are. The same counts give the same answer: graphs of many nodes are
    drawn from a fixed seed.

    Parameters
    ----------
    counts, knowledge, intervened
        As for `graph_posterior`.
    doubt : array (L,) or (R, L), optional
        Error rate of every node's labels, as their probabilities say; none without.
    """

    def scored(tables: np.ndarray) -> GraphPosterior:
        rng = np.random.default_rng(0)
        return graph_posterior(tables, knowledge=knowledge, intervened=intervened, generator=rng)

    found = scored(counts)
    if doubt is None:
        return found
    errors = _errors(counts, found.dag, doubt, knowledge, intervened)
    if errors is None:
        return found
    tables = as_experiments(counts, intervened)[0]
    largest = max(float(1.0 - np.diag(m).min()) for each in errors for m in each)
    again = scored(undone(tables, errors).reshape(counts.shape))
    return replace(again, method=f"{again.method}, {largest:.1%} label errors undone")


def without_label_errors(
    counts: np.ndarray,
    doubt: np.ndarray | Sequence[float],
    *,
    knowledge: Knowledge | None = None,
    intervened: np.ndarray | None = None,
) -> np.ndarray:
    """Joint counts as `posterior_of_labels` scores them, with the same total."""
    if not FEWEST <= counts.ndim - (intervened is not None) <= LARGEST:
        return counts
    best = graph_posterior(counts, knowledge=knowledge, intervened=intervened).dag
    errors = _errors(counts, best, doubt, knowledge, intervened)
    if errors is None:
        return counts
    tables = as_experiments(counts, intervened)[0]
    each = [deconvolve(table, e) for table, e in zip(tables, errors, strict=True)]
    return np.stack(each).reshape(counts.shape)


def _errors(
    counts: np.ndarray,
    dag: np.ndarray,
    doubt: np.ndarray | Sequence[float],
    knowledge: Knowledge | None,
    intervened: np.ndarray | None,
) -> list[list[np.ndarray]] | None:
    """Label errors that explain an edge away; not sought where tables of nodes are changed."""
    tables, acted = as_experiments(counts, intervened)
    soft = acted.any() and kind_of(None, knowledge) == SOFT
    return None if soft else label_errors(tables, dag, doubt, acted)


def best_network(
    counts: np.ndarray,
    *,
    knowledge: Knowledge | None = None,
    intervened: np.ndarray | None = None,
    doubt: np.ndarray | Sequence[float] | None = None,
) -> tuple[GraphPosterior, BayesNet]:
    """Posterior over graphs of discovered nodes, and tables for the best of them."""
    posterior = posterior_of_labels(counts, knowledge=knowledge, intervened=intervened, doubt=doubt)
    return posterior, fit_tables(counts, posterior.dag, intervened=intervened)


@dataclass(frozen=True)
class _Found:
    """A weighted list of graphs (D, L) as parent-set codes, and the best one."""

    dags: np.ndarray
    log_scores: np.ndarray
    weights: np.ndarray
    best: np.ndarray
    top: float
    method: str


def _listed(scores: Sequence[np.ndarray]) -> _Found:
    """Score every graph, averaged over the priors."""
    dags = all_dags(len(scores[0]))
    total = total_scores(dags, scores[0])
    for other in scores[1:]:
        np.logaddexp(total, total_scores(dags, other), out=total)
    total -= np.log(len(scores))
    top = float(total.max())
    weights = np.exp(total - top)
    # The first within rounding: which of several equivalent graphs is shown is reproducible.
    best = dags[int(np.argmax(total > top - _slack(top)))]
    return _Found(dags, total, weights / weights.sum(), best, top, "exact")


def _sampled(
    scores: Sequence[np.ndarray], draws: int, generator: np.random.Generator | None
) -> _Found:
    """Draw graphs, under the prior whose best graph has the highest evidence."""
    size = len(scores[0])
    if generator is None:
        raise InputError(
            f"Graphs of {size} nodes are sampled.", fix="give generator=default_rng(0)"
        )
    bests = [best_dag(score) for score in scores]
    tops = [float(total_scores(b[None], s)[0]) for b, s in zip(bests, scores, strict=True)]
    pick = int(np.argmax(tops))
    dags, weights = sample_dags(scores[pick], draws, generator)
    log_scores = total_scores(dags, scores[pick])
    method = f"{draws} sampled graphs"
    return _Found(dags, log_scores, weights, bests[pick], tops[pick], method)


def _summary(
    found: _Found,
    names: tuple[str, ...],
    knowledge: Knowledge | None,
    acted: np.ndarray,
    total: float,
) -> GraphPosterior:
    """Read edges, best class and runner-up off a weighted list of graphs."""
    chosen = matrices(found.best[None])[0]
    edges = edge_probabilities(found.dags, found.weights)
    # A class has at most L! members of equal score, so the runner-up is among the first few.
    few = min(LARGEST_CLASS + 1, len(found.dags))
    ranked = np.argpartition(-found.log_scores, few - 1)[:few]
    equivalent = same_class(matrices(found.dags[ranked]), chosen, acted)
    equivalent &= found.log_scores[ranked] > found.top - _slack(found.top)
    rivals = found.log_scores[ranked][~equivalent]
    runner_up = float(rivals.max()) if rivals.size else -np.inf
    return GraphPosterior(
        nodes=names,
        edge_probability=edges,
        skeleton_probability=np.clip(edges + edges.T, 0.0, 1.0),
        dag=chosen.astype(int),
        cpdag=cpdag(chosen, knowledge, targets=acted),
        log_evidence=found.top - float(log_prior(len(names))[found.best].sum()),
        log_bayes_factor=max(found.top - runner_up, 0.0),
        class_probability=float(min(found.weights[ranked][equivalent].sum(), 1.0)),
        sample_size=total,
        method=found.method,
    )


def _slack(score: float) -> float:
    return max(TIE, 1e-9 * abs(score))
