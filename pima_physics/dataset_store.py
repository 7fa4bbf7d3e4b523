"""One modality's values in a file, standardised when they are read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pima_physics.dataset_source import Source
from pima_physics.masks import expand


@dataclass(frozen=True)
class Store:
    """A modality on disk."""

    source: Source
    shift: np.ndarray
    scale: np.ndarray
    dtype: torch.dtype
    digest: str
    observed_share: float = 1.0

    def memory(self, count: int) -> Tensor:
        """Memory for the values of so many samples."""
        return torch.empty(count, *self.source.shape, dtype=self.dtype)

    def read(self, positions: np.ndarray, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values and mask of samples in any order, in as few contiguous reads as sensible.

        Parameters
        ----------
        memory : Tensor, optional
            Where the values are to lie; its first rows are returned.
        """
        count = len(positions)
        sorted_ = bool((np.diff(positions) >= 0).all())
        order = None if sorted_ else np.argsort(positions, kind="stable")
        wanted = positions if order is None else positions[order]
        values = self.memory(count) if memory is None else memory[:count]
        stored, flags = values.numpy(), np.zeros(count, bool)
        mask: np.ndarray | None = None  # made where a sample has gaps of its own
        # A gap of a few samples is read along; a wide one parts two reads.
        cuts = np.flatnonzero(np.diff(wanted) > 16) + 1
        done = 0
        for run in np.split(wanted, cuts):
            for part, raw in self.source.slices(int(run[0]), int(run[-1]) + 1):
                inside = run[(run >= part.start) & (run < part.stop)] - part.start
                if not len(inside):
                    continue
                if not np.array_equal(inside, np.arange(len(raw))):
                    raw = raw[inside]
                here = slice(done, done + len(inside))
                place = here if order is None else order[here]
                done += len(inside)
                with np.errstate(over="ignore", invalid="ignore"):
                    # One pass tells where all are observed: a sum with NaN is none.
                    known = None if np.isfinite(raw.sum()) else np.isfinite(raw)
                    raw -= self.shift
                    raw /= self.scale
                    if known is not None:
                        raw[~known] = 0.0
                    stored[place] = raw
                if known is not None and mask is None and _with_gaps(known):
                    mask = np.repeat(flags, known[0].size).reshape(stored.shape)
                flags[place] = True if known is None else known.reshape(len(raw), -1).any(1)
                if mask is not None:
                    mask[place] = True if known is None else known
        if mask is not None:
            return values, torch.from_numpy(mask)
        return values, expand(torch.from_numpy(flags), values.shape)


def _with_gaps(known: np.ndarray) -> bool:
    """Whether some sample was observed in part."""
    flat = known.reshape(len(known), -1)
    return bool((flat.any(1) != flat.all(1)).any())
