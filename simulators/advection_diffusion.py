"""Spreading of a pulse in a stream."""

from __future__ import annotations

import math

import torch

from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator


class AdvectionDiffusion(Simulator):
    r"""Pulse released at once, carried along, spread and decaying.

    .. math:: \partial_t c + v\,\partial_x c = D\,\partial_{xx} c - \lambda c, \quad
              c(x, 0) = M\,\delta(x)

    .. math:: c(x, t) = \frac{M}{\sqrt{4\pi D t}}
              \exp\!\Big[-\frac{(x - v t)^2}{4 D t} - \lambda t\Big], \quad t > 0

    and 0 at t <= 0.

    | symbol | name          | unit   |
    |--------|---------------|--------|
    | x      | position      | m      |
    | t      | time          | s      |
    | c      | concentration | kg/m^3 |
    | M      | mass_per_area | kg/m^2 |
    | v      | velocity      | m/s    |
    | D      | dispersion    | m^2/s  |
    | λ      | decay_rate    | 1/s    |

    Source: J. Crank, The Mathematics of Diffusion, 2nd ed., section 2.2, in the moving frame.
    """

    coordinates, outputs = {"position": "m", "time": "s"}, {"concentration": "kg/m^3"}
    mass_per_area = Parameter("kg/m^2", value=1.0, min=0.0, description="released at x = t = 0")
    velocity = Parameter("m/s", value=0.5, description="of the stream")
    dispersion = Parameter("m^2/s", value=0.1, min=1e-6, max=1e3, description="spreading")
    decay_rate = Parameter("1/s", value=0.01, min=0.0, description="first-order loss")
    golden = Golden(
        {"mass_per_area": 2.0, "velocity": 0.5, "dispersion": 0.1, "decay_rate": 0.05},
        {"position": [1.0, 3.0, 2.0], "time": [2.0, 5.0, 5.0]},
        {"concentration": [1.1415123582936404, 0.548377504352653, 0.548377504352653]},
        source="the equation in NumPy",
    )

    def evaluate(self, x, p):
        after = x.time > 0
        time = torch.where(after, x.time, torch.ones_like(x.time))
        spread = 4 * p.dispersion * time
        exponent = (x.position - p.velocity * time) ** 2 / spread + p.decay_rate * time
        pulse = p.mass_per_area * torch.exp(-exponent) / (math.pi * spread).sqrt()
        return {"concentration": torch.where(after, pulse, torch.zeros_like(pulse))}
