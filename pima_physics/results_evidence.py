"""What the discovered outcomes of the training samples say of the samples kept apart."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pima_physics.dataset import Data, Split
from pima_physics.dataset_stream import is_streamed
from pima_physics.discovery import Discovery
from pima_physics.evidence import predicted
from pima_physics.factorial import product_of
from pima_physics.inference import anchored
from pima_physics.model import RULED_OUT, Network
from pima_physics.representations import representations
from pima_physics.single import ENOUGH_TO_WHITEN, nearest_prototypes

Array = NDArray[np.float64]

# Highest temperature, at which responsibilities say nothing, and their least logarithm.
HOTTEST, TINY = 100.0, 1e-30


def informed(network: Network, data: Data, parts: Split, discovery: Discovery, own: Array) -> Array:
    """Responsibilities of all samples with what discovery found as evidence.

    Training samples have the outcomes that discovery gave them. Those of the others are predicted
    as the training samples show: by a linear discriminant of latent and principal components, for
    a single node of few samples by the nearest prototype. Data on disk get none: their views do
    not fit into memory.

    Parameters
    ----------
    own : array, shape (sample, component)
        What the networks say by themselves.
    """
    found = own.copy()
    found[parts.train] = anchored(own[parts.train], discovery.responsibility)
    known = np.zeros(data.size, dtype=bool)
    known[parts.train] = True
    if is_streamed(data) or known.all():
        return found
    labels, sizes = [], network.model.dag.outcomes
    for finding in discovery.findings:
        label = np.full(data.size, -1)
        label[parts.train] = finding.probability.argmax(1)
        labels.append(label)
    if len(labels) == 1 and len(parts.train) < ENOUGH_TO_WHITEN:
        each = [nearest_prototypes(data, labels[0], sizes[0])[~known]]
    else:
        views = representations(network, data, {})
        each = [predicted(views, known, *of) for of in zip(labels, sizes, strict=True)]
    said = product_of(each) * _allowed(network, data)[~known]
    said /= said.sum(1, keepdims=True)
    tempered = _as_sure_as_right(own[~known], said.argmax(1))
    found[~known] = np.where(said > 0.0, anchored(tempered, said), 0.0)
    found[~known] /= found[~known].sum(1, keepdims=True)
    return found


@torch.no_grad()
def _allowed(network: Network, data: Data) -> NDArray[np.bool_]:
    """Joint outcomes that no label or intervention of a sample rules out, (sample, component)."""
    allowed = (network.log_prior(data) > 0.5 * RULED_OUT).cpu().numpy()
    return np.broadcast_to(allowed, (data.size, allowed.shape[1]))


def _as_sure_as_right(own: Array, label: NDArray[np.int64]) -> Array:
    """Responsibilities tempered to the highest likelihood of labels; never made surer.

    Networks are surest where they have learned nothing: samples unlike those of the training.

    References
    ----------
    C. Guo et al., "On calibration of modern neural networks", ICML 2017 (temperature scaling).
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logs = np.log(np.clip(own, TINY, None))

    def surprise(log_temperature: float) -> float:
        tempered = log_softmax(logs / np.exp(log_temperature), axis=1)
        return -float(tempered[np.arange(len(label)), label].mean())

    best = minimize_scalar(surprise, bounds=(0.0, np.log(HOTTEST)), method="bounded")
    return np.exp(log_softmax(logs / np.exp(best.x), axis=1))
