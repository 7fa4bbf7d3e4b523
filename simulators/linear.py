"""Straight line."""

from __future__ import annotations

from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator


class Linear(Simulator):
    r"""Straight line.

    .. math:: y = a + b\,x

    | symbol | name      | unit          |
    |--------|-----------|---------------|
    | x      | x         | dimensionless |
    | y      | y         | dimensionless |
    | a      | intercept | dimensionless |
    | b      | slope     | dimensionless |

    For quantities with units, derive a class that declares them.

    Source: definition.
    """

    coordinates, outputs = {"x": "dimensionless"}, {"y": "dimensionless"}
    intercept = Parameter(value=0.0, description="value at x = 0")
    slope = Parameter(value=1.0, description="change of y per unit of x")
    golden = Golden(
        {"intercept": 1.0, "slope": -2.0}, {"x": [0.0, 0.5, 3.0]}, {"y": [1.0, 0.0, -5.0]},
        source="by hand",
    )  # fmt: skip

    def evaluate(self, x, p):
        return {"y": p.intercept + p.slope * x.x}
