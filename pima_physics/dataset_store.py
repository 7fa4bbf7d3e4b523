"""One modality's values in a file, standardised when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pima_physics.dataset_slices import SLICE_NUMBERS, Source
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
        done = 0
        for x in self._blocks(wanted):
            here = slice(done, done + len(x))
            place = here if order is None else order[here]
            done += len(x)
            x, known = self._standardise(x)
            stored[place] = x
            if known is not None and mask is None and _with_gaps(known):
                mask = np.repeat(flags, known[0].size).reshape(stored.shape)
            flags[place] = True if known is None else known.reshape(len(x), -1).any(1)
            if mask is not None:
                mask[place] = True if known is None else known
        if mask is not None:
            return values, torch.from_numpy(mask)
        return values, expand(torch.from_numpy(flags), values.shape)

    def _blocks(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """Values of some samples, in ascending order of their positions, a few at a time."""
        points = max(1, int(np.prod(self.source.shape)))
        spans = partial(self.source.slices, as_stored=True)
        # With smaller blocks, which would stay in the processor's cache, the thread that reads
        # takes the interpreter from the one that trains more often.
        # A gap of a few samples is read along; a wide one parts two reads.
        for run in np.split(wanted, np.flatnonzero(np.diff(wanted) > 16) + 1):
            for part, raw in spans(int(run[0]), int(run[-1]) + 1):
                inside = run[(run >= part.start) & (run < part.stop)] - part.start
                for rows in np.array_split(inside, max(1, len(inside) * points // SLICE_NUMBERS)):
                    if len(rows) and (np.diff(rows) == 1).all():
                        yield raw[rows[0] : rows[-1] + 1]
                    elif len(rows):
                        yield raw[rows]

    def _standardise(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Standardised values, and which were observed, None for all."""
        with np.errstate(over="ignore", invalid="ignore"):
            x = np.subtract(raw, self.shift, dtype=np.float64)
            # One pass tells where all are observed: a sum with NaN is none.
            known = None if np.isfinite(x.sum()) else np.isfinite(raw)
            x /= self.scale
        if known is not None:
            x[~known] = 0.0
        return x, known


def _with_gaps(known: np.ndarray) -> bool:
    """Whether some sample was observed in part."""
    flat = known.reshape(len(known), -1)
    return bool((flat.any(1) != flat.all(1)).any())
