"""Units: spellings, refusals, exact conversions, and no trace in the user's pint."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pima_physics.errors import UnitError
from pima_physics.units import (
    BASE_DIMENSIONS,
    compatible,
    conversion,
    convert,
    difference,
    dimensions,
    parse,
    power,
    pretty,
    product,
)

CANONICAL = {
    "W m-2": "W m-2",
    "W/m^2": "W m-2",
    "W/m²": "W m-2",
    "kg m-3": "kg m-3",
    "kg.m-3": "kg m-3",
    "kg m**-3": "kg m-3",
    "m s-1": "m s-1",
    "m/s": "m s-1",
    "s-1": "s-1",
    "1/s": "s-1",
    "degrees_C": "degC",
    "degC": "degC",
    "deg C": "degC",
    "celsius": "degC",
    "°C": "degC",
    "degF": "degF",
    "degree_Fahrenheit": "degF",
    "Rankine": "degR",
    "degR": "degR",
    "kelvin": "K",
    "micron": "um",
    "um": "um",
    "µm": "um",
    "μm": "um",
    "Å": "angstrom",
    "percent": "%",
    "%": "%",
    "ppm": "ppm",
    "ppb": "ppb",
    "count": "count",
    "counts": "count",
    "1": "dimensionless",
    "unitless": "dimensionless",
    "dimensionless": "dimensionless",
    "mm/mm": "dimensionless",
    "psi": "psi",
    "ksi": "ksi",
    "lbf": "lbf",
    "bar": "bar",
    "coulomb": "coulomb",
    "megapascal": "MPa",
    "degree": "deg",
    "pixel": "px",
}


@pytest.mark.parametrize(("written", "canonical"), CANONICAL.items())
def test_spellings_have_one_canonical_form_that_reads_back(written: str, canonical: str) -> None:
    assert parse(written) == canonical
    assert parse(canonical) == canonical


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        ("a.u.", "dimensionless"),
        ("a. u.", "dimensionless"),
        ("au", "dimensionless"),
        ("a_u", "dimensionless"),
        ("arb. units", "dimensionless"),
        ("arbitrary units", "dimensionless"),
        ("arb.u./s", "dimensionless"),
        ("C", "coulomb"),
        ("mC", "coulomb"),
        ("pH", "picohenry"),
        ("dB", "logarithm"),
        ("dBm", "logarithm"),
        ("neper", "logarithm"),
        ("days since 2000-01-01", "duration"),
        ("1e-3 m", "multiply the data"),
        ("MPaa", "'MPa'"),
        ("Kelvn", "'kelvin'"),
        ("", "missing"),
        ("   ", "missing"),
        (None, "missing"),
        ("))", "not known"),
        ("m + s", "not known"),
        ("m**9**9**9**9", "no unit"),
        ("9**9**9**9", "no unit"),
        ("m" * 1000, "no unit"),
    ],
)
def test_refused_units_say_what_to_write(unit: str | None, reason: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse(unit)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 500


def test_temperatures_are_affine_and_exact() -> None:
    assert conversion("degC", "K") == (1.0, 273.15)
    assert conversion("K", "degC") == (1.0, -273.15)
    assert conversion("degC", "degF") == (1.8, 32.0)
    assert conversion("degF", "degC") == (5 / 9, -160 / 9)
    assert conversion("degR", "K") == (5 / 9, 0.0)
    assert convert(-40.0, "degC", "degF") == -40.0
    assert convert(851.67, "degR", "K") == pytest.approx(473.15, abs=1e-12)


def test_other_conversions_have_no_offset() -> None:
    assert conversion("ksi", "MPa").scale == pytest.approx(6.894757293168361, rel=1e-14)
    assert conversion("GPa", "MPa") == (1000.0, 0.0)
    assert conversion("percent", "dimensionless") == (0.01, 0.0)
    assert conversion("MPa", "megapascal") == (1.0, 0.0)


@pytest.mark.parametrize(
    ("source", "target"),
    [("MPa", "m"), ("degC", "delta_degC"), ("delta_degC", "degC"), ("Hz", "rad/s"), ("K", "J")],
)
def test_conversions_that_would_be_wrong_are_refused(source: str, target: str) -> None:
    with pytest.raises(UnitError, match="cannot convert"):
        conversion(source, target)


def test_convert_keeps_the_kind_of_values_and_the_input() -> None:
    array = np.array([1, 2], dtype=np.int16)
    assert convert(array, "km", "m").tolist() == [1000.0, 2000.0]
    assert array.tolist() == [1, 2]
    tensor = convert(torch.tensor([0.0, 100.0]), "degC", "K")
    assert tensor.dtype == torch.float32
    assert tensor.tolist() == pytest.approx([273.15, 373.15])
    assert convert(1.5, "MPa", "MPa") == 1.5
    assert convert(np.float32([2.0]), "ksi", "MPa").dtype == np.float32


def test_a_difference_takes_the_scale_only() -> None:
    assert difference("degC") == "K"
    assert difference("degF") == "degR"
    assert difference("K") == "K"
    assert difference("MPa") == "MPa"
    assert conversion(difference("degF"), "K").scale == conversion("degF", "K").scale


def test_dimensions() -> None:
    expected = {"[length]": 2.0, "[time]": -2.0, "[temperature]": -1.0}
    assert dimensions("J/(kg K)") == dict.fromkeys(BASE_DIMENSIONS, 0.0) | expected
    assert set(dimensions("px").values()) == {0.0}
    assert compatible("degF", "K") and compatible("count", "1") and not compatible("N", "J")


def test_algebra() -> None:
    assert power("MPa", 0.5) == "MPa0.5"
    assert power("degC", 2) == "K2"
    assert power("m", 0) == "dimensionless"
    assert product("MPa", "1/s") == "MPa s-1"
    assert product("m", "1/m") == "dimensionless"
    assert product("degC") == "degC"


def test_pretty() -> None:
    shown = {
        "MPa": "MPa",
        "s-1": "1/s",
        "m s-2": "m/s^2",
        "dimensionless": "",
        "J kg-1 K-1": "J/(kg K)",
        "degC": "°C",
        "um": "µm",
        "%": "%",
    }
    assert {unit: pretty(unit) for unit in shown} == shown


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(max_size=30) | st.text("mskgKPaNJ °/*^-.() 0123456789", max_size=14))
def test_any_text_is_a_unit_that_reads_back_or_a_unit_error(text: str) -> None:
    try:
        canonical = parse(text)
    except UnitError:
        return
    assert parse(canonical) == canonical
    assert compatible(text, canonical)
    assert math.isclose(conversion(text, canonical).scale, 1.0)


def test_the_users_pint_registry_stays_as_it_was() -> None:
    code = (
        "import pint, sys\n"
        "import pima_physics.units as units\n"
        "assert 'cf_xarray' not in sys.modules, 'import must not build the registry'\n"
        "before = pint.application_registry.get()\n"
        "units.parse('degrees_C')\n"
        "assert pint.application_registry.get() is before\n"
        "import cf_xarray.units\n"
        "assert 'ppb' not in cf_xarray.units.units, 'our aliases belong to our copy'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
