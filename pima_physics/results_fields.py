r"""How well the model reproduces the measurements.

.. math:: R^2 = 1 - \frac{\sum_{it} (x_{it} - \hat x_{it})^2}{\sum_{it} (x_{it} - \bar x_t)^2}

over observed entries t of the samples i of one part of the data, with the mean of that part.
Samples pass through in blocks, so that memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from pima_physics.dataset import Data, ModalityData, ModalityInfo, Split
from pima_physics.inference import Predictive, predict
from pima_physics.model import Network
from pima_physics.results_tree import PARTS, split_codes

Array = NDArray[Any]

DRAWS = 32
# Of modalities that were not given: their spread is mostly that of the draws of z.
DRAWS_HIDDEN = 100
# Reconstructions of all samples are kept up to this many numbers per sample and in total.
MOST_NUMBERS, MOST_IN_TOTAL = 4096, 50_000_000
# Numbers that the draws of one pass may hold.
WORKING = 20_000_000
# Half width of a normal 90 % interval in standard deviations.
NINETY = 1.6448536269514722
FIELDS = ("mean", "std", "lower", "upper")


@dataclass
class Explained:
    """Sums behind R2, over blocks of samples."""

    error: float = 0.0
    count: Array | float = 0.0
    first: Array | float = 0.0
    second: Array | float = 0.0

    def add(self, observed: Array, predicted: Array, mask: Array) -> None:
        """Take in a block, arrays (sample, numbers)."""
        x = np.where(mask, observed, 0.0)
        self.error += float((np.where(mask, observed - predicted, 0.0) ** 2).sum())
        self.count = self.count + mask.sum(0)
        self.first, self.second = self.first + x.sum(0), self.second + (x**2).sum(0)

    @property
    def r2(self) -> float:
        """NaN where nothing varies or nothing was observed."""
        total = self.second - np.square(self.first) / np.maximum(self.count, 1)
        spread = float(np.sum(total))
        return 1.0 - self.error / spread if spread > 1e-12 else float("nan")


@dataclass
class Reproduction:
    """How well one modality is reproduced.

    Attributes
    ----------
    stored : int array
        Positions of the samples that are kept.
    parts : dict of Explained
        By part of the data.
    inside, observed : int
        Test values inside the 90 % interval; all of them.
    fields : dict of list of array
        mean, std, lower and upper in data units.
    """

    stored: Array
    parts: dict[str, Explained] = field(default_factory=dict)
    inside: int = 0
    observed: int = 0
    fields: dict[str, list[Array]] = field(default_factory=lambda: {k: [] for k in FIELDS})

    @property
    def coverage(self) -> float:
        """Share of test values inside the 90 % interval."""
        return self.inside / self.observed if self.observed else float("nan")


def numbers(info: ModalityInfo) -> int:
    """Numbers per sample."""
    return max(1, int(np.prod(info.shape)))


def predict_chunk(infos: Sequence[ModalityInfo], draws: int) -> int:
    """Samples per pass, so that the draws of all modalities stay in bounded memory."""
    return int(np.clip(WORKING // (draws * sum(numbers(info) for info in infos)), 1, 256))


def blocks(index: Array, infos: Sequence[ModalityInfo], draws: int) -> Iterator[tuple[Array, int]]:
    """Blocks of sample positions and the chunk size that keeps memory bounded."""
    chunk = predict_chunk(infos, draws)
    size = 8 * chunk
    for begin in range(0, len(index), size):
        yield index[begin : begin + size], chunk


def stored_samples(info: ModalityInfo, parts: Split, size: int) -> Array:
    """Samples whose reconstruction is kept: all, or test samples of large data."""
    each = numbers(info)
    if each <= MOST_NUMBERS and each * size <= MOST_IN_TOTAL:
        return np.arange(size)
    some = parts.test if len(parts.test) else np.arange(size)
    return np.sort(some[: max(1, MOST_IN_TOTAL // each)])


def reproduce(
    network: Network, data: Data, parts: Split, *, draws: int = DRAWS
) -> dict[str, Reproduction]:
    """Predict every modality from all modalities, and compare."""
    codes = split_codes(parts, data.size)
    found = {
        name: Reproduction(stored_samples(m.info, parts, data.size))
        for name, m in data.modalities.items()
    }
    infos = [m.info for m in data.modalities.values()]
    for index, chunk in blocks(np.arange(data.size), infos, draws):
        batch = data.take(index)
        predicted = predict(
            network, batch, network.names, draws=draws, seed=int(index[0]), chunk=chunk
        )
        for name, modality in batch.modalities.items():
            _compare(found[name], modality, predicted[name], codes[index])
            kept = np.isin(index, found[name].stored)
            for key, values in in_units(modality.info, predicted[name], kept).items():
                found[name].fields[key].append(values)
    return found


def _compare(
    into: Reproduction, modality: ModalityData, predicted: Predictive, codes: Array
) -> None:
    """Add a block to the sums."""
    values = modality.values.double().flatten(1).cpu().numpy()
    mask = modality.mask.flatten(1).cpu().numpy()
    mean = predicted.mean.reshape(values.shape)
    for code, part in enumerate(PARTS):
        own = codes == code
        if own.any():
            into.parts.setdefault(part, Explained()).add(values[own], mean[own], mask[own])
    test = codes == PARTS.index("test")
    low, high = (a.reshape(values.shape) for a in interval(modality.info, predicted))
    inside = (values >= low) & (values <= high) & mask
    into.inside += int(inside[test].sum())
    into.observed += int(mask[test].sum())


def interval(info: ModalityInfo, predicted: Predictive) -> tuple[Array, Array]:
    """90 % interval in stored values.

    Quantiles of few draws are biased inwards, so that continuous values use the spread.
    """
    if info.likelihood in ("normal", "student_t"):
        return predicted.mean - NINETY * predicted.std, predicted.mean + NINETY * predicted.std
    return predicted.lower, predicted.upper


def in_units(
    info: ModalityInfo, predicted: Predictive, kept: Array | None = None
) -> dict[str, Array]:
    """Fields of a prediction in data units, in `width_of` them."""
    chosen = slice(None) if kept is None else kept
    found = {}
    for key in FIELDS:
        values = torch.as_tensor(getattr(predicted, key)[chosen])
        changed = info.scale_std(values) if key == "std" else info.destandardise(values)
        found[key] = changed.numpy().astype(width_of(info))
    return found


def observed_in_units(modality: ModalityData) -> Array:
    """Observed values in data units, NaN where not observed."""
    values = modality.info.destandardise(modality.values.cpu()).numpy()
    return np.where(modality.mask.cpu().numpy(), values, np.nan).astype(width_of(modality.info))


def width_of(info: ModalityInfo) -> type[np.floating[Any]]:
    """Float32 where it resolves the spread of the data to 1e-4 and holds their size, else float64.

    A spread of 1e-3 around 1e6 is below the resolution of float32 there (0.06).
    """
    shift, scale = np.abs(info.shift), np.abs(info.scale)
    coarse = (shift > 1e3 * scale).any()
    held = (shift + 1e3 * scale < 1e38).all() and (scale > 1e-30).all()
    return np.float64 if coarse or not held else np.float32


def field_group(
    info: ModalityInfo,
    arrays: Mapping[str, Array],
    labels: Array,
    *,
    sample_dim: str = "sample",
    grid: Mapping[str, torch.Tensor] | None = None,
) -> xr.Dataset:
    """Arrays (sample, *shape) in data units as labelled variables."""
    own = {k: g.cpu().numpy() for k, g in (grid or {}).items()}
    found = {}
    for key, values in arrays.items():
        array = info.as_dataarray(
            values, sample_dim=sample_dim, sample_labels=labels, std=key == "std", grid=own
        )
        found[key] = without_clash(array, (*FIELDS, "observed"))
    return xr.Dataset(found)


def reconstruction_group(found: Reproduction, data: Data, name: str) -> xr.Dataset:
    """/reconstruction/<modality>."""
    modality = data.modalities[name].take(torch.as_tensor(found.stored)).in_memory()
    arrays = {key: np.concatenate(parts) for key, parts in found.fields.items()}
    arrays["observed"] = observed_in_units(modality)
    labels = data.sample_labels[found.stored]
    group = field_group(modality.info, arrays, labels, grid=modality.grid)
    whole = len(found.stored) == data.size
    return group.assign_attrs(
        samples="all" if whole else "test samples only: all would take too much space",
        interval="lower and upper are the 5 % and 95 % quantiles of the draws; std has the noise",
    )


def without_clash(array: xr.DataArray, taken: Sequence[str]) -> xr.DataArray:
    """Rename dimensions and coordinates of the data that bear a name of the results tree."""
    names = {str(n) for n in (*array.dims, *array.coords)} & set(taken)
    return array.rename({name: f"data_{name}" for name in names}) if names else array
