"""Solvers against closed forms, finite differences and each other."""

from __future__ import annotations

import itertools
import math
import shutil

import pytest
import torch

from pima_physics.engines import METHODS, choose, engine, tolerances
from pima_physics.errors import InputError, SolveError

EXPLICIT = ("dopri5", "torchdiffeq")
NONLINEAR = ("dopri5", "torchdiffeq", "rodas3")
TIMES = torch.linspace(0, 3, 12, dtype=torch.float64)
compiled = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a compiler"
)


def oscillator(t, y, p):
    """Damped oscillator with p = (angular frequency, damping ratio)."""
    omega, zeta = p[:, :1], p[:, 1:]
    return torch.cat([y[:, 1:], -(omega**2) * y[:, :1] - 2 * zeta * omega * y[:, 1:]], 1)


def oscillator_exact(times, p):
    """Displacement after release from 1."""
    omega, zeta = p[:, :1], p[:, 1:]
    fast = omega * (1 - zeta**2).sqrt()
    wave = torch.cos(fast * times) + zeta * omega / fast * torch.sin(fast * times)
    return torch.exp(-zeta * omega * times) * wave


def van_der_pol(t, y, p):
    return torch.cat([y[:, 1:], p * (1 - y[:, :1] ** 2) * y[:, 1:] - y[:, :1]], 1)


def driven(t, y, p):
    """Linear decay towards a moving target: y' = -p (y - cos t)."""
    return -p * (y - torch.cos(t))


def problem(batch=4, seed=0, *, dtype=torch.float64, times=TIMES):
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(batch, 2, generator=generator, dtype=torch.float64)
    p = torch.stack([1 + 3 * draw[:, 0], 0.05 + 0.4 * draw[:, 1]], 1)
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float64).repeat(batch, 1)
    return start.to(dtype), times.to(dtype).expand(batch, -1), p.to(dtype)


@pytest.mark.parametrize("method", METHODS)
def test_closed_form(method):
    start, times, p = problem()
    states = engine(method)(oscillator, start, times, p)
    torch.testing.assert_close(states[..., 0], oscillator_exact(times, p), rtol=0, atol=2e-5)


@pytest.mark.parametrize("method", NONLINEAR)
def test_tighter_tolerance_means_smaller_error(method):
    start, times, p = problem()
    exact = oscillator_exact(times, p)
    errors = [
        (engine(method)(oscillator, start, times, p, rtol=r, atol=r / 10)[..., 0] - exact).abs()
        for r in (1e-3, 1e-5, 1e-7)
    ]
    sizes = [e.max().item() for e in errors]
    assert sizes[0] > 10 * sizes[1] > 100 * sizes[2]


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_those_of_finite_differences(method):
    start, times, p = problem(batch=2, times=TIMES[:4])
    solve = engine(method)
    rtol = 1e-7 if method == "rodas3" else 1e-9

    def states(a, b):
        return solve(oscillator, a, times, b, rtol=rtol, atol=rtol)

    inputs = (start.requires_grad_(), p.requires_grad_())
    # the steps are frozen in the gradient and move in the differences: hence not to rounding
    assert torch.autograd.gradcheck(states, inputs, eps=1e-3, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", NONLINEAR)
def test_a_right_hand_side_that_depends_on_time(method):
    p = torch.tensor([[3.0], [0.5]], dtype=torch.float64)
    times = TIMES.expand(2, -1)
    states = engine(method)(driven, torch.zeros(2, 1).double(), times, p, rtol=1e-8)
    steady = (p * torch.cos(times) + torch.sin(times)) * p / (1 + p**2)
    exact = steady - p**2 / (1 + p**2) * torch.exp(-p * times)
    torch.testing.assert_close(states[..., 0], exact, rtol=0, atol=1e-6)


def test_rodas3_has_order_three_with_time_dependence():
    """Halving a fixed step divides the error by eight: coefficients of df/dt included."""
    from pima_physics.engines.rodas3_engine import attempt

    p = torch.tensor([[2.0]], dtype=torch.float64)
    errors = []
    for count in (20, 40, 80):
        y, h = torch.zeros(1, 1).double(), torch.full((1,), 2 / count).double()
        step = attempt(y)
        with torch.no_grad():
            for i in range(count):
                t = i * h
                y = step(driven, t, y, driven(t[:, None], y, p), h, p)[0]
        exact = (4 * math.cos(2) + 2 * math.sin(2) - 4 * math.exp(-4)) / 5
        errors.append(abs(y.item() - exact))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert orders[-1] == pytest.approx(3, abs=0.2)


@pytest.mark.parametrize("method", ["dopri5", "rodas3"])
def test_one_fast_sample_changes_no_other(method):
    start, times, p = problem()
    alone = engine(method)(oscillator, start, times, p)
    fast = p.clone()
    fast[3, 0] = 300.0
    together = engine(method)(oscillator, start, times, fast)
    # the last bits depend on how the processor groups the rows
    torch.testing.assert_close(together[:3], alone[:3], rtol=1e-11, atol=1e-12)
    exact = oscillator_exact(times, fast)[3]
    torch.testing.assert_close(together[3, :, 0], exact, rtol=0, atol=5e-3)


def test_common_steps_hold_the_tolerance_of_the_fast_sample():
    """The norm is the largest per sample, not the mean over the batch."""
    start, times, p = problem(batch=64)
    p[7, 0] = 60.0
    states = engine("torchdiffeq")(oscillator, start, times, p)
    torch.testing.assert_close(states[..., 0], oscillator_exact(times, p), rtol=0, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_own_times_per_sample(method):
    start, _, p = problem()
    times = torch.sort(torch.rand(4, 9, generator=torch.Generator().manual_seed(1)), 1)[0].double()
    times[:, 0] = 0
    times[1] *= 5
    states = engine(method)(oscillator, start, times, p)
    torch.testing.assert_close(states[..., 0], oscillator_exact(times, p), rtol=0, atol=2e-5)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_start(method):
    start, times, p = problem()
    states = engine(method)(oscillator, start, times[:, :1].expand(-1, 2), p)
    torch.testing.assert_close(states, start[:, None].expand(-1, 2, -1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_results_do_not_depend_on_the_unit_of_a_state(method, factor):
    """y in other units: the same steps, so the same numbers to rounding."""
    start, times, p = problem()
    plain = engine(method)(oscillator, start, times, p)
    scaled = engine(method)(oscillator, factor * start, times, p)
    torch.testing.assert_close(scaled / factor, plain, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_single_precision(method):
    start, times, p = problem(dtype=torch.float32)
    states = engine(method)(oscillator, start, times, p)
    assert states.dtype == torch.float32
    exact = oscillator_exact(times.double(), p.double()).float()
    torch.testing.assert_close(states[..., 0], exact, rtol=0, atol=3e-4)


def test_tolerances_stay_above_rounding():
    assert tolerances(torch.float64, 1e-6, 1e-8) == (1e-6, 1e-8)
    rtol, atol = tolerances(torch.float32, 1e-9, 1e-12)
    assert rtol > 1e-6 and atol > 1e-7


def test_states_that_begin_at_zero_one_after_another():
    """a -> b -> c -> d: the last state has neither value nor slope at the start."""

    def chain(t, y, p):
        flow = p * y[:, :3]
        zero = torch.zeros_like(flow[:, :1])
        return torch.cat([zero, flow], 1) - torch.cat([flow, zero], 1)

    start = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
    times = TIMES[None]
    for method in ("dopri5", "rodas3"):
        states = engine(method)(chain, start, times, torch.ones(1, 1).double())
        last = 1 - torch.exp(-times) * (1 + times + times**2 / 2)
        torch.testing.assert_close(states[..., 3], last, rtol=0, atol=3e-6)


def test_stiff_oscillator_keeps_its_limit_cycle():
    """Van der Pol at mu = 100: amplitude 2.0 and period 1.614 mu + 7.014 mu^(-1/3)."""
    times = torch.linspace(0, 400, 4001, dtype=torch.float64)[None]
    start, p = torch.tensor([[2.0, 0.0]]).double(), torch.tensor([[100.0]]).double()
    x = engine("rodas3")(van_der_pol, start, times, p, rtol=1e-5)[0, :, 0]
    rising = times[0, 1:][(x[:-1] < 0) & (x[1:] >= 0)]
    period = (rising[1] - rising[0]).item()
    assert x.abs().max().item() == pytest.approx(2.0, abs=0.01)
    assert period == pytest.approx(162.84, abs=0.3)  # Zonneveld's 162.837


def test_budget_error_names_sample_time_values_and_remedy():
    start, times, p = problem()
    p[2, 0] = 1e4
    with pytest.raises(SolveError) as error:
        engine("dopri5")(
            oscillator, start, times, p, max_steps=300, describe=lambda i: f"omega = {p[i, 0]:g}"
        )
    text = str(error.value)
    assert "max_steps = 300" in text and "sample:   2 of 4" in text
    assert "omega = 10000" in text and 'method = "rodas3"' in text and "of 3, step" in text


@pytest.mark.parametrize("method", EXPLICIT)
def test_unbounded_solution_is_an_error(method):
    def blow_up(t, y, p):
        return p * y**2

    p = torch.tensor([[0.1], [1.0]], dtype=torch.float64)  # infinite at t = 1 for the second
    with pytest.raises(SolveError, match="sample"):
        engine(method)(blow_up, torch.ones(2, 1).double(), TIMES.expand(2, -1), p, max_steps=2000)


def test_matrix_exponential_refuses_what_is_not_linear():
    start, times, _ = problem()
    with pytest.raises(InputError, match="linear in the state"):
        engine("matrix_exp")(van_der_pol, start, times, torch.ones(4, 1).double())
    with pytest.raises(InputError, match="linear in the state"):
        engine("matrix_exp")(driven, start[:, :1], times, torch.ones(4, 1).double())


def test_matrix_exponential_with_uneven_times_and_inflow():
    def filling(t, y, p):
        return 1 - p * y

    times = torch.tensor([[0, 0.1, 0.7, 5.0]]).double()
    p = torch.tensor([[0.5]]).double()
    states = engine("matrix_exp")(filling, torch.zeros(1, 1).double(), times, p)
    torch.testing.assert_close(states[..., 0], 2 * (1 - torch.exp(-0.5 * times)))


def test_choice_of_engine():
    assert choose(2) == "dopri5" and choose(40) == "torchdiffeq"
    assert choose(2, linear=True) == "matrix_exp"
    with pytest.raises(InputError, match="did you mean 'rodas3'"):
        engine("rodas")


def test_a_rate_that_depends_on_nothing():
    def constant(t, y, p):
        return torch.ones_like(y)

    for method in METHODS:
        p = torch.ones(1, 1, dtype=torch.float64)
        states = engine(method)(constant, torch.zeros_like(p), TIMES[None], p)
        torch.testing.assert_close(states[0, :, 0], TIMES, rtol=1e-7, atol=1e-9)


@compiled
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own
def test_compiled_steps_give_the_same_numbers():
    from pima_physics.engines.dopri5_engine import Compiled

    start, times, p = problem()
    compiled = Compiled()
    results = []
    for kernels in (None, compiled):
        q = p.clone().requires_grad_()
        states = engine("dopri5")(oscillator, start, times, q, compiled=kernels)
        states.square().sum().backward()
        results.append((states.detach(), q.grad))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-8, atol=1e-9)


@compiled
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own
def test_one_law_does_not_use_up_the_compilations_of_another():
    """torch goes back to plain calls after eight compilations of one code object."""
    from torch._dynamo import config

    from pima_physics.engines.dopri5_engine import Compiled

    start, times, p = problem(batch=2, times=TIMES[:3])
    with config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True):
        for law in (oscillator, van_der_pol):
            q = p.clone().requires_grad_()
            engine("dopri5")(
                law, start, times, q[:, :1] if law is van_der_pol else q, compiled=Compiled()
            ).sum().backward()
