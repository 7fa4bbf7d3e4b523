"""Fit a model to a dataset: warm-up, discovery, held targets, release, refinement."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import xarray as xr

from pima_physics.calibrate import Calibration, calibrate
from pima_physics.dataset import Data, ModalityInfo, Split, prepare, split
from pima_physics.discovery import Discovery, discover
from pima_physics.representations import representations
from pima_physics.errors import ConfigError, DataError
from pima_physics.model import PIMA, Network
from pima_physics.results import FitResult, assemble
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

# Below this many validation samples the validation bound is too noisy to choose an epoch by.
ENOUGH_TO_VALIDATE = 20


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


def prepare_fit(
    model: PIMA,
    dataset: xr.Dataset,
    *,
    seed: int = 0,
    validation: float = 0.1,
    test: float = 0.1,
    sample_dim: str = "sample",
    labels: Mapping[str, str] | None = None,
    interventions: str | None = None,
    dtype: str = "float32",
) -> Prepared:
    """Check and convert a dataset for a model, and split it.

    Raises
    ------
    InputError
        Where data and model do not fit; see :func:`pima_physics.dataset.prepare`.
    """
    if sample_dim not in dataset.sizes:
        raise DataError(
            f"the data have no dimension '{sample_dim}'",
            found=", ".join(f"{n} ({s})" for n, s in dataset.sizes.items()) or "no dimensions",
            expected="the dimension that counts samples",
            fix="set sample_dim to the right name",
        )
    size = dataset.sizes[sample_dim]
    if model.dag.components > size:
        raise DataError(
            "more components than samples",
            found=f"{model.dag.components} joint outcomes, {size} samples",
            expected="at least as many samples as joint outcomes of the nodes",
            fix="use fewer nodes or outcomes, or more data",
        )
    parts = split(size, validation=validation, test=test, seed=seed)
    data = prepare(
        dataset,
        [modality.request(name) for name, modality in model.modalities.items()],
        sample_dim=sample_dim,
        nodes=dict(zip(model.dag.nodes, model.dag.outcomes, strict=True)),
        labels=dict(labels or {}),
        interventions=interventions,
        train=parts.train,
        dtype=getattr(torch, dtype),
    )
    return Prepared(data, parts, {name: m.info for name, m in data.modalities.items()})


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
            f"device '{device}' cannot be used", found=str(error).splitlines()[0], fix="device: auto"
        ) from error
    return resolved


def fit(
    model: PIMA,
    data: xr.Dataset,
    *,
    seed: int = 0,
    epochs: int = 200,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    device: str = "auto",
    restarts: int = 1,
    validation: float = 0.1,
    test: float = 0.1,
    sample_dim: str = "sample",
    labels: Mapping[str, str] | None = None,
    interventions: str | None = None,
    patience: int = 50,
    dtype: str = "float32",
    progress: Progress | None = None,
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
        Passes over the training data, at least 5; 40 % warm-up, 20 % with held targets, the
        rest free.
    batch_size : int
        Lowered for small data, so that an epoch has at least about eight steps.
    restarts : int
        Fits from different initial weights; the one with the best-supported nodes is returned.
    validation, test : float
        Shares of the samples kept apart.
    labels : mapping, optional
        Node -> variable with (partly) known outcomes; NaN or -1 = unknown.
    interventions : str, optional
        Variable with the intervened node per sample.
    patience : int
        Epochs without a better validation bound after which the free phase ends.

    Returns
    -------
    FitResult

    Raises
    ------
    InputError
        Data, model or options do not fit together.
    TrainingError
        The bound became non-finite.
    """
    began = time.monotonic()
    _check_options(epochs, batch_size, learning_rate, restarts)
    where = resolve_device(device)
    prepared = prepare_fit(
        model,
        data,
        seed=seed,
        validation=validation,
        test=test,
        sample_dim=sample_dim,
        labels=labels,
        interventions=interventions,
        dtype=dtype,
    )
    prepared = replace(prepared, data=prepared.data.to(where))
    train_size = len(prepared.parts.train)
    options = Options(
        batch_size=min(batch_size, max(8, -(-train_size // 8))), learning_rate=learning_rate
    )
    runs = [
        _fit_once(model, prepared, options, seed + 1000 * r, epochs, patience, dtype, progress)
        for r in range(restarts)
    ]
    network, discovery, history = max(runs, key=lambda run: run[1].total_evidence)
    return assemble(
        network.eval(),
        prepared.data,
        prepared.parts,
        dataset=data,
        discovery=discovery,
        history=history,
        settings={
            "seed": seed,
            "epochs": epochs,
            "batch_size": options.batch_size,
            "learning_rate": learning_rate,
            "restarts": restarts,
            "dtype": dtype,
            "device": str(where),
            "wall_time_seconds": time.monotonic() - began,
        },
    )


def _check_options(epochs: int, batch_size: int, learning_rate: float, restarts: int) -> None:
    for name, value, least in (
        ("epochs", epochs, 1),
        ("batch_size", batch_size, 1),
        ("restarts", restarts, 1),
    ):
        if value < least:
            raise ConfigError(f"{name} is too small", found=value, expected=f"at least {least}")
    if not (0.0 < learning_rate < math.inf):
        raise ConfigError("learning_rate must be positive", found=learning_rate)


def _fit_once(
    model: PIMA,
    prepared: Prepared,
    options: Options,
    seed: int,
    epochs: int,
    patience: int,
    dtype: str,
    progress: Progress | None,
) -> tuple[Network, Discovery, list[EpochRecord]]:
    """One run from one set of initial weights."""
    device = next(iter(prepared.data.modalities.values())).values.device
    network = model.build(prepared.infos, seed=seed).to(device, getattr(torch, dtype))
    loop = start(network, options, seed=seed, epochs=epochs)
    train, validation = prepared.train, prepared.validation
    warm = max(1, round(0.4 * epochs))
    held = max(1, round(0.2 * epochs)) if epochs > 1 else 0
    fits = calibrate(network, train, seed=seed)
    _run_phase(loop, "warm-up", warm, train, validation, progress, surrogates=fits)
    discovery = discover(
        representations(network, train, fits), model.dag, seed=seed, labels=train.labels,
        intervened=train.intervened,
    )
    targets = initialise(network, train, discovery)
    loop.statistics = None
    _run_phase(loop, "held", held, train, validation, progress, targets=targets)
    _run_phase(
        loop, "free", max(0, epochs - warm - held), train, validation, progress, patience=patience
    )
    update_graph(network, train, temperature=0.2, steps=400)
    return network, discovery, loop.history


def initialise(network: Network, train: Data, discovery: Discovery) -> torch.Tensor:
    """Start mixture, tables and DAG from the discovered nodes; return the held targets."""
    from pima_physics.mixture import Statistics

    targets = torch.as_tensor(discovery.responsibility).to(network.mixture.mean)
    network.eval()
    with torch.no_grad():
        q = network.posterior(train)
        network.mixture.update(Statistics.of(q, targets))
    network.prior.set_graph(discovery.graph, discovery.tables)
    return targets


def _run_phase(
    loop: Loop,
    phase: str,
    epochs: int,
    train: Data,
    validation: Data,
    progress: Progress | None,
    *,
    targets: torch.Tensor | None = None,
    patience: int | None = None,
    surrogates: Mapping[str, Calibration] | None = None,
) -> None:
    """Train for a number of epochs; with patience, end at the best validation bound."""
    best, best_state, waited = -math.inf, None, 0
    for step in range(epochs):
        fraction = step / max(1, epochs)
        decay = 0.5 * (1.0 + math.cos(math.pi * fraction)) if phase == "free" else 1.0
        rate = loop.options.learning_rate * max(decay, 0.02)
        terms = train_epoch(
            loop,
            train,
            phase=phase,
            rate=rate,
            targets=targets,
            surrogates=surrogates if fraction < 0.4 else None,
        )
        if phase != "warm-up" and step % 5 == 4:
            temperature = 1.0 if phase == "held" else max(0.2, 1.0 - 0.8 * 2.0 * fraction)
            update_graph(loop.network, train, temperature=temperature, steps=25)
        if validation.size:
            scored = evaluate(loop.network, validation, unit_prior=phase == "warm-up")
            terms["validation_elbo"] = scored["elbo"]
        loop.epoch += 1
        record = EpochRecord(phase, loop.epoch, loop.epochs, terms)
        loop.history.append(record)
        if progress is not None:
            progress(record)
        if patience is None or validation.size < ENOUGH_TO_VALIDATE:
            continue
        if terms["validation_elbo"] > best:
            best, best_state, waited = terms["validation_elbo"], snapshot(loop.network), 0
        else:
            waited += 1
        if waited >= patience:
            break
    if best_state is not None:
        loop.network.load_state_dict(best_state)
