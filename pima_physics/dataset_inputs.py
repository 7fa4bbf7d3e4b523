"""Parameters of a law that are known of every sample: dose, length, temperature of a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
import xarray as xr

from pima_physics.dataset_files import damaged
from pima_physics.dataset_info import Input, Request
from pima_physics.dataset_units import check_numeric, plain, unit_of
from pima_physics.errors import DataError, InputError, Problems, closest


def read_inputs(
    dataset: xr.Dataset, request: Request, *, sample_dim: str, warnings: list[str]
) -> dict[str, np.ndarray]:
    """Known parameters of a modality's law, each (sample, 1) in the unit of the parameter.

    Raises
    ------
    InputError
        Every variable that is missing, not numeric, of other dimensions or of a wrong unit, and
        every one with values that are missing or that the law does not admit.
    """
    problems = Problems()
    found: dict[str, np.ndarray] = {}
    for parameter, known in request.inputs.items():
        try:
            found[parameter] = _read(dataset, request, parameter, known, sample_dim, warnings)
        except InputError as error:
            problems.add(error)
    problems.raise_if_any()
    return found


def _read(
    dataset: xr.Dataset,
    request: Request,
    parameter: str,
    known: Input,
    sample_dim: str,
    warnings: list[str],
) -> np.ndarray:
    name, where = known.variable, f"modality '{request.name}': parameter '{parameter}'"
    if name not in dataset.variables:
        names = [str(n) for n, v in dataset.data_vars.items() if v.dims == (sample_dim,)]
        guess = closest(name, names)
        raise DataError(
            f"{where} is known from '{name}', which is not in the data",
            found=", ".join(names) or "no variable with one value per sample",
            fix=f"did you mean '{guess}'?" if guess else "add it, one value per sample",
        )
    if dataset[name].dims != (sample_dim,):
        raise DataError(
            f"{where} is known from '{name}', which has other dimensions",
            found=f"({', '.join(map(str, dataset[name].dims))})",
            expected=f"({sample_dim}): one value per sample",
        )
    try:
        array, written = plain(dataset[name].compute())
    except Exception as error:  # a damaged file shows itself only when it is read
        raise damaged(name, error) from error
    check_numeric(name, array)
    _, (scale, offset) = unit_of(name, array.dtype.kind, written, known.unit, warnings)
    values = array.values.astype(np.float64) * scale + offset
    _check(where, known, values)
    return values[:, None]


def _check(where: str, known: Input, values: np.ndarray) -> None:
    """Refuse values that are missing, or that the law does not admit.

    They are needed of samples of which the modality was not observed, too: there it is predicted.
    """
    lost = ~np.isfinite(values)
    if lost.any():
        raise DataError(
            f"{where}, known from '{known.variable}', is not known of every sample",
            found=f"NaN in {int(lost.sum())} samples, the first at position {lost.argmax()}",
            fix="give it there, or leave these samples out",
        )
    outside = (values < known.low) | (values > known.high)
    if outside.any():
        at = int(outside.argmax())
        raise DataError(
            f"{where}, known from '{known.variable}', is outside its bounds",
            found=f"{values[at]:g} {known.unit} at position {at}; {int(outside.sum())} samples",
            expected=f"{known.low:g} to {known.high:g} {known.unit}",
            fix="correct its values or their unit, or widen the bounds",
        )


def with_spread(
    inputs: Mapping[str, Input], values: Mapping[str, np.ndarray], train: np.ndarray
) -> dict[str, Input]:
    """The inputs with centre and spread over the training samples."""
    found = {}
    for parameter, known in inputs.items():
        own = values[parameter][train, 0]
        found[parameter] = replace(known, shift=float(own.mean()), scale=float(own.std()) or 1.0)
    return found


def standardised(
    inputs: Mapping[str, Input], grid: Mapping[str, torch.Tensor] | None
) -> torch.Tensor | None:
    """What an encoder sees of the inputs, (sample, input); None without any."""
    if not inputs:
        return None
    assert grid is not None
    return torch.cat([(grid[p] - i.shift) / i.scale for p, i in inputs.items()], dim=1)
