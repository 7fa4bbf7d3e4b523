"""Order of the batches of data on disk; see :mod:`pima_physics.dataset_stream`."""

from __future__ import annotations

import torch
from torch import Tensor

# Contiguous pieces of the file that a window joins.
PIECES = 8


def epoch_generator(
    seed: int, epoch: int, *, stream: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Draws that depend on seed and epoch alone, so that an epoch can be taken up in its middle.

    Parameters
    ----------
    stream : int
        Another number for draws of another purpose.
    """
    return torch.Generator(device).manual_seed(seed + 1_000_003 * epoch + stream)


def windowed_batches(
    size: int,
    batch_size: int,
    window: int,
    *,
    seed: int,
    epoch: int,
    starts: Tensor | None = None,
) -> list[list[Tensor]]:
    """Batches of positions, window by window; by seed and epoch alone.

    Parameters
    ----------
    starts : Tensor, optional
        Positions where a chunk of the file begins: pieces begin there, too, where they hold several
        chunks, so that none is decompressed for two of them.
    """
    generator = epoch_generator(seed, epoch)
    count = max(1, round(size / window))
    # Pieces start elsewhere in every epoch, so that neighbours part.
    turn = int(torch.randint(size, (), generator=generator))
    number = min(size, count * PIECES)
    pieces = torch.arange(size).roll(turn).tensor_split(number)
    if starts is not None and len(starts) > number:
        begins = torch.stack([piece[0] for piece in pieces]).sort().values
        begins = starts[torch.searchsorted(starts, begins, right=True) - 1].unique()
        first = int(begins[0])
        pieces = torch.arange(size).roll(-first).tensor_split((begins[1:] - first).tolist())
    order = torch.randperm(len(pieces), generator=generator)
    windows = []
    for group in order.tensor_split(count):
        joined = torch.cat([pieces[i] for i in group.tolist()])
        mixed = joined[torch.randperm(len(joined), generator=generator)]
        windows.append(list(mixed.tensor_split(max(1, round(len(mixed) / batch_size)))))
    return windows
