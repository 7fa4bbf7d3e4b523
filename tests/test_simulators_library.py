"""Properties of the mechanisms that one golden point does not show."""

from __future__ import annotations

import math

import pytest
import torch

from pima_physics.simulator import find


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def run(name, coordinates, **parameters):
    """Outputs of a law, its other parameters at their typical values."""
    law = find(name)
    batch = max(len(v) for v in parameters.values())
    typical = {k: v.value * torch.ones(batch).double() for k, v in law.parameters.items()}
    return law.simulate(coordinates, {**typical, **parameters})


def test_oscillator_at_and_around_critical_damping():
    """x = (1 + tau) exp(-tau) at critical damping, reached smoothly from both sides."""
    time = torch.linspace(0, 3, 40).double()
    zeta = tensor(1 - 1e-7, 1.0, 1 + 1e-7).requires_grad_()
    x = run("damped_oscillator", {"time": time}, damping_ratio=zeta)["displacement"]
    tau = 2 * math.pi * time
    torch.testing.assert_close(x[1], (1 + tau) * torch.exp(-tau), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(x[0], x[2], rtol=0, atol=1e-6)
    (slope,) = torch.autograd.grad(x.sum(), zeta)
    torch.testing.assert_close(slope[0], slope[2], rtol=1e-5, atol=0)


def test_oscillator_far_above_critical_damping():
    """Two exponentials, in the form that does not overflow."""
    time, zeta = torch.linspace(0, 50, 30).double(), tensor(8.0)
    x = run("damped_oscillator", {"time": time}, damping_ratio=zeta)["displacement"][0]
    root = math.sqrt(63)
    slow, fast = (2 * math.pi * (-8 + sign * root) for sign in (1, -1))
    exact = (fast * torch.exp(slow * time) - slow * torch.exp(fast * time)) / (fast - slow)
    torch.testing.assert_close(x, exact, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["heat_1d", "fickian_uptake"])
def test_both_series_agree_where_they_meet(name):
    law = find(name)
    parameters = {k: tensor(v.value) for k, v in law.parameters.items()}
    meeting = 0.05 * parameters["thickness"] ** 2 / parameters["diffusivity"]
    grid = {"time": meeting * tensor(1 - 1e-9, 1 + 1e-9)}
    if name == "heat_1d":
        grid["position"] = parameters["thickness"] * tensor(0.3, 0.3)
    (values,) = law.simulate(grid, parameters).values()
    assert values[0, 1].item() == pytest.approx(values[0, 0].item(), rel=1e-8)


def test_fickian_uptake_starts_with_the_square_root_of_time():
    fourier = tensor(0.0, 1e-6, 1e-4)
    out = run("fickian_uptake", {"time": fourier * 1e-6 / 1e-12}, saturation=tensor(1.0))
    torch.testing.assert_close(
        out["mass_gain"][0], 4 * (fourier / math.pi).sqrt(), rtol=1e-9, atol=1e-12
    )


def test_lotka_volterra_keeps_its_invariant():
    """V = delta u - gamma ln u + beta v - alpha ln v is constant."""
    out = run(
        "lotka_volterra", {"time": torch.linspace(0, 30, 50).double()}, death_rate=tensor(0.5)
    )
    u, v = out["prey"], out["predator"]
    invariant = 0.03 * u - 0.5 * u.log() + 0.03 * v - 0.8 * v.log()
    torch.testing.assert_close(invariant, invariant[:, :1].expand_as(u), rtol=1e-5, atol=1e-5)


def test_robertson_conserves_mass():
    out = run("robertson", {"time": tensor(0.0, 1.0, 100.0)}, slow_rate=tensor(0.04))
    torch.testing.assert_close(sum(out.values()), torch.ones(1, 3).double(), rtol=0, atol=1e-10)


def test_oral_dose_with_equal_rates():
    """C = D/V k t exp(-k t), and smooth on both sides of it."""
    time, rate = tensor(0.5, 2.0, 9.0), 0.7
    gap = tensor(-1e-6, 0.0, 1e-6)
    c = run("oral_pk", {"time": time}, absorption_rate=rate + gap, elimination_rate=rate + 0 * gap)[
        "concentration"
    ]
    exact = 100 / 30 * rate * time * torch.exp(-rate * time)
    torch.testing.assert_close(c, exact.expand(3, -1), rtol=1e-5, atol=0)
    torch.testing.assert_close(c[1], exact, rtol=1e-12, atol=0)


def test_ramberg_osgood_satisfies_its_equation_in_both_directions():
    strain, n = torch.linspace(-0.1, 0.1, 41, dtype=torch.float64), tensor(1.6, 8.0, 90.0)
    stress = run("ramberg_osgood", {"strain": strain}, exponent=n)["stress"]
    back = stress.abs() / 70e3 + 0.002 * (stress.abs() / 200) ** n[:, None]
    torch.testing.assert_close(back, strain.abs().expand(3, -1), rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(stress, -stress.flip(1))


@pytest.mark.parametrize("name", ["elastic_plastic", "voce"])
def test_tension_curves_have_the_declared_slope_and_yield(name):
    """Elastic to 1 ppm below 0.6 of yield; at twice the yield strain, far below the line."""
    corner = 200 / 70e3
    out = run(name, {"strain": corner * tensor(0.3, 0.6, 2.0)}, yield_stress=tensor(200.0))
    stress = out["stress"][0]
    torch.testing.assert_close(stress[:2], tensor(60.0, 120.0), rtol=1e-6, atol=0)
    assert 200 < stress[2].item() < 220


def test_voce_softens_with_a_negative_linear_modulus():
    out = run("voce", {"strain": tensor(0.05, 0.3)}, linear_modulus=tensor(-300.0))["stress"][0]
    assert out[1] < out[0]


def test_michaelis_menten_limits():
    """Zero order when saturated, first order when dilute."""
    saturated = run("michaelis_menten", {"time": tensor(0, 100.0)}, initial_substrate=tensor(900.0))
    assert saturated["substrate"][0, 1].item() == pytest.approx(900 - 0.1 * 100, rel=1e-4)
    dilute = run("michaelis_menten", {"time": tensor(0, 10.0)}, initial_substrate=tensor(2e-3))
    assert dilute["substrate"][0, 1].item() == pytest.approx(2e-3 * math.exp(-1), rel=2e-3)


def test_randles_in_the_limits_of_frequency():
    out = run("randles", {"frequency": tensor(1e9)}, solution_resistance=tensor(10.0))
    assert out["resistance"][0, 0].item() == pytest.approx(10.0, rel=1e-6)
    assert out["reactance"][0, 0].item() == pytest.approx(0.0, abs=1e-4)


def test_advected_mass_is_conserved_up_to_decay():
    x = torch.linspace(-10, 20, 3001).double()
    grid = {"position": x, "time": torch.full_like(x, 4.0)}
    c = run("advection_diffusion", grid, decay_rate=tensor(0.1))["concentration"][0]
    assert torch.trapezoid(c, x).item() == pytest.approx(math.exp(-0.4), rel=1e-9)
    before = {"position": tensor(0.0, 1.0), "time": tensor(0.0, -1.0)}
    assert run("advection_diffusion", before, decay_rate=tensor(0.1))["concentration"].sum() == 0
