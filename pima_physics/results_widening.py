r"""Calibration of the intervals of modalities that were not given, on validation samples.

Split-conformal prediction: of the validation samples, each predicted from its other modalities,
:math:`z = |x - \text{mean}| / \text{std}` of every value; the spread of predictions of new samples
is multiplied by :math:`f = z_{(0.9)} / 1.645`. Values of one sample depend on each other, so that
samples, not values, are counted: each has the weight 1/(n + 1), shared by its values, and the
rest of the weight lies at infinity. Samples like those of the fit then have on average 90 % of
their values inside mean +- 1.645 std, whatever is wrong with the model. A factor far from 1 says
that something is, and the results carry it.

References: V. Vovk, A. Gammerman, G. Shafer, "Algorithmic learning in a random world", 2005;
R. Dunn, L. Wasserman, A. Ramdas, "Distribution-free prediction sets for two-layer hierarchical
models", JASA 2023 (pooling within groups).
"""

from __future__ import annotations

import numpy as np
import torch

from pima_physics.dataset import Data
from pima_physics.inference import predict
from pima_physics.model import Network
from pima_physics.results_fields import DRAWS_HIDDEN, NINETY, Array, predict_chunk

# Validation samples below which nothing is calibrated, and the most that are predicted.
FEWEST, MOST = 20, 2000


def widen(network: Network, validation: Data) -> None:
    """Set the factor of every modality; it stays 1 for counts, yes/no and too few samples."""
    if network.readers is None:
        return
    network.readers.widening.fill_(1.0)
    found = torch.ones_like(network.readers.widening)
    for m, name in enumerate(network.names):
        if not can_widen(network, validation, name):
            continue
        part = validation.take(judged(network, validation, name))
        others = [other for other in network.names if other != name]
        infos = list(network.infos.values())
        chunk = predict_chunk(infos, DRAWS_HIDDEN)
        predicted = predict(network, part, others, draws=DRAWS_HIDDEN, chunk=chunk)[name]
        values = part.modalities[name].values.double().cpu().numpy()
        mask = part.modalities[name].mask.cpu().numpy()
        score = np.abs(values - predicted.mean) / np.maximum(predicted.std, 1e-12)
        factor = quantile_of_samples(score, mask, 0.9) / NINETY
        if np.isfinite(factor) and factor > 0:
            found[m] = factor
    network.readers.widening.copy_(found)


def judged(network: Network, data: Data, name: str) -> torch.Tensor:
    """Positions of the samples that show a modality and any other, at most 2000."""
    if len(network.names) < 2 or not data.size:
        return torch.zeros(0, dtype=torch.long)
    m = network.names.index(name)
    present = network.present(data)
    return (present[m] & (present.sum(0) > 1)).nonzero()[:MOST, 0]


def can_widen(network: Network, data: Data, name: str) -> bool:
    """Whether a modality has a spread to be widened, and enough samples that tell by how much."""
    continuous = network.infos[name].likelihood in ("normal", "student_t")
    return continuous and len(judged(network, data, name)) >= FEWEST


def quantile_of_samples(score: Array, mask: Array, level: float) -> float:
    """Conformal quantile of values that are grouped by sample; infinite for too few samples.

    Parameters
    ----------
    score, mask : array (sample, *shape)
        Values, and which of them count.
    """
    flat, kept = score.reshape(len(score), -1), mask.reshape(len(mask), -1)
    counts = kept.sum(1)
    flat, kept, counts = flat[counts > 0], kept[counts > 0], counts[counts > 0]
    weight = np.where(kept, 1.0 / (counts[:, None] * (len(counts) + 1.0)), 0.0)[kept]
    values = flat[kept]
    order = np.argsort(values)
    place = int(np.searchsorted(np.cumsum(weight[order]), level - 1e-12))
    return float(values[order][place]) if place < len(values) else float("inf")
