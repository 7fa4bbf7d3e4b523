"""Fit sets with known features, and look at the nodes after the discovery and after the fit.

The known labels serve only to score: the fit never sees them. A discovery is scored on the
samples that it saw (the training samples), the fit on all samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

import pima_physics as pima
from pima_physics import schedule
from pima_physics.cpdags import cpdag
from pima_physics.datasets import circles, continuous_control, lattices, permuted_control
from pima_physics.discovery import Discovery
from pima_physics.knowledge import Knowledge
from pima_physics.structure import graph_posterior
from pima_physics.training import prepare_fit
from pima_physics.truth import Truth
from pima_physics.validation.cases.models import modalities
from pima_physics.validation.cases.scoring import Found, from_tree, score
from pima_physics.validation.cases.study import Method, Study
from pima_physics.validation.graphs import shd
from pima_physics.validation.metrics import occupied_components

Make = Callable[[int, int], tuple[xr.Dataset, Truth]]
"""(samples, seed) -> data and the known answer."""

GRAPHS = ("fork", "chain", "collider", "full", "empty")
HARDER: Mapping[str, dict[str, Any]] = {
    "3.5 sigma apart": {"separation": 3.5},
    "twice the nuisance": {"nuisance": 2.0},
    "roots 90/10": {"weights": (0.9, 0.1)},
    "three outcomes": {"outcomes": (3, 2, 2)},
}
CONTROLS: Mapping[str, Make] = {
    "continuous": lambda samples, seed: continuous_control(samples, seed),
    "permuted": lambda samples, seed: permuted_control(samples, seed),
}
CONTROL_NODES = {"hue": 2, "radius": 2, "shift": 2}
LATENT = 8

COLUMNS = {
    "worst": "worst node accuracy",
    "ari": "joint ARI",
    "occupied": "occupied components",
    "shd": "CPDAG SHD, trained A",
    "shd_exact": "CPDAG SHD, exact score",
    "shd_known": "CPDAG SHD, known labels",
    "supported": "share of nodes supported",
    "found_worst": "worst node, discovery",
    "found_ari": "joint ARI, discovery",
    "found_occupied": "occupied, discovery",
    "found_shd": "CPDAG SHD, discovery",
    "time_share": "discovery / fit time",
}
ABOUT = (
    "{samples} samples, {epochs} epochs, {decoder} decoder of the signal or curve; nodes and "
    "outcomes as many as there are; data, split and weights from the seed. Worst node: accuracy, "
    "nodes and outcomes matched one to one. SHD: between equivalence classes, of the trained A and "
    "of the best graph by exact score; with known labels: of the best graph for the true labels of "
    "the training samples, to see what they show at best. Columns with 'discovery': straight after "
    "the discovery, before joint training, on the training samples, graph by exact score. "
    "Time: of the whole discovery step (views, search, evidence, graph) over that of the fit with "
    "these epochs. In the permuted control each modality keeps the features of its own."
)


@dataclass(frozen=True)
class Watched:
    """A discovery inside a fit, and how long it took in seconds."""

    discovery: Discovery
    seconds: float


@contextmanager
def watched() -> Iterator[list[Watched]]:
    """The discoveries of the fits in this block, as they are made.

    A fit keeps what it discovered only in parts, and not how long it took.
    """
    seen: list[Watched] = []
    original = schedule.nodes_of

    def timed(*arguments: Any) -> Discovery:
        began = time.monotonic()
        found = original(*arguments)
        seen.append(Watched(found, time.monotonic() - began))
        return found

    schedule.nodes_of = timed
    try:
        yield seen
    finally:
        schedule.nodes_of = original


def cases() -> dict[str, tuple[str, Make]]:
    """Case -> (name of the suggested experiment, generator)."""

    def ring(**changes: Any) -> Make:
        return lambda samples, seed: circles(samples, seed=seed, **changes)

    made: dict[str, tuple[str, Make]] = {
        f"circles, {graph}": ("circles", ring(graph=graph)) for graph in GRAPHS
    }
    made["lattices"] = "lattices", lambda samples, seed: lattices(samples, seed=seed)
    made |= {f"circles, {name}": ("circles", ring(**c)) for name, c in HARDER.items()}
    return made


def study(samples: int, epochs: int, *, neural: bool = False) -> Study:
    """Every case and control with one kind of decoder."""
    kind = "neural" if neural else "physics"
    effort = f"{kind} decoder, {samples} samples, {epochs} epochs"

    def method(name: str, make: Make) -> Method:
        return lambda seed: one(name, kind, *make(samples, seed), seed=seed, epochs=epochs)

    known = {(effort, label): method(name, make) for label, (name, make) in cases().items()}
    controls = {
        (f"Negative controls: {effort}", label): method("circles", make)
        for label, make in CONTROLS.items()
    }
    return Study(
        name="discovery",
        title="Discovery of features and graphs",
        about=ABOUT.format(samples=samples, epochs=epochs, decoder=kind),
        methods={**known, **controls},
        columns=COLUMNS,
    )


def one(
    name: str, kind: str, data: xr.Dataset, truth: Truth, *, seed: int, epochs: int
) -> dict[str, float]:
    """Fit once; scores after the fit and, ``found_``, after the discovery."""
    factors = [str(n) for n in truth.graph["parent"].values]
    sizes = {n: int(truth.labels[n].max()) + 1 for n in factors} or CONTROL_NODES
    model = pima.PIMA(
        modalities=modalities(name, kind),
        dag=pima.DAG.from_knowledge(sizes, Knowledge(tuple(sizes))),
        latent_dim=LATENT,
    )
    prepared = prepare_fit(model, data, seed=seed)
    began = time.monotonic()
    with watched() as seen:
        tree = pima.fit(model, data, seed=seed, epochs=epochs, prepared=prepared).tree
    seconds = time.monotonic() - began
    spent = sum(w.seconds for w in seen)
    found = seen[-1].discovery
    supported = [f.supported for f in found.findings]
    scores = {
        "nodes": len(supported),
        "supported_nodes": sum(supported),
        "supported": float(np.mean(supported)),
        "time_share": spent / seconds,
        "discovery_seconds": spent,
        "fit_seconds": seconds,
    }
    if not factors:
        return scores
    train = prepared.parts.train
    first = {f"found_{k}": v for k, v in after_discovery(found, truth, train).items()}
    return scores | first | after_fit(tree, truth) | {"shd_known": with_known_labels(truth, train)}


def after_fit(tree: xr.DataTree, truth: Truth) -> dict[str, float]:
    """Scores of a fit on all samples; ``shd_exact`` is that of the graph by exact score."""
    labels, graph = from_tree(tree).labels, tree["graph"].to_dataset()
    trained = features(labels, graph["cpdag"].values, truth)
    exact = features(labels, graph["cpdag_exact"].values, truth)
    return trained | {"shd_exact": exact["shd"]}


def after_discovery(found: Discovery, truth: Truth, samples: np.ndarray) -> dict[str, float]:
    """Scores of a discovery on the samples that it saw."""
    labels = np.stack([f.probability.argmax(1) for f in found.findings], axis=1)
    seen = replace(truth, labels=truth.labels.isel(sample=samples))
    return features(labels, found.graph_posterior.cpdag, seen)


def with_known_labels(truth: Truth, samples: np.ndarray) -> float:
    """CPDAG SHD of the best graph by exact score where every label is known: what data allow."""
    factors = [str(n) for n in truth.graph["parent"].values]
    known = np.stack([truth.labels[n].values[samples] for n in factors], axis=1)
    counts = np.zeros(known.max(0) + 1)
    np.add.at(counts, tuple(known.T), 1.0)
    best = graph_posterior(counts, generator=np.random.default_rng(0))
    return float(shd(cpdag(truth.graph.values), best.cpdag))


def features(labels: np.ndarray | None, graph: np.ndarray, truth: Truth) -> dict[str, float]:
    """Accuracy of the worst node, ARI, CPDAG SHD, occupied components."""
    assert labels is not None
    scores = score(Found(labels, graph), truth)
    kept = {name: scores[name] for name in ("worst", "mean", "ari", "shd")}
    return kept | {"occupied": float(occupied_components(labels))}
