"""B2 and B3: multimodal VAEs of MultiVae 1.0.3, their clusters, then the PC algorithm.

Same data, split, standardisation, encoders, decoders and number of epochs as ours with neural
decoders. MVAE: a Gaussian mixture on the means of its posterior; CMVAE: its own clusters, the
product of what the modalities present say. Both get as many clusters as there are joint outcomes,
named by the truth in their favour. Neither has a noise level for its predictions: they get that
of the residuals of the training samples.

MultiVae is not installed with this package (see :mod:`pima_physics.validation.benchmarks.multivae`
for how); without it, or ``PIMA_MULTIVAE=FOLDER``, the rows say "not installed".
"""

# The peer is not installed where types are checked.
# pyright: reportMissingImports=false

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pima_physics.dataset import Data
from pima_physics.truth import Truth
from pima_physics.validation.benchmarks.multivae import LATENT, available, networks
from pima_physics.validation.cases.head_to_head.baselines import Search
from pima_physics.validation.cases.models import built, in_units, nodes_of, oracle_labels
from pima_physics.validation.cases.scoring import Found

DRAWS, BATCH = 50, 128


def peer(
    name: str, kind: str, search: Search, epochs: int
) -> Callable[[xr.Dataset, Truth, int], Found]:
    """MVAE or CMVAE on one data set.

    Parameters
    ----------
    kind : {"MVAE", "CMVAE"}
    """

    def run(data: xr.Dataset, truth: Truth, seed: int) -> Found:
        folder = os.environ.get("PIMA_MULTIVAE")
        if not available(Path(folder) if folder else None):
            raise ImportError("MultiVae", name="multivae")
        names, outcomes = nodes_of(truth)
        network, prepared = built(name, "neural", data, truth, latent=LATENT, seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            count = int(np.prod(outcomes))
            vae = _trained(network, kind, prepared.train, count, epochs)
            labels = oracle_labels(_clusters(vae, kind, prepared.data, count, seed), truth, names)
            test = prepared.data.take(torch.as_tensor(prepared.parts.test))
            crossmodal = {m: _predicted(vae, prepared.train, test, m) for m in network.names}
        return Found(labels, search(labels, outcomes), crossmodal)

    return run


def _inputs(data: Data) -> Any:
    from multivae.data.datasets.base import IncompleteDataset, MultimodalBaseDataset

    values = {name: m.values for name, m in data.modalities.items()}
    masks = {name: m.present for name, m in data.modalities.items()}
    if all(bool(mask.all()) for mask in masks.values()):
        return MultimodalBaseDataset(values)
    return IncompleteDataset(values, masks)


def _trained(network: Any, kind: str, train: Data, clusters: int, epochs: int) -> Any:
    from multivae.models import CMVAE, MVAE, CMVAEConfig, MVAEConfig
    from multivae.trainers import BaseTrainer, BaseTrainerConfig

    for logger in list(logging.root.manager.loggerDict):
        if logger.startswith(("multivae", "pythae")):
            logging.getLogger(logger).setLevel(logging.ERROR)
    dims = {name: tuple(m.values.shape[1:]) for name, m in train.modalities.items()}
    common: dict[str, Any] = {"n_modalities": len(dims), "input_dims": dims}
    half = LATENT // 2
    encoders, decoders = networks(network, 0 if kind == "MVAE" else half)
    for encoder in encoders.values():
        encoder.register_forward_hook(_copied)
    if kind == "MVAE":
        vae = MVAE(MVAEConfig(latent_dim=LATENT, **common), encoders, decoders)
    else:
        config = CMVAEConfig(
            latent_dim=half, modalities_specific_dim=half, number_of_clusters=clusters, **common
        )
        vae = CMVAE(config, encoders, decoders)
    with tempfile.TemporaryDirectory() as folder:
        options = BaseTrainerConfig(
            output_dir=folder, per_device_train_batch_size=BATCH, learning_rate=1e-3
        )
        trainer = BaseTrainer(vae, _inputs(train), training_config=options)
        trainer.callback_handler.callbacks = []
        for epoch in range(1, epochs + 1):
            trainer.train_step(epoch=epoch)
    return vae.eval()


def _copied(_: Any, __: Any, output: Any) -> Any:
    """Outputs that may be changed in place, as MVAE does where a modality is missing."""
    return type(output)(**{name: value.clone() for name, value in output.items()})


@torch.no_grad()
def _clusters(vae: Any, kind: str, data: Data, count: int, seed: int) -> np.ndarray:
    if kind == "CMVAE":
        found = vae.predict_clusters(_inputs(data))
        told = [
            found.pc_zs[name].clamp(min=1e-12).log() * m.present.to(found.pc_zs[name])
            for name, m in data.modalities.items()
        ]
        return torch.stack(told).sum(0).argmax(0).numpy()
    from sklearn.mixture import GaussianMixture

    # Its own `encode` refuses samples that lack a modality.
    means = vae.compute_mu_log_var_subset(_inputs(data), list(data.names))[0].numpy()
    return GaussianMixture(count, n_init=5, random_state=seed).fit_predict(means)


@torch.no_grad()
def _decoded(vae: Any, data: Data, given: list[str], target: str) -> Tensor:
    """Draws of a modality, (draw, sample, *shape)."""
    own = {name: m for name, m in data.modalities.items() if name in given}
    found = vae.encode(_complete(data, own), cond_mod=given, N=DRAWS)
    z = found.z
    if not found.one_latent_space:
        z = torch.cat([z, found.modalities_z[target]], dim=-1)
    return vae.decoders[target](z).reconstruction


def _complete(data: Data, own: dict[str, Any]) -> Any:
    """Samples of which all given modalities are there; the caller has chosen them."""
    from multivae.data.datasets.base import MultimodalBaseDataset

    return MultimodalBaseDataset({name: m.values for name, m in own.items()})


def _predicted(
    vae: Any, train: Data, test: Data, target: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observed, mean and spread of test samples, predicted from the other modalities."""
    others = [name for name in test.names if name != target]
    known = train.take(_shown(train, [*others, target])[:500])
    residual = known.modalities[target].values - _decoded(
        vae, known, [*others, target], target
    ).mean(0)
    noise = float(residual.square().mean())
    part = test.take(_shown(test, [*others, target]))
    draws = _decoded(vae, part, others, target)
    return in_units(part.modalities[target], draws.mean(0), (draws.var(0) + noise).sqrt())


def _shown(data: Data, names: list[str]) -> Tensor:
    present = torch.stack([data.modalities[name].present for name in names]).all(0)
    return present.nonzero()[:, 0]
