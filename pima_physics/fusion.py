"""Which modalities an inference sees: fusion of experts and modality dropout."""

from __future__ import annotations

import torch
from torch import Tensor


def drop_modalities(
    present: Tensor, probability: float, generator: torch.Generator | None = None
) -> Tensor:
    """Hide modalities at random, never all that a sample has.

    With ``probability`` a sample keeps only a random part of its modalities (uniform over how
    many are kept); else it keeps all. Every encoder so learns to speak alone, which cross-modal
    prediction needs.

    Parameters
    ----------
    present : Tensor of bool, shape (modality, batch)
    probability : float
    generator : torch.Generator, optional

    Returns
    -------
    Tensor of bool, shape (modality, batch), nowhere larger than ``present``.
    """
    modalities, batch = present.shape
    if modalities == 1 or probability <= 0.0:
        return present
    options = {"generator": generator, "device": present.device}
    order = torch.rand(modalities, batch, **options) + (~present) * 2.0
    rank = order.argsort(0).argsort(0)
    available = present.sum(0)
    kept = 1 + (torch.rand(batch, **options) * (available - 1).clamp(min=0)).floor().long()
    hide = torch.rand(batch, **options) < probability
    return present & (~hide | (rank < kept))
