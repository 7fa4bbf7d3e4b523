"""Coordinates of a modality: shared by all samples, or an own grid for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xarray as xr

from pima_physics.dataset_files import damaged
from pima_physics.dataset_info import Coordinate, ModalityInfo, Request
from pima_physics.dataset_units import plain
from pima_physics.errors import DataError, InputError, Problems, closest
from pima_physics.units import DIMENSIONLESS, compatible, convert, parse

Grids = dict[str, np.ndarray]


def read_coordinates(
    dataset: xr.Dataset,
    request: Request,
    variable: xr.DataArray,
    sample_dim: str,
    warnings: list[str],
) -> tuple[dict[str, Coordinate], Grids]:
    """Return the coordinate of every dimension but the sample's, and the own grids.

    A dimension without coordinate variable counts 0, 1, 2, ...

    Raises
    ------
    InputError
        Every coordinate that is unknown, not numeric, not finite or of an unknown unit.
    """
    problems = Problems()
    coordinates: dict[str, Coordinate] = {}
    grids: Grids = {}
    dims = [str(dim) for dim in variable.dims if dim != sample_dim]
    for dim in request.coordinates:
        if dim not in dims:
            problems.add(_unknown(request, f"dimension '{dim}'", dim, dims))
    for dim in dims:
        try:
            name = _coordinate_name(dataset, request, variable, dim, sample_dim)
            coordinate, grid = _read(dataset, request, dim, name, sample_dim, warnings)
        except InputError as error:
            problems.add(error)
            continue
        coordinates[coordinate.name] = coordinate
        if grid is not None:
            grids[coordinate.name] = grid
    problems.raise_if_any()
    return coordinates, grids


def _coordinate_name(
    dataset: xr.Dataset, request: Request, variable: xr.DataArray, dim: str, sample_dim: str
) -> str | None:
    """Name of the variable that holds a dimension's coordinate; None for a bare index."""
    if dim in request.coordinates:
        name = request.coordinates[dim]
        if name not in dataset.variables:
            names = [str(known) for known in dataset.variables]
            raise _unknown(request, f"coordinate variable '{name}'", name, names)
        return name
    listed = f"{variable.attrs.get('coordinates', '')} {variable.encoding.get('coordinates', '')}"
    candidates = dict.fromkeys([*listed.split(), *map(str, variable.coords)])
    own = [
        name
        for name in candidates
        if name in dataset.variables and set(dataset[name].dims) == {sample_dim, dim}
    ]
    if len(own) > 1:
        raise DataError(
            f"modality '{request.name}': several coordinates for dimension '{dim}'",
            found=", ".join(own),
            fix=f"name the one to use: coordinates: {{{dim}: {own[0]}}}",
        )
    if own or dim in dataset.variables:
        return own[0] if own else dim
    shared = [n for n in candidates if n in dataset.variables and dataset[n].dims == (dim,)]
    return shared[0] if len(shared) == 1 else None


def _read(
    dataset: xr.Dataset,
    request: Request,
    dim: str,
    name: str | None,
    sample_dim: str,
    warnings: list[str],
) -> tuple[Coordinate, np.ndarray | None]:
    if name is None:
        return Coordinate(dim, DIMENSIONLESS, np.arange(float(dataset.sizes[dim])), dim), None
    where = f"modality '{request.name}': coordinate '{name}'"
    array, unit = plain(dataset[name])
    own = set(array.dims) == {sample_dim, dim}
    if not own and array.dims != (dim,):
        raise DataError(
            f"{where} has the wrong dimensions",
            found=f"({', '.join(map(str, array.dims))})",
            expected=f"({dim}) or ({sample_dim}, {dim})",
        )
    try:
        values = array.transpose(sample_dim, dim).values if own else array.values
    except Exception as error:
        raise damaged(name, error) from error
    if values.dtype.kind in "OSU" and not own:
        return Coordinate(name, DIMENSIONLESS, values.astype(str), dim), None
    if values.dtype.kind == "M" and not own:
        warnings.append(f"{where} holds dates: taken as seconds since the first")
        since = (values - values[:1]).astype("timedelta64[ns]")
        values, unit = since.astype(np.float64) * 1e-9, "s"
    if values.dtype.kind not in "biuf":
        raise DataError(f"{where} is not numeric", found=f"dtype {values.dtype}")
    values = values.astype(np.float64)
    finite = ~np.isinf(values) if own else np.isfinite(values)
    if not finite.all():
        raise DataError(
            f"{where} has values that are not finite",
            found=f"{int((~finite).sum())} of {finite.size}",
            fix="leave those points out; mark unobserved data by NaN in the data, not here",
        )
    canonical = DIMENSIONLESS if unit is None else _parse(where, unit)
    if unit is None and name != dim:
        warnings.append(f"{where} has no unit: taken to be dimensionless")
    if own:
        return Coordinate(name, canonical, np.empty((0, values.shape[1])), dim), values
    return Coordinate(name, canonical, values, dim), None


def _parse(where: str, unit: str) -> str:
    try:
        return parse(unit)
    except InputError as error:
        raise type(error)(
            f"{where}: {error.what}", found=error.found, expected=error.expected, fix=error.fix
        ) from None


def fill_grid(grid: np.ndarray) -> np.ndarray:
    """Fill gaps of own grids, where nothing was observed, by a neighbour's value.

    A law is evaluated on the whole grid and the mask then leaves the filled points out: they only
    need to be values that the law can take.
    """
    known = ~np.isnan(grid)
    whole = np.flatnonzero(known.all(1))
    filler = grid[whole[0]] if len(whole) else np.zeros(grid.shape[1])
    result = np.where(known.any(1, keepdims=True), grid, filler)
    known = known | ~known.any(1, keepdims=True)
    position = np.where(known, np.arange(grid.shape[1]), -1)
    last = np.maximum.accumulate(position, 1)
    first = known.argmax(1).reshape(-1, 1)
    return np.take_along_axis(result, np.where(last < 0, first, last), 1)


def with_spread(
    coordinates: Mapping[str, Coordinate], grids: Grids, train: np.ndarray
) -> dict[str, Coordinate]:
    """The coordinates with what is typical of own grids over the training samples."""
    found = dict(coordinates)
    for key, grid in grids.items():
        own = fill_grid(grid[train])
        typical = tuple(np.median(own, axis=0).tolist())
        found[key] = replace(
            coordinates[key],
            shift=float(own.mean()),
            scale=float(own.std()) or 1.0,
            typical=typical,
        )
    return found


def grid_of_absent(
    dataset: xr.Dataset, request: Request, stored: Coordinate, sample_dim: str, warnings: list[str]
) -> np.ndarray:
    """Own grid, in the stored unit, of samples that lack the modality: where it is predicted.

    Where the data have the variable of the grid, it says so; otherwise every sample has the
    typical grid of the fit.
    """
    name, points = stored.name, stored.values.shape[1]
    if name in dataset.variables and set(dataset[name].dims) == {sample_dim, stored.dim}:
        new, grid = _read(dataset, request, stored.dim, name, sample_dim, warnings)
        if grid is not None and grid.shape[1] == points and compatible(new.unit, stored.unit):
            return convert(grid, new.unit, stored.unit)
        raise DataError(
            f"modality '{request.name}': coordinate '{name}' is not that of the fit",
            found=f"{dataset.sizes[stored.dim]} points in {new.unit}",
            expected=f"{points} points in {stored.unit}",
        )
    typical = stored.typical or (0.0,) * points
    return np.tile(typical, (dataset.sizes[sample_dim], 1))


def match_coordinates(
    info: ModalityInfo, found: Mapping[str, Coordinate], grids: Grids
) -> tuple[dict[str, Coordinate], Grids]:
    """Check that new data lie on the stored coordinates; own grids come in the stored unit.

    Raises
    ------
    DataError
        Every coordinate that differs.
    """
    problems = Problems()
    matched: Grids = {}
    for key, stored in info.coordinates.items():
        where = f"modality '{info.name}': coordinate '{key}'"
        new = found.get(key)
        if new is None or new.own_grid != stored.own_grid:
            kind = "an own grid per sample" if stored.own_grid else "one grid for all samples"
            problems.add(
                DataError(
                    f"{where} of the fit is missing in these data",
                    found=", ".join(found) or "no coordinates",
                    expected=f"'{key}' in {stored.unit}, {kind}",
                )
            )
        elif not compatible(new.unit, stored.unit):
            problems.add(
                DataError(f"{where} has another unit", found=new.unit, expected=stored.unit)
            )
        elif stored.own_grid:
            matched[key] = convert(grids[key], new.unit, stored.unit)
        else:
            error = _difference(where, stored, new)
            if error is not None:
                problems.add(error)
    problems.raise_if_any()
    return dict(info.coordinates), matched


def _difference(where: str, stored: Coordinate, new: Coordinate) -> DataError | None:
    """Error where two shared coordinates differ by more than rounding."""
    fix = "interpolate the data onto the coordinate of the fit, or fit again with these data"
    if stored.values.dtype.kind in "OSU" or new.values.dtype.kind in "OSU":
        if stored.values.tolist() == new.values.tolist():
            return None
        return DataError(f"{where} differs from that of the fit", fix=fix)
    values = convert(new.values, new.unit, stored.unit)
    size = float(np.abs(stored.values).max(initial=0.0))
    if values.shape == stored.values.shape and np.allclose(
        values, stored.values, rtol=1e-5, atol=1e-6 * size
    ):
        return None

    def text(array: np.ndarray) -> str:
        return f"{array.size} values, {array.min():g} to {array.max():g} {stored.unit}"

    return DataError(
        f"{where} differs from that of the fit",
        found=text(values),
        expected=text(stored.values),
        fix=fix,
    )


def _unknown(request: Request, what: str, name: str, names: list[str]) -> DataError:
    guess = closest(name, names)
    return DataError(
        f"modality '{request.name}': no {what}",
        found=", ".join(names) or "none",
        fix=f"did you mean '{guess}'?" if guess else None,
    )
