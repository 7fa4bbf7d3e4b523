"""Discovery within a fit: warm-up, search, and further looks where features are in doubt.

What a latent shows of the features depends on the weights that training began with: in some, a
feature that others show clearly hardly parts, and unions of other features show more. Where
features are in doubt, latents are therefore trained from other weights, for some steps only. What
two of them have in common (:mod:`pima_physics.representations_shared`) is searched in the place of
the first, until what it shows is clear or two looks show the same
(:mod:`pima_physics.discovery_looks`). What is kept is held in the first latent, like what
components or fitted parameters show.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pima_physics.calibrate import Calibration, calibrate
from pima_physics.discovery import Discovery, discover
from pima_physics.discovery_looks import settled, unsettled
from pima_physics.distributed import from_first
from pima_physics.errors import TrainingError
from pima_physics.model import Network
from pima_physics.representations import (
    Representation,
    latent_of,
    representations,
    with_latent,
    with_most,
)
from pima_physics.schedule_epoch import Start, Task, begin, run_epoch
from pima_physics.trainer_loop import restore

Array = NDArray[np.float64]

log = logging.getLogger("pima_physics.training")

# Share of the warm-up in which physics decoders follow their calibration.
CALIBRATED = 0.4
# Which latents each look has in common: the first, then those from other weights in pairs.
LOOKS = ((0,), (0, 1), (0, 2), (1, 2))
# Steps of training of latents after the first: after more they show no more.
STEPS = 250
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
        Parts of a checkpoint. "looked": what was found so far, and the latents; the state then
        has that of the next look.
    """
    looked = kept.get("looked", {"found": [], "latents": []})
    looks, latents = list(looked["found"]), list(looked["latents"])
    under_way = kept["state"].get("other") if looks else None
    network, seed = now.loop.network, now.loop.seed
    if not looks:
        task.keeper.write(state=now.state())
    views = views_of(network, task, fits)
    if not looks:
        latents = [latent_of(network, task.train)]
        looks = [look(network, task, views, latents[:1], seed)]
    while (found := settled(looks)) is None and len(looks) < len(LOOKS):
        number, which = len(looks), LOOKS[len(looks)]
        name = f"look {number + 1}"
        log.info("features are in doubt: %s", name)
        other = _beside(now, epochs, task, len(latents)) if max(which) >= len(latents) else None
        if under_way is None:
            looked = {"found": looks, "latents": latents}
            task.keeper.write(looked=looked, state=(other or now).state())
        if other is not None:
            try:
                latents.append(_trained(other, under_way, task, fits, name))
            except TrainingError as error:
                log.warning("%s came to nothing: %s", name, error)
                break
        under_way = None
        several = [latents[i] for i in which]
        looks.append(look(network, task, views, several, seed + OTHER_SEED + number))
    return found or unsettled(looks)


def _trained(
    other: Start,
    under_way: Mapping[str, Any] | None,
    task: Task,
    fits: Mapping[str, Calibration],
    name: str,
) -> Array:
    """The latent after a warm-up from other weights, which may be under way already."""
    if under_way is not None:
        restore(other.loop, under_way)
    warm_up(other, other.loop.epochs, _unseen(task, name), fits)
    return latent_of(other.loop.network, task.train)


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


def views_of(network: Network, task: Task, fits: Mapping[str, Calibration]) -> list[Representation]:
    """Views of the training samples; of these only the latent differs between looks."""
    with task.keeper.stop.at_once():
        return representations(network, task.train, fits)


def look(
    network: Network,
    task: Task,
    views: Sequence[Representation],
    latents: Sequence[Array],
    seed: int,
) -> Discovery:
    """What the views of a trained network show.

    Parameters
    ----------
    latents : sequence of array, shape (sample, axis)
        What they have in common takes the place of the network's own.
    """
    train = task.train
    with task.keeper.stop.at_once():
        return from_first(
            lambda: discover(
                with_latent(views, latents),
                network.model.dag,
                seed=seed,
                labels=train.labels,
                intervened=train.intervened,
                data=train,
            )
        )
