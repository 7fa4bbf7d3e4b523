"""Fit a model to a dataset: warm-up, discovery, held targets, release, refinement."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import replace

import torch
import xarray as xr

from pima_physics.checkpoint import EPOCHS, Keeper, open_checkpoint
from pima_physics.checkpoint_stop import Stop, deferred_signals
from pima_physics.dataset import check_size, prepare, split
from pima_physics.dataset_groups import read_groups
from pima_physics.distributed import connected, wait
from pima_physics.errors import ConfigError, DataError
from pima_physics.model import PIMA, Network
from pima_physics.readers import Lesson, teach
from pima_physics.results import FitResult, assemble
from pima_physics.results_widening import widen
from pima_physics.runfolder import RunFolder
from pima_physics.stream import known_part
from pima_physics.trainer import PRECISIONS
from pima_physics.trainer_loop import Options, Progress
from pima_physics.training_labels import with_set_values
from pima_physics.training_replicas import run_replicas
from pima_physics.training_starts import Job, Prepared, fingerprint

# Epochs and batch size of the readers at most; they start from the encoders, and learn from
# those samples only that show several modalities.
READING, FEW = 60, 64


def prepare_fit(
    model: PIMA,
    dataset: xr.Dataset,
    *,
    seed: int = 0,
    validation: float = 0.1,
    test: float = 0.1,
    sample_dim: str = "sample",
    groups: str | None = None,
    labels: Mapping[str, str] | None = None,
    interventions: str | None = None,
    intervention_values: str | None = None,
    dtype: str = "float32",
) -> Prepared:
    """Check and convert a dataset for a model, and split it.

    Raises
    ------
    InputError
        Where data and model do not fit; see :func:`pima_physics.dataset.prepare`.
    """
    size = check_size(dataset, sample_dim, 0)
    together = read_groups(dataset, groups, sample_dim) if groups else None
    parts = split(size, validation=validation, test=test, seed=seed, groups=together)
    if model.dag.components > size:
        raise DataError(
            "more components than samples",
            found=f"{model.dag.components} joint outcomes, {size} samples",
            expected="at least as many samples as joint outcomes of the nodes",
            fix="use fewer nodes or outcomes, or more data",
        )
    nodes = dict(zip(model.dag.nodes, model.dag.outcomes, strict=True))
    dataset, known = with_set_values(
        dataset, interventions, intervention_values, nodes, labels or {}, sample_dim
    )
    data = prepare(
        dataset,
        [modality.request(name) for name, modality in model.modalities.items()],
        sample_dim=sample_dim,
        nodes=nodes,
        labels=known,
        interventions=interventions,
        train=parts.train,
        dtype=getattr(torch, dtype),
    )
    infos = {name: m.info for name, m in data.modalities.items()}
    return Prepared(replace(data, groups=together), parts, infos)


def options_for(size: int, batch_size: int, learning_rate: float) -> Options:
    """Options of a training: about eight steps per epoch at least, also for small data."""
    return Options(min(batch_size, max(8, -(-size // 8))), learning_rate)


def resolve_device(device: str) -> torch.device:
    """Turn "auto" into a GPU where there is one.

    Raises
    ------
    ConfigError
        Where the device does not exist.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(1, device=resolved)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device '{device}' cannot be used",
            found=str(error).splitlines()[0],
            fix="device: auto",
        ) from error
    return resolved


def fit(
    model: PIMA,
    data: xr.Dataset,
    *,
    seed: int = 0,
    epochs: int = 200,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    device: str = "auto",
    restarts: int = 1,
    bootstrap: int = 0,
    jobs: int = 1,
    validation: float = 0.1,
    test: float = 0.1,
    sample_dim: str = "sample",
    groups: str | None = None,
    labels: Mapping[str, str] | None = None,
    interventions: str | None = None,
    intervention_values: str | None = None,
    patience: int = 50,
    dtype: str = "float32",
    autocast: str = "none",
    cuda_graphs: bool = True,
    progress: Progress | None = None,
    prepared: Prepared | None = None,
    run: RunFolder | None = None,
    resume: bool = False,
    checkpoint_every: int = EPOCHS,
) -> FitResult:
    """Fit a model to data. Neither is changed.

    Parameters
    ----------
    model : PIMA
    data : xarray.Dataset
        Variables with attribute ``units`` and a sample dimension; NaN = not observed.
    seed : int
        Seed of the split, the initial weights, the order of samples and all draws.
    epochs : int
        Passes over the training data: 40 % warm-up, 20 % with held targets, the rest free. A
        few serve to try whether everything runs, not to learn anything.
    batch_size : int
        Lowered for small data, so that an epoch has at least about eight steps.
    restarts : int
        Fits from different initial weights; the one with the highest bound per held-out sample
        is returned (below 20 held-out samples: with the most evidence for its nodes).
    bootstrap : int
        Further fits, each to training samples drawn with replacement. With ``restarts`` they
        say in ``/replicas`` how stable nodes and edges are.
    jobs : int
        Processes that share the fits. The result does not depend on it.
    validation, test : float
        Shares of the samples kept apart.
    groups : str, optional
        Variable; samples with the same value stay in one part, and count as fewer where alike.
    labels : mapping, optional
        Node -> variable with (partly) known outcomes; NaN or -1 = unknown.
    interventions : str, optional
        Variable with the intervened node per sample.
    intervention_values : str, optional
        Variable with the outcome that it was set to: a known outcome of that node, which also
        says which feature the node is.
    patience : int
        Epochs without a better validation bound after which the free phase ends.
    autocast : str
        "bfloat16": neural networks multiply in it while training, which pays for large ones on
        a GPU; laws, the latent and everything after training keep the full precision.
    cuda_graphs : bool
        On a GPU, record the steps of training and replay them; the same steps, several times as
        fast for small networks. Steps that wait for the GPU (adaptive solvers) run as always.
    prepared : Prepared, optional
        What :func:`prepare_fit` returned for the same arguments, to save doing it again.
    run : RunFolder, optional
        Where checkpoints are written. They stay until :func:`pima_physics.checkpoint.clear`,
        when the results are safe. Ctrl-C and SIGTERM then end training after the batch, with
        a checkpoint; a second one ends it at once.
    resume : bool
        Go on from the checkpoint in ``run``, to the same result; without one, start anew.
    checkpoint_every : int
        Epochs between checkpoints; there is one at least every minute.

    Returns
    -------
    FitResult

    Raises
    ------
    InputError
        Data, model or options do not fit together.
    TrainingError
        The bound became non-finite, also with a smaller learning rate.
    """
    began = time.monotonic()
    _check_options(epochs, batch_size, learning_rate, restarts, bootstrap, jobs, autocast)
    where = resolve_device(device)
    prepared = prepared or prepare_fit(
        model,
        data,
        seed=seed,
        validation=validation,
        test=test,
        sample_dim=sample_dim,
        groups=groups,
        labels=labels,
        interventions=interventions,
        intervention_values=intervention_values,
        dtype=dtype,
    )
    size = len(prepared.parts.train)
    options = replace(
        options_for(size, batch_size, learning_rate), autocast=autocast, cuda_graphs=cuda_graphs
    )
    job = Job(
        model, prepared, options, seed, epochs, restarts, bootstrap, patience, dtype, where, jobs
    )
    signals = deferred_signals() if run else contextlib.nullcontext(Stop())
    with connected(where), signals as stop:
        folder, kept = None, {}
        if run is not None:
            folder, kept = open_checkpoint(run, fingerprint(job), resume=resume)
            wait()  # of several processes, until all have read it
        found = run_replicas(job, Keeper(folder, stop, epochs=checkpoint_every), kept, progress)
        best = found.run
        with stop.at_once():
            _read_parts(best.network, job)
            result = assemble(
                best.network,
                prepared.data.to(where),
                prepared.parts,
                dataset=data,
                discovery=best.discovery,
                history=best.history,
                settings={
                    "seed": seed,
                    "epochs": epochs,
                    "batch_size": options.batch_size,
                    "learning_rate": learning_rate,
                    "restarts": restarts,
                    "bootstrap": bootstrap,
                    "dtype": dtype,
                    "autocast": autocast,
                    "device": str(where),
                    "groups": groups or "",
                    "wall_time_seconds": time.monotonic() - began,
                    "alarms": best.alarms,
                },
            )
        return result if found.group is None else result.with_group("replicas", found.group)


def _read_parts(network: Network, job: Job) -> None:
    """Train what predicts from a part of the modalities, and calibrate its intervals."""
    train, validation = (
        known_part(part.to(job.device), network, seed=job.seed).data
        for part in (job.prepared.train, job.prepared.validation)
    )
    rate = job.options.learning_rate / 3.0
    teach(
        network,
        train,
        validation,
        Lesson(min(job.epochs, READING), min(job.options.batch_size, FEW), rate, job.seed),
    )
    widen(network, validation)


def _check_options(
    epochs: int,
    batch_size: int,
    learning_rate: float,
    restarts: int,
    bootstrap: int,
    jobs: int,
    autocast: str,
) -> None:
    for name, value, least in (
        ("epochs", epochs, 1),
        ("batch_size", batch_size, 1),
        ("restarts", restarts, 1),
        ("bootstrap", bootstrap, 0),
        ("jobs", jobs, 1),
    ):
        if value < least:
            raise ConfigError(f"{name} is too small", found=value, expected=f"at least {least}")
    if autocast not in PRECISIONS:
        raise ConfigError("autocast is unknown", found=autocast, expected=" or ".join(PRECISIONS))
    if not (0.0 < learning_rate < math.inf):
        raise ConfigError("learning_rate must be positive", found=learning_rate)
