"""Newton's law of cooling: a plug-in for pima_physics, to be copied and changed."""

from __future__ import annotations

import torch

from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator


class Cooling(Simulator):
    r"""Body that cools to the temperature around it.

    .. math:: T(t) = T_a + (T_0 - T_a)\,e^{-k t}

    | symbol | name                | unit |
    |--------|---------------------|------|
    | t      | time                | s    |
    | T      | temperature         | K    |
    | T_0    | initial_temperature | K    |
    | T_a    | ambient_temperature | K    |
    | k      | cooling_rate        | 1/s  |

    Source: F. P. Incropera et al., Fundamentals of Heat and Mass Transfer, section 5.1.
    """

    coordinates, outputs = {"time": "s"}, {"temperature": "K"}
    initial_temperature = Parameter("K", value=350.0, min=0.0, description="at t = 0")
    ambient_temperature = Parameter("K", value=293.0, min=0.0, description="after a long time")
    cooling_rate = Parameter("1/s", value=1e-2, min=1e-5, max=10.0, description="per time")
    golden = Golden(
        {"initial_temperature": 400.0, "ambient_temperature": 300.0, "cooling_rate": 0.01},
        {"time": [0.0, 100.0]},
        {"temperature": [400.0, 336.7879441171442]},
        source="300 + 100/e",
    )

    def evaluate(self, x, p):
        above = p.initial_temperature - p.ambient_temperature
        return {"temperature": p.ambient_temperature + above * torch.exp(-p.cooling_rate * x.time)}
