"""From one and the same warm-up: the ways to discover, and the ways to train on from there."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from pima_physics import schedule, schedule_discovery
from pima_physics.calibrate import Calibration
from pima_physics.checkpoint import Keeper
from pima_physics.dag import DAG
from pima_physics.discovery import Discovery, discover
from pima_physics.evidence import Finding
from pima_physics.factorial import product_of
from pima_physics.inference import infer
from pima_physics.model import Network
from pima_physics.representations import Representation, latent_of
from pima_physics.results_evidence import informed
from pima_physics.results_tree import learn_graph
from pima_physics.schedule_epoch import Start, Task, run_epoch
from pima_physics.structure import best_network
from pima_physics.trainer import evaluate, update_graph
from pima_physics.trainer_loop import Options, capture, restore, start
from pima_physics.training import prepare_fit
from pima_physics.training_starts import Prepared
from pima_physics.truth import Truth
from pima_physics.validation.cases.discovery.study import after_discovery, features
from pima_physics.validation.cases.models import LATENT, model_of, nodes_of, oracle_labels

Discover = Callable[..., Discovery]
"""(representations, dag, *, seed, ...) -> what was found in them."""

PATIENCE, STARTS = 1_000, 5


@dataclass(frozen=True)
class Warm:
    """A fit after its warm-up, to which every way goes back."""

    truth: Truth
    prepared: Prepared
    task: Task
    now: Start
    phases: schedule.Phases
    fits: dict[str, Calibration]
    kept: dict[str, Any]

    @property
    def network(self) -> Network:
        """The network in training."""
        return self.now.loop.network


def warm_up(
    name: str,
    data: xr.Dataset,
    truth: Truth,
    *,
    seed: int,
    epochs: int,
    structure: str = "learned",
) -> Warm:
    """Train a model (see `model_of`) with the unit prior, as every fit does first."""
    model = model_of(name, "physics", truth, latent=LATENT, structure=structure)
    prepared = prepare_fit(model, data, seed=seed)
    network = model.build(prepared.infos, seed=seed)
    now = Start(start(network, Options(), seed=seed, epochs=epochs))
    task = Task(prepared.train, prepared.validation, None, PATIENCE, Keeper())
    phases = schedule.Phases.of(epochs)
    fits = schedule_discovery.calibrated(now, task)
    schedule_discovery.warm_up(now, phases.warm_up, task, fits)
    return Warm(truth, prepared, task, now, phases, fits, copy.deepcopy(capture(now.loop)))


def one(warm: Warm, found_by: Discover = discover, *, trained: str = "held") -> dict[str, float]:
    """Scores of one way, after the discovery (``found_``) and after joint training.

    Parameters
    ----------
    trained : {"held", "freely", "not"}
        As the recipe says; with the plain bound from what was found; not at all.
    """
    now, task = warm.now, warm.task
    restore(now.loop, warm.kept)
    now.free = None
    views = schedule_discovery.views_of(warm.network, task, warm.fits)
    latents = [latent_of(warm.network, task.train)]
    with _discovering(found_by):
        found = schedule_discovery.look(warm.network, task, views, latents, now.loop.seed)
    schedule._begin_with(now, task, found)
    bound = evaluate(warm.network, task.validation)["elbo"]
    scores = {f"found_{k}": v for k, v in _discovered(warm, found).items()}
    if trained == "not":
        return scores
    if trained == "held":
        _held(warm, found)
    else:
        _freely(warm)
    after = evaluate(warm.network, task.validation)["elbo"]
    return scores | _trained(warm, found, trained) | {"elbo_before": bound, "elbo": after}


@contextmanager
def _discovering(found_by: Discover) -> Iterator[None]:
    """The schedule discovers so in this block."""
    schedule_discovery.discover = found_by
    try:
        yield
    finally:
        schedule_discovery.discover = discover


def _held(warm: Warm, found: Discovery) -> None:
    """Held targets, release and the last update of the graph, as in every fit."""
    targets = schedule._targets(warm.network, found)
    schedule.hold(warm.now, warm.phases, warm.task, targets)
    schedule.release(warm.now, warm.phases, warm.task, targets)
    schedule._update(
        warm.network, warm.task.train, targets, temperature=schedule.COLDEST, steps=400
    )


def _freely(warm: Warm) -> None:
    """The plain bound for all epochs that are left: no targets, no anchor, no alarm."""
    now, task, last = warm.now, warm.task, warm.phases.free
    first = now.loop.epoch
    while now.loop.epoch < last:
        progress = (now.loop.epoch - first) / (last - first)
        run_epoch(now, task, "free", max(0.5 * (1.0 + math.cos(math.pi * progress)), 0.02))
        if now.loop.epoch % schedule.CHECK_EVERY == 0:
            temperature = max(schedule.COLDEST, 1.0 - progress)
            update_graph(warm.network, task.train, temperature=temperature, steps=25)
    update_graph(warm.network, task.train, temperature=schedule.COLDEST, steps=400)


def _discovered(warm: Warm, found: Discovery) -> dict[str, float]:
    train = warm.prepared.parts.train
    if _is_joint(warm):
        seen = replace(warm.truth, labels=warm.truth.labels.isel(sample=train))
        return _of_clusters(found.responsibility.argmax(1), seen)
    return after_discovery(found, warm.truth, train)


def _trained(warm: Warm, found: Discovery, trained: str) -> dict[str, float]:
    """Scores on all samples, with the evidence of the discovery where a fit has it too."""
    network, data, parts = warm.network, warm.prepared.data, warm.prepared.parts
    own = infer(network, data).responsibility
    own = own / own.sum(1, keepdims=True)
    each = informed(network, data, parts, found, own) if trained == "held" else own
    if _is_joint(warm):
        return _of_clusters(each.argmax(1), warm.truth)
    graph = learn_graph(network, each[parts.train], None, found if trained == "held" else None)
    labels = network.model.dag.joint_outcomes()[each.argmax(1)]
    exact = features(labels, graph.exact.cpdag, warm.truth)
    return features(labels, graph.cpdag, warm.truth) | {"shd_exact": exact["shd"]}


def _is_joint(warm: Warm) -> bool:
    return len(warm.network.model.dag.nodes) == 1


def _of_clusters(clusters: np.ndarray, truth: Truth) -> dict[str, float]:
    """Clusters have no nodes and no graph: they are named by the truth, in their favour."""
    names, _ = nodes_of(truth)
    nothing = np.zeros((len(names),) * 2, dtype=int)
    scores = features(oracle_labels(clusters, truth, names), nothing, truth)
    return {k: v for k, v in scores.items() if k != "shd"}


def seen_in(kind: str) -> Discover:
    """The recipe's search, in views of one kind only."""

    def run(representations: Sequence[Representation], dag: DAG, **options: Any) -> Discovery:
        return discover([v for v in representations if v.kind == kind], dag, **options)

    return run


def mixture_on_the_latent(
    representations: Sequence[Representation], dag: DAG, *, seed: int, **_: Any
) -> Discovery:
    """A Gaussian for each joint outcome, as in the paper; which is which is left to chance."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(
        dag.components, covariance_type="diag", n_init=STARTS, random_state=seed
    )
    values = _latent(representations)
    return _clustered(mixture.fit(values).predict_proba(values), dag)


def axis_for_each_node(
    representations: Sequence[Representation], dag: DAG, *, seed: int, **_: Any
) -> Discovery:
    """Each node has an axis of the latent to itself: those whose groups are clearest."""
    from sklearn.mixture import GaussianMixture

    gains, found = [], []
    (outcomes,) = set(dag.outcomes)
    for axis in _latent(representations).T[:, :, None]:
        single = GaussianMixture(1, random_state=seed).fit(axis)
        groups = GaussianMixture(outcomes, n_init=STARTS, random_state=seed).fit(axis)
        gains.append(single.bic(axis) - groups.bic(axis))
        found.append(groups.predict_proba(axis))
    chosen = np.argsort(gains)[::-1][: len(dag.nodes)]
    return _clustered(product_of([found[k] for k in chosen]), dag)


def _latent(representations: Sequence[Representation]) -> np.ndarray:
    return next(v.values for v in representations if v.name == "latent")


def _clustered(responsibility: np.ndarray, dag: DAG) -> Discovery:
    """Given joint outcomes as a discovery, without evidence for any node."""
    posterior, net = best_network(
        responsibility.sum(0).reshape(dag.outcomes), knowledge=dag.knowledge
    )
    nan = float("nan")
    findings = tuple(
        Finding("latent", p.numpy(), nan, nan, nan, nan, nan, supported=False)
        for p in dag.marginals(torch.as_tensor(responsibility))
    )
    return Discovery(findings, responsibility, posterior, tuple(net.tables), ())
