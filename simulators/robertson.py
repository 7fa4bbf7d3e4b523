"""Autocatalytic reaction, the classic stiff system."""

from __future__ import annotations

from pima_physics.parameters import Parameter
from pima_physics.simulator import ODE, Golden


class Robertson(ODE):
    r"""Three species whose rates differ by nine orders of magnitude.

    .. math:: \dot a = -k_1 a + k_3 b c, \quad \dot b = k_1 a - k_3 b c - k_2 b^2, \quad
              \dot c = k_2 b^2

    from a = 1, b = c = 0.

    | symbol  | name                     | unit          |
    |---------|--------------------------|---------------|
    | t       | time                     | s             |
    | a, b, c | reactant, intermediate, product | dimensionless |
    | k_1     | slow_rate                | 1/s           |
    | k_2     | fast_rate                | 1/s           |
    | k_3     | exchange_rate            | 1/s           |

    Concentrations are relative to the reactant's at the start.

    Source: H. H. Robertson (1966), in J. Walsh (ed.), Numerical Analysis: An Introduction;
    E. Hairer and G. Wanner, Solving Ordinary Differential Equations II, section IV.1.
    """

    time, state = "s", dict.fromkeys(("reactant", "intermediate", "product"), "dimensionless")
    method, rtol = "rodas3", 1e-5
    slow_rate = Parameter("1/s", value=0.04, min=1e-3, max=1.0, description="a to b")
    fast_rate = Parameter("1/s", value=3e7, min=1e5, max=1e9, description="b to c")
    exchange_rate = Parameter("1/s", value=1e4, min=1e2, max=1e6, description="b back to a")
    golden = Golden(
        {"slow_rate": 0.04, "fast_rate": 3e7, "exchange_rate": 1e4},
        {"time": [0.0, 0.4, 4.0, 40.0]},
        {"reactant": [1.0, 0.9851721138609973, 0.9055186785843676, 0.7158270687194042],
         "intermediate": [0.0, 3.3863953789751746e-05, 2.240475687561264e-05,
                          9.185534764557944e-06],
         "product": [0.0, 0.014794022185210934, 0.09445891665875512, 0.2841637457458294]},
        source="SciPy Radau at 1e-11; agrees with the five digits printed in the LSODE manual",
        rtol=1e-4,
    )  # fmt: skip

    def initial(self, p):
        return {"reactant": 1.0, "intermediate": 0.0, "product": 0.0}

    def rhs(self, t, y, p):
        slow = p.slow_rate * y.reactant
        fast = p.fast_rate * y.intermediate**2
        exchange = p.exchange_rate * y.intermediate * y.product
        return {
            "reactant": exchange - slow,
            "intermediate": slow - exchange - fast,
            "product": fast,
        }
