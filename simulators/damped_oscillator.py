"""Free vibration with viscous damping, in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator


class DampedOscillator(Simulator):
    r"""Oscillator released at rest from a displacement.

    .. math:: \ddot x + 2\zeta\omega\dot x + \omega^2 x = 0, \quad x(0) = A,\ \dot x(0) = 0

    with the solution, for every damping,

    .. math:: x(t) = A\,e^{-\zeta\tau}\,\big[C(q) + \zeta\tau\,S(q)\big], \quad
              \tau = \omega t,\ q = (1 - \zeta^2)\tau^2

    where C(q) = cos √q and S(q) = sin(√q)/√q below critical damping, and the corresponding
    cosh √-q and sinh(√-q)/√-q above it; both are entire functions of q, so that nothing is
    singular at critical damping.

    | symbol | name          | unit          |
    |--------|---------------|---------------|
    | t      | time          | s             |
    | x      | displacement  | m             |
    | A      | amplitude     | m             |
    | ω/2π   | frequency     | Hz            |
    | ζ      | damping_ratio | dimensionless |

    Source: S. S. Rao, Mechanical Vibrations, 6th ed., section 2.6.
    """

    coordinates, outputs = {"time": "s"}, {"displacement": "m"}
    amplitude = Parameter("m", value=1.0, description="displacement at release")
    frequency = Parameter("Hz", value=1.0, min=1e-2, max=1e2, description="undamped frequency")
    damping_ratio = Parameter(value=0.1, min=1e-3, max=10.0, description="share of critical")
    golden = Golden(
        {"amplitude": 2.0, "frequency": 0.5, "damping_ratio": 0.6},
        {"time": [0.0, 1.0, 2.5]},
        {"displacement": [2.0, -0.11180522055244993, 0.017966582042258854]},
        source="A exp(-ζωt) (cos ω_d t + ζω/ω_d sin ω_d t), ω = π, ω_d = 0.8 π",
    )

    def evaluate(self, x, p):
        tau = 2 * math.pi * p.frequency * x.time
        zeta = p.damping_ratio
        cosine, sine = _decaying(tau, zeta)
        return {"displacement": p.amplitude * (cosine + zeta * tau * sine)}


def _decaying(tau: Tensor, zeta: Tensor) -> tuple[Tensor, Tensor]:
    """Return exp(-ζτ) C(q) and exp(-ζτ) S(q), safe for values and gradients at every q.

    Above critical damping the exponential is joined to cosh and sinh before they overflow,
    and √-q - ζτ is written without cancellation as -τ²/(√-q + ζτ).
    """
    decay, q = zeta * tau, (1 - zeta**2) * tau**2
    near = q.abs() < 1e-2  # there the first four terms of the series are exact to 1e-12
    safe = torch.where(near, torch.ones_like(q), q)
    root = safe.abs().sqrt()
    slow, fast = torch.exp(-(tau**2) / (root + decay)), torch.exp(-root - decay)
    envelope = torch.exp(-decay)
    over = safe < 0
    cosine = torch.where(over, 0.5 * (slow + fast), envelope * torch.cos(root))
    sine = torch.where(over, 0.5 * (slow - fast), envelope * torch.sin(root)) / root
    small = torch.where(near, q, torch.zeros_like(q))
    series_c = 1 - small / 2 * (1 - small / 12 * (1 - small / 30))
    series_s = 1 - small / 6 * (1 - small / 20 * (1 - small / 42))
    return (
        torch.where(near, envelope * series_c, cosine),
        torch.where(near, envelope * series_s, sine),
    )
