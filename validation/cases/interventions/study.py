"""Fit sets with known graphs, with interventions, with tiers, and with neither.

With interventions the nodes have names: outcomes that they were set to say which feature is which,
so that nodes and graph are compared by name; so they have with a few labels. Otherwise names are
arbitrary, and nodes and outcomes are matched first. The known labels serve only to score, but for
the few that are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

import pima_physics as pima
from pima_physics.datasets import circles, lattices
from pima_physics.knowledge import Knowledge
from pima_physics.structure import counts_by_target, graph_posterior
from pima_physics.truth import Truth
from pima_physics.validation.cases.models import modalities
from pima_physics.validation.cases.study import Method, Study
from pima_physics.validation.graphs import shd
from pima_physics.validation.metrics import match_nodes

Make = Callable[[int, int, float], tuple[xr.Dataset, Truth]]
"""(samples, seed, share of samples intervened on) -> data and the known answer."""

LATENT = 8
RINGS = ("fork", "chain", "collider", "empty")
SHARE = 0.2
LABELLED = 0.05
HELPS = ACTED, NAMED, TIERED, NEITHER = (
    "20 % interventions",
    "tiers and 5 % labels",
    "tiers",
    "neither",
)
TIERS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "circles, fork": (("hue",), ("radius", "shift")),
    "circles, chain": (("hue",), ("radius",), ("shift",)),
    "circles, collider": (("hue", "radius"), ("shift",)),
    "circles, empty": (("hue",), ("radius",), ("shift",)),
    "lattices": (("process", "lattice"), ("strength",)),
}
COLUMNS = {
    "worst": "worst node accuracy",
    "exact_trained": "DAG exact, trained A",
    "exact_score": "DAG exact, exact score",
    "shd_trained": "SHD to the DAG, trained A",
    "shd_score": "SHD to the DAG, exact score",
    "probability": "least probability of a true edge",
    "known": "DAG exact, known labels",
}
ABOUT = (
    "{samples} samples, {epochs} epochs, physics decoder of the signal or curve; nodes and "
    "outcomes as many as there are; data, split and weights from the seed. Interventions: one "
    "sample in five has one node, drawn uniformly, set to an outcome drawn uniformly; target and "
    "value are given to the fit. Tiers: the levels of the true graph are given, with the labels of "
    "one sample in twenty, or alone. With values or labels nodes and outcomes are compared by "
    "name, otherwise matched first. Tiers alone leave it open which feature a name means where "
    "another naming makes an equivalent graph (hue -> radius, hue -> shift is as likely as radius "
    "-> hue -> shift), and the fit then warns. Neither: the control, as observation leaves "
    "directions open. DAG exact: the class reported equals the true DAG, every edge directed and "
    "right (share of the runs). Known labels: the same for the exact score of the true labels of "
    "all samples, to see what they show at best."
)


def cases() -> dict[str, tuple[str, Make]]:
    """Case -> (name of the suggested experiment, generator)."""

    def ring(graph: str) -> Make:
        return lambda samples, seed, share: circles(
            samples, graph=graph, seed=seed, intervened=share
        )

    made: dict[str, tuple[str, Make]] = {
        f"circles, {graph}": ("circles", ring(graph)) for graph in RINGS
    }
    made["lattices"] = (
        "lattices",
        lambda samples, seed, share: lattices(samples, seed=seed, intervened=share),
    )
    return made


def study(samples: int, epochs: int) -> Study:
    """Every case with every help."""

    def method(case: str, help_: str) -> Method:
        name, make = cases()[case]

        def run(seed: int) -> dict[str, float]:
            data, truth = make(samples, seed, SHARE if help_ == ACTED else 0.0)
            return one(name, TIERS[case], help_, data, truth, seed=seed, epochs=epochs)

        return run

    effort = f"{samples} samples, {epochs} epochs"
    return Study(
        name="interventions",
        title="The graph itself: with interventions, with tiers, with neither",
        about=ABOUT.format(samples=samples, epochs=epochs),
        methods={
            (f"{case}: {effort}", help_): method(case, help_) for case in cases() for help_ in HELPS
        },
        columns=COLUMNS,
    )


def one(
    name: str,
    tiers: tuple[tuple[str, ...], ...],
    help_: str,
    data: xr.Dataset,
    truth: Truth,
    *,
    seed: int,
    epochs: int,
) -> dict[str, float]:
    """Fit once and compare with the known graph."""
    nodes = [str(n) for n in truth.graph["parent"].values]
    sizes = {n: int(truth.labels[n].max()) + 1 for n in nodes}
    background = Knowledge(tuple(sizes), tiers=tiers if help_ in (NAMED, TIERED) else ())
    dag = pima.DAG.from_knowledge(sizes, background)
    model = pima.PIMA(modalities=modalities(name, "physics"), dag=dag, latent_dim=LATENT)
    told: dict[str, Any] = {}
    if help_ == ACTED:
        told = {"interventions": "intervened_on", "intervention_values": "intervened_value"}
    if help_ == NAMED:
        data, told["labels"] = with_labels(data, truth, nodes, seed)
    tree = pima.fit(model, data, seed=seed, epochs=epochs, **told).tree
    return scores(tree, truth, by_name=bool(told)) | {"known": known(dag, data, truth)}


def with_labels(
    data: xr.Dataset, truth: Truth, nodes: Sequence[str], seed: int
) -> tuple[xr.Dataset, dict[str, str]]:
    """Data with the outcomes of some samples, and which variable labels which node."""
    size = data.sizes["sample"]
    shown = np.random.default_rng([seed, 5]).random(size) < LABELLED
    names = {node: f"{node} known" for node in nodes}
    columns = {
        name: ("sample", np.where(shown, truth.labels[node].values, -1), {"units": "dimensionless"})
        for node, name in names.items()
    }
    return data.assign(columns), names


def scores(tree: xr.DataTree, truth: Truth, *, by_name: bool) -> dict[str, float]:
    """Accuracy of the worst node and distances to the true DAG (a directed graph, no class)."""
    nodes = [str(n) for n in truth.graph["parent"].values]
    labels = np.stack([truth.labels[n].values for n in nodes], axis=1)
    outcome = tree["posterior/node_outcome"].sel(node=nodes)
    found = outcome.transpose("sample", "node").values.astype(int)
    if by_name:
        worst, places = float((found == labels).mean(0).min()), list(range(len(nodes)))
    else:
        match = match_nodes(labels, found, factors=nodes)
        worst = match.worst
        places = [int(str(node).removeprefix("node_")) for node in match.nodes]
    own = [nodes[p] for p in places]
    graph = tree["graph"].to_dataset().sel(parent=own, child=own)
    true = truth.graph.sel(parent=nodes, child=nodes).values
    edges = graph["edge_probability"].values[true > 0]
    distance = {
        label: float(shd(true, graph[variable].values))
        for label, variable in (("trained", "cpdag"), ("score", "cpdag_exact"))
    }
    return {
        "worst": worst,
        **{f"exact_{label}": float(d == 0.0) for label, d in distance.items()},
        **{f"shd_{label}": d for label, d in distance.items()},
        "probability": float(edges.min()) if len(edges) else float("nan"),
    }


def known(dag: pima.DAG, data: xr.Dataset, truth: Truth) -> float:
    """Whether the exact score of the true labels gives the true DAG: what the data allow."""
    labels = np.stack([truth.labels[n].values for n in dag.nodes], axis=1)
    weights = np.zeros((len(labels), *dag.outcomes))
    weights[(np.arange(len(labels)), *labels.T)] = 1.0
    acted = np.zeros(labels.shape, dtype=bool)
    if "intervened_on" in data:
        acted = data["intervened_on"].values[:, None] == np.arange(len(dag.nodes))
    counts, rows = counts_by_target(weights, acted)
    best = graph_posterior(counts, knowledge=dag.knowledge, intervened=rows)
    true = truth.graph.sel(parent=list(dag.nodes), child=list(dag.nodes)).values
    return float(np.array_equal(best.cpdag, true))
