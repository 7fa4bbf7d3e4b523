"""Which modalities, and which of their entries, an inference sees."""

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
    key = torch.rand(modalities, batch, generator=generator, device=present.device)
    choice = torch.rand(batch, generator=generator, device=present.device)
    # Those whose key is below a threshold: uniform between the least and the largest key, it keeps
    # every number of them with the same probability, as the other keys are uniform there too.
    least = key.masked_fill(~present, 2.0).amin(0)
    largest = key.masked_fill(~present, -1.0).amax(0)
    return present & ((key < torch.lerp(least, largest, choice)) | (key == least))


def hide_entries(mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """For half of the samples keep only a window of a modality's entries.

    Curves end early and records begin late; the window's ends are uniform in the order of the
    entries.

    Parameters
    ----------
    mask : Tensor of bool, shape (batch, *shape)

    Returns
    -------
    Tensor of bool, shape (batch, *shape), nowhere larger than ``mask``.
    """
    flat = mask.flatten(1)
    batch, entries = flat.shape
    draw = torch.rand(3, batch, generator=generator, device=mask.device)
    low, high = draw[:2].amin(0) * entries, draw[:2].amax(0) * entries
    # Half of the windows begin at the first entry: failure cuts the end of a record.
    low = torch.where(draw[2] < 0.75, torch.zeros_like(low), low)
    place = torch.arange(entries, device=mask.device)
    window = (place >= low.floor()[:, None]) & (place <= high[:, None])
    whole = (draw[2] < 0.5)[:, None]
    return (flat & (whole | window)).reshape(mask.shape)
