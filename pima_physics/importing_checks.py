"""What every imported Dataset must fulfil: numbers with known units, samples with names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from pima_physics.dataset_units import check_numeric
from pima_physics.errors import DataError, InputError, Problems, UnitError, closest
from pima_physics.units import parse

SAMPLE = "sample"
"""Dimension over samples."""

MAX_VALUES = 500_000_000
"""Most numbers read into memory at once: a small file may claim to hold any amount."""


def existing(path: str | Path, *, folder: bool = False) -> Path:
    """Return the path of what is there.

    Raises
    ------
    DataError
        Where there is nothing, naming the closest; or a file where a folder should be.
    """
    place = Path(path).expanduser()
    if (place.is_dir() if folder else place.is_file()) and place.exists():
        return place
    kind = "folder" if folder else "file"
    names = [p.name for p in place.parent.iterdir()] if place.parent.is_dir() else []
    near = closest(place.name, names) if not place.exists() else None
    raise DataError(
        f"there is no {kind} {path}",
        found=("a file" if folder else "a folder") if place.exists() else "nothing there",
        fix=f"did you mean {place.parent / near}?" if near else None,
    )


def check_size(name: str, size: int) -> None:
    """Refuse an array that would not fit into memory.

    Raises
    ------
    DataError
        Before anything is read.
    """
    if size > MAX_VALUES:
        raise DataError(
            f"'{name}' is too large to import at once",
            found=f"{size} numbers",
            expected=f"at most {MAX_VALUES}",
            fix="write it in parts to a Zarr store (pip install 'pima-physics[scale]')",
        )


def checked(
    made: xr.Dataset, units: Mapping[str, str], given: Mapping[str, str] | None, source: str
) -> xr.Dataset:
    """Return the dataset with a unit on every number, samples named.

    Parameters
    ----------
    made : xarray.Dataset
    units : mapping
        Units by variable, from the file or from the caller.
    given : mapping, optional
        Those from the caller: each must name a variable.
    source : str
        The file, for messages and the attribute ``source``.

    Raises
    ------
    DataError
        Every unit that is missing or unknown, every name that is nowhere.
    """
    problems = Problems()
    for name in sorted(set(given or {}) - set(map(str, made.variables))):
        near = closest(name, map(str, made.variables))
        problems.add(
            DataError(
                f"units: there is no variable '{name}' in {source}",
                found=", ".join(map(str, made.data_vars)),
                fix=f"did you mean '{near}'?" if near else None,
            )
        )
    for name in map(str, made.variables):
        variable = made[name]
        if name == SAMPLE or variable.dtype.kind in "OUST":
            continue
        try:
            check_numeric(name, variable)
            variable.attrs["units"] = _unit(name, units.get(name))
        except InputError as error:
            problems.add(error)
    if not made.data_vars:
        problems.add(DataError(f"{source} holds no variable"))
    if SAMPLE in made.coords:
        labels, counts = np.unique(made[SAMPLE].values.astype(str), return_counts=True)
        twice = labels[counts > 1]
        if twice.size:
            problems.add(
                DataError(
                    f"{source}: {twice.size} names of samples occur more than once",
                    found=", ".join(twice[:5]),
                    fix="name the column that runs along a curve (along=...)",
                )
            )
    problems.raise_if_any()
    return made.assign_attrs(source=source)


def _unit(name: str, written: str | None) -> str:
    if written is None or not str(written).strip():
        raise UnitError(
            f"'{name}' has no unit",
            expected="its unit, or 'dimensionless'",
            fix=f"units={{'{name}': 'MPa'}}",
        )
    try:
        return parse(str(written))
    except UnitError as error:
        raise UnitError(
            f"'{name}': {error.what}", found=error.found, expected=error.expected, fix=error.fix
        ) from None
