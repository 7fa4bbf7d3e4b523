"""The phases of a fit: warm-up, discovery, held targets, release."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray

from pima_physics.calibrate import Calibration, calibrate_components
from pima_physics.dataset import Data
from pima_physics.discovery import Discovery
from pima_physics.elbo import ANCHOR
from pima_physics.mixture import Statistics
from pima_physics.model import PIMA, Network
from pima_physics.schedule_discovery import calibrated, nodes_of, warm_up
from pima_physics.schedule_epoch import Free, Start, Task, agreement, begin, run_epoch
from pima_physics.stream import known_part
from pima_physics.structure import (
    best_network,
    changed_tables,
    counts_by_target,
    without_label_errors,
)
from pima_physics.structure_errors import doubt_of
from pima_physics.trainer import joint_counts, update_graph
from pima_physics.trainer_loop import EpochRecord, Options, restore, snapshot

Array = NDArray[Any]

# Shares of the epochs: warm-up with the unit prior, then held targets; the rest is free.
WARM_UP, HELD = 0.4, 0.2
# Below this many validation samples the validation bound is too noisy to choose an epoch by.
ENOUGH_TO_VALIDATE = 20
# Epochs between block updates of the graph and checks of the nodes.
CHECK_EVERY = 5
# A node whose outcomes agree this much less with the discovered ones than after the held phase
# is being traded for another feature.
LOST = 0.1
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
class Phases:
    """Epochs at which the phases end."""

    warm_up: int
    held: int
    free: int

    @staticmethod
    def of(epochs: int) -> Phases:
        """Shares of a number of epochs; the first two phases have at least one each."""
        warm = max(1, round(WARM_UP * epochs))
        held = min(max(1, round(HELD * epochs)), epochs - warm)
        return Phases(warm, warm + held, epochs)


def run(
    model: PIMA,
    infos: Mapping,
    task: Task,
    options: Options,
    *,
    seed: int,
    epochs: int,
    dtype: torch.dtype,
    kept: Mapping[str, Any] | None = None,
) -> Run:
    """Train from one set of initial weights.

    Parameters
    ----------
    kept : mapping, optional
        Parts of a checkpoint of the same run, to go on from.

    Raises
    ------
    TrainingError
        The bound became non-finite, also with a smaller learning rate.
    """
    kept = kept or {}
    now = begin(model, infos, task.train, options, seed=seed, epochs=epochs, dtype=dtype)
    network = now.loop.network
    device = network.outcomes.device
    phases = Phases.of(epochs)
    if "state" in kept:
        restore(now.loop, kept["state"]["loop"])
        now.free = kept["state"]["free"]
    known = known_part(task.train, network, seed=seed)
    part = replace(task, train=known.data)
    fits = _read_fits(kept, device) if "fits" in kept else calibrated(now, part)
    fits = {
        name: Calibration(*(t.to(device) for t in vars(f).values())) for name, f in fits.items()
    }
    warm_up(now, phases.warm_up, task, known.fits(fits))
    if "found" in kept:
        discovery = kept["found"]
    else:
        discovery = nodes_of(now, phases.warm_up, part, fits, kept)
        _begin_with(now, part, discovery)
    task, part = task.counted(discovery.worth), part.counted(discovery.worth)
    hold(now, phases, part, _targets(network, discovery))
    discovery = known.discovery(discovery)
    targets = _targets(network, discovery)
    alarms = release(now, phases, task, targets)
    _update(network, task.train, targets, temperature=COLDEST, steps=400)
    return Run(network.eval(), discovery, now.loop.history, (*now.alarms(), *alarms))


def _read_fits(kept: Mapping[str, Any], device: torch.device) -> dict[str, Calibration]:
    found = kept["fits"].items()
    return {name: Calibration(*(t.to(device) for t in vars(f).values())) for name, f in found}


def _begin_with(now: Start, task: Task, discovery: Discovery) -> None:
    """Start the prior from the nodes that were found."""
    network, train = now.loop.network, task.train
    network.eval()
    with torch.no_grad():
        posterior = network.posterior(train)
        network.mixture.update(Statistics.of(posterior, _targets(network, discovery)))
    weights = discovery.worth * discovery.responsibility.reshape(-1, *network.model.dag.outcomes)
    acted = None if train.intervened is None else train.intervened.cpu().numpy()
    counts, rows = (weights, None) if acted is None else counts_by_target(weights, acted)
    _set_graph(network, discovery.graph, discovery.tables, counts, rows)
    calibrate_components(network, train, _targets(network, discovery), seed=now.loop.seed)
    now.loop.statistics = None
    task.keeper.write(drop=("looked",), found=discovery, state=now.state())


def _targets(network: Network, discovery: Discovery) -> torch.Tensor:
    """The discovered responsibilities, laid out alike whether new or read from a checkpoint."""
    return torch.as_tensor(discovery.responsibility).to(network.mixture.mean).contiguous()


def hold(now: Start, phases: Phases, task: Task, targets: torch.Tensor) -> None:
    """The discovered outcomes are taken as given, so that the latent learns to show them."""
    while now.loop.epoch < phases.held:
        run_epoch(now, task, "held", targets=targets)
        if (now.loop.epoch - phases.warm_up) % CHECK_EVERY == 0:
            network = now.loop.network
            update_graph(network, task.train, temperature=1.0, steps=25, targets=targets)
        task.keeper.after_epoch(now.state)


def release(now: Start, phases: Phases, task: Task, targets: torch.Tensor) -> tuple[str, ...]:
    """Train the full bound; go back where a node is lost or the validation bound got worse."""
    epochs = phases.free - phases.held
    if epochs <= 0:
        return ()
    if now.free is None:
        _rescored(now.loop.network, task.train, targets)
        first = agreement(now.loop.network, task.train, targets)
        now.free = Free(first, snapshot(now.loop.network))
    free = now.free
    while now.loop.epoch < phases.free and not free.over:
        step = now.loop.epoch - phases.held
        decay = 0.5 * (1.0 + math.cos(math.pi * step / epochs))
        run_epoch(now, task, "free", max(decay, 0.02), targets=targets, anchor=ANCHOR)
        free.waited += 1
        if step % CHECK_EVERY == CHECK_EVERY - 1 or step == epochs - 1:
            _check(now, free, step / epochs, task, targets)
        task.keeper.after_epoch(now.state)
    now.loop.network.load_state_dict(free.best_state)
    return free.alarms


def _rescored(network: Network, data: Data, targets: torch.Tensor) -> None:
    """Start the graph again from the exact score of what the latent shows now.

    The discovered nodes are blind to each other, so that their errors open false paths.
    """
    with torch.no_grad():
        counts, patterns = joint_counts(network, data, targets=targets, anchor=ANCHOR)
    shaped = counts.cpu().double().numpy().reshape(-1, *network.model.dag.outcomes)
    rows = None if patterns is None else patterns.cpu().numpy()
    table = shaped[0] if rows is None else shaped
    best, net = best_network(
        table,
        knowledge=network.model.dag.knowledge,
        intervened=rows,
        doubt=_doubt(network, data, targets),
    )
    _set_graph(network, best.dag, net.tables, table, rows)


def _update(
    network: Network, data: Data, targets: torch.Tensor, *, temperature: float, steps: int
) -> None:
    """Update tables and edges from counts without the label errors that explain an edge away."""
    dag, doubt = network.model.dag, _doubt(network, data, targets)

    def correct(counts: torch.Tensor, patterns: torch.Tensor | None) -> torch.Tensor:
        table = counts.cpu().double().numpy().reshape(-1, *dag.outcomes)
        rows = None if patterns is None else patterns.cpu().numpy()
        table = table[0] if rows is None else table
        found = without_label_errors(table, doubt, knowledge=dag.knowledge, intervened=rows)
        return torch.as_tensor(found.reshape(counts.shape)).to(counts)

    update_graph(
        network,
        data,
        temperature=temperature,
        steps=steps,
        targets=targets,
        anchor=ANCHOR,
        correct=correct,
    )


def _doubt(network: Network, data: Data, targets: torch.Tensor) -> Array:
    """Error rate of the discovered outcomes, as their probabilities say."""
    each = network.model.dag.marginals(targets)
    acted = None if data.intervened is None else data.intervened.cpu().numpy()
    return doubt_of([p.double().cpu().numpy() for p in each], acted)


def _set_graph(
    network: Network, graph: Array, tables: Sequence[Array], counts: Array, rows: Array | None
) -> None:
    """Start the prior from a graph, its tables and those of nodes acted on."""
    kind = network.model.dag.knowledge.interventions
    changed = None if rows is None else changed_tables(counts, graph, rows, kind)
    network.prior.set_graph(graph, tables, changed)


def _check(now: Start, free: Free, progress: float, task: Task, targets: torch.Tensor) -> None:
    """Update the graph; end the phase before a node is lost, or when nothing gets better."""
    network = now.loop.network
    temperature = max(COLDEST, 1.0 - 1.6 * (1.0 - COLDEST) * progress)
    _update(network, task.train, targets, temperature=temperature, steps=25)
    found = agreement(network, task.train, targets)
    nodes = network.model.dag.nodes
    lost = [n for n, a, b in zip(nodes, free.first, found, strict=True) if b < a - LOST]
    if lost:
        free.alarms = (f"training was ended before node {', '.join(lost)} was lost",)
        free.over = True
        return
    score = now.loop.history[-1].terms.get("validation_elbo", -math.inf)
    if task.validation.size < ENOUGH_TO_VALIDATE or score > free.best:
        free.best, free.best_state, free.waited = score, snapshot(network), 0
    free.over = free.waited >= task.patience
