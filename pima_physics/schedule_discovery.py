"""Discovery within a fit: warm-up, search, and further looks where features are in doubt.

What a latent shows of the features depends on the weights that training began with: in some, a
feature that others show clearly hardly parts, and unions of other features show more. Where
features are in doubt, latents are therefore trained from other weights, for some steps only, and
searched as well, until one is clear or two show the same (:mod:`pima_physics.discovery_looks`).
What is kept is held in the first latent, like what components or fitted parameters show.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from pima_physics.calibrate import Calibration, calibrate
from pima_physics.discovery import Discovery, discover
from pima_physics.discovery_looks import settled, unsettled
from pima_physics.distributed import from_first
from pima_physics.errors import TrainingError
from pima_physics.model import Network
from pima_physics.representations import representations, with_most
from pima_physics.schedule_epoch import Start, Task, begin, run_epoch
from pima_physics.trainer_loop import restore

log = logging.getLogger("pima_physics.training")

# Share of the warm-up in which physics decoders follow their calibration.
CALIBRATED = 0.4
# Latents that are looked at at most, and steps of training of those after the first: after more
# they show no more.
LOOKS, STEPS = 3, 250
# Between the seeds of the first and of others; restarts have multiples of a thousand.
OTHER_SEED = 500


def calibrated(now: Start, task: Task) -> dict[str, Calibration]:
    """Laws fitted to single samples."""
    with task.keeper.stop.at_once():
        fits = calibrate(now.loop.network, task.train, seed=now.loop.seed)
    task.keeper.write(fits=fits, state=now.state())
    return fits


def warm_up(now: Start, epochs: int, task: Task, fits: Mapping[str, Calibration]) -> None:
    """Unit prior; physics decoders follow their calibration for the first part.

    Samples that lack more modalities than most wait for the next phase: their own bound would
    shape the latent for what one modality shows, and blur the groups of the others.
    """
    most = with_most(now.loop.network.present(task.train).cpu().numpy())
    if not most.all():
        rows = torch.from_numpy(most.nonzero()[0]).to(now.loop.network.mixture.mean.device)
        task = replace(task, train=task.train.take(rows))
        fits = {name: fit.take(rows) for name, fit in fits.items()}
    while now.loop.epoch < epochs:
        surrogates = fits if now.loop.epoch < CALIBRATED * epochs else None
        run_epoch(now, task, "warm-up", surrogates=surrogates)
        task.keeper.after_epoch(now.state)


def nodes_of(
    now: Start, epochs: int, task: Task, fits: Mapping[str, Calibration], kept: Mapping[str, Any]
) -> Discovery:
    """The nodes after a warm-up of so many epochs, looked for again where they are in doubt.

    Parameters
    ----------
    kept : mapping
        Parts of a checkpoint. "looked": what was found so far; the state then has that of the
        next look.
    """
    looks = list(kept.get("looked", ()))
    under_way = kept["state"]["other"] if looks else None
    if not looks:
        task.keeper.write(state=now.state())
        looks = [look(now.loop.network, task, fits, now.loop.seed)]
    while (found := settled(looks)) is None and len(looks) < LOOKS:
        other = _beside(now, epochs, task, len(looks))
        if under_way is not None:
            restore(other.loop, under_way)
            under_way = None
        else:
            task.keeper.write(looked=list(looks), state=other.state())
        name = f"look {len(looks) + 1}"
        log.info("features are in doubt: %s, from other weights", name)
        try:
            warm_up(other, other.loop.epochs, _unseen(task, name), fits)
        except TrainingError as error:
            log.warning("%s came to nothing: %s", name, error)
            break
        looks.append(look(other.loop.network, task, fits, other.loop.seed))
    return found or unsettled(looks)


def _beside(now: Start, epochs: int, task: Task, number: int) -> Start:
    """A run from other weights beside one whose warm-up has so many epochs."""
    one = now.loop
    model, infos, like = one.network.model, one.network.infos, one.network.mixture.mean
    seed = one.seed + OTHER_SEED + number
    enough = math.ceil(STEPS * one.options.batch_size / task.train.size)
    epochs = min(epochs, enough)
    made = begin(model, infos, task.train, one.options, seed=seed, epochs=epochs, dtype=like.dtype)
    return replace(made, beside=now)


def _unseen(task: Task, name: str) -> Task:
    """The task without validation, whose progress has a name of its own."""
    shown = task.progress
    progress = None if shown is None else lambda r: shown(replace(r, phase=name))
    return replace(task, validation=task.train.take(torch.arange(0)), progress=progress)


def look(network: Network, task: Task, fits: Mapping[str, Calibration], seed: int) -> Discovery:
    """What the views of a trained network show."""
    train = task.train
    with task.keeper.stop.at_once():
        return from_first(
            lambda: discover(
                representations(network, train, fits),
                network.model.dag,
                seed=seed,
                labels=train.labels,
                intervened=train.intervened,
                data=train,
            )
        )
