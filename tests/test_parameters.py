"""Parameters: maps to bounded values, their inverses and gradients, and checks."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pima_physics.errors import InputError
from pima_physics.parameters import Constant, Parameter, Simplex

CASES = {
    "two bounds": Parameter("MPa", min=0.0, max=1.0),
    "bounds not in float32": Parameter("s", min=0.3, max=0.7),
    "log": Parameter("MPa", value=70e3, min=1e3, max=1e6),
    "log over 60 decades": Parameter("s", min=1e-30, max=1e30),
    "narrow": Parameter("K", min=300.0, max=301.0),
    "lower bound": Parameter("s", min=0.0, value=2.0),
    "lower bound, log": Parameter("s", min=0.0, value=3.0, scale="log"),
    "lower bound, far": Parameter("s", min=5.0),
    "upper bound": Parameter("s", max=2.0),
    "free": Parameter("s", value=-3.0),
    "free, no value": Parameter("s"),
    "typical near a bound": Parameter(min=0.0, max=1.0, value=1e-3),
}


@pytest.fixture(params=list(CASES), ids=list(CASES))
def parameter(request: pytest.FixtureRequest) -> Parameter:
    return CASES[request.param]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_are_finite_inside_the_bounds_and_increase(
    parameter: Parameter, dtype: torch.dtype
) -> None:
    raw = torch.linspace(-50, 50, 1001, dtype=dtype, requires_grad=True)
    value = parameter.constrain(raw)
    low, high = parameter.bounds
    assert torch.isfinite(value).all()
    assert low <= value.double().min().item()
    assert value.double().max().item() <= high
    assert (value.diff() >= 0).all()
    (slope,) = torch.autograd.grad(value.sum(), raw)
    assert torch.isfinite(slope).all()
    near = raw.detach().abs() < 5
    assert (slope[near] > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_raw_zero_is_the_typical_value(parameter: Parameter, dtype: torch.dtype) -> None:
    value = parameter.constrain(torch.zeros(3, dtype=dtype))
    assert value.tolist() == pytest.approx([parameter.typical] * 3, rel=2e-5)


def test_unconstrain_inverts_constrain(parameter: Parameter) -> None:
    raw = torch.linspace(-4, 4, 81, dtype=torch.float64)
    again = parameter.unconstrain(parameter.constrain(raw))
    torch.testing.assert_close(again, raw, rtol=0, atol=1e-8)


def test_unconstrain_takes_values_at_and_beyond_the_bounds() -> None:
    for name in ("two bounds", "log", "lower bound", "lower bound, log", "upper bound"):
        p = CASES[name]
        for bound in (p.min, p.max):
            if bound is not None:
                assert math.isfinite(p.unconstrain(bound).item())
                assert math.isfinite(p.unconstrain(bound - 1.0).item())
                assert math.isfinite(p.unconstrain(bound + 1.0).item())
    assert torch.isfinite(CASES["two bounds"].unconstrain(torch.tensor([0, 1]))).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(1e-3, 1e6),
    place=st.floats(0.01, 0.99),
    raw=st.floats(-50, 50),
)
def test_any_two_bounds_hold_in_float32(low: float, width: float, place: float, raw: float) -> None:
    width += 1e-5 * abs(low)  # float32 must know a number between the bounds
    high, value = low + width, low + place * width
    p = Parameter(min=low, max=high, value=value)
    assert low <= p.constrain(torch.tensor(raw)).double().item() <= high


def test_scale_defaults_to_log_over_more_than_two_decades() -> None:
    assert Parameter(min=1.0, max=1e3).scale == "log"
    assert Parameter(min=1.0, max=1e3).value == pytest.approx(math.sqrt(1e3))
    assert Parameter(min=1.0, max=50.0).scale == "linear"
    assert Parameter(min=1.0, max=50.0).value == 25.5
    assert Parameter(min=0.0, max=1e3).scale == "linear"
    assert Parameter(min=0.0).value == 1.0
    assert Parameter(min=0.0).shown_in == "dimensionless"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"min": 2.0, "max": 1.0}, "min 2, max 1"),
        ({"min": 1.0, "max": 1.0}, "lower bound"),
        ({"min": 0.0, "value": -1.0}, "value -1"),
        ({"min": 0.0, "max": 1.0, "value": 0.0}, "outside its bounds"),
        ({"min": -1.0, "max": 1.0, "scale": "log"}, "positive bounds"),
        ({"max": 1.0, "scale": "log"}, "positive bounds"),
        ({"scale": "cubic"}, "cubic"),
        ({"vary": False}, "needs a value"),
        ({"value": math.nan}, "finite"),
        ({"min": "low"}, "'low'"),
        ({"value": True}, "finite number"),
        ({"unit": "MPaa"}, "MPa"),
        ({"unit": "MPa", "shown_in": "kg"}, "another quantity"),
    ],
)
def test_contradictions_are_named(arguments: dict, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        Parameter(**arguments)
    assert reason in str(caught.value)


def test_several_problems_come_at_once() -> None:
    with pytest.raises(InputError, match=r"(?s)2 problems.*'min'.*MPaa"):
        Parameter("MPaa", min=math.inf)


def test_a_fixed_value_may_lie_on_a_bound() -> None:
    assert Parameter("kg", min=0.0, value=0.0, vary=False).value == 0.0


def test_replace_converts_numbers_to_the_parameters_unit() -> None:
    modulus = Parameter("MPa", value=70e3, min=1e3, max=1e6, shown_in="GPa", description="slope")
    changed = modulus.replace(bounds=[10, 100], units="GPa")
    assert (changed.min, changed.max, changed.value) == (1e4, 1e5, 70e3)
    assert (changed.scale, changed.unit, changed.shown_in) == ("linear", "MPa", "GPa")
    assert changed.description == "slope"
    assert modulus.max == 1e6
    fixed = modulus.replace(value=10e3, vary=False, units="ksi")
    assert (fixed.shown_in, fixed.vary) == ("ksi", False)
    assert fixed.value == pytest.approx(68947.57293168)
    room = Parameter("K", value=300.0, min=200.0, max=400.0)
    assert room.replace(value=20.0, units="degC").value == pytest.approx(293.15)


def test_replace_moves_a_typical_value_that_no_longer_fits() -> None:
    modulus = Parameter("MPa", value=70e3, min=1e3, max=1e6)
    assert modulus.replace(bounds=[100e3, 200e3]).value == pytest.approx(150e3)
    midpoint = Parameter(min=0.0, max=10.0)
    assert midpoint.replace(max=20.0).value == 10.0
    assert Parameter(min=0.0, max=10.0, value=3.0).replace(max=20.0).value == 3.0
    deliberate = Parameter(min=1.0, max=10.0, scale="log")
    assert deliberate.replace(max=20.0).scale == "log"
    assert deliberate.replace(min=0.0).scale == "linear"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bound": [1, 2]}, "did you mean 'bounds'"),
        ({"bounds": 3}, "two numbers"),
        ({"bounds": [1, 2], "min": 0}, "either"),
        ({"bounds": [5, 1], "units": "GPa"}, "lower bound"),
        ({"min": 1, "units": "kg"}, "cannot convert"),
        ({"units": "kg"}, "cannot convert"),
        ({"vary": "no"}, "true or false"),
        ({"min": "1"}, "finite number"),
    ],
)
def test_replace_refuses_what_it_cannot_read(changes: dict, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        Parameter("MPa", value=70e3, min=1e3, max=1e6).replace(**changes)
    assert reason in str(caught.value)


def test_records_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CASES["free"].value = 1.0  # type: ignore[misc]


def test_constants() -> None:
    assert Constant(9.81, "m/s^2").value == 9.81
    for arguments in ((math.nan, "s"), (1.0, "no_unit"), (None, "s")):
        with pytest.raises(InputError):
            Constant(*arguments)  # type: ignore[arg-type]


def test_simplex() -> None:
    fractions = Simplex(3).constrain(torch.tensor([[0.0, 0.0, 0.0], [50.0, -50.0, 0.0]]))
    torch.testing.assert_close(fractions.sum(-1), torch.ones(2))
    torch.testing.assert_close(fractions[0], torch.full((3,), 1 / 3))
    raw = torch.tensor([0.5, -1.0, 0.5])
    torch.testing.assert_close(Simplex(3).unconstrain(Simplex(3).constrain(raw)), raw)
    with pytest.raises(InputError):
        Simplex(1)
