"""Find the variables of a modality, and check them."""

from __future__ import annotations

from dataclasses import replace

import xarray as xr

from pima_physics.dataset_coordinates import (
    Grids,
    grid_of_absent,
    match_coordinates,
    read_coordinates,
)
from pima_physics.dataset_files import damaged, one_thread
from pima_physics.dataset_info import Coordinate, ModalityInfo, Request, channel_dim
from pima_physics.dataset_slices import Source
from pima_physics.dataset_units import check_numeric, plain, unit_of
from pima_physics.errors import DataError, InputError, Problems, UnitError, closest
from pima_physics.units import Conversion, compatible, conversion

# Variables up to this size are read once; larger ones in slices, once for every pass.
KEEP_BYTES = 2**28


def find_source(
    dataset: xr.Dataset,
    request: Request,
    *,
    sample_dim: str,
    info: ModalityInfo | None,
    require_all: bool,
    warnings: list[str],
) -> Source:
    """Look up and check the variables of a request.

    Raises
    ------
    InputError
        Every variable that is missing, not numeric, without the sample dimension or of a wrong
        unit.
    """
    problems = Problems()
    found: list[tuple[xr.DataArray, str | None] | None] = []
    if not request.variables or len(set(request.variables)) < len(request.variables):
        raise DataError(
            f"modality '{request.name}': name one variable, or several different ones",
            found=", ".join(request.variables) or "none",
        )
    for name in request.variables:
        if name not in dataset.variables and info is not None and not require_all:
            found.append(None)
            continue
        try:
            found.append(_find(dataset, request, name, sample_dim))
        except InputError as error:
            problems.add(error)
    problems.raise_if_any()
    present = [item[0] for item in found if item is not None]
    if info is not None and not present:
        return _absent(dataset, info, request, sample_dim, warnings)
    array = [variable for variable in present if variable.ndim > 1]
    if array and len(found) > 1:
        raise DataError(
            f"modality '{request.name}': only scalar variables can be stacked to a vector",
            found=", ".join(f"{v.name} ({', '.join(map(str, v.dims))})" for v in array),
            fix="make each array a modality of its own",
        )
    unit, conversions = _units(request, found, warnings)
    source = _assemble(dataset, request, found, sample_dim, warnings)
    source = replace(source, unit=unit, conversions=conversions)
    return source if info is None else _match(source, info)


def _find(
    dataset: xr.Dataset, request: Request, name: str, sample_dim: str
) -> tuple[xr.DataArray, str | None]:
    """Return a variable of numbers with the sample dimension first, and its unit as written."""
    if name not in dataset.variables:
        names = [str(known) for known in dataset.data_vars]
        # A physics decoder looks for the name of its output unless told otherwise.
        guess = request.name if request.name in names else closest(name, names)
        raise DataError(
            f"modality '{request.name}': there is no variable '{name}'",
            found=", ".join(names) or "no data variables",
            fix=f"did you mean '{guess}'? Then write variable: {guess}"
            if guess
            else "name one of the data variables",
        )
    variable = dataset[name]
    dims = [str(dim) for dim in variable.dims]
    if len(set(dims)) < len(dims):
        raise DataError(f"variable '{name}' has the same dimension twice", found=f"{dims}")
    if sample_dim not in dims:
        raise DataError(
            f"variable '{name}' has no dimension '{sample_dim}'",
            found=f"({', '.join(dims)})",
            expected=f"({sample_dim}, ...)",
            fix="set sample_dim to the dimension that counts samples, or choose another variable",
        )
    if 0 in variable.shape:
        raise DataError(f"variable '{name}' is empty", found=str(dict(variable.sizes)))
    try:
        if variable.nbytes <= KEEP_BYTES:
            with one_thread(variable):
                variable = variable.compute()
        variable, unit = plain(variable)
    except Exception as error:  # a damaged file shows itself only when it is read
        raise damaged(name, error) from error
    check_numeric(name, variable)
    return variable.transpose(sample_dim, ...), unit


def _units(
    request: Request,
    found: list[tuple[xr.DataArray, str | None] | None],
    warnings: list[str],
) -> tuple[str, tuple[Conversion, ...]]:
    """Unit of the modality (asked for, or that of the first variable) and all conversions."""
    problems = Problems()
    units: list[tuple[str, Conversion] | None] = []
    for name, item in zip(request.variables, found, strict=True):
        if item is None:
            units.append(None)
            continue
        try:
            variable, written = item
            units.append(unit_of(name, variable.dtype.kind, written, request.units, warnings))
        except UnitError as error:
            problems.add(error)
    problems.raise_if_any()
    known = {n: u[0] for n, u in zip(request.variables, units, strict=True) if u is not None}
    first = next(iter(known.values()))
    if not all(compatible(unit, first) for unit in known.values()):
        raise DataError(
            f"modality '{request.name}': its variables measure different quantities",
            found=", ".join(f"{name} in {unit}" for name, unit in known.items()),
            expected="units that can be converted to each other",
            fix="put them in separate modalities",
        )
    conversions = []
    for item in units:
        if item is None:
            conversions.append(Conversion(1.0, 0.0))
        else:
            # asked for: already converted to one unit; else each variable to that of the first
            conversions.append(item[1] if request.units else conversion(item[0], first))
    return first, tuple(conversions)


def _assemble(
    dataset: xr.Dataset,
    request: Request,
    found: list[tuple[xr.DataArray, str | None] | None],
    sample_dim: str,
    warnings: list[str],
) -> Source:
    variables = tuple(None if item is None else item[0] for item in found)
    first = next(variable for variable in variables if variable is not None)
    coordinates: dict[str, Coordinate] = {}
    grids: Grids = {}
    if first.ndim > 1:
        dims, shape = tuple(str(dim) for dim in first.dims[1:]), first.shape[1:]
        coordinates, grids = read_coordinates(dataset, request, first, sample_dim, warnings)
    elif len(variables) > 1:
        dims, shape = (channel_dim(request.name),), (len(variables),)
    else:
        dims, shape = (), (1,)
    return Source(
        request=request,
        variables=variables,
        conversions=(),
        unit="",
        dims=dims,
        shape=shape,
        coordinates=coordinates,
        grids=grids,
        sample_dim=sample_dim,
        size=first.shape[0],
    )


def _absent(
    dataset: xr.Dataset,
    info: ModalityInfo,
    request: Request,
    sample_dim: str,
    warnings: list[str],
) -> Source:
    grids = {
        key: grid_of_absent(dataset, request, c, sample_dim, warnings)
        for key, c in info.coordinates.items()
        if c.own_grid
    }
    count = len(info.variables)
    return Source(
        request=request,
        variables=(None,) * count,
        conversions=(Conversion(1.0, 0.0),) * count,
        unit=info.unit,
        dims=info.dims,
        shape=info.shape,
        coordinates=dict(info.coordinates),
        grids=grids,
        sample_dim=sample_dim,
        size=dataset.sizes[sample_dim],
    )


def _match(source: Source, info: ModalityInfo) -> Source:
    """Check new data against the modality of a fit, and bring dimensions in its order.

    Raises
    ------
    DataError
        Where dimensions, sizes or coordinates differ.
    """
    sizes = dict(zip(source.dims, source.shape, strict=False))
    expected = dict(zip(info.dims, info.shape, strict=False))
    if sizes != expected:
        raise DataError(
            f"modality '{info.name}' has another shape than in the fit",
            found=", ".join(f"{dim} {n}" for dim, n in sizes.items()) or "a scalar",
            expected=", ".join(f"{dim} {n}" for dim, n in expected.items()) or "a scalar",
            fix="bring the data to the shape of the fit, or fit again with these data",
        )
    coordinates, grids = match_coordinates(info, source.coordinates, source.grids)
    variables = source.variables
    if not source.stacked:
        order = (source.sample_dim, *info.dims)
        variables = tuple(None if v is None else v.transpose(*order) for v in variables)
    return replace(
        source,
        variables=variables,
        dims=info.dims,
        shape=info.shape,
        coordinates=coordinates,
        grids=grids,
    )
