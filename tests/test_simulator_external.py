"""Laws computed outside torch: SciPy's LSODA against the closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from pima_physics.check import check_simulator
from pima_physics.errors import SolveError
from pima_physics.parameters import Parameter
from pima_physics.simulator import ExternalSimulator, Simulator, find

TIMES = torch.linspace(0, 2, 9, dtype=torch.float64)


class LsodaOscillator(ExternalSimulator):
    """The damped oscillator, solved by LSODA."""

    coordinates, outputs = {"time": "s"}, {"displacement": "m"}
    amplitude = Parameter("m", value=1.0)
    frequency = Parameter("Hz", value=1.0, min=1e-1, max=1e1)
    damping_ratio = Parameter(value=0.1, min=1e-3, max=1.0)
    golden = find("damped_oscillator").golden
    accuracy = 1e-8

    def compute(self, x, p):
        omega = 2 * math.pi * p.frequency

        def rhs(_, y):
            return [y[1], -(omega**2) * y[0] - 2 * p.damping_ratio * omega * y[1]]

        end = max(float(x.time.max()), 1e-9)
        start = [p.amplitude, 0.0]
        absolute = 1e-11 * abs(p.amplitude) * np.array([1.0, omega])
        run = solve_ivp(
            rhs, (0, end), start, method="LSODA", rtol=1e-10, atol=absolute, dense_output=True
        )
        return {"displacement": run.sol(x.time)[0]}


class Hooke(ExternalSimulator):
    """Linear law in NumPy; counts how often it is run."""

    coordinates, outputs = {"strain": "dimensionless"}, {"stress": "MPa", "energy": "MPa"}
    modulus = Parameter("MPa", value=70e3, min=1e3, max=1e6)
    offset = Parameter("MPa", value=2.0, vary=False)

    def compute(self, x, p):
        return {
            "stress": p.modulus * x.strain + p.offset,
            "energy": p.modulus * np.square(x.strain) / 2,
        }


class KnownSlope(Hooke):
    def jacobian(self, x, p):
        return {
            "stress": {"modulus": x.strain, "offset": 1.0},
            "energy": {"modulus": np.square(x.strain) / 2},
        }


class Rounded(Hooke):
    """A code whose printed result is in thousands."""

    def compute(self, x, p):
        return {name: np.round(values, -3) for name, values in super().compute(x, p).items()}


def values_and_gradients(law: Simulator, parameters, coordinates=None):
    """Outputs summed with weights, and the gradient by every parameter."""
    leaves = {k: v.clone().requires_grad_() for k, v in parameters.items()}
    outputs = law.simulate(coordinates or {"time": TIMES}, leaves)
    total = sum((v * torch.linspace(1, 2, v.shape[1]).double()).sum() for v in outputs.values())
    total.backward()
    return outputs, {k: v.grad for k, v in leaves.items()}


def test_lsoda_gives_the_closed_form_and_its_gradients():
    parameters = {
        "amplitude": torch.tensor([1.0, 2.0]).double(),
        "frequency": torch.tensor([0.5, 1.5]).double(),
        "damping_ratio": torch.tensor([0.05, 0.3]).double(),
    }
    mine, slopes = values_and_gradients(LsodaOscillator(), parameters)
    exact, expected = values_and_gradients(find("damped_oscillator"), parameters)
    torch.testing.assert_close(mine["displacement"], exact["displacement"], rtol=0, atol=1e-7)
    for name, slope in expected.items():
        torch.testing.assert_close(slopes[name], slope, rtol=1e-4, atol=1e-5)


def test_lsoda_passes_the_check():
    report = check_simulator(LsodaOscillator())
    assert report.passed, str(report)


@pytest.mark.parametrize("law", [Hooke(), KnownSlope()])
def test_several_outputs_own_grids_and_a_fixed_parameter(law):
    grid = {"strain": torch.tensor([[0.0, 0.1, 0.2], [0.0, 0.01, 0.02]]).double()}
    parameters = {"modulus": torch.tensor([1e4, 2e4]).double()}
    outputs, slopes = values_and_gradients(law, parameters, grid)
    strain, weights = grid["strain"], torch.linspace(1, 2, 3).double()
    torch.testing.assert_close(outputs["stress"], parameters["modulus"][:, None] * strain + 2)
    expected = ((strain + strain**2 / 2) * weights).sum(1)
    torch.testing.assert_close(slopes["modulus"], expected, rtol=1e-7, atol=1e-9)


def test_differences_that_cannot_be_trusted_are_refused():
    with pytest.raises(SolveError, match=r"(?s)by 'modulus' are not reliable.*jacobian"):
        values_and_gradients(
            Rounded(), {"modulus": torch.tensor([3.3e4]).double()},
            {"strain": torch.linspace(0, 0.2, 5).double()},
        )  # fmt: skip


def test_single_precision_in_and_out():
    out = Hooke().simulate({"strain": torch.zeros(2)}, {"modulus": torch.tensor([1e4])})
    assert out["stress"].dtype == torch.float32
