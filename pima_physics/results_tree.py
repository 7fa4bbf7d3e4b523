"""Groups of the results tree that describe samples, graph, components and training.

All groups name the dimension of samples ``sample``; every numeric variable has ``units``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pima_physics.bayesnet import BayesNet
from pima_physics.cpdags import cpdag
from pima_physics.dag import DAG
from pima_physics.dataset import Split
from pima_physics.discovery import Discovery
from pima_physics.inference import Posterior
from pima_physics.model import Network
from pima_physics.structure import (
    GraphPosterior,
    counts_by_target,
    fit_tables,
    posterior_of_labels,
)
from pima_physics.structure_errors import doubt_of

Array = NDArray[Any]

PLAIN = {"units": "dimensionless"}
NATS = {"units": "dimensionless", "comment": "in nats"}
PARTS = ("train", "validation", "test")
PSEUDOCOUNT = 1.0
# An edge of this strength counts as present.
PRESENT = 0.5


@dataclass(frozen=True)
class Graph:
    """What a fit says about the graph.

    Attributes
    ----------
    strength : array (parent, child)
        Trained edge strengths.
    adjacency, cpdag : int array (parent, child)
        The trained graph and its equivalence class.
    exact : GraphPosterior
        Over all graphs, from the joint counts of the training samples.
    net : BayesNet
        Tables on the trained graph.
    counts : tuple of array
        Expected counts behind each table, of the table's shape.
    """

    strength: Array
    adjacency: Array
    cpdag: Array
    exact: GraphPosterior
    net: BayesNet
    counts: tuple[Array, ...]


def marginals(responsibility: Array, outcomes: Sequence[int]) -> Array:
    """Node probabilities (sample, node, outcome), NaN beyond a node's own outcomes."""
    joint = responsibility.reshape(-1, *outcomes)
    found = np.full((len(joint), len(outcomes), max(outcomes)), np.nan)
    for node, size in enumerate(outcomes):
        others = tuple(a + 1 for a in range(len(outcomes)) if a != node)
        found[:, node, :size] = joint.sum(others)
    return found


def learn_graph(
    network: Network,
    responsibility: Array,
    intervened: Array | None,
    discovery: Discovery | None = None,
) -> Graph:
    """Graph, its posterior and tables from the responsibilities of the training samples.

    With a discovery each counts as so many independent samples as it says, and labels are at least
    as often wrong as it says: trained networks are surer of them than they are right.
    """
    dag = network.model.dag
    worth = 1.0 if discovery is None else discovery.worth
    weights = worth * np.asarray(responsibility, dtype=float).reshape(-1, *dag.outcomes)
    counts, rows = weights.sum(0), None
    if intervened is not None:
        counts, rows = counts_by_target(weights, intervened)
    each = marginals(responsibility, dag.outcomes)
    doubt = doubt_of([each[:, j, :c] for j, c in enumerate(dag.outcomes)], intervened)
    if discovery is not None:
        doubt = np.maximum(doubt, discovery.doubt(intervened))
    exact = posterior_of_labels(counts, knowledge=dag.knowledge, intervened=rows, doubt=doubt)
    strength = network.prior.edge_strength().detach().double().cpu().numpy()
    adjacency = (strength > PRESENT).astype(int)
    net = fit_tables(counts, adjacency, PSEUDOCOUNT, nodes=dag.nodes, intervened=rows)
    return Graph(
        strength,
        adjacency,
        cpdag(adjacency, dag.knowledge, targets=rows),
        exact,
        net,
        _family_counts(net, counts, rows),
    )


def _family_counts(net: BayesNet, counts: Array, rows: Array | None) -> tuple[Array, ...]:
    tables = counts[None] if rows is None else counts
    found = []
    for node, table in enumerate(net.tables):
        kept = np.ones(len(tables), bool) if rows is None else ~rows[:, node]
        others = tuple(axis for axis, size in enumerate(table.shape) if size == 1)
        found.append(tables[kept].sum(0).sum(axis=others, keepdims=True))
    return tuple(found)


def node_coordinate(dag: DAG) -> xr.DataArray:
    """Names of the nodes, with their numbers of outcomes."""
    return xr.DataArray(
        list(dag.nodes), dims="node", attrs={"outcomes": [int(c) for c in dag.outcomes]}
    )


def counted(dim: str, size: int) -> tuple[str, Array, dict[str, str]]:
    """Coordinate 0, 1, ... of a dimension."""
    return dim, np.arange(size), PLAIN


def sample_coordinate(labels: Array) -> tuple[str, Array, dict[str, str]]:
    """Labels of the samples."""
    labels = np.asarray(labels)
    return "sample", labels, dict(PLAIN) if labels.dtype.kind in "iufb" else {}


def split_codes(parts: Split, size: int) -> Array:
    """0, 1, 2 for training, validation and test samples, -1 for none."""
    codes = np.full(size, -1)
    for code, part in enumerate(PARTS):
        codes[getattr(parts, part)] = code
    return codes


def posterior_group(posterior: Posterior, dag: DAG, labels: Array, parts: Split) -> xr.Dataset:
    """What was inferred about every sample."""
    probability = marginals(posterior.responsibility, dag.outcomes)
    outcome = np.nan_to_num(probability, nan=-1.0).argmax(2)
    split = {
        "flag_values": np.arange(3),
        "flag_meanings": " ".join(PARTS),
        "long_name": "part of the data",
    }
    size, latent = posterior.mean.shape
    return xr.Dataset(
        {
            "z_mean": (("sample", "latent"), posterior.mean, PLAIN),
            "z_std": (("sample", "latent"), posterior.std, PLAIN),
            "responsibility": (
                ("sample", "component"), posterior.responsibility.astype(np.float32), PLAIN,
            ),
            "node_outcome": (("sample", "node"), outcome, PLAIN),
            "node_probability": (("sample", "node", "outcome"), probability, PLAIN),
            "elbo": ("sample", posterior.elbo, NATS),
            "split": ("sample", split_codes(parts, size), PLAIN | split),
        },
        coords={
            "sample": sample_coordinate(labels),
            "latent": counted("latent", latent),
            "component": counted("component", dag.components),
            "node": node_coordinate(dag),
            "outcome": counted("outcome", max(dag.outcomes)),
        },
    )  # fmt: skip


def graph_group(graph: Graph) -> xr.Dataset:
    """Trained graph, equivalence classes, probabilities of all edges and tables."""
    pair, nodes = ("parent", "child"), list(graph.net.nodes)
    matrices = {
        "adjacency": (graph.adjacency, "edges of the trained graph"),
        "edge_strength": (graph.strength, "trained strengths"),
        "cpdag": (graph.cpdag, "class of the trained graph; both directions 1: undirected"),
        "cpdag_exact": (graph.exact.cpdag, "class of the most probable graph"),
        "edge_probability": (graph.exact.edge_probability, "probability of parent -> child"),
        "skeleton_probability": (graph.exact.skeleton_probability, "probability of being joined"),
    }
    scalars = {
        "log_bayes_factor": (graph.exact.log_bayes_factor, "best class over the runner-up, nats"),
        "log_evidence": (graph.exact.log_evidence, "of the best graph, nats"),
        "class_probability": (graph.exact.class_probability, "of the best class"),
        "sample_size": (graph.exact.sample_size, "training samples counted, alike ones as fewer"),
    }
    variables: dict[str, Any] = {
        name: (pair, values, PLAIN | {"long_name": words})
        for name, (values, words) in matrices.items()
    }
    variables |= {
        name: ((), float(value), PLAIN | {"long_name": words})
        for name, (value, words) in scalars.items()
    }
    for node in range(len(nodes)):
        variables[f"table_{safe(nodes[node])}"] = _table(graph.net, node)
    return xr.Dataset(
        variables, coords={"parent": nodes, "child": nodes}, attrs={"method": graph.exact.method}
    )


def _table(net: BayesNet, node: int) -> tuple[tuple[str, ...], Array, dict[str, str]]:
    """Conditional table with parents' axes first and the node's own last."""
    parents = [j for j in range(len(net.nodes)) if net.dag[j, node]]
    order = [*parents, node]
    rest = [j for j in range(len(net.nodes)) if j not in order]
    values = net.tables[node].transpose([*order, *rest]).reshape([net.outcomes[j] for j in order])
    dims = [safe(net.nodes[j]) for j in order]
    dims = [f"{dim}_outcome" if dim in ("parent", "child") else dim for dim in dims]
    given = ", ".join(net.nodes[j] for j in parents)
    words = f"p({net.nodes[node]}{' | ' + given if given else ''})"
    return tuple(dims), values, PLAIN | {"long_name": words}


def components_group(network: Network, responsibility: Array) -> xr.Dataset:
    """The mixture: one Gaussian for every joint outcome."""
    dag, mixture = network.model.dag, network.mixture
    weight = network.prior.log_weight.detach().double().exp().cpu().numpy()
    std = (0.5 * mixture.log_variance.double()).exp().cpu().numpy()
    both = ("component", "latent")
    return xr.Dataset(
        {
            "outcome": (("component", "node"), dag.joint_outcomes(), PLAIN),
            "weight": ("component", weight, PLAIN),
            "count": (
                "component", responsibility.sum(0), PLAIN | {"long_name": "samples owned"},
            ),
            "mean": (both, mixture.mean.double().cpu().numpy(), PLAIN),
            "std": (both, std, PLAIN),
        },
        coords={
            "component": counted("component", dag.components),
            "node": node_coordinate(dag),
            "latent": counted("latent", mixture.mean.shape[1]),
        },
    )  # fmt: skip


def agreement(discovery: Discovery, responsibility: Array, dag: DAG) -> Array:
    """Share of training samples whose outcome is the one of the discovery, per node."""
    trained = np.nan_to_num(marginals(responsibility, dag.outcomes), nan=-1.0).argmax(2)
    shares = []
    for n, finding in enumerate(discovery.findings):
        p = finding.probability
        told = (p != p[:, :1]).any(1)  # of data on disk, discovery saw a part
        shares.append(float((trained[told, n] == p[told].argmax(1)).mean()) if told.any() else 1.0)
    return np.array(shares)


def discovery_group(discovery: Discovery, responsibility: Array, dag: DAG) -> xr.Dataset:
    """Evidence for every node; every plain number or text of the findings."""
    variables: dict[str, Any] = {}
    for field in fields(discovery.findings[0]):
        values = [getattr(finding, field.name) for finding in discovery.findings]
        if all(isinstance(v, str) for v in values):
            variables[field.name] = ("node", np.array(values, dtype=object))
        elif all(isinstance(v, bool | np.bool_) for v in values):
            variables[field.name] = ("node", np.array(values, dtype=np.int8), PLAIN)
        elif all(isinstance(v, int | float | np.number) for v in values):
            variables[field.name] = ("node", np.array(values, dtype=float), PLAIN)
    doubts = np.array([finding.doubt for finding in discovery.findings], dtype=object)
    variables["doubt"] = ("node", doubts)
    same = agreement(discovery, responsibility, dag)
    words = {"long_name": "training samples with the same outcome in discovery and final model"}
    variables["agreement"] = ("node", same, PLAIN | words)
    return xr.Dataset(variables, coords={"node": node_coordinate(dag)})


def history_group(history: Sequence[Any]) -> xr.Dataset:
    """Terms of the bound by epoch; NaN in epochs without a term."""
    names = list(dict.fromkeys(name for record in history for name in record.terms))
    variables: dict[str, Any] = {
        safe(name): ("epoch", np.array([r.terms.get(name, np.nan) for r in history]), NATS)
        for name in names
    }
    phases = [str(record.phase) for record in history]
    variables["phase"] = ("epoch", np.array(phases, dtype=object))
    epochs = np.array([int(record.epoch) for record in history], dtype=int)
    return xr.Dataset(variables, coords={"epoch": ("epoch", epochs, PLAIN)})


def safe(name: str) -> str:
    """A name that can be a NetCDF variable or group: no slashes."""
    return name.replace("/", "_")
