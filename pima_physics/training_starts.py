"""What decides the result of a fit, and what tells one experiment from another."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from pima_physics.checkpoint_codec import checksum
from pima_physics.dataset import Data, ModalityInfo, Split
from pima_physics.modality import Modality, Physics
from pima_physics.model import PIMA
from pima_physics.trainer_loop import Options


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
    """All that decides the result of a fit, and (``jobs``) how many processes share it."""

    model: PIMA
    prepared: Prepared
    options: Options
    seed: int
    epochs: int
    restarts: int
    bootstrap: int
    patience: int
    dtype: str
    device: torch.device
    jobs: int = 1

    @property
    def size(self) -> int:
        """Number of replicas: starts, then bootstrap samples."""
        return self.restarts + self.bootstrap

    @property
    def kind(self) -> torch.dtype:
        """The number type."""
        return getattr(torch, self.dtype)


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
        "groups": checksum(data.groups),
        **{name.replace("_", " "): str(getattr(job.options, name)) for name in _names(Options)},
        "seed": str(job.seed),
        "epochs": str(job.epochs),
        "restarts": str(job.restarts),
        "bootstrap": str(job.bootstrap),
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
