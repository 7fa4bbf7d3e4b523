"""Polarised light through an analyser."""

from __future__ import annotations

import torch

from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator


class Malus(Simulator):
    r"""Light through two polarisers, with a background.

    .. math:: I(\theta) = I_0 \cos^2(\theta - \theta_0) + I_b

    | symbol   | name       | unit          |
    |----------|------------|---------------|
    | θ        | angle      | radian        |
    | I        | intensity  | dimensionless |
    | I_0      | amplitude  | dimensionless |
    | θ_0      | axis       | radian        |
    | I_b      | background | dimensionless |

    The intensity is relative to any reference; the axis is only known up to half a turn, so
    its bounds span one half turn.

    Source: E. Hecht, Optics, 5th ed., section 8.2 (Malus's law).
    """

    coordinates, outputs = {"angle": "radian"}, {"intensity": "dimensionless"}
    amplitude = Parameter(value=1.0, min=0.0, description="transmitted at parallel axes")
    axis = Parameter("radian", value=0.0, min=-1.6, max=1.6, shown_in="degree",
                     description="axis of the first polariser")  # fmt: skip
    background = Parameter(value=0.05, min=0.0, description="stray light and dark signal")
    golden = Golden(
        {"amplitude": 2.0, "axis": (30, "degree"), "background": 0.25},
        {"angle": ([30, 75, 120, 90], "degree")},
        {"intensity": [2.25, 1.25, 0.25, 0.75]},
        source="cos^2 of 0, 45, 90 and 60 degrees",
    )

    def evaluate(self, x, p):
        transmitted = torch.cos(x.angle - p.axis) ** 2
        return {"intensity": p.amplitude * transmitted + p.background}
