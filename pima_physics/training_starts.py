"""Several starts of a fit, of which the best is kept; what tells one experiment from another."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from pima_physics.checkpoint import Keeper
from pima_physics.checkpoint_codec import checksum
from pima_physics.dataset import Data, ModalityInfo, Split
from pima_physics.modality import Modality, Physics
from pima_physics.model import PIMA
from pima_physics.schedule import Run, run
from pima_physics.schedule_epoch import Task
from pima_physics.trainer_loop import Options, Progress

log = logging.getLogger("pima_physics.training")


@dataclass(frozen=True)
class Prepared:
    """Checked data of a fit, in its three parts."""

    data: Data
    parts: Split
    infos: dict[str, ModalityInfo]

    @property
    def train(self) -> Data:
        """Training part."""
        return self.data.take(torch.as_tensor(self.parts.train))

    @property
    def validation(self) -> Data:
        """Validation part."""
        return self.data.take(torch.as_tensor(self.parts.validation))


@dataclass(frozen=True)
class Job:
    """All that decides the result of a fit."""

    model: PIMA
    prepared: Prepared
    options: Options
    seed: int
    epochs: int
    restarts: int
    patience: int
    dtype: str
    device: torch.device

    @property
    def kind(self) -> torch.dtype:
        """The number type."""
        return getattr(torch, self.dtype)


def best_of_starts(
    job: Job, keeper: Keeper, kept: Mapping[str, Any], progress: Progress | None
) -> Run:
    """Train from every set of initial weights and return the run with the clearest nodes.

    Parameters
    ----------
    kept : mapping
        Parts of a checkpoint to go on from; empty for none.
    """
    train, validation = job.prepared.train, job.prepared.validation
    task = Task(train.to(job.device), validation.to(job.device), progress, job.patience, keeper)
    best, done = _read_best(job, kept)
    for number in range(done, job.restarts):
        _log_resumed(kept, number)
        found = run(
            job.model,
            job.prepared.infos,
            task,
            job.options,
            seed=job.seed + 1000 * number,
            epochs=job.epochs,
            dtype=job.kind,
            kept=kept,
        )
        kept = {}
        if best is None or found.discovery.total_evidence > best.discovery.total_evidence:
            best = found
        finished = {
            "done": number + 1,
            "network": best.network.state_dict(),
            "discovery": best.discovery,
            "history": best.history,
            "alarms": best.alarms,
        }
        keeper.write(drop=("fits", "found", "state"), best=finished)
    assert best is not None
    return best


def _read_best(job: Job, kept: Mapping[str, Any]) -> tuple[Run | None, int]:
    """The best finished start of a checkpoint, and how many are finished."""
    if "best" not in kept:
        return None, 0
    part = kept["best"]
    network = job.model.build(job.prepared.infos).to(job.device, job.kind)
    network.load_state_dict(part["network"])
    best = Run(network.eval(), part["discovery"], part["history"], part["alarms"])
    return best, part["done"]


def _log_resumed(kept: Mapping[str, Any], number: int) -> None:
    if "state" in kept:
        loop = kept["state"]["loop"]
        log.info("going on after epoch %d of start %d", loop["epoch"], number + 1)


def fingerprint(job: Job) -> dict[str, str]:
    """What the experiment is, by readable names: checksums of the data, the rest as text."""
    model, data = job.model, job.prepared.data
    marks = {
        "nodes": ", ".join(
            f"{n}: {c}" for n, c in zip(model.dag.nodes, model.dag.outcomes, strict=True)
        ),
        "background knowledge": str(model.dag.knowledge),
        "latent dim": str(model.latent_dim),
        "modalities": ", ".join(model.modalities),
        **{f"modality {name}": _describe(m) for name, m in model.modalities.items()},
        "samples": str(data.size),
        **{f"data of {name}": checksum(m) for name, m in data.modalities.items()},
        "labels": checksum(data.labels),
        "interventions": checksum(data.intervened),
        "split": checksum(job.prepared.parts),
        **{name.replace("_", " "): str(getattr(job.options, name)) for name in _names(Options)},
        "seed": str(job.seed),
        "epochs": str(job.epochs),
        "restarts": str(job.restarts),
        "patience": str(job.patience),
        "dtype": job.dtype,
        "device": job.device.type,
    }
    return marks


def _names(record: type) -> list[str]:
    return [f.name for f in fields(record)]


def _describe(modality: Modality) -> str:
    """A modality as text; a law by its name and parameters, as its object has no lasting name."""
    parts = {name: getattr(modality, name) for name in _names(type(modality))}
    if isinstance(modality, Physics):
        law = modality.simulator
        parts["simulator"] = f"{law.reference} {law.parameters} {law.constants}"
    return str(parts)
