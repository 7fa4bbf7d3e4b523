r"""Units of measurement as plain strings: the only file that sees pint.

A unit is checked and converted once, where data enter or leave. Inside, numbers are plain and a
unit is a canonical string such as ``"MPa"``, ``"W m-2"`` or ``"degC"`` that :func:`parse` gives
back unchanged. Any two compatible units are related by

    value_target = scale * value_source + offset                            (offset: temperatures)

The registry is a private copy of cf-xarray's (CF and UDUNITS spellings such as ``W m-2``) with
further aliases and a list of spellings that are refused because they are read in two ways. It is
built on first use, and pint's application registry is left as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pima_physics.errors import UnitError
from pima_physics.units_spellings import ASCII, DEFINITIONS, RENAMED, tidy, unknown

if TYPE_CHECKING:
    from pint import UnitRegistry

DIMENSIONLESS = "dimensionless"
BASE_DIMENSIONS = tuple(
    ["[length]", "[mass]", "[time]", "[temperature]", "[substance]", "[current]", "[luminosity]"]
)

_Values = TypeVar("_Values")


class Conversion(NamedTuple):
    """value_target = scale * value_source + offset."""

    scale: float
    offset: float


def parse(unit: str | None) -> str:
    """Return the canonical spelling of a unit.

    Parameters
    ----------
    unit : str or None
        Unit as found in a file: ``"MPa"``, ``"W m-2"``, ``"degrees_C"``, ``"1"``.

    Returns
    -------
    str
        Short ASCII form that this function returns unchanged; ``"dimensionless"`` for a number.

    Raises
    ------
    UnitError
        Where the unit is missing, unknown, logarithmic or read in two ways.
    """
    if unit is None or not str(unit).strip():
        raise UnitError(
            "unit missing",
            found=repr(unit),
            expected="a unit such as 'MPa' or 'dimensionless'",
            fix="set the 'units' attribute of the variable, or name the unit in the request",
        )
    return _canonical(str(unit).strip())


def conversion(source: str, target: str) -> Conversion:
    """Return scale and offset that take values in ``source`` to values in ``target``.

    Raises
    ------
    UnitError
        Where the two units measure different things.
    """
    return _conversion(parse(source), parse(target))


def convert(values: _Values, source: str, target: str) -> _Values:
    """Return ``values`` (float, array or tensor) in another unit; the input is not modified."""
    scale, offset = conversion(source, target)
    if scale == 1.0 and offset == 0.0:
        return values
    scaled: Any = values * scale  # type: ignore[operator]
    return scaled + offset if offset else scaled


def compatible(a: str, b: str) -> bool:
    """Whether values in one unit can be expressed in the other."""
    return dimensions(a) == dimensions(b)


def difference(unit: str) -> str:
    """Return the unit of a difference or standard deviation: degC -> K, degF -> degR, MPa -> MPa.

    A standard deviation takes the scale of a conversion, never its offset.
    """
    canonical = parse(unit)
    exponents = _read(canonical)
    if not _is_offset(exponents):
        return canonical
    name = next(iter(exponents))
    absolute = {"degree_Celsius": "kelvin", "degree_Fahrenheit": "degree_Rankine"}
    return parse(absolute.get(name, f"delta_{name}"))


def dimensions(unit: str) -> dict[str, float]:
    """Return the exponents of a unit over the seven base dimensions."""
    found: Any = _registry().parse_units(_long(_read(parse(unit)))).dimensionality
    extra = {name: float(power) for name, power in found.items()}
    return {base: extra.pop(base, 0.0) for base in BASE_DIMENSIONS} | extra


def power(unit: str, n: float) -> str:
    """Return ``unit ** n``; of a temperature scale with an offset the difference unit is raised."""
    exponents = _read(difference(unit) if n != 1 else parse(unit))
    return _spell({name: exponent * n for name, exponent in exponents.items()})


def product(*units: str) -> str:
    """Return the product of units; several factors use difference units."""
    if len(units) == 1:
        return parse(units[0])
    total: dict[str, float] = {}
    for unit in units:
        for name, exponent in _read(difference(unit)).items():
            total[name] = total.get(name, 0.0) + exponent
    return _spell(total)


def pretty(unit: str) -> str:
    """Return a short form for tables and axes: ``"MPa"``, ``"1/s"``, ``"m/s^2"``, ``""``."""
    exponents = _read(parse(unit))
    over = [_factor(_symbol(n), e, "^") for n, e in exponents.items() if e > 0]
    under = [_factor(_symbol(n), -e, "^") for n, e in exponents.items() if e < 0]
    if not under:
        return " ".join(over)
    below = under[0] if len(under) == 1 else f"({' '.join(under)})"
    return f"{' '.join(over) or '1'}/{below}"


@lru_cache(maxsize=1)
def _registry() -> UnitRegistry[Any]:
    """Copy cf-xarray's registry once and add our definitions to the copy."""
    import pint

    application = pint.application_registry._registry
    import cf_xarray.units

    # Importing cf_xarray.units makes its registry the global one: undo that for the user.
    pint.application_registry._registry = application
    registry = copy.deepcopy(cf_xarray.units.units)
    # pixel is redefined on purpose, and pint would warn about it
    registry._on_redefinition = "ignore"
    for definition in DEFINITIONS:
        registry.define(definition)
    return registry


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    return _spell(_read(text))


@lru_cache(maxsize=4096)
def _read(text: str) -> Mapping[str, float]:
    """Exponent of each of the registry's units in a spelling, refusing what is ambiguous."""
    shown = text if len(text) <= 60 else text[:57] + "..."
    registry = _registry()
    try:
        unit = registry.parse_units(tidy(text, shown))
        powers: Any = unit._units
        exponents = {RENAMED.get(n, str(n)): float(power) for n, power in powers.items()}
        logarithmic = any(registry._units[n].is_logarithmic for n in map(_base_name, exponents))
    except UnitError:
        raise
    except Exception as error:  # pint raises many kinds: syntax, tokens, types, undefined names
        raise unknown(shown, error, dir(registry)) from None
    if logarithmic:
        raise UnitError(
            f"unit '{shown}' is logarithmic",
            expected="a linear unit",
            fix="store the linear quantity (10**(dB/10) of a power), or take the logarithm "
            "explicitly and declare it 'dimensionless'",
        )
    return exponents


def _base_name(name: str) -> str:
    """Name of a unit without its prefix: megapascal -> pascal."""
    registry = _registry()
    candidates = registry.parse_unit_name(name)
    return candidates[0][1] if candidates else name


def _is_offset(exponents: Mapping[str, float]) -> bool:
    if len(exponents) != 1:
        return False
    name, exponent = next(iter(exponents.items()))
    return exponent == 1 and not _registry()._units[_base_name(name)].is_multiplicative


@lru_cache(maxsize=4096)
def _conversion(source: str, target: str) -> Conversion:
    if source == target:
        return Conversion(1.0, 0.0)
    first, second = _read(source), _read(target)
    _check_convertible(source, target, first, second)
    registry = _registry()
    # A temperature scale is scale * value + offset in kelvin; anything else has no offset.
    (scale_a, offset_a), (scale_b, offset_b) = _to_kelvin(first), _to_kelvin(second)
    if offset_a or offset_b:
        return Conversion(float(scale_a / scale_b), float((offset_a - offset_b) / scale_b))
    factor = registry.convert(1.0, registry.parse_units(_long(first)), _long(second))
    return Conversion(float(factor), 0.0)


def _to_kelvin(exponents: Mapping[str, float]) -> tuple[Fraction, Fraction]:
    registry = _registry()
    if _is_offset(exponents):
        converter: Any = registry._units[next(iter(exponents))].converter
        return _exact(converter.scale), _exact(converter.offset)
    long = _long(exponents)
    if registry.parse_units(long).dimensionality != {"[temperature]": 1}:
        return Fraction(1), Fraction(0)
    return _exact(registry.convert(1.0, long, "kelvin")), Fraction(0)


def _exact(value: float) -> Fraction:
    """Return 5/9 for 0.5555555555555556: temperatures are then exact to the last digit."""
    fraction = Fraction(float(value)).limit_denominator(10_000)
    near = abs(float(fraction) - value) <= 1e-14 * abs(value)
    return fraction if near else Fraction(float(value))


def _check_convertible(
    source: str, target: str, first: Mapping[str, float], second: Mapping[str, float]
) -> None:
    if not compatible(source, target):
        raise UnitError(
            f"cannot convert '{source}' to '{target}'",
            found=f"'{source}' ({_dimension_text(source)})",
            expected=f"a unit compatible with '{target}' ({_dimension_text(target)})",
            fix="correct the unit of the data, or ask for a unit of the same quantity",
        )
    for one, other in ((first, second), (second, first)):
        if _is_offset(one) and any(name.startswith("delta_") for name in other):
            raise UnitError(
                f"cannot convert '{source}' to '{target}'",
                fix="one is a temperature, the other a difference of temperatures",
            )
        if "hertz" in one and {"radian", "degree"} & set(other):
            raise UnitError(
                f"cannot convert '{source}' to '{target}'",
                fix="a frequency and an angular frequency differ by 2 pi: convert it explicitly",
            )


def _dimension_text(unit: str) -> str:
    parts = [_factor(name, e, "^") for name, e in dimensions(unit).items() if e]
    return " ".join(parts) or "a plain number"


def _long(exponents: Mapping[str, float]) -> str:
    """Spell with the registry's own long names, which are never ambiguous."""
    return " * ".join(f"{n} ** ({e!r})" for n, e in exponents.items()) or DIMENSIONLESS


def _spell(exponents: Mapping[str, float]) -> str:
    """Spell as CF does where that reads back as the same unit, with long names otherwise."""
    exponents = {name: e for name, e in exponents.items() if e}
    order = sorted(exponents.items(), key=lambda item: item[1] < 0)
    for name_of in (_ascii_symbol, lambda name: name):
        text = " ".join(_factor(name_of(name), e, "") for name, e in order)
        try:
            if text.isascii() and text and _read(text) == exponents:
                return text
        except UnitError:
            continue
    return _long(dict(order))


def _factor(name: str, exponent: float, sign: str) -> str:
    return name if exponent == 1 else f"{name}{sign}{exponent:g}"


def _symbol(name: str) -> str:
    registry = _registry()
    return str(registry.get_symbol(name)) if name in registry else name


def _ascii_symbol(name: str) -> str:
    symbol = _symbol(name)
    return "".join(ASCII.get(character, character) for character in symbol)
