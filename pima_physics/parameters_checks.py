"""Checks of what is said about a parameter: numbers, bounds, scale, typical value, units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pima_physics.errors import ConfigError, InputError, Problems, closest
from pima_physics.units import compatible, convert, parse

CHANGES = ("bounds", "min", "max", "value", "scale", "vary", "units", "shown_in", "description")


def number(name: str, value: Any, problems: Problems) -> float | None:
    """Return a finite float, or note the problem."""
    if value is None:
        return None
    try:
        if isinstance(value, bool | str):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        problems.add(ConfigError(f"'{name}' must be a finite number", found=repr(value), fix=None))
        return None
    return number


def _check_changes(changes: Mapping[str, Any]) -> None:
    problems = Problems()
    for key in changes:
        if key not in CHANGES:
            guess = closest(key, CHANGES)
            problems.add(
                ConfigError(
                    f"unknown setting '{key}' of a parameter",
                    expected=", ".join(CHANGES),
                    fix=f"did you mean '{guess}'?" if guess else None,
                )
            )
    if "bounds" in changes and {"min", "max"} & set(changes):
        problems.add(ConfigError("give either 'bounds' or 'min' and 'max' of a parameter"))
    if not isinstance(changes.get("vary", True), bool):
        problems.add(ConfigError("'vary' must be true or false", found=repr(changes["vary"])))
    problems.raise_if_any()


def _pair(bounds: Any) -> tuple[Any, Any]:
    if isinstance(bounds, list | tuple) and len(bounds) == 2:
        return bounds[0], bounds[1]
    raise ConfigError(
        "'bounds' of a parameter must be two numbers", found=repr(bounds), expected="[low, high]"
    )


def in_unit(changes: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """Return changes of a parameter with bounds spelt out and numbers converted to ``unit``."""
    _check_changes(changes)
    changes = dict(changes)
    units = changes.pop("units", None)
    if "bounds" in changes:
        changes["min"], changes["max"] = _pair(changes.pop("bounds"))
    if units is None:
        return changes
    convert(0.0, str(units), unit)  # incompatible units fail even without numbers
    for name in {"value", "min", "max"} & set(changes):
        given = changes[name]
        if isinstance(given, int | float) and not isinstance(given, bool):
            changes[name] = convert(float(given), str(units), unit)
    return {"shown_in": str(units)} | changes


def check_units(unit: str, shown_in: str) -> None:
    """Refuse unknown units, and reporting in a unit of another quantity."""
    problems = Problems()
    for name in dict.fromkeys((unit, shown_in)):
        try:
            parse(name)
        except InputError as error:
            problems.add(error)
    problems.raise_if_any()
    if not compatible(unit, shown_in):
        raise ConfigError(
            "a parameter cannot be shown in a unit of another quantity",
            found=f"shown_in '{shown_in}'",
            expected=f"a unit compatible with '{unit}'",
        )


def check_bounds(low: float | None, high: float | None, unit: str) -> None:
    """Refuse bounds in the wrong order."""
    if low is not None and high is not None and not low < high:
        raise ConfigError(
            "the lower bound of a parameter must be below the upper one",
            found=f"min {low:g}, max {high:g} {unit}",
            fix="a parameter that is known exactly takes value and vary: false",
        )


def allows_log(low: float | None, high: float | None) -> bool:
    """Whether a log scale has a meaning between these bounds."""
    return low is not None and (low > 0 if high is not None else low >= 0)


def check_scale(scale: str, low: float | None, high: float | None) -> None:
    """Refuse unknown scales, and a log scale over numbers that are not positive."""
    if scale not in ("linear", "log"):
        raise ConfigError(f"unknown scale {scale!r} of a parameter", expected="linear, log")
    if scale == "log" and not allows_log(low, high):
        raise ConfigError(
            "a log scale needs positive bounds",
            found=f"min {low}, max {high}",
            expected="0 < min < max, or min >= 0 without max",
            fix="give min a positive value, or use scale: linear",
        )


def check_value(value: float, bounds: tuple[float, float], vary: bool, unit: str) -> None:
    """Refuse a value outside the bounds; one that varies must not start on a bound either."""
    low, high = bounds
    if not (low < value < high if vary else low <= value <= high):
        raise ConfigError(
            "the value of a parameter lies outside its bounds",
            found=f"value {value:g} {unit}",
            expected=f"{low:g} < value < {high:g}",
            fix="change value, min or max (all in the same unit)",
        )
