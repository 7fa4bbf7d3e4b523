"""What one modality says about the others: views in which shared features show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pima_physics.dataset import Data, ModalityInfo
from pima_physics.encoders import Encoder, image_axes, make_encoder
from pima_physics.representations import Representation

Array = NDArray[np.float64]

# With fewer samples a network that predicts from half of them learns their noise.
ENOUGH = 400
# Leading components of the other modalities that are predicted, and of the predictions.
TARGETS, AXES = 8, 4
HIDDEN = (64, 32)
EPOCHS, BATCH, RATE, DECAY = 10, 128, 3e-3, 1e-2
# A direction of the predictions must explain this share of what it predicts in samples that the
# network has not seen.
LEAST_SHARE = 0.02


@dataclass(frozen=True)
class _Problem:
    """Predict the components (target) of the others from one modality, in its present samples."""

    info: ModalityInfo
    values: Tensor
    mask: Tensor
    target: Tensor


def shared_views(data: Data, views: Sequence[Representation], *, seed: int) -> list[Representation]:
    """Predictions of the other modalities' components from each modality.

    The expectation of the others given one modality holds what they have in common, however
    nonlinearly it shows there, and nothing that is its own. Every sample is predicted by a network
    that was trained on the other half of the samples.

    Parameters
    ----------
    views : sequence of Representation
        With the principal components of every modality.

    Returns
    -------
    list of Representation
        Of kind "shared", "image about signal"; none where nothing can be predicted.
    """
    components = {v.name.removeprefix("components of "): v for v in views if v.kind == "components"}
    found = []
    for name in data.modalities if len(data.modalities) > 1 else ():
        others = [components[other] for other in data.modalities if other != name]
        view = _view(data, name, others, seed)
        if view is not None:
            found.append(view)
    return found


def _view(
    data: Data, name: str, others: Sequence[Representation], seed: int
) -> Representation | None:
    present = data.modalities[name].present.cpu().numpy()
    both = np.logical_and.reduce([present, *(o.present for o in others)])
    if both.sum() < ENOUGH:
        return None
    target = _leading(np.concatenate([o.values for o in others], axis=1), both)
    modality = data.modalities[name]
    problem = _Problem(
        modality.info, modality.values.float(), modality.mask, torch.as_tensor(target).float()
    )
    predicted = _out_of_fold(problem, np.flatnonzero(present), np.flatnonzero(both), seed)
    error = target[both] - predicted[both]
    # Principal directions of the predictions, as far as they hold in samples not seen.
    centre = predicted[present].mean(0)
    basis = np.linalg.svd(predicted[present] - centre, full_matrices=False)[2]
    total = ((target[both] - target[both].mean(0)) @ basis.T).var(0)
    share = 1.0 - (error @ basis.T).var(0) / np.maximum(total, 1e-300)
    use = np.flatnonzero(share > LEAST_SHARE)[:AXES]
    if not len(use):
        return None
    values = np.where(present[:, None], (predicted - centre) @ basis[use].T, 0.0)
    return Representation(f"{name} about the others", "shared", values, present)


def _leading(values: Array, present: NDArray[np.bool_]) -> Array:
    """Standardised; the leading ones where there are many."""
    spread = values[present].std(0)
    first = np.sort(spread.argsort()[::-1][:TARGETS])
    centred = values[:, first] - values[present][:, first].mean(0)
    return centred / np.maximum(spread[first], 1e-12)


def _out_of_fold(
    problem: _Problem, present: NDArray[np.int64], both: NDArray[np.int64], seed: int
) -> Array:
    """Predictions for the present samples by networks that have not seen them."""
    rng = np.random.default_rng(seed)
    half = rng.permutation(len(problem.target)) % 2
    found = np.zeros(tuple(problem.target.shape))
    for fold in (0, 1):
        network = _trained(problem, both[half[both] != fold], seed)
        index = present[half[present] == fold]
        with torch.no_grad():
            parts = [
                network.features(problem.values[part], problem.mask[part])
                for part in torch.as_tensor(index).split(1024)
            ]
        if parts:
            found[index] = torch.cat(parts).double().cpu().numpy()[:, : found.shape[1]]
    return found


def _trained(problem: _Problem, index: NDArray[np.int64], seed: int) -> Encoder:
    device = problem.values.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make_encoder(_kind(problem.info), problem.info, problem.target.shape[1], HIDDEN)
    network = network.to(device)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    rng = np.random.default_rng(seed)
    target = problem.target.to(device)
    for _ in range(EPOCHS):
        for part in torch.as_tensor(rng.permutation(index)).split(BATCH):
            guess = network.features(problem.values[part], problem.mask[part])
            loss = nn.functional.mse_loss(guess[:, : target.shape[1]], target[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network


def _kind(info: ModalityInfo) -> str:
    """Neighbouring pixels say more together than alone."""
    return "conv" if image_axes(info) is not None else "mlp"
