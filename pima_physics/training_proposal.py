"""The number of nodes and outcomes that data show, before a model is fitted to them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import xarray as xr

from pima_physics.calibrate import calibrate
from pima_physics.checkpoint import Keeper, Stop
from pima_physics.dag import DAG
from pima_physics.knowledge import Knowledge
from pima_physics.modality import Modality
from pima_physics.model import PIMA
from pima_physics.proposal import Proposal, propose
from pima_physics.representations import representations
from pima_physics.schedule import Phases
from pima_physics.schedule_discovery import warm_up
from pima_physics.schedule_epoch import Task, begin
from pima_physics.stream import known_part
from pima_physics.trainer_loop import Progress
from pima_physics.training import options_for, prepare_fit, resolve_device

# Stands in for the nodes while the latent is trained with a unit prior.
UNKNOWN = {"feature": 2}


def propose_nodes(
    modalities: Mapping[str, Modality],
    data: xr.Dataset,
    *,
    latent_dim: int = 8,
    seed: int = 0,
    epochs: int = 200,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    device: str = "auto",
    validation: float = 0.1,
    test: float = 0.1,
    sample_dim: str = "sample",
    groups: str | None = None,
    dtype: str = "float32",
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Proposal:
    """Find how many categorical nodes with how many outcomes the data show.

    The latent is trained as in the warm-up of a fit with as many ``epochs``; then nodes are sought
    in it, in the modalities, and in parameters of the laws.

    Parameters
    ----------
    modalities : mapping of Modality
        As for :class:`pima_physics.PIMA`.
    data : xarray.Dataset
    latent_dim, seed, epochs, batch_size, learning_rate, device
    validation, test, sample_dim, groups, dtype
        As for :func:`pima_physics.fit`.

    Returns
    -------
    Proposal
        ``DAG(**proposal.nodes)`` is the DAG to fit, where there is one.

    Raises
    ------
    InputError
        Data, modalities or options do not fit together.
    """
    dag = DAG.from_knowledge(UNKNOWN, Knowledge(nodes=tuple(UNKNOWN)))
    model = PIMA(modalities=dict(modalities), dag=dag, latent_dim=latent_dim)
    prepared = prepare_fit(
        model,
        data,
        seed=seed,
        validation=validation,
        test=test,
        sample_dim=sample_dim,
        groups=groups,
        dtype=dtype,
    )
    where = resolve_device(device)
    train, held_out = prepared.train.to(where), prepared.validation.to(where)
    options = options_for(len(prepared.parts.train), batch_size, learning_rate)
    kind = getattr(torch, dtype)
    now = begin(model, prepared.infos, train, options, seed=seed, epochs=epochs, dtype=kind)
    network = now.loop.network
    known = known_part(train, network, seed=seed)
    task = Task(train, held_out, progress, 1, Keeper(None, stop))
    fits = calibrate(network, known.data, seed=seed)
    warm_up(now, Phases.of(epochs).warm_up, task, known.fits(fits))
    views = representations(network, known.data, fits)
    return propose(views, known.data, seed=seed)
