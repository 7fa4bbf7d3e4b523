"""Progress of an enzyme reaction."""

from __future__ import annotations

import torch
from torch import Tensor

from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator


class MichaelisMenten(Simulator):
    r"""Substrate consumed by an enzyme.

    .. math:: \dot S = -\frac{V S}{K + S}, \quad S(0) = S_0 \quad\Longrightarrow\quad
              S(t) = K\,W\!\Big(\frac{S_0}{K} e^{(S_0 - V t)/K}\Big)

    with Lambert's W, whose logarithm ℓ solves e^ℓ + ℓ = ln(S_0/K) + (S_0 - Vt)/K: Newton's
    method in ℓ neither overflows nor loses small S. The last two iterations carry the graph.

    | symbol | name                | unit      |
    |--------|---------------------|-----------|
    | t      | time                | s         |
    | S      | substrate           | mol/m^3   |
    | S_0    | initial_substrate   | mol/m^3   |
    | V      | maximum_rate        | mol/m^3/s |
    | K      | michaelis_constant  | mol/m^3   |

    Source: S. Schnell and C. Mendoza, J. Theor. Biol. 187 (1997) 207.
    """

    coordinates, outputs = {"time": "s"}, {"substrate": "mol/m^3"}
    initial_substrate = Parameter("mol/m^3", value=2.0, min=1e-3, max=1e3,
                                  description="at t = 0")  # fmt: skip
    maximum_rate = Parameter("mol/m^3/s", value=0.1, min=1e-6, max=1e2,
                             description="rate of the saturated enzyme")  # fmt: skip
    michaelis_constant = Parameter("mol/m^3", value=1.0, min=1e-2, max=1e3,
                                   description="substrate at half the maximum rate")  # fmt: skip
    golden = Golden(
        {"initial_substrate": 3.0, "maximum_rate": 0.2, "michaelis_constant": 0.5},
        {"time": [0.0, 5.0, 15.0, 30.0]},
        {"substrate": [3.0, 2.1634532974057246, 0.7162023879491501, 0.007328064568331242]},
        source="SciPy lambertw",
    )

    def evaluate(self, x, p):
        ratio = p.initial_substrate / p.michaelis_constant
        right = ratio.log() + ratio - p.maximum_rate * x.time / p.michaelis_constant
        with torch.no_grad():
            # convex and increasing: from the right, every iteration comes closer
            log_w = torch.where(right > 1, right.clamp(min=1).log(), right)
            for _ in range(8):
                log_w = _newton(log_w, right)
        for _ in range(2):
            log_w = _newton(log_w, right)
        return {"substrate": p.michaelis_constant * log_w.exp()}


def _newton(log_w: Tensor, right: Tensor) -> Tensor:
    w = log_w.exp()
    return log_w - (w + log_w - right) / (w + 1)
