r"""Readers: encoders for samples of which only a part is given.

The experts of the bound are trained so that their product with *one* Gaussian, the spread of the
prior as a whole, is the posterior of a sample. That is what the bound needs, and not what a
prediction from a part of the modalities needs:

.. math:: p(z \mid x_S) \propto \Big[\sum_c p(c)\, N(z; \mu_c, s_c^2)\Big]
          \prod_{m \in S} N(\mu_m(x_m); z, s_m^2(x_m))

Put into this mixture, an expert that already tells the component counts it twice: along axes that
the given modalities hardly show, the spread of z comes out up to :math:`\sqrt 2` too small. So
the mixture gets experts of its own, trained after the fit, with all else fixed, to the highest
likelihood of what the *whole* sample says of z, given a random part of it:

.. math:: \max\; E_{q(z \mid x)} \log p(z \mid x_S)
          = E_q \sum_{m \in S} \Big[\mu_m P_m z - \tfrac12 P_m z^2\Big]
          - \log \sum_c p(c) \int N(z; \mu_c, s_c^2) \prod_{m \in S} (\dots)\,dz + \text{const}

Only samples with more than one modality teach it: where one is all there is, "the whole sample"
would be the same modality again, and its posterior, which the bound makes too narrow, the target.
Samples that show every modality keep the experts of the bound.

Reference: M. Wu, N. Goodman, "Multimodal generative models for compositional representation
learning", arXiv:1912.05075 (why a product of experts has to be trained on parts).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pima_physics.dataset import Data
from pima_physics.fusion import hide_entries, hide_modalities
from pima_physics.inference import component_evidence
from pima_physics.model import Network

# Samples with several modalities below which there is nothing to learn from.
FEWEST = 20
# Samples of each of which a part is judged after every epoch.
MOST_JUDGED = 1000


@dataclass(frozen=True)
class Lesson:
    """How the readers are trained.

    Attributes
    ----------
    learning_rate : float
        A third of that of the fit: they start from its encoders.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int


def teach(network: Network, train: Data, validation: Data, lesson: Lesson) -> None:
    """Train readers and give them to the network; none where too few samples can teach them.

    The epoch that is best on validation samples is kept. Every process of several does the same.
    """
    train, validation = teaching(network, train), teaching(network, validation)
    if len(network.names) < 2 or train.size < FEWEST:
        return
    judged = train if validation.size < FEWEST else validation
    judged = judged.take(slice(0, MOST_JUDGED))
    readers = network.add_readers()
    optimiser = torch.optim.Adam(readers.encoders.parameters(), lr=lesson.learning_rate)
    device = network.outcomes.device
    generator = torch.Generator(device=device).manual_seed(lesson.seed)
    order = torch.Generator().manual_seed(lesson.seed)
    best, kept = _judge(network, judged), copy.deepcopy(readers.state_dict())
    for epoch in range(lesson.epochs):
        decay = 0.5 * (1.0 + math.cos(math.pi * epoch / lesson.epochs))
        for group in optimiser.param_groups:
            group["lr"] = lesson.learning_rate * max(decay, 0.02)
        for index in torch.randperm(train.size, generator=order).split(lesson.batch_size):
            loss = surprise(network, train.take(index.to(device)), generator).mean()
            optimiser.zero_grad()
            if bool(torch.isfinite(loss)):
                loss.backward()
                optimiser.step()
        found = _judge(network, judged)
        if found < best:
            best, kept = found, copy.deepcopy(readers.state_dict())
    readers.load_state_dict(kept)
    readers.requires_grad_(False)


def teaching(network: Network, data: Data) -> Data:
    """The samples that show more than one modality."""
    return data.take((network.present(data).sum(0) > 1).nonzero()[:, 0])


def surprise(network: Network, batch: Data, generator: torch.Generator) -> Tensor:
    """Minus the expected log density of z given a part of every sample, up to a constant.

    Returns
    -------
    Tensor, shape (batch,)
        In nats, with a gradient for the readers only.
    """
    with torch.no_grad():
        whole = network.posterior(batch)
    part, present = hidden_part(network, batch, generator)
    precision, shift = network.evidence(part, present)
    second = whole.mean.square() + whole.variance
    told = (shift * whole.mean - 0.5 * precision * second).sum(1)
    return component_evidence(network, part, present, precision, shift).logsumexp(1) - told


def hidden_part(network: Network, batch: Data, generator: torch.Generator) -> tuple[Data, Tensor]:
    """A random part of every sample's modalities, with random gaps where data have gaps."""
    cut = {
        name: modality.hide(hide_entries(modality.mask, generator))
        for name, modality in batch.modalities.items()
        if network.infos[name].has_missing
    }
    part = replace(batch, modalities=batch.modalities | cut)
    return part, hide_modalities(network.present(part), generator)


@torch.no_grad()
def _judge(network: Network, data: Data) -> float:
    """Mean surprise over the same parts of the same samples every time."""
    generator = torch.Generator(device=network.outcomes.device).manual_seed(0)
    found = [
        surprise(network, data.take(slice(begin, begin + 250)), generator)
        for _ in range(4)
        for begin in range(0, data.size, 250)
    ]
    value = float(torch.cat(found).mean())
    return value if math.isfinite(value) else math.inf
