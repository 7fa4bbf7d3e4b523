"""Arrays in HDF5 and MATLAB files, by their paths in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pima_physics.errors import DataError, Problems, closest
from pima_physics.importing_checks import SAMPLE, check_size, checked, existing

Arrays = Mapping[str, tuple[str, Sequence[str]]]


def from_hdf5(
    path: str | Path,
    arrays: Arrays,
    *,
    units: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Read arrays of an HDF5 file (also NetCDF-4 and MATLAB 7.3, whose dims are reversed).

    Parameters
    ----------
    path : path
    arrays : mapping
        Name of each variable to its path in the file and its dims:
        ``{"stress": ("tests/stress", ("sample", "strain"))}``. A one-dimensional array named
        as its dim becomes the coordinate; one called ``sample`` names the samples.
    units : mapping, optional
        Units by variable; they win over the attribute ``units`` in the file.

    Raises
    ------
    DataError
        Paths that are not there, dims that do not fit, numbers without a unit.
    """
    import netCDF4  # it reads any HDF5 file; no further library is needed

    place = existing(path)
    try:
        file = netCDF4.Dataset(place)
    except (OSError, RuntimeError, UnicodeError) as error:
        raise _unreadable(path, "an HDF5 file", error) from None
    with file:
        file.set_auto_maskandscale(False)
        held = _listing(file)

        def read(name: str) -> tuple[np.ndarray, str | None]:
            variable = held[name]
            check_size(name, int(np.prod(variable.shape, dtype=float)))
            return _values(variable), getattr(variable, "units", None)

        return _assemble(path, arrays, dict(units or {}), sorted(held), read)


def from_mat(
    path: str | Path,
    arrays: Arrays,
    *,
    units: Mapping[str, str],
) -> xr.Dataset:
    """Read arrays of a MATLAB file up to version 7 (newer ones: :func:`from_hdf5`).

    Parameters are those of :func:`from_hdf5`; the path of an array is the name of the MATLAB
    variable, and dims of length one that were not asked for are dropped (MATLAB has no vectors).
    """
    from scipy.io import loadmat, whosmat

    place = existing(path)
    try:
        sizes = {name: shape for name, shape, _ in whosmat(place)}
        for name in {where for where, _ in arrays.values()} & set(sizes):
            check_size(name, int(np.prod(sizes[name], dtype=float)))
        wanted = [where for where, _ in arrays.values()]
        held = loadmat(place, variable_names=wanted, chars_as_strings=True)
    except DataError:
        raise
    except NotImplementedError:
        raise DataError(
            f"{path} is a MATLAB 7.3 file, which is an HDF5 file",
            fix="from_hdf5, with the dims in reversed order",
        ) from None
    except Exception as error:  # scipy raises anything on a damaged file
        raise _unreadable(path, "a MATLAB file", error) from None

    def read(name: str) -> tuple[np.ndarray, str | None]:
        return np.asarray(held[name]), None

    return _assemble(path, arrays, dict(units), sorted(sizes), read, squeeze=True)


def _assemble(
    path: str | Path,
    arrays: Arrays,
    units: dict[str, str],
    held: Sequence[str],
    read: Callable[[str], tuple[np.ndarray, str | None]],
    *,
    squeeze: bool = False,
) -> xr.Dataset:
    problems, made, found = Problems(), {}, dict(units)
    for name, (where, dims) in arrays.items():
        where = where.strip("/")
        try:
            if where not in held:
                near = closest(where, held)
                raise DataError(
                    f"{path} has no array '{where}'",
                    found=", ".join(held[:20]) or "no arrays",
                    fix=f"did you mean '{near}'?" if near else None,
                )
            values, unit = read(where)
            made[name] = (tuple(dims), _fitted(where, values, dims, squeeze))
            if unit is not None:
                found.setdefault(name, str(unit))
        except DataError as error:
            problems.add(error)
    if not any(SAMPLE in dims for _, dims in arrays.values()):
        problems.add(DataError(f"no array has the dim '{SAMPLE}'", fix="name one of its dims so"))
    problems.raise_if_any()
    coords = {name: made.pop(name) for name in list(made) if made[name][0] == (name,)}
    try:
        dataset = xr.Dataset(made, coords=coords)
    except ValueError as error:  # two arrays disagree about the size of a dim
        raise DataError(f"the arrays of {path} do not fit together", found=str(error)) from None
    return checked(dataset, found, units, str(path))


def _fitted(where: str, values: np.ndarray, dims: Sequence[str], squeeze: bool) -> np.ndarray:
    if squeeze and values.ndim > len(dims):
        values = values.reshape([n for n in values.shape if n > 1] or [1])
    if values.ndim != len(dims):
        raise DataError(
            f"array '{where}' has {values.ndim} dims",
            found=f"shape {values.shape}",
            expected=f"{len(dims)} dims: {', '.join(dims)}",
        )
    # Files of other machines may have another order of bytes.
    return values.astype(values.dtype.newbyteorder("="))


def _listing(group: Any, above: str = "") -> dict[str, Any]:
    """Return every array by its path, those in groups too."""
    found = {f"{above}{name}": variable for name, variable in group.variables.items()}
    for name, inner in group.groups.items():
        found |= _listing(inner, f"{above}{name}/")
    return found


def _values(variable: Any) -> np.ndarray:
    try:
        return np.asarray(variable[...])
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(f"array '{variable.name}' cannot be read", found=str(error)) from None


def _unreadable(path: str | Path, kind: str, error: Exception) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"{path} cannot be read as {kind}", found=reason[:200])
