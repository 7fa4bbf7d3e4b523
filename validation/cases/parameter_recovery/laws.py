"""Laws with one exponent wrong: what a user who is mistaken would write down."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pima_physics.parameters import Parameter
from pima_physics.simulator import Simulator


class QuadraticDecay(Simulator):
    r"""Oscillation whose envelope falls with the square of time.

    .. math:: x(t) = A\,e^{-(\zeta\omega t)^2} \cos(\sqrt{1 - \zeta^2}\,\omega t)

    The exponent of viscous damping is one.
    """

    coordinates, outputs = {"time": "s"}, {"displacement": "m"}
    amplitude = Parameter("m", value=1.0)
    frequency = Parameter("Hz", value=1.0, min=1e-2, max=1e2)
    damping_ratio = Parameter(value=0.1, min=1e-3, max=1.0)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        tau = 2 * math.pi * p.frequency * x.time
        fast = (1 - p.damping_ratio**2).clamp(min=0.0).sqrt() * tau
        envelope = torch.exp(-((p.damping_ratio * tau) ** 2))
        return {"displacement": p.amplitude * envelope * torch.cos(fast)}


class RootHardening(Simulator):
    r"""Tension curve that hardens with the root of the plastic strain.

    .. math:: \sigma = E (\varepsilon - \varepsilon_p) + H \sqrt{0.01\,\varepsilon_p}, \quad
              \varepsilon_p = \varepsilon_r \ln(1 + e^{(\varepsilon - \sigma_y / E)
              / \varepsilon_r})

    The exponent of linear hardening is one. 0.01 is the plastic strain at which both agree.
    """

    coordinates, outputs = {"strain": "dimensionless"}, {"stress": "MPa"}
    youngs_modulus = Parameter("MPa", value=70e3, min=1e3, max=1e6, shown_in="GPa")
    yield_stress = Parameter("MPa", value=200.0, min=1.0, max=5e3)
    hardening_modulus = Parameter("MPa", value=1000.0, min=1.0, max=1e5)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        corner = p.yield_stress / p.youngs_modulus
        width = corner / 50
        plastic = width * softplus((x.strain - corner) / width)
        hardening = p.hardening_modulus * (0.01 * plastic + 1e-12).sqrt()
        return {"stress": p.youngs_modulus * (x.strain - plastic) + hardening}
