"""The supervised yardstick of a cross-modal prediction: the same networks trained for it alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pima_physics.dataset import Data, Split
from pima_physics.decoders import make_decoder
from pima_physics.encoders import make_encoder


@dataclass(frozen=True)
class Regression:
    """Test R2 of a supervised regression, at the epoch of the best validation error.

    Attributes
    ----------
    r2 : float
        Share of the variance of the test samples that is explained, over all entries.
    epoch : int
    """

    r2: float
    epoch: int


def supervised_regression(
    data: Data,
    parts: Split,
    source: str,
    target: str,
    *,
    latent_dim: int,
    hidden: tuple[int, ...] = (128, 64),
    epochs: int = 200,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> Regression:
    """Regress one modality on another with an encoder and a decoder of the model's own kind.

    Samples that lack one of the two are left out.
    """
    x, y = data.modalities[source], data.modalities[target]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = make_encoder("auto", x.info, latent_dim, hidden)
        decoder = make_decoder("auto", y.info, latent_dim, hidden)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=learning_rate)
    generator = torch.Generator().manual_seed(seed)
    both = (x.present & y.present).numpy()
    train, validation, test = (
        torch.as_tensor(part[both[part]]) for part in (parts.train, parts.validation, parts.test)
    )

    def errors(index: Tensor) -> Tensor:
        prediction = decoder(encoder(x.values[index], x.mask[index])[0])
        return (y.values[index] - prediction).square() * y.mask[index]

    best, best_epoch, r2 = np.inf, 0, -np.inf
    for epoch in range(epochs):
        for index in train[torch.randperm(len(train), generator=generator)].split(batch_size):
            optimiser.zero_grad(set_to_none=True)
            (errors(index).sum() / y.mask[index].sum()).backward()
            nn.utils.clip_grad_norm_(parameters, 10.0)
            optimiser.step()
        with torch.no_grad():
            score = float(errors(validation).sum() / y.mask[validation].sum())
            if score < best:
                best, best_epoch = score, epoch
                r2 = 1.0 - float(errors(test).sum() / _spread(y.values[test], y.mask[test]))
    return Regression(r2, best_epoch)


def _spread(values: Tensor, mask: Tensor) -> Tensor:
    """Sum of squares around the mean of every entry."""
    mean = (values * mask).sum(0) / mask.sum(0).clamp(min=1)
    return ((values - mean).square() * mask).sum()
