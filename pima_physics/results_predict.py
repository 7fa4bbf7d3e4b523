"""Prediction for new samples from some of their modalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from pima_physics.dataset import Data, prepare
from pima_physics.errors import InputError, Problems, closest
from pima_physics.inference import chunks, mixture_posterior, predict
from pima_physics.model import Network
from pima_physics.results_fields import (
    field_group,
    in_units,
    observed_in_units,
    predict_chunk,
)
from pima_physics.results_provenance import package_version
from pima_physics.results_tree import PLAIN, counted, marginals, node_coordinate, safe

Array = NDArray[Any]


def check_given(network: Network, given: Sequence[str] | str, dataset: xr.Dataset) -> list[str]:
    """Names of the given modalities, each once.

    Raises
    ------
    InputError
        Where there is none, one does not exist, or its variable is missing; all at once.
    """
    names = [given] if isinstance(given, str) else list(dict.fromkeys(given))
    if not names:
        raise InputError("given is empty", expected=f"one or more of {', '.join(network.names)}")
    problems = Problems()
    for name in names:
        if name not in network.names:
            near = closest(name, network.names)
            problems.add(
                InputError(
                    f"there is no modality '{name}'",
                    expected=f"one or more of {', '.join(network.names)}",
                    fix=f"did you mean '{near}'?" if near else None,
                )
            )
            continue
        missing = [v for v in network.infos[name].variables if v not in dataset.variables]
        if missing:
            known = [str(v) for v in dataset.data_vars]
            near = closest(missing[0], known)
            problems.add(
                InputError(
                    f"modality '{name}' is given, but the data have no variable "
                    f"'{', '.join(missing)}'",
                    found=", ".join(known) or "no data variables",
                    fix=f"did you mean '{near}'?" if near else None,
                )
            )
    problems.raise_if_any()
    return names


def prepare_new(
    network: Network, dataset: xr.Dataset, sample_dim: str, given: Sequence[str] | None = None
) -> Data:
    """New data in the units and shapes of the fit; absent variables count as not observed.

    Variables of modalities that are not given cannot stand in the way: where they do not fit,
    they are left out.
    """
    try:
        return _prepare(network, dataset, sample_dim)
    except InputError:
        used = {v for name in given or () for v in network.infos[name].variables}
        every = {v for info in network.infos.values() for v in info.variables}
        spare = [v for v in every - used if v in dataset.data_vars]
        if given is None or not spare:
            raise
        return _prepare(network, dataset.drop_vars(spare), sample_dim)


def _prepare(network: Network, dataset: xr.Dataset, sample_dim: str) -> Data:
    data = prepare(
        dataset,
        sample_dim=sample_dim,
        infos=network.infos,
        require_all=False,
        dtype=network.mixture.mean.dtype,
    )
    return data.to(network.mixture.mean.device)


@dataclass(frozen=True)
class MixedPosterior:
    """Posterior of new samples with all modes of the prior.

    Attributes
    ----------
    responsibility : array (sample, component)
    mean, std : array (sample, latent)
    """

    responsibility: Array
    mean: Array
    std: Array


@torch.no_grad()
def mixed_posterior(network: Network, data: Data, given: Sequence[str]) -> MixedPosterior:
    """Moments of the posterior given some modalities."""
    parts = []
    components, latent = network.mixture.mean.shape
    chunk = int(np.clip(4_000_000 // (components * latent), 1, 1024))
    for part in chunks(data.size, chunk):
        log_weight, precision, shift = mixture_posterior(network, data.take(part), given)
        weight = torch.softmax(log_weight.double(), dim=1)
        inverse = (-network.mixture.log_variance).exp()[None]
        total = inverse + precision[:, None]
        means = ((inverse * network.mixture.mean + shift[:, None]) / total).double()
        mean = torch.einsum("bk,bkd->bd", weight, means)
        second = torch.einsum("bk,bkd->bd", weight, (means - mean[:, None]).square() + 1.0 / total)
        parts.append((weight, mean, second.sqrt()))
    return MixedPosterior(*(torch.cat(p).cpu().numpy() for p in zip(*parts, strict=True)))


def prediction(
    network: Network, data: Data, given: Sequence[str], *, draws: int, seed: int
) -> xr.DataTree:
    """All modalities and the posterior given some of them, as a tree."""
    network.eval()
    infos = [m.info for m in data.modalities.values()]
    found = predict(network, data, given, draws=draws, seed=seed, chunk=predict_chunk(infos, draws))
    groups = {"posterior": new_posterior_group(network, data, given)}
    for name, modality in data.modalities.items():
        arrays = in_units(modality.info, found[name])
        if bool(modality.present.any()):
            arrays["observed"] = observed_in_units(modality)
        groups[f"reconstruction/{safe(name)}"] = field_group(
            modality.info, arrays, data.sample_labels, sample_dim=data.sample_dim,
            grid=modality.grid,
        )  # fmt: skip
    shown = torch.stack([data.modalities[name].present for name in given]).any(0)
    root = xr.Dataset(
        attrs={
            "title": f"Prediction from {', '.join(given)}",
            "given": ", ".join(given),
            "samples_without_given": int((~shown).sum()),
            "draws": draws,
            "seed": seed,
            "package_version": package_version(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )
    return xr.DataTree.from_dict({"/": root, **groups})


def new_posterior_group(network: Network, data: Data, given: Sequence[str]) -> xr.Dataset:
    """/posterior of new samples."""
    dag, sample = network.model.dag, data.sample_dim
    posterior = mixed_posterior(network, data, given)
    probability = marginals(posterior.responsibility, dag.outcomes)
    outcome = np.nan_to_num(probability, nan=-1.0).argmax(2)
    labels = np.asarray(data.sample_labels)
    units = dict(PLAIN) if labels.dtype.kind in "iufb" else {}
    return xr.Dataset(
        {
            "z_mean": ((sample, "latent"), posterior.mean, PLAIN),
            "z_std": ((sample, "latent"), posterior.std, PLAIN),
            "responsibility": ((sample, "component"), posterior.responsibility, PLAIN),
            "node_outcome": ((sample, "node"), outcome, PLAIN),
            "node_probability": ((sample, "node", "outcome"), probability, PLAIN),
        },
        coords={
            sample: (sample, labels, units),
            "latent": counted("latent", posterior.mean.shape[1]),
            "component": counted("component", dag.components),
            "node": node_coordinate(dag),
            "outcome": counted("outcome", max(dag.outcomes)),
        },
    )
