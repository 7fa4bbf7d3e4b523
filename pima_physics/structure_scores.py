r"""BDeu scores of every family, from hard or soft joint counts.

.. math::
    \log p(\text{counts of } l \mid pa) = G(pa \cup l) - G(pa), \quad
    G(S) = \sum_{s} \log\Gamma(\alpha_S + N_s) - \log\Gamma(\alpha_S), \quad \alpha_S = a / |S|

=========  =========================================================  =================
symbol     name                                                       shape
=========  =========================================================  =================
N          expected joint counts, real-valued                         (C_1, ..., C_L)
a          equivalent sample size                                     scalar
S          a set of nodes, bit l of its code for node l               0 .. 2^L - 1
scores     log score of node l with parent set S; -inf = not allowed  (L, 2^L)
=========  =========================================================  =================

Beside it stands the log prior of a graph, by families too (`log_prior`).

Because every cell of S shares one pseudocount, the family score is a difference of the same
table G for all nodes: 2^L marginals suffice for all L 2^(L-1) families.

Reference: D. Heckerman, D. Geiger and D. Chickering, "Learning Bayesian networks", Machine
Learning 20, 1995.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln

from pima_physics.bayesnet import BayesNet
from pima_physics.errors import InputError
from pima_physics.knowledge import KINDS, PERFECT, SOFT, Knowledge


def family_scores(
    counts: np.ndarray,
    *,
    equivalent_sample_size: float = 1.0,
    knowledge: Knowledge | None = None,
    intervened: np.ndarray | None = None,
    intervention: str | None = None,
    max_parents: int | None = None,
) -> np.ndarray:
    """Return the log score of every node with every parent set, shape (L, 2^L).

    Parameters
    ----------
    counts : array (C_1, ..., C_L), or (R, C_1, ..., C_L) with ``intervened``
        Expected joint counts, one table per experiment.
    intervened : bool array (R, L), optional
        Nodes set from outside in each experiment.
    intervention : {"perfect", "stochastic", "soft"}, optional
        "perfect": the node was set, those samples say nothing about its parents and are left
        out of its score. "stochastic": they count as draws of one distribution without parents.
        "soft": its mechanism was changed; it keeps its parents and gets a second table of its
        own. Default: that of the knowledge, else "perfect".
    """
    tables, acted = as_experiments(counts, intervened)
    kind = kind_of(intervention, knowledge)
    size = tables.ndim - 1
    scores = np.empty((size, 2**size))
    known: dict[bytes, np.ndarray] = {}

    def families(chosen: np.ndarray) -> np.ndarray:
        if chosen.tobytes() not in known:  # most nodes share the same experiments
            known[chosen.tobytes()] = _subset_scores(tables[chosen].sum(0), equivalent_sample_size)
        return known[chosen.tobytes()]

    codes = np.arange(2**size)
    for node in range(size):
        bit = 1 << node
        observed = families(~acted[:, node])
        scores[node] = observed[codes | bit] - observed[codes & ~bit]
        if kind != PERFECT and acted[:, node].any():
            changed = families(acted[:, node])
            parents = codes & ~bit if kind == SOFT else np.zeros_like(codes)
            scores[node] += changed[parents | bit] - changed[parents]
    scores[~allowed_families(size, knowledge, max_parents)] = -np.inf
    return scores


def log_prior(size: int) -> np.ndarray:
    """Return the log prior of every parent set, (2^L,): a pair is as likely joined as not.

    Each direction has half the weight of no edge, before cycles and knowledge leave graphs out.
    All graphs alike would be mostly dense ones: of 25 on three nodes only one is without edges.
    """
    codes = np.arange(2**size)
    parents = (codes[:, None] >> np.arange(size) & 1).sum(1)
    return -np.log(2.0) * parents


def kind_of(intervention: str | None, knowledge: Knowledge | None) -> str:
    """Return the kind of interventions given, else that of the knowledge, else perfect."""
    if intervention is None:
        return PERFECT if knowledge is None else knowledge.interventions
    if intervention not in KINDS:
        raise InputError(
            f"Unknown kind of intervention {intervention!r}.", expected=" or ".join(KINDS)
        )
    return intervention


def allowed_families(
    size: int, knowledge: Knowledge | None = None, max_parents: int | None = None
) -> np.ndarray:
    """Return which parent sets are admitted, bool (L, 2^L)."""
    codes = np.arange(2**size)
    member = (codes[:, None] >> np.arange(size)) & 1 == 1  # (2^L, L)
    allowed = ~np.eye(size, dtype=bool)
    required = np.zeros((size, size), dtype=bool)
    if knowledge is not None:
        if len(knowledge) != size:
            raise InputError(
                "The knowledge does not fit the counts.",
                found=f"{len(knowledge)} nodes: {', '.join(knowledge.nodes)}",
                expected=f"{size} nodes, one per axis of the counts",
            )
        allowed, required = knowledge.allowed, knowledge.required_matrix
    # Codes with a parent outside the allowed ones, or without a required one, are out.
    excess = member.astype(int) @ (~allowed).astype(int)
    lacking = (~member).astype(int) @ required.astype(int)
    admitted = ((excess == 0) & (lacking == 0)).T
    if max_parents is not None:
        few = member.sum(1)[None, :] <= np.maximum(max_parents, required.sum(0))[:, None]
        admitted &= few
    return admitted


def as_experiments(
    counts: np.ndarray, intervened: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return counts (R, C_1, ..., C_L) and targets bool (R, L), checked."""
    tables = np.asarray(counts, dtype=float)
    if intervened is None:
        tables = tables[None]
        acted = np.zeros((1, tables.ndim - 1), dtype=bool)
    else:
        acted = np.atleast_2d(np.asarray(intervened)).astype(bool)
    if tables.ndim < 2 or acted.shape != (len(tables), tables.ndim - 1):
        raise InputError(
            "Counts and interventions do not fit.",
            found=f"counts {tables.shape}, intervened {acted.shape}",
            expected="counts (experiments, C_1, ..., C_L), intervened (experiments, L)",
        )
    if not np.all(np.isfinite(tables)) or np.any(tables < 0):
        raise InputError("The counts hold negative, infinite or NaN entries.")
    return tables, acted


def counts_by_target(weights: np.ndarray, intervened: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum soft joint outcomes over the samples of each experiment.

    Parameters
    ----------
    weights : array (N, C_1, ..., C_L)
        Responsibilities, or one-hot joint outcomes.
    intervened : bool array (N, L)
        Nodes set from outside in each sample.

    Returns
    -------
    counts : array (R, C_1, ..., C_L)
    intervened : bool array (R, L), the distinct rows
    """
    weights, acted = np.asarray(weights, dtype=float), np.asarray(intervened).astype(bool)
    if acted.shape != (len(weights), weights.ndim - 1):
        raise InputError(
            "Weights and interventions do not fit.",
            found=f"weights {weights.shape}, intervened {acted.shape}",
            expected="weights (N, C_1, ..., C_L), intervened (N, L)",
        )
    rows, group = np.unique(acted, axis=0, return_inverse=True)
    group = np.reshape(group, -1)
    return np.stack([weights[group == r].sum(0) for r in range(len(rows))]), rows


def fit_tables(
    counts: np.ndarray,
    dag: np.ndarray,
    pseudocount: float = 1.0,
    *,
    nodes: Sequence[str] | None = None,
    intervened: np.ndarray | None = None,
) -> BayesNet:
    """Return the network with posterior-mean tables for a given graph.

    Parameters
    ----------
    counts : array (C_1, ..., C_L), or (R, C_1, ..., C_L) with ``intervened``
    dag : array (L, L)
        ``dag[parent, child]``.
    pseudocount : float
        Imaginary samples, spread evenly over the cells of each table. Rows without any data
        (and with pseudocount 0) are uniform.
    intervened : bool array (R, L), optional
        Samples in which a node was set from outside do not enter its table.
    """
    tables, acted = as_experiments(counts, intervened)
    edges = np.asarray(dag).astype(bool)
    size = tables.ndim - 1
    if edges.shape != (size, size):
        raise InputError(
            "The graph does not fit the counts.", found=edges.shape, expected=(size, size)
        )
    fitted = tuple(
        _table(tables[~acted[:, node]].sum(0), node, edges, pseudocount) for node in range(size)
    )
    return BayesNet(node_names(nodes, None, size), tables.shape[1:], edges, fitted)


def changed_tables(
    counts: np.ndarray, dag: np.ndarray, intervened: np.ndarray, kind: str, pseudocount: float = 1.0
) -> tuple[np.ndarray, ...]:
    """Return the posterior-mean tables of nodes while acted on, in the form of `fit_tables`.

    They are uniform where nothing acts on a node, and without parents unless ``kind`` is soft.
    """
    tables, acted = as_experiments(counts, intervened)
    edges = np.asarray(dag).astype(bool) & (kind == SOFT)
    return tuple(
        _table(tables[acted[:, node]].sum(0), node, edges, pseudocount)
        for node in range(acted.shape[1])
    )


def _table(counts: np.ndarray, node: int, edges: np.ndarray, pseudocount: float) -> np.ndarray:
    others = tuple(j for j in range(len(edges)) if j != node and not edges[j, node])
    cells = counts.sum(axis=others, keepdims=True)
    cells = cells + pseudocount / cells.size
    rows = cells.sum(axis=node, keepdims=True)
    uniform = np.full_like(cells, 1.0 / cells.shape[node])
    return np.divide(cells, rows, out=uniform, where=rows > 0)


def node_names(
    nodes: Sequence[str] | None, knowledge: Knowledge | None, size: int
) -> tuple[str, ...]:
    """Return the names given, else those of the knowledge, else node_0, ...; checked."""
    if nodes is None:
        nodes = knowledge.nodes if knowledge else [f"node_{i}" for i in range(size)]
    if len(nodes) != size:
        raise InputError("The node names do not fit.", found=list(nodes), expected=f"{size} names")
    if knowledge is not None and tuple(nodes) != knowledge.nodes:
        raise InputError(
            "Nodes and knowledge name different nodes.",
            found=", ".join(nodes),
            expected=", ".join(knowledge.nodes),
        )
    return tuple(nodes)


def _subset_scores(counts: np.ndarray, equivalent_sample_size: float) -> np.ndarray:
    """G(S) for every set of nodes; marginals are taken from the next larger set."""
    size = counts.ndim
    full = 2**size - 1
    margins = {full: counts}
    scores = np.empty(2**size)
    for code in range(full, -1, -1):
        if code not in margins:
            missing = next(node for node in range(size) if not code >> node & 1)
            parent = margins[code | 1 << missing]
            margins[code] = parent.sum(axis=missing, keepdims=True)
        cells = margins[code]
        prior = equivalent_sample_size / cells.size
        scores[code] = float(np.sum(gammaln(prior + cells)) - cells.size * gammaln(prior))
    return scores
