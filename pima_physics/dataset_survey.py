"""One pass through a modality that stays on disk: checks, moments, gaps, checksum."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from pima_physics.dataset_checks import RAW, unsuitable
from pima_physics.dataset_slices import Source


@dataclass
class Survey:
    """What one pass found.

    Mean and sum of squares are of values divided by the largest magnitude so far, and are
    rescaled where that grows (compare Chan, Golub, LeVeque 1983).

    Attributes
    ----------
    magnitude, count, mean, square, low, high : array, shape (channel,)
        Of the training samples, ``low`` and ``high`` of all.
    present : bool array, shape (sample,)
    observed : int
        Entries with a value.
    infinite : list of (sample, entries)
    unsuitable : list of (sample, value)
    """

    magnitude: np.ndarray
    present: np.ndarray
    count: np.ndarray = field(init=False)
    mean: np.ndarray = field(init=False)
    square: np.ndarray = field(init=False)
    low: np.ndarray = field(init=False)
    high: np.ndarray = field(init=False)
    infinite: list[tuple[int, int]] = field(default_factory=list)
    unsuitable: list[tuple[int, float]] = field(default_factory=list)
    gaps: bool = False
    observed: int = 0
    digest: str = ""

    def __post_init__(self) -> None:
        self.count, self.mean, self.square = (np.zeros_like(self.magnitude) for _ in range(3))
        self.low, self.high = self.magnitude + np.inf, self.magnitude - np.inf

    @property
    def divisor(self) -> np.ndarray:
        """What values are divided by."""
        return np.where(self.magnitude > 0, self.magnitude, 1.0)

    def merge(self, x: np.ndarray) -> None:
        """Take in training samples, shape (sample, channel, point)."""
        before = self.divisor
        largest = np.nan_to_num(np.abs(x), nan=0.0).max((0, 2), initial=0.0)
        # Without a value so far there is nothing to rescale.
        before = np.where(self.magnitude > 0, before, np.maximum(largest, self.magnitude))
        self.magnitude = np.maximum(self.magnitude, largest)
        ratio = np.where(self.count > 0, before / self.divisor, 1.0)
        self.mean, self.square = self.mean * ratio, self.square * ratio**2
        x = x / self.divisor[:, None]
        known = np.isfinite(x)
        n = known.sum((0, 2))
        here = np.where(known, x, 0.0).sum((0, 2)) / np.maximum(n, 1)
        spread = np.where(known, x - here[:, None], 0.0)
        total = np.maximum(self.count + n, 1)
        step = here - self.mean
        self.square = self.square + (spread**2).sum((0, 2)) + step**2 * self.count * n / total
        self.mean = self.mean + step * n / total
        self.count = self.count + n


def survey(source: Source, train: np.ndarray, likelihood: str) -> Survey:
    """Read a modality once.

    Parameters
    ----------
    train : bool array, shape (sample,)
        Samples that moments are taken from.
    """
    channels = len(source.channels) if source.stacked else 1
    found = Survey(np.zeros(channels), np.zeros(source.size, bool))
    digest = hashlib.sha256()
    for part, values in source.slices():
        digest.update(values.data)
        bad = np.isinf(values).reshape(len(values), -1).sum(1)
        found.infinite += [(part.start + int(i), int(bad[i])) for i in np.flatnonzero(bad)]
        if likelihood in RAW:
            found.unsuitable += unsuitable(values, likelihood, part.start)
        known = np.isfinite(values).reshape(len(values), -1)
        found.present[part] = known.any(1)
        found.observed += int(known.sum())
        found.gaps = found.gaps or bool((known.any(1) & ~known.all(1)).any())
        x = values.reshape(len(values), channels, -1)
        finite = np.where(np.isfinite(x), x, np.nan)
        some = np.isfinite(x).any((0, 2))
        found.low[some] = np.fmin(found.low, np.fmin.reduce(finite, (0, 2)))[some]
        found.high[some] = np.fmax(found.high, np.fmax.reduce(finite, (0, 2)))[some]
        if train[part].any():
            found.merge(finite[train[part]])
    found.digest = digest.hexdigest()
    return found
