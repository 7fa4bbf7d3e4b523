"""Order of the batches of data on disk; see :mod:`pima_physics.dataset_stream`."""

from __future__ import annotations

import torch
from torch import Tensor

# Contiguous pieces of the file that a window joins.
PIECES = 8


def windowed_batches(
    size: int, batch_size: int, window: int, *, seed: int, epoch: int
) -> list[list[Tensor]]:
    """Batches of positions, window by window; by seed and epoch alone."""
    generator = torch.Generator().manual_seed(seed + 1_000_003 * epoch)
    count = max(1, round(size / window))
    # Pieces start elsewhere in every epoch, so that neighbours part.
    turn = int(torch.randint(size, (), generator=generator))
    pieces = torch.arange(size).roll(turn).tensor_split(min(size, count * PIECES))
    order = torch.randperm(len(pieces), generator=generator)
    windows = []
    for group in order.tensor_split(count):
        joined = torch.cat([pieces[i] for i in group.tolist()])
        mixed = joined[torch.randperm(len(joined), generator=generator)]
        windows.append(list(mixed.tensor_split(max(1, round(len(mixed) / batch_size)))))
    return windows
