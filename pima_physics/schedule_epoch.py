"""One epoch of a fit, taken again with half the learning rate where it diverged."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from pima_physics.calibrate import Calibration
from pima_physics.checkpoint import Keeper
from pima_physics.dataset import Data, ModalityInfo
from pima_physics.errors import SolveError, TrainingError
from pima_physics.inference import infer
from pima_physics.model import PIMA, Network
from pima_physics.stream import told
from pima_physics.trainer import evaluate, train_epoch
from pima_physics.trainer_failures import DivergedError, lowest_bound
from pima_physics.trainer_loop import EpochRecord, Loop, Options, Progress, capture, restore, start

log = logging.getLogger("pima_physics.training")

# Times that the learning rate is halved before training gives up.
MOST_HALVINGS = 3


@dataclass(frozen=True)
class Task:
    """What does not change during a run."""

    train: Data
    validation: Data
    progress: Progress | None
    patience: int
    keeper: Keeper

    def counted(self, worth: float) -> Task:
        """The same task, where each training sample counts as less than one in the graph."""
        return replace(self, train=replace(self.train, worth=worth))


@dataclass
class Free:
    """What the free phase remembers.

    Attributes
    ----------
    first : list of float
        Agreement of every node with its discovered outcomes at the start.
    best_state : dict of Tensor
        Weights of the best epoch so far.
    waited : int
        Epochs since then.
    over : bool
        Whether the phase has come to its end.
    """

    first: list[float]
    best_state: dict[str, torch.Tensor]
    best: float = -math.inf
    waited: int = 0
    alarms: tuple[str, ...] = ()
    over: bool = False


@dataclass
class Start:
    """A run under way from one set of initial weights.

    Attributes
    ----------
    beside : Start, optional
        The run for which this one takes another look.
    """

    loop: Loop
    free: Free | None = None
    beside: Start | None = None

    def state(self) -> dict[str, Any]:
        """All that changes, for a checkpoint."""
        if self.beside is not None:
            return self.beside.state() | {"other": capture(self.loop)}
        return {"loop": capture(self.loop), "free": self.free}

    def alarms(self) -> tuple[str, ...]:
        """What the user should know of the way here."""
        halved = self.loop.halved
        epochs = ", ".join(map(str, dict.fromkeys(halved)))
        text = f"the learning rate was halved {len(halved)} times, as the bound diverged in epoch"
        return (f"{text} {epochs}",) if halved else ()


def begin(
    model: PIMA,
    infos: Mapping[str, ModalityInfo],
    train: Data,
    options: Options,
    *,
    seed: int,
    epochs: int,
    dtype: torch.dtype,
) -> Start:
    """A run from the initial weights of a seed, on the device of its training samples."""
    device = next(iter(train.modalities.values())).present.device
    loop = start(model.build(infos, seed=seed).to(device, dtype), options, seed=seed, epochs=epochs)
    loop.floor = lowest_bound(loop.network, train)
    return Start(loop)


def run_epoch(
    now: Start,
    task: Task,
    phase: str,
    decay: float = 1.0,
    *,
    targets: torch.Tensor | None = None,
    anchor: float | None = None,
    surrogates: Mapping[str, Calibration] | None = None,
) -> None:
    """One epoch, its validation and its record.

    Where the bound is not finite, the epoch is taken again from the state before it with half
    the learning rate, at most three times in a run.

    Raises
    ------
    TrainingError
        Where that did not help.
    """
    loop = now.loop
    while True:
        if loop.step == 0:
            loop.good = copy.deepcopy(capture(loop))
        rate = loop.options.learning_rate * decay * 0.5 ** len(loop.halved)
        try:
            terms = train_epoch(
                loop,
                task.train,
                phase=phase,
                rate=rate,
                targets=targets,
                anchor=anchor,
                surrogates=surrogates,
                after_batch=lambda: task.keeper.after_batch(now.state),
            )
            terms |= _validate(loop, task.validation, phase)
            break
        except DivergedError as error:
            _go_back(loop, error, rate)
    loop.epoch += 1
    record = EpochRecord(phase, loop.epoch, loop.epochs, terms)
    loop.history.append(record)
    if task.progress is not None:
        task.progress(record)


def _validate(loop: Loop, validation: Data, phase: str) -> dict[str, float]:
    if not validation.size:
        return {}
    try:
        scored = evaluate(loop.network, validation, unit_prior=phase == "warm-up")
    except SolveError as error:
        raise DivergedError(f"epoch {loop.epoch + 1}, validation: {error}") from error
    return {"validation_elbo": scored["elbo"]}


def _go_back(loop: Loop, error: DivergedError, rate: float) -> None:
    """Restore the state before the epoch and halve the learning rate."""
    halved = (*loop.halved, loop.epoch + 1)
    if len(halved) > MOST_HALVINGS:
        raise TrainingError(
            f"{error}\n"
            f"  tried:    the learning rate was halved {MOST_HALVINGS} times, to {rate:.3g}\n"
            f"  fix:      a smaller learning_rate than {loop.options.learning_rate:g}, or check"
            " these samples for extreme values"
        ) from error
    assert loop.good is not None
    restore(loop, loop.good)
    loop.halved = halved
    log.warning("%s. It is taken again with half the learning rate.", error)


def agreement(network: Network, data: Data, targets: torch.Tensor) -> list[float]:
    """Share of samples whose likeliest outcome is the targeted one, per node.

    Only samples of which the targets say something of the node count; without any it is 1.
    """
    dag, sure = network.model.dag, told(targets)
    if not bool(sure.any()):
        return [1.0] * len(dag.nodes)
    if not bool(sure.all()):
        data, targets = data.take(sure.nonzero()[:, 0]), targets[sure]
    found = torch.as_tensor(infer(network, data).responsibility).to(targets)
    agreed = []
    for a, b in zip(dag.marginals(found), dag.marginals(targets), strict=True):
        same = (a.argmax(1) == b.argmax(1))[told(b)]
        agreed.append(float(same.float().mean()) if len(same) else 1.0)
    return agreed
