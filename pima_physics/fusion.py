"""Which modalities an inference sees."""

from __future__ import annotations

import torch
from torch import Tensor


def hide_modalities(present: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Keep a random part of every sample's modalities: at least one, never all of several.

    Parameters
    ----------
    present : Tensor of bool, shape (modality, batch)
    generator : torch.Generator, optional

    Returns
    -------
    Tensor of bool, shape (modality, batch), nowhere larger than ``present``.
    """
    modalities, batch = present.shape
    order = torch.rand(modalities, batch, generator=generator, device=present.device)
    rank = (order + 2.0 * ~present).argsort(0).argsort(0)
    available = present.sum(0)
    choice = torch.rand(batch, generator=generator, device=present.device)
    kept = 1 + (choice * (available - 1).clamp(min=0)).floor().long()
    return present & (rank < kept)
