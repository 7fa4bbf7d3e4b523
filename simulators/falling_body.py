"""Fall with quadratic air drag."""

from __future__ import annotations

from pima_physics.parameters import Constant, Parameter
from pima_physics.simulator import ODE, Golden


class FallingBody(ODE):
    r"""Body dropped at rest, slowed by quadratic drag.

    .. math:: m \dot v = m g - c v^2, \quad \dot s = v, \qquad v(0) = s(0) = 0

    | symbol | name             | unit  |
    |--------|------------------|-------|
    | t      | time             | s     |
    | v      | speed            | m/s   |
    | s      | distance         | m     |
    | m      | mass (fixed)     | kg    |
    | c      | drag_coefficient | kg/m  |
    | g      | gravity          | m/s^2 |

    Only the ratio c/m acts on the motion, so the mass is fixed: give the known one.

    Source: J. R. Taylor, Classical Mechanics, section 2.4.
    """

    time, state = "s", {"speed": "m/s", "distance": "m"}
    mass = Parameter("kg", value=0.145, vary=False, description="known mass")
    drag_coefficient = Parameter("kg/m", value=1e-3, min=0.0, description="drag force per v^2")
    gravity = Constant(9.81, "m/s^2", "standard gravity, rounded")
    golden = Golden(
        {"drag_coefficient": 1.2e-3},
        {"time": [0.0, 1.0, 3.0, 8.0]},
        {"speed": [0.0, 9.552868111912424, 23.87899582858488, 33.715563164827365],
         "distance": [0.0, 4.840032651576749, 39.62838826215741, 192.93787991554018]},
        source="v_t tanh(g t / v_t) and (v_t^2 / g) ln cosh(g t / v_t), v_t^2 = m g / c",
        rtol=1e-5,
    )  # fmt: skip

    def initial(self, p):
        return {"speed": 0.0, "distance": 0.0}

    def rhs(self, t, y, p):
        drag = p.drag_coefficient / p.mass * y.speed**2
        return {"speed": p.gravity - drag, "distance": y.speed}
