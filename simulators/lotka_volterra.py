"""Predator and prey."""

from __future__ import annotations

from pima_physics.parameters import Parameter
from pima_physics.simulator import ODE, Golden


class LotkaVolterra(ODE):
    r"""Populations of a prey and its predator.

    .. math:: \dot u = \alpha u - \beta u v, \qquad \dot v = \delta u v - \gamma v

    | symbol | name             | unit          |
    |--------|------------------|---------------|
    | t      | time             | year          |
    | u      | prey             | dimensionless |
    | v      | predator         | dimensionless |
    | α      | growth_rate      | 1/year        |
    | β      | predation_rate   | 1/year        |
    | δ      | conversion_rate  | 1/year        |
    | γ      | death_rate       | 1/year        |
    | u(0)   | initial_prey     | dimensionless |
    | v(0)   | initial_predator | dimensionless |

    Populations are counts, or multiples of any count (thousands of pelts, say); β and δ are
    per unit of the same multiple.

    Source: J. D. Murray, Mathematical Biology I, section 3.1.
    """

    time, state = "year", {"prey": "dimensionless", "predator": "dimensionless"}
    growth_rate = Parameter("1/year", value=0.8, min=0.01, max=10.0, description="of the prey")
    predation_rate = Parameter("1/year", value=0.03, min=1e-4, max=10.0,
                               description="loss of prey per predator")  # fmt: skip
    conversion_rate = Parameter("1/year", value=0.03, min=1e-4, max=10.0,
                                description="gain of predators per prey")  # fmt: skip
    death_rate = Parameter("1/year", value=0.8, min=0.01, max=10.0, description="of predators")
    initial_prey = Parameter(value=30.0, min=0.1, max=1e4, description="at the start")
    initial_predator = Parameter(value=10.0, min=0.1, max=1e4, description="at the start")
    golden = Golden(
        {"growth_rate": 1.1, "predation_rate": 0.4, "conversion_rate": 0.1, "death_rate": 0.4,
         "initial_prey": 10.0, "initial_predator": 5.0},
        {"time": [0.0, 2.0, 10.0, 20.0]},
        {"prey": [10.0, 0.9596037657480828, 13.633639243920193, 10.214110659315423],
         "predator": [5.0, 4.80939721446042, 2.551950971187607, 1.3338083105639613]},
        source="SciPy DOP853 at a tolerance of 1e-13",
        rtol=1e-4,
    )  # fmt: skip

    def initial(self, p):
        return {"prey": p.initial_prey, "predator": p.initial_predator}

    def rhs(self, t, y, p):
        return {
            "prey": (p.growth_rate - p.predation_rate * y.predator) * y.prey,
            "predator": (p.conversion_rate * y.prey - p.death_rate) * y.predator,
        }
