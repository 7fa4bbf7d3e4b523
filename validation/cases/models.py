"""The models that the studies compare, built from the experiments suggested for the data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

import pima_physics as pima
from pima_physics.config import Experiment
from pima_physics.dataset import ModalityData
from pima_physics.datasets import experiment
from pima_physics.knowledge import Knowledge
from pima_physics.model import Network
from pima_physics.results_fields import observed_in_units
from pima_physics.training import prepare_fit
from pima_physics.training_starts import Prepared
from pima_physics.truth import Truth
from pima_physics.validation.cases.scoring import Found, from_tree

LATENT = 8


def modalities(name: str, kind: str) -> dict[str, Any]:
    """Modalities of a data set's suggested experiment.

    Parameters
    ----------
    kind : {"physics", "neural"} or a modality's name
        As suggested; every decoder neural; that modality alone (physics where it has a law).
    """
    suggested = dict(Experiment.from_mapping(experiment(name)).to_model().modalities)
    if kind == "physics":
        return suggested
    if kind == "neural":
        return {m: _neural(part) for m, part in suggested.items()}
    return {kind: suggested[kind]}


def _neural(part: Any) -> Any:
    if not isinstance(part, pima.Physics):
        return part
    return pima.Neural(
        str(part.variable), units=part.units, likelihood=part.likelihood, hidden=part.hidden
    )


def model_of(
    name: str, kind: str, truth: Truth, *, latent: int, structure: str = "learned"
) -> pima.PIMA:
    """A model of a data set with as many nodes and outcomes as there are.

    Parameters
    ----------
    structure : {"learned", "edgeless", "joint"}
        A graph to learn; every edge forbidden; one node with all joint outcomes instead.
    """
    nodes, outcomes = nodes_of(truth)
    sizes = dict(zip(nodes, outcomes, strict=True))
    if structure == "joint":
        sizes = {"joint": int(np.prod(outcomes))}
    pairs = [(a, b) for a in sizes for b in sizes if a != b and structure == "edgeless"]
    dag = pima.DAG.from_knowledge(sizes, Knowledge(tuple(sizes), forbidden=tuple(pairs)))
    return pima.PIMA(modalities=modalities(name, kind), dag=dag, latent_dim=latent)


def fitted(
    name: str,
    kind: str,
    data: xr.Dataset,
    truth: Truth,
    *,
    seed: int,
    epochs: int,
    structure: str = "learned",
) -> Found:
    """Fit a model (see `model_of`) to a data set and say what it found."""
    model = model_of(name, kind, truth, latent=LATENT, structure=structure)
    found = from_tree(pima.fit(model, data, seed=seed, epochs=epochs).tree)
    if structure == "joint" and found.labels is not None:
        return Found(
            oracle_labels(found.labels[:, 0], truth, nodes_of(truth)[0]),
            crossmodal=found.crossmodal,
            parameters=found.parameters,
            elbo=found.elbo,
        )
    return found


def built(
    name: str, kind: str, data: xr.Dataset, truth: Truth, *, latent: int, seed: int
) -> tuple[Network, Prepared]:
    """A data set as a fit would prepare it, and the network before training."""
    model = model_of(name, kind, truth, latent=latent)
    prepared = prepare_fit(model, data, seed=seed)
    return model.build(prepared.infos, seed=seed), prepared


def nodes_of(truth: Truth) -> tuple[list[str], list[int]]:
    """Names of the nodes and numbers of their outcomes."""
    names = [str(n) for n in truth.graph["parent"].values]
    return names, [int(truth.labels[n].max()) + 1 for n in names]


def in_units(
    modality: ModalityData, mean: Tensor, std: Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observed values, predicted mean and spread, from stored values to the data's units."""
    info = modality.info
    return (
        observed_in_units(modality),
        info.destandardise(mean).numpy(),
        info.scale_std(std).numpy(),
    )


def oracle_labels(clusters: np.ndarray, truth: Truth, nodes: Sequence[str]) -> np.ndarray:
    """Name clusters by the joint outcome most frequent among their samples.

    Clusters say nothing of nodes; here the truth names them, in favour of methods that have none.
    """
    known = np.stack([truth.labels[n].values for n in nodes], axis=1)
    labels = np.zeros_like(known)
    for cluster in np.unique(clusters):
        own = known[clusters == cluster]
        rows, counts = np.unique(own, axis=0, return_counts=True)
        labels[clusters == cluster] = rows[counts.argmax()]
    return labels
