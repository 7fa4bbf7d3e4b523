r"""Standardise one modality: stored = (data - shift) / scale.

Shift and scale are mean and standard deviation over the observed values of the training samples:
of each scalar variable by itself, of an image or curve as a whole, so that its shape survives.
They are summed in float64 over values divided by the largest magnitude, so that units in which
numbers are 1e-30 or 1e+200 change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pima_physics.dataset_coordinates import fill_grid
from pima_physics.dataset_info import ModalityInfo
from pima_physics.dataset_records import ModalityData
from pima_physics.dataset_source import Source
from pima_physics.errors import DataError, Problems, UnitError
from pima_physics.masks import compact
from pima_physics.units import DIMENSIONLESS, compatible

RAW = ("bernoulli", "poisson")
# Such a value is an outlier that a normal likelihood follows, or a fill value left as a number.
FAR = 30.0


@dataclass(frozen=True)
class Moments:
    """Count, mean and variance of every channel, over values divided by ``magnitude``."""

    count: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    magnitude: np.ndarray


def standardise(
    source: Source,
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
        info = _info(source, shift, scale, likelihood, gaps)
    grid = None
    if source.grids:
        _check_grids(source, mask)
        grid = {k: torch.as_tensor(fill_grid(g)).to(dtype) for k, g in source.grids.items()}
    return ModalityData(info, values, mask, present, grid)


def _info(
    source: Source, shift: np.ndarray, scale: np.ndarray, likelihood: str, gaps: bool
) -> ModalityInfo:
    return ModalityInfo(
        name=source.request.name,
        variables=source.request.variables,
        unit=source.unit,
        dims=source.dims,
        shape=source.shape,
        coordinates=source.coordinates,
        shift=shift,
        scale=scale,
        likelihood=likelihood,
        has_missing=gaps,
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
    unsuitable: list[tuple[int, float]] = []
    for part, values in source.slices():
        bad = np.isinf(values).reshape(len(values), -1).sum(1)
        infinite += [(part.start + int(i), int(bad[i])) for i in np.flatnonzero(bad)]
        if likelihood in RAW:
            unsuitable += _unsuitable(values, likelihood, part.start)
        x = np.abs(_by_channel(source, values)[train[part]])
        magnitude = np.maximum(magnitude, np.nan_to_num(x, nan=0.0).max((0, 2), initial=0.0))
        observed += np.isfinite(x).sum((0, 2))
    _raise_scan(source, likelihood, infinite, unsuitable)
    if fitting and train.any() and not observed.all():
        names = [n for n, c in zip(source.channels, observed, strict=False) if not c]
        raise DataError(
            f"modality '{source.request.name}': no observed value in the training samples",
            found=f"only NaN in {', '.join(names)}",
            fix="leave the variable out, or check how missing values were marked",
        )
    return magnitude


def _unsuitable(values: np.ndarray, likelihood: str, start: int) -> list[tuple[int, float]]:
    """Sample and value of entries that a likelihood for counts or fractions cannot take."""
    known = np.isfinite(values)
    x = np.where(known, values, 0.0)
    if likelihood == "bernoulli":
        bad = (x < 0.0) | (x > 1.0)
    else:
        bad = (x < 0.0) | (np.abs(x - np.round(x)) > 1e-6 * np.maximum(1.0, np.abs(x)))
    where = np.argwhere(bad)
    return [(start + int(index[0]), float(values[tuple(index)])) for index in where]


def _raise_scan(
    source: Source,
    likelihood: str,
    infinite: list[tuple[int, int]],
    unsuitable: list[tuple[int, float]],
) -> None:
    problems = Problems()
    name = source.request.name
    if infinite:
        problems.add(
            DataError(
                f"modality '{name}' ({', '.join(source.channels)}) has infinite values",
                found=f"{sum(n for _, n in infinite)} in {len(infinite)} samples, "
                f"the first at position {infinite[0][0]}",
                expected="finite numbers, NaN where not observed",
                fix="replace them by NaN",
            )
        )
    if unsuitable:
        first, value = unsuitable[0]
        counts = likelihood == "poisson"
        problems.add(
            DataError(
                f"modality '{name}' does not suit likelihood '{likelihood}'",
                found=f"{len(unsuitable)} values, the first {value:g} at position {first}",
                expected="whole numbers from 0" if counts else "values from 0 to 1",
                fix="use likelihood: normal" if counts else "rescale them, or use normal",
            )
        )
    if likelihood in RAW and not compatible(source.unit, DIMENSIONLESS):
        problems.add(
            UnitError(
                f"modality '{name}': likelihood '{likelihood}' needs plain numbers",
                found=f"units '{source.unit}'",
                expected="'dimensionless' or 'count'",
                fix="use likelihood: normal",
            )
        )
    problems.raise_if_any()


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
    if not bool(torch.isfinite(stored).all()):
        raise DataError(
            f"modality '{source.request.name}' has values too large for its own spread",
            found=f"up to {farthest:.3g} standard deviations from the mean",
            fix="check the unit, and mark fill values as NaN",
        )
    raw = bool(np.all(scale == 1.0) and np.all(shift == 0.0))
    if farthest > FAR and not raw:
        warnings.append(
            f"modality '{source.request.name}' has values {farthest:.3g} standard deviations from "
            "the mean: mark fill values as NaN; outliers suit likelihood student_t"
        )
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
