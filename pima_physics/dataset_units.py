"""Variables of a dataset as plain numbers with a unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pima_physics.errors import DataError, UnitError
from pima_physics.units import DIMENSIONLESS, Conversion, compatible, conversion, parse


def plain(variable: xr.DataArray) -> tuple[xr.DataArray, str | None]:
    """Return a variable of numbers, and its unit as written; None where there is none.

    Durations (timedelta) become seconds, and arrays that pint has quantified plain ones.
    """
    held: Any = variable.variable._data
    if hasattr(held, "magnitude") and hasattr(held, "units"):
        return variable.copy(data=held.magnitude), str(held.units)
    if variable.dtype.kind == "m":
        seconds = variable.values / np.timedelta64(1, "ns") * 1e-9
        return variable.copy(data=np.where(np.isnat(variable.values), np.nan, seconds)), "s"
    unit = variable.attrs.get("units")
    text = "" if unit is None else str(unit).strip()
    return variable, text or None


def check_numeric(name: str, variable: xr.DataArray) -> None:
    """Refuse what is no array of real numbers."""
    kind = variable.dtype.kind
    if kind in "biuf":
        return
    fixes = {
        "c": "split it into its real and imaginary part, two variables",
        "M": "store durations from a start as numbers with a unit such as 's'",
    }
    raise DataError(
        f"variable '{name}' does not hold real numbers",
        found=f"dtype {variable.dtype}",
        expected="floating-point, integer or bool",
        fix=fixes.get(kind, "convert it to numbers; categories can serve as labels of a node"),
    )


def unit_of(
    name: str, kind: str, written: str | None, asked: str | None, warnings: list[str]
) -> tuple[str, Conversion]:
    """Decide the unit to work in, and the conversion from the variable's own.

    Parameters
    ----------
    name : str
        Variable, for messages.
    kind : str
        Kind of its dtype: counts and pixels may go without a unit.
    written, asked : str or None
        Unit in the file, unit asked for.
    warnings : list of str
        What had to be assumed is added here.

    Raises
    ------
    UnitError
        Where the unit is missing, unknown or incompatible.
    """
    target = None if asked is None else _parse(name, asked, "asked for")
    if written is None:
        if target is None and kind not in "biu":
            raise UnitError(
                f"variable '{name}' has no unit",
                expected="an attribute 'units', such as 'MPa' or 'dimensionless'",
                fix=f"set it in the file (ds['{name}'].attrs['units'] = 'MPa'), or give 'units' "
                "for the modality",
            )
        target = target or DIMENSIONLESS
        warnings.append(f"variable '{name}' has no unit in the data: taken to be {target}")
        return target, Conversion(1.0, 0.0)
    source = _parse(name, written, "in the data")
    if target is None:
        return source, Conversion(1.0, 0.0)
    if not compatible(source, target):
        raise UnitError(
            f"variable '{name}' cannot be converted to '{asked}'",
            found=f"units '{written}' in the data",
            expected=f"a unit compatible with '{asked}'",
            fix="correct the unit in the data, or ask for a unit of the same quantity",
        )
    return target, conversion(source, target)


def _parse(name: str, unit: str, where: str) -> str:
    try:
        return parse(unit)
    except UnitError as error:
        raise UnitError(
            f"variable '{name}': {error.what} ({where})",
            found=error.found,
            expected=error.expected,
            fix=error.fix,
        ) from None
