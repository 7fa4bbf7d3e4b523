r"""Standardise one modality: stored = (data - shift) / scale.

Shift and scale are mean and standard deviation over the observed values of the training samples:
of each scalar variable by itself, of an image or curve as a whole, so that its shape survives.
They are summed in float64 over values divided by the largest magnitude, so that units in which
numbers are 1e-30 or 1e+200 change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from pima_physics.dataset_checks import RAW, raise_scan, raise_unobserved, unsuitable, warn_far
from pima_physics.dataset_coordinates import fill_grid
from pima_physics.dataset_coordinates import with_spread as spread_of_grids
from pima_physics.dataset_info import ModalityInfo
from pima_physics.dataset_inputs import with_spread
from pima_physics.dataset_records import ModalityData
from pima_physics.dataset_slices import Source
from pima_physics.dataset_store import Store
from pima_physics.dataset_stream import StreamedModality, too_large
from pima_physics.dataset_survey import survey
from pima_physics.errors import DataError
from pima_physics.masks import compact


@dataclass(frozen=True)
class Moments:
    """Count, mean and variance of every channel, over values divided by ``magnitude``."""

    count: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    magnitude: np.ndarray


def standardise(
    source: Source,
    inputs: Mapping[str, np.ndarray],
    *,
    info: ModalityInfo | None,
    train: np.ndarray,
    dtype: torch.dtype,
    warnings: list[str],
) -> ModalityData:
    """Return the tensors of a modality.

    Parameters
    ----------
    source : Source
    inputs : mapping of array, shape (N, 1)
        Known parameters of its law.
    info : ModalityInfo, optional
        Of the fit, in prediction: its shift and scale are used.
    train : ndarray of bool, shape (N,)
        Samples that shift and scale come from.
    dtype : torch.dtype
    warnings : list of str
        What had to be assumed is added here.

    Raises
    ------
    InputError
        Where values are infinite, do not suit the likelihood, or none is observed.
    """
    likelihood = source.request.likelihood if info is None else info.likelihood
    if too_large(source, dtype):
        return _on_disk(source, inputs, info, train, likelihood, dtype, warnings)
    magnitude = _scan(source, train, likelihood, fitting=info is None)
    if info is not None:
        shift, scale = info.shift, info.scale
    elif likelihood in RAW:
        shift, scale = _shaped(source, np.zeros_like(magnitude), np.ones_like(magnitude))
    else:
        moments = _moments(source, train, magnitude)
        shift, scale = _shift_scale(source, moments, warnings)
    values, mask = _store(source, shift, scale, dtype, warnings)
    present = mask.flatten(1).any(1)
    if info is None:
        gaps = bool((~mask.flatten(1)[present]).any())
        info = _info(source, shift, scale, likelihood, gaps, inputs, train)
    _check_grids(source, mask)
    return ModalityData(info, values, mask, present, _grid(source, inputs, dtype))


def _on_disk(
    source: Source,
    inputs: Mapping[str, np.ndarray],
    info: ModalityInfo | None,
    train: np.ndarray,
    likelihood: str,
    dtype: torch.dtype,
    warnings: list[str],
) -> ModalityData:
    """A modality that is read when it is needed, checked in one pass."""
    found = survey(source, train, likelihood)
    raise_scan(source, likelihood, found.infinite, found.unsuitable)
    if info is not None:
        shift, scale = info.shift, info.scale
    else:
        raise_unobserved(source, found.count)
        if likelihood in RAW:
            zero = np.zeros_like(found.magnitude)
            shift, scale = _shaped(source, zero, zero + 1.0)
        else:
            variance = found.square / np.maximum(found.count, 1)
            moments = Moments(found.count, found.mean, variance, found.divisor)
            shift, scale = _shift_scale(source, moments, warnings)
        info = _info(source, shift, scale, likelihood, found.gaps, inputs, train)
    ends = np.stack([found.low, found.high])
    away = np.abs((ends - np.reshape(shift, -1)) / np.reshape(scale, -1))
    warn_far(source, float(np.nanmax(away)), shift, scale, dtype, warnings)
    present = torch.from_numpy(found.present)
    grid = _grid(source, inputs, dtype)
    share = found.observed / max(1, source.size * max(1, int(np.prod(source.shape))))
    store = Store(source, shift, scale, dtype, found.digest, share)
    return StreamedModality(info, store, present, grid)


def _grid(
    source: Source,
    inputs: Mapping[str, np.ndarray],
    dtype: torch.dtype,
) -> dict[str, torch.Tensor] | None:
    """Own grids and known parameters of all samples, without gaps."""
    both = set(inputs) & set(source.coordinates)
    if both:
        raise DataError(
            f"modality '{source.request.name}': parameter and coordinate have the same name",
            found=", ".join(sorted(both)),
            fix="rename the coordinate in the data",
        )
    each = {k: fill_grid(g) for k, g in source.grids.items()} | dict(inputs)
    return {k: torch.as_tensor(v).to(dtype) for k, v in each.items()} or None


def _info(
    source: Source,
    shift: np.ndarray,
    scale: np.ndarray,
    likelihood: str,
    gaps: bool,
    inputs: Mapping[str, np.ndarray],
    train: np.ndarray,
) -> ModalityInfo:
    return ModalityInfo(
        name=source.request.name,
        variables=source.request.variables,
        unit=source.unit,
        dims=source.dims,
        shape=source.shape,
        coordinates=spread_of_grids(source.coordinates, source.grids, train),
        shift=shift,
        scale=scale,
        likelihood=likelihood,
        has_missing=gaps,
        inputs=with_spread(source.request.inputs, inputs, train),
    )


def _by_channel(source: Source, values: np.ndarray) -> np.ndarray:
    """Arrange (n, *shape) as (n, channel, point)."""
    n = len(values)
    return values.reshape(n, -1, 1) if source.stacked else values.reshape(n, 1, -1)


def _scan(source: Source, train: np.ndarray, likelihood: str, *, fitting: bool) -> np.ndarray:
    """Largest magnitude of every channel in the training samples; checks all values."""
    size = len(source.channels) if source.stacked else 1
    magnitude = np.zeros(size)
    observed = np.zeros(size, int)
    infinite: list[tuple[int, int]] = []
    wrong: list[tuple[int, float]] = []
    for part, values in source.slices():
        bad = np.isinf(values).reshape(len(values), -1).sum(1)
        infinite += [(part.start + int(i), int(bad[i])) for i in np.flatnonzero(bad)]
        if likelihood in RAW:
            wrong += unsuitable(values, likelihood, part.start)
        x = np.abs(_by_channel(source, values)[train[part]])
        magnitude = np.maximum(magnitude, np.nan_to_num(x, nan=0.0).max((0, 2), initial=0.0))
        observed += np.isfinite(x).sum((0, 2))
    raise_scan(source, likelihood, infinite, wrong)
    if fitting and train.any():
        raise_unobserved(source, observed)
    return magnitude


def _moments(source: Source, train: np.ndarray, magnitude: np.ndarray) -> Moments:
    """Mean and variance in one pass, merging slices (Chan, Golub, LeVeque 1983)."""
    count, mean, square = (np.zeros_like(magnitude) for _ in range(3))
    divisor = np.where(magnitude > 0, magnitude, 1.0)
    for part, values in source.slices():
        x = _by_channel(source, values)[train[part]] / divisor[:, None]
        known = np.isfinite(x)
        n = known.sum((0, 2))
        safe = np.maximum(n, 1)
        here = np.where(known, x, 0.0).sum((0, 2)) / safe
        spread = np.where(known, x - here[:, None], 0.0)
        total = np.maximum(count + n, 1)
        step = here - mean
        square = square + (spread**2).sum((0, 2)) + step**2 * count * n / total
        mean = mean + step * n / total
        count = count + n
    return Moments(count, mean, square / np.maximum(count, 1), divisor)


def _shift_scale(
    source: Source, moments: Moments, warnings: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    deviation = np.sqrt(moments.variance)
    scale = deviation * moments.magnitude
    resolution = source.resolution() if source.stacked else source.resolution()[:1]
    # a spread of a few rounding errors is no signal, and would be blown up to unit variance
    constant = (deviation <= 4.0 * resolution) | (scale <= np.finfo(float).tiny)
    for name in np.array(source.channels)[: len(constant)][constant]:
        warnings.append(f"variable '{name}' is constant in the training samples: it tells nothing")
    return _shaped(source, moments.mean * moments.magnitude, np.where(constant, 1.0, scale))


def _shaped(source: Source, shift: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (shift, scale) if source.stacked else (shift.reshape(()), scale.reshape(()))


def _store(
    source: Source,
    shift: np.ndarray,
    scale: np.ndarray,
    dtype: torch.dtype,
    warnings: list[str],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Write standardised values and mask slice by slice."""
    stored = torch.zeros(source.size, *source.shape, dtype=dtype)
    mask = torch.zeros(source.size, *source.shape, dtype=torch.bool)
    farthest = 0.0
    for part, values in source.slices():
        known = np.isfinite(values)
        with np.errstate(over="ignore"):
            z = np.where(known, (values - shift) / scale, 0.0)
        stored[part] = torch.from_numpy(z).to(dtype)
        mask[part] = torch.from_numpy(known)
        farthest = max(farthest, float(np.abs(z).max(initial=0.0)))
    warn_far(source, farthest, shift, scale, dtype, warnings)
    return stored, compact(mask)


def _check_grids(source: Source, mask: torch.Tensor) -> None:
    """Refuse data that were observed where the own grid has no coordinate."""
    for key, grid in source.grids.items():
        axis = source.dims.index(source.coordinates[key].dim) + 1
        others = tuple(a for a in range(1, mask.ndim) if a != axis)
        observed = mask.numpy().any(others) if others else mask.numpy()
        lost = (observed & np.isnan(grid)).any(1)
        if lost.any():
            raise DataError(
                f"modality '{source.request.name}': observed where '{key}' is NaN",
                found=f"{int(lost.sum())} samples, the first at position {int(lost.argmax())}",
                fix=f"give '{key}' at every observed point",
            )
