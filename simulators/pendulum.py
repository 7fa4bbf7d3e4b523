"""Pendulum at any amplitude."""

from __future__ import annotations

import torch

from pima_physics.parameters import Constant, Parameter
from pima_physics.simulator import ODE, Golden


class Pendulum(ODE):
    r"""Pendulum released at rest, with viscous damping.

    .. math:: \ddot\theta + \gamma\dot\theta + \frac{g}{L}\sin\theta = 0, \quad
              \theta(0) = \theta_0,\ \dot\theta(0) = 0

    | symbol | name             | unit     |
    |--------|------------------|----------|
    | t      | time             | s        |
    | θ      | angle            | radian   |
    | dθ/dt  | angular_velocity | radian/s |
    | L      | length           | m        |
    | θ_0    | release_angle    | radian   |
    | γ      | damping_rate     | 1/s      |
    | g      | gravity          | m/s^2    |

    Source: L. D. Landau and E. M. Lifshitz, Mechanics, section 11.
    """

    time, state = "s", {"angle": "radian", "angular_velocity": "radian/s"}
    length = Parameter("m", value=1.0, min=0.01, max=100.0, description="pivot to bob")
    release_angle = Parameter("radian", value=0.5, min=-3.1, max=3.1, shown_in="degree",
                              description="angle at release")  # fmt: skip
    damping_rate = Parameter("1/s", value=0.05, min=0.0, description="decay of the speed")
    gravity = Constant(9.80665, "m/s^2", "standard gravity")
    golden = Golden(
        {"length": 2.0, "release_angle": 2.0, "damping_rate": 0.0},
        {"time": [0.0, 0.5, 1.3, 3.0]},
        {"angle": [2.0, 1.4248546669801916, -1.207062533199632, 0.6256676521272861],
         "angular_velocity": [0.0, -2.3467275195623785, -2.7513416960668695, 3.468429788018455]},
        source="θ = 2 asin(k sn(K(k^2) - t √(g/L), k^2)), k = sin(θ_0/2); SciPy ellipj",
        rtol=2e-5,
    )  # fmt: skip

    def initial(self, p):
        return {"angle": p.release_angle, "angular_velocity": 0.0}

    def rhs(self, t, y, p):
        pull = p.gravity / p.length * torch.sin(y.angle)
        return {
            "angle": y.angular_velocity,
            "angular_velocity": -pull - p.damping_rate * y.angular_velocity,
        }
