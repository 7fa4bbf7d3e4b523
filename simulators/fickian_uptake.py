"""Moisture taken up by a plate."""

from __future__ import annotations

import math

import torch

from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator


class FickianUptake(Simulator):
    r"""Mass gained by a plate that takes up a diffusing substance through both faces.

    .. math:: \frac{M(t)}{M_\infty}
              = 1 - \sum_{n=0}^\infty \frac{8}{(2n+1)^2\pi^2} e^{-(2n+1)^2\pi^2 Fo}
              = 4\sqrt{Fo}\,\Big[\frac{1}{\sqrt\pi}
                + 2\sum_{n=1}^\infty (-1)^n\, \mathrm{ierfc}\frac{n}{2\sqrt{Fo}}\Big],
              \quad Fo = \frac{D t}{h^2}

    the second sum for Fo < 0.05, where the first converges slowly.

    | symbol | name              | unit          |
    |--------|-------------------|---------------|
    | t      | time              | s             |
    | M      | mass_gain         | dimensionless |
    | M_∞    | saturation        | dimensionless |
    | D      | diffusivity       | m^2/s         |
    | h      | thickness (fixed) | m             |

    The mass gain is relative to the dry mass.

    Source: J. Crank, The Mathematics of Diffusion, 2nd ed., equations 4.18 and 4.20.
    """

    coordinates, outputs = {"time": "s"}, {"mass_gain": "dimensionless"}
    saturation = Parameter(value=0.02, min=1e-4, max=1.0, shown_in="percent",
                           description="gain after a long time")  # fmt: skip
    diffusivity = Parameter("m^2/s", value=1e-12, min=1e-16, max=1e-6, description="in the plate")
    thickness = Parameter("m", value=1e-3, vary=False, shown_in="mm", description="of the plate")
    golden = Golden(
        {"saturation": 0.5, "diffusivity": 1e-12, "thickness": (1, "mm")},
        {"time": [1e4, 1e5, 3e5]},
        {"mass_gain": [0.11283791670949206, 0.34894095311336337, 0.4790170847289815]},
        source="20000 terms of the first sum (NumPy)",
        rtol=1e-8,
    )  # fmt: skip

    def evaluate(self, x, p):
        fourier = p.diffusivity * x.time / p.thickness**2
        wet = fourier > 0
        root = torch.where(wet, fourier, torch.ones_like(fourier)).sqrt()
        images = sum((-1) ** n * _ierfc(n / (2 * root)) for n in range(1, 4))
        early = 4 * root * (1 / math.sqrt(math.pi) + 2 * images)
        orders = [(2 * n + 1) ** 2 * math.pi**2 for n in range(5)]
        late = 1 - sum(8 / order * torch.exp(-order * fourier) for order in orders)
        gain = torch.where(fourier < 0.05, early, torch.as_tensor(late))
        return {"mass_gain": p.saturation * torch.where(wet, gain, torch.zeros_like(gain))}


def _ierfc(x: torch.Tensor) -> torch.Tensor:
    """Integral of the complementary error function."""
    return torch.exp(-x * x) / math.sqrt(math.pi) - x * torch.erfc(x)
