"""Periodic signal."""

from __future__ import annotations

import math

import torch

from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator


class FourierSeries(Simulator):
    r"""Periodic signal with three harmonics.

    .. math:: y(t) = a_0 + \sum_{k=1}^{3}
              \Big[a_k \cos\frac{2\pi k t}{T} + b_k \sin\frac{2\pi k t}{T}\Big]

    | symbol | name     | unit          |
    |--------|----------|---------------|
    | t      | time     | s             |
    | y      | signal   | dimensionless |
    | T      | period   | s             |
    | a_0    | mean     | dimensionless |
    | a_k    | cosine_k | dimensionless |
    | b_k    | sine_k   | dimensionless |

    The period has many local optima: give it bounds that exclude its multiples.

    Source: G. B. Arfken et al., Mathematical Methods for Physicists, 7th ed., chapter 19.
    """

    coordinates, outputs = {"time": "s"}, {"signal": "dimensionless"}
    period = Parameter("s", value=1.0, min=0.5, max=2.0, description="of the first harmonic")
    mean = Parameter(value=0.0, description="mean over a period")
    cosine_1 = Parameter(value=0.5, description="first harmonic, even part")
    sine_1 = Parameter(value=0.5, description="first harmonic, odd part")
    cosine_2 = Parameter(value=0.1, description="second harmonic, even part")
    sine_2 = Parameter(value=0.1, description="second harmonic, odd part")
    cosine_3 = Parameter(value=0.05, description="third harmonic, even part")
    sine_3 = Parameter(value=0.05, description="third harmonic, odd part")
    golden = Golden(
        {"period": 2.0, "mean": 1.0, "cosine_1": 0.5, "sine_1": 0.25, "cosine_2": -0.5,
         "sine_2": 3.0, "cosine_3": 0.125, "sine_3": 0.75},
        {"time": [0.0, 0.5, 1.0, 1.5]},
        {"signal": [1.125, 1.0, -0.125, 2.0]},
        source="quarter periods by hand, where cosines and sines are 0, 1 or -1",
    )  # fmt: skip

    def evaluate(self, x, p):
        phase = 2 * math.pi * x.time / p.period
        cosines, sines = (p.cosine_1, p.cosine_2, p.cosine_3), (p.sine_1, p.sine_2, p.sine_3)
        signal = p.mean
        for k, (a, b) in enumerate(zip(cosines, sines, strict=True), 1):
            signal = signal + a * torch.cos(k * phase) + b * torch.sin(k * phase)
        return {"signal": signal}
