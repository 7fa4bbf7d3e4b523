"""The phases of a fit: warm-up, discovery, held targets, release."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from pima_physics.calibrate import Calibration, calibrate
from pima_physics.dataset import Data
from pima_physics.discovery import Discovery, discover
from pima_physics.inference import infer
from pima_physics.mixture import Statistics
from pima_physics.model import PIMA, Network
from pima_physics.representations import representations
from pima_physics.trainer import (
    EpochRecord,
    Loop,
    Options,
    Progress,
    evaluate,
    snapshot,
    start,
    train_epoch,
    update_graph,
)

# Shares of the epochs: warm-up with the unit prior, then held targets; the rest is free.
WARM_UP, HELD = 0.4, 0.2
# Below this many validation samples the validation bound is too noisy to choose an epoch by.
ENOUGH_TO_VALIDATE = 20
# Epochs between block updates of the graph and checks of the nodes.
CHECK_EVERY = 5
# A node whose outcomes agree this much less with the discovered ones than after the held phase
# is being traded for another feature.
LOST = 0.1
# Weight of the discovered outcomes as evidence in the free phase.
ANCHOR = 1.0
# Sharpest edges at the end; at 0.2 an edge strength is within 1 % of 0 or 1.
COLDEST = 0.2


@dataclass(frozen=True)
class Run:
    """One trained network and how it came about."""

    network: Network
    discovery: Discovery
    history: list[EpochRecord]
    alarms: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """What does not change during a run."""

    train: Data
    validation: Data
    progress: Progress | None
    patience: int


def run(
    model: PIMA,
    infos: Mapping,
    task: Task,
    options: Options,
    *,
    seed: int,
    epochs: int,
    dtype: torch.dtype,
) -> Run:
    """Train from one set of initial weights."""
    device = next(iter(task.train.modalities.values())).values.device
    network = model.build(infos, seed=seed).to(device, dtype)
    loop = start(network, options, seed=seed, epochs=epochs)
    warm = max(1, round(WARM_UP * epochs))
    held = min(max(1, round(HELD * epochs)), epochs - warm)
    fits = calibrate(network, task.train, seed=seed)
    warm_up(loop, warm, task, fits)
    discovery = discover(
        representations(network, task.train, fits),
        model.dag,
        seed=seed,
        labels=task.train.labels,
        intervened=task.train.intervened,
    )
    targets = initialise(network, task.train, discovery)
    loop.statistics = None
    hold(loop, held, task, targets)
    alarms = release(loop, epochs - warm - held, task, targets)
    update_graph(
        network, task.train, temperature=COLDEST, steps=400, targets=targets, anchor=ANCHOR
    )
    return Run(network.eval(), discovery, loop.history, alarms)


def warm_up(loop: Loop, epochs: int, task: Task, fits: Mapping[str, Calibration]) -> None:
    """Unit prior; physics decoders follow their calibration for the first part."""
    for step in range(epochs):
        surrogates = fits if step < 0.4 * epochs else None
        _epoch(loop, task, "warm-up", loop.options.learning_rate, surrogates=surrogates)


def initialise(network: Network, train: Data, discovery: Discovery) -> torch.Tensor:
    """Start mixture, tables and DAG from the discovered nodes; return the held targets."""
    targets = torch.as_tensor(discovery.responsibility).to(network.mixture.mean)
    network.eval()
    with torch.no_grad():
        network.mixture.update(Statistics.of(network.posterior(train), targets))
    network.prior.set_graph(discovery.graph, discovery.tables)
    return targets


def hold(loop: Loop, epochs: int, task: Task, targets: torch.Tensor) -> None:
    """The discovered outcomes are taken as given, so that the latent learns to show them."""
    for step in range(epochs):
        _epoch(loop, task, "held", loop.options.learning_rate, targets=targets)
        if step % CHECK_EVERY == CHECK_EVERY - 1:
            update_graph(loop.network, task.train, temperature=1.0, steps=25, targets=targets)


def release(loop: Loop, epochs: int, task: Task, targets: torch.Tensor) -> tuple[str, ...]:
    """Train the full bound; go back where a node is lost or the validation bound got worse."""
    if epochs <= 0:
        return ()
    nodes = loop.network.model.dag.nodes
    first = agreement(loop.network, task.train, targets)
    best, best_state, waited, alarms = -math.inf, snapshot(loop.network), 0, ()
    for step in range(epochs):
        decay = 0.5 * (1.0 + math.cos(math.pi * step / epochs))
        rate = loop.options.learning_rate * max(decay, 0.02)
        _epoch(loop, task, "free", rate, targets=targets, anchor=ANCHOR)
        waited += 1
        if step % CHECK_EVERY != CHECK_EVERY - 1 and step != epochs - 1:
            continue
        temperature = max(COLDEST, 1.0 - 1.6 * (1.0 - COLDEST) * step / epochs)
        update_graph(
            loop.network,
            task.train,
            temperature=temperature,
            steps=25,
            targets=targets,
            anchor=ANCHOR,
        )
        now = agreement(loop.network, task.train, targets)
        lost = [n for n, a, b in zip(nodes, first, now, strict=True) if b < a - LOST]
        if lost:
            alarms = (f"training was ended before node {', '.join(lost)} was lost",)
            break
        score = loop.history[-1].terms.get("validation_elbo", -math.inf)
        if task.validation.size < ENOUGH_TO_VALIDATE or score > best:
            best, best_state, waited = score, snapshot(loop.network), 0
        if waited >= task.patience:
            break
    loop.network.load_state_dict(best_state)
    return alarms


def agreement(network: Network, data: Data, targets: torch.Tensor) -> list[float]:
    """Share of samples whose likeliest outcome is the targeted one, per node."""
    dag = network.model.dag
    found = torch.as_tensor(infer(network, data).responsibility).to(targets)
    return [
        float((a.argmax(1) == b.argmax(1)).float().mean())
        for a, b in zip(dag.marginals(found), dag.marginals(targets), strict=True)
    ]


def _epoch(loop: Loop, task: Task, phase: str, rate: float, **options: object) -> None:
    """One epoch, its validation and its record."""
    terms = train_epoch(loop, task.train, phase=phase, rate=rate, **options)  # type: ignore[arg-type]
    if task.validation.size:
        scored = evaluate(loop.network, task.validation, unit_prior=phase == "warm-up")
        terms["validation_elbo"] = scored["elbo"]
    loop.epoch += 1
    record = EpochRecord(phase, loop.epoch, loop.epochs, terms)
    loop.history.append(record)
    if task.progress is not None:
        task.progress(record)
