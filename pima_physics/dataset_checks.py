"""What the values of a modality must be, in memory or on disk."""

from __future__ import annotations

import numpy as np
import torch

from pima_physics.dataset_slices import Source
from pima_physics.errors import DataError, Problems, UnitError
from pima_physics.units import DIMENSIONLESS, compatible

RAW = ("bernoulli", "poisson")
# Such a value is an outlier that a normal likelihood follows, or a fill value left as a number.
FAR = 30.0


def raise_unobserved(source: Source, observed: np.ndarray) -> None:
    """Refuse a channel of which nothing was observed in the training samples."""
    names = [n for n, c in zip(source.channels, observed, strict=False) if not c]
    if names:
        raise DataError(
            f"modality '{source.request.name}': no observed value in the training samples",
            found=f"only NaN in {', '.join(names)}",
            fix="leave the variable out, or check how missing values were marked",
        )


def unsuitable(values: np.ndarray, likelihood: str, start: int) -> list[tuple[int, float]]:
    """Sample and value of entries that a likelihood for counts or fractions cannot take."""
    known = np.isfinite(values)
    x = np.where(known, values, 0.0)
    if likelihood == "bernoulli":
        bad = (x < 0.0) | (x > 1.0)
    else:
        bad = (x < 0.0) | (np.abs(x - np.round(x)) > 1e-6 * np.maximum(1.0, np.abs(x)))
    where = np.argwhere(bad)
    return [(start + int(index[0]), float(values[tuple(index)])) for index in where]


def raise_scan(
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


def warn_far(
    source: Source,
    farthest: float,
    shift: np.ndarray,
    scale: np.ndarray,
    dtype: torch.dtype,
    warnings: list[str],
) -> None:
    """Refuse values that overflow, and tell of those far from the mean."""
    if not farthest <= torch.finfo(dtype).max:
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
