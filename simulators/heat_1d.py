"""Heat conduction through a slab."""

from __future__ import annotations

import math

import torch

from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator


class Heat1D(Simulator):
    r"""Slab at one temperature whose faces are suddenly held at another.

    .. math:: \partial_t T = \alpha\,\partial_{xx} T, \quad T(x, 0) = T_0, \quad
              T(0, t) = T(L, t) = T_s

    With Fo = αt/L² and ξ = x/L the solution T_s + (T_0 - T_s) u is

    .. math:: u = \sum_{n\ \mathrm{odd}} \frac{4}{n\pi} \sin(n\pi\xi)\, e^{-n^2\pi^2 Fo}
              = \sum_k (-1)^k\,\mathrm{erf}\frac{\xi + k}{2\sqrt{Fo}}

    the second sum (images) for Fo < 0.05, where the first converges slowly.

    | symbol | name                | unit  |
    |--------|---------------------|-------|
    | x      | position            | m     |
    | t      | time                | s     |
    | T      | temperature         | K     |
    | α      | diffusivity         | m^2/s |
    | L      | thickness (fixed)   | m     |
    | T_0    | initial_temperature | K     |
    | T_s    | surface_temperature | K     |

    Source: H. S. Carslaw and J. C. Jaeger, Conduction of Heat in Solids, section 3.3.
    """

    coordinates, outputs = {"position": "m", "time": "s"}, {"temperature": "K"}
    diffusivity = Parameter("m^2/s", value=1e-5, min=1e-9, max=1e-3, description="of the slab")
    thickness = Parameter("m", value=0.02, vary=False, description="known thickness")
    initial_temperature = Parameter("K", value=400.0, min=0.0, description="before t = 0")
    surface_temperature = Parameter("K", value=300.0, min=0.0, description="of both faces")
    golden = Golden(
        {"diffusivity": 1e-5, "thickness": (20, "mm"), "initial_temperature": 400.0,
         "surface_temperature": 300.0},
        {"position": [0.01, 0.01, 0.004, 0.004], "time": [1.0, 8.0, 1.0, 20.0]},
        {"temperature": [394.93053626844704, 317.6867139747616, 362.85600913772817,
                         300.5382343847707]},
        source="4000 terms of the first sum (NumPy)",
        rtol=1e-9,
    )  # fmt: skip

    def evaluate(self, x, p):
        fourier = (p.diffusivity * x.time / p.thickness**2).clamp(min=1e-12)
        depth = x.position / p.thickness
        late = sum(
            4 / (n * math.pi) * torch.sin(n * math.pi * depth)
            * torch.exp(-((n * math.pi) ** 2) * fourier)
            for n in range(1, 10, 2)
        )  # fmt: skip
        early = sum((-1) ** k * torch.erf((depth + k) / (2 * fourier.sqrt())) for k in range(-4, 5))
        left = torch.where(fourier < 0.05, torch.as_tensor(early), torch.as_tensor(late))
        change = (p.initial_temperature - p.surface_temperature) * left
        return {"temperature": p.surface_temperature + change}
