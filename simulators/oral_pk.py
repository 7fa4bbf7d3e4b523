"""Drug in the blood after an oral dose."""

from __future__ import annotations

import torch

from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator


class OralPK(Simulator):
    r"""One compartment with first-order absorption and elimination.

    .. math:: C(t) = \frac{D}{V}\,\frac{k_a}{k_a - k_e}\big(e^{-k_e t} - e^{-k_a t}\big)
              = \frac{D}{V}\,k_a t\; e^{-\min(k_a, k_e)\,t}\; \frac{1 - e^{-x}}{x}, \quad
              x = |k_a - k_e|\,t

    The second form has no singularity at k_a = k_e and no overflow.

    | symbol | name             | unit   |
    |--------|------------------|--------|
    | t      | time             | hour   |
    | C      | concentration    | mg/L   |
    | D      | dose (fixed)     | mg     |
    | V      | volume           | L      |
    | k_a    | absorption_rate  | 1/hour |
    | k_e    | elimination_rate | 1/hour |

    V is the apparent volume (volume over bioavailability). Exchanging k_a and k_e with V
    scaled gives the same curve (flip-flop): narrow the bounds of one of them.

    Source: M. Gibaldi and D. Perrier, Pharmacokinetics, 2nd ed., section 1.4.
    """

    coordinates, outputs = {"time": "hour"}, {"concentration": "mg/L"}
    dose = Parameter("mg", value=100.0, vary=False, description="known dose")
    volume = Parameter("L", value=30.0, min=0.1, max=1e4, description="apparent volume")
    absorption_rate = Parameter("1/hour", value=1.0, min=1e-2, max=1e2, description="gut to blood")
    elimination_rate = Parameter("1/hour", value=0.1, min=1e-3, max=10.0, description="from blood")
    golden = Golden(
        {"dose": 100.0, "volume": 20.0, "absorption_rate": 1.2, "elimination_rate": 0.15},
        {"time": [0.0, 1.0, 4.0, 24.0]},
        {"concentration": [0.0, 3.197221511502032, 3.0890393659714652, 0.1561355568398965]},
        source="the first form in the standard library's math",
    )

    def evaluate(self, x, p):
        slower = torch.minimum(p.absorption_rate, p.elimination_rate)
        gap = (p.absorption_rate - p.elimination_rate).abs() * x.time
        near = gap < 1e-3  # there three terms of the series are exact to 1e-14
        safe = torch.where(near, torch.ones_like(gap), gap)
        series = 1 - gap / 2 * (1 - gap / 3 * (1 - gap / 4))
        share = torch.where(near, series, -torch.expm1(-safe) / safe)
        absorbed = p.absorption_rate * x.time * torch.exp(-slower * x.time) * share
        return {"concentration": p.dose / p.volume * absorbed}
