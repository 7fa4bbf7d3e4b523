"""Epidemic in a closed population."""

from __future__ import annotations

from pima_physics.parameters import Parameter
from pima_physics.simulator import ODE, Golden


class SIR(ODE):
    r"""Fractions of a population that are susceptible, infected and recovered.

    .. math:: \dot S = -\beta S I, \quad \dot I = \beta S I - \gamma I, \quad R = 1 - S - I

    | symbol | name              | unit          |
    |--------|-------------------|---------------|
    | t      | time              | day           |
    | S      | susceptible       | dimensionless |
    | I      | infected          | dimensionless |
    | R      | recovered         | dimensionless |
    | β      | transmission_rate | 1/day         |
    | γ      | recovery_rate     | 1/day         |
    | I(0)   | initial_infected  | dimensionless |

    At the start nobody has recovered: S(0) = 1 - I(0).

    Source: W. O. Kermack and A. G. McKendrick, Proc. R. Soc. A 115 (1927) 700.
    """

    time, state = "day", {"susceptible": "dimensionless", "infected": "dimensionless"}
    outputs = dict.fromkeys(("susceptible", "infected", "recovered"), "dimensionless")
    transmission_rate = Parameter("1/day", value=0.4, min=0.01, max=5.0,
                                  description="infections per infected")  # fmt: skip
    recovery_rate = Parameter("1/day", value=0.1, min=0.01, max=5.0,
                              description="one over the infectious time")  # fmt: skip
    initial_infected = Parameter(value=0.01, min=1e-5, max=0.5, description="at the start")
    golden = Golden(
        {"transmission_rate": 0.5, "recovery_rate": 0.1, "initial_infected": 0.01},
        {"time": [0.0, 5.510382894910932, 11.188679420180343, 18.31226641429032]},
        {"susceptible": [0.99, 0.9, 0.5, 0.1],
         "infected": [0.01, 0.08093796403913503, 0.3633806310587112, 0.44149304857189114],
         "recovered": [0.0, 0.01906203596086497, 0.1366193689412888, 0.45850695142810886]},
        source="I(S) = 1 - S + (γ/β) ln(S/S_0), t = ∫ dS/(β S I(S)) by quadrature (SciPy)",
        rtol=1e-5,
    )  # fmt: skip

    def initial(self, p):
        return {"susceptible": 1 - p.initial_infected, "infected": p.initial_infected}

    def rhs(self, t, y, p):
        infections = p.transmission_rate * y.susceptible * y.infected
        return {
            "susceptible": -infections,
            "infected": infections - p.recovery_rate * y.infected,
        }

    def observables(self, t, y, p):
        return {"recovered": 1 - y.susceptible - y.infected}
