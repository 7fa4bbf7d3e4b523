"""How people write units: spellings that pint lacks, and spellings that are refused."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pima_physics.errors import UnitError, closest

DEFINITIONS = (
    "@alias degree_Celsius = degrees_C = degree_C = degree_celsius = degrees_celsius",
    "@alias degree_Fahrenheit = degrees_F = degree_F = deg_F = Fahrenheit = degrees_Fahrenheit",
    "@alias degree_Rankine = Rankine = degrees_R = degrees_Rankine",
    "@alias kelvin = degrees_K = degree_K",
    "@alias count = cts",
    "ppb = 1e-9",
    # An index on a screen, not a length (pint: 1/96 inch) nor a dimension of its own.
    "picture_element = [] = px = pixel = pix = voxel",
)
_SPELLINGS = {
    "1": "dimensionless",
    "-": "dimensionless",
    "[-]": "dimensionless",
    "unitless": "dimensionless",
    "fraction": "dimensionless",
    "ratio": "dimensionless",
    "deg C": "degC",
    "deg. C": "degC",
    "degrees C": "degC",
    "degree C": "degC",
    "° C": "degC",
    "℃": "degC",
    "deg F": "degF",
    "deg. F": "degF",
    "degrees F": "degF",
    "degree F": "degF",
    "° F": "degF",
    "℉": "degF",
    "ohms": "ohm",
}
_ARBITRARY = "write 'dimensionless' for arbitrary units"
# Spellings that pint reads without complaint and a scientist most likely meant otherwise.
_DENIED = (
    (r"\ba\.\s?u\b\.?|\bu\.\s?a\b\.?|\ba_u\b", _ARBITRARY),
    (r"\bau\b", f"{_ARBITRARY}, 'astronomical_unit' for the distance"),
    (r"\barb(itrary)?\b", _ARBITRARY),
    (r"(?<![\w°])[pnumk]?C(?!\w)", "write 'degC' for degree Celsius, 'coulomb' for charge"),
    (r"\bpH\b", "write 'dimensionless' for the acidity, 'picohenry' for an inductance"),
    (r"\bsince\b", "store durations in a plain unit such as 's' or 'day', without a date"),
)
RENAMED = {"micron": "micrometer"}
_COMMON = (
    "m mm cm um nm km s ms us min hour day Hz kHz MHz rad degree kg g mg ug N kN lbf Pa kPa MPa "
    "GPa bar psi ksi K degC degF degR J kJ eV W mW kW V mV A mA uA ohm F H T mol mol/L mmol/L "
    "angstrom micron percent ppm count dimensionless unitless celsius kelvin pascal newton "
    "second meter metre volt ampere watt joule gram kilogram liter m/s m/s^2 kg/m^3 W/m^2"
)
ASCII = {"°": "deg", "Δ": "delta_", "µ": "u", "μ": "u", "Ω": "ohm", "Å": "angstrom", "ε": "strain"}
# No exponent of a measured quantity has three digits; larger ones cost memory (hostile files).
_TOO_LARGE = re.compile(r"\d\s*(\*\*|\^)|(\*\*|\^)\s*[(+-]*\d{3,}|\d{5,}")


def tidy(text: str, shown: str) -> str:
    """Return a spelling that pint reads as meant.

    Parameters
    ----------
    text : str
        Unit as found.
    shown : str
        The same, shortened for messages.

    Raises
    ------
    UnitError
        Where the spelling is refused.
    """
    text = _SPELLINGS.get(text, text)
    for pattern, fix in _DENIED:
        if re.search(pattern, text):
            raise UnitError(f"unit '{shown}' is not accepted: its meaning is unclear", fix=fix)
    if len(text) > 200 or _TOO_LARGE.search(text):
        raise UnitError(f"unit '{shown}' is no unit of a measured quantity")
    # UDUNITS writes products with a dot, typesetters with a raised one
    return re.sub(r"(?<=[A-Za-z0-9])[.·⋅](?=[A-Za-z])", " ", text).replace("−", "-")


def unknown(shown: str, error: Exception, names: Iterable[str]) -> UnitError:
    """Explain why pint refused a spelling, naming the nearest of the common or known units."""
    if "scaling factor" in str(error):
        return UnitError(
            f"unit '{shown}' contains a number",
            expected="a unit without a factor",
            fix="multiply the data by the factor and give the plain unit",
        )
    found = getattr(error, "unit_names", None)
    found = (found,) if isinstance(found, str) else tuple(found or (shown,))
    common, names = _COMMON.split(), list(names)
    guesses = [closest(str(name), common) or closest(str(name), names) for name in found]
    known = [f"'{guess}'" for guess in guesses if guess]
    return UnitError(
        f"unit '{shown}' is not known",
        found=", ".join(f"'{name}'" for name in found),
        expected="a unit such as 'MPa', 'm s-1', 'degC' or 'dimensionless'",
        fix=f"did you mean {', '.join(known)}?" if known else None,
    )
