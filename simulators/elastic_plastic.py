"""Bilinear elastic-plastic tension curve."""

from __future__ import annotations

from torch.nn.functional import softplus

from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator


class ElasticPlastic(Simulator):
    r"""Tension with linear hardening, the corner rounded.

    .. math:: \sigma(\varepsilon) = E\,\varepsilon
              - (E - E_t)\, \varepsilon_r \ln\!\big(1 + e^{(\varepsilon - \varepsilon_y)
              / \varepsilon_r}\big), \quad
              E_t = \frac{E H}{E + H},\ \varepsilon_y = \frac{\sigma_y}{E},\
              \varepsilon_r = \frac{\varepsilon_y}{50}

    The softplus replaces max(ε - ε_y, 0): away from yield this is the bilinear curve with
    slopes E and E_t to within e^-50; at yield the stress is 1.4 % below the sharp corner.
    Without the rounding the yield stress would have no second derivative there, and an
    optimiser no warning of the corner.

    | symbol | name              | unit          |
    |--------|-------------------|---------------|
    | ε      | strain            | dimensionless |
    | σ      | stress            | MPa           |
    | E      | youngs_modulus    | MPa           |
    | σ_y    | yield_stress      | MPa           |
    | H      | hardening_modulus | MPa           |

    H is the slope against the plastic strain, E_t the one against the total strain. Strains
    are not negative (tension).

    Source: J. Lemaitre and J.-L. Chaboche, Mechanics of Solid Materials, section 5.1;
    E. A. de Souza Neto et al., Computational Methods for Plasticity, section 6.6.
    """

    coordinates, outputs = {"strain": "dimensionless"}, {"stress": "MPa"}
    youngs_modulus = Parameter("MPa", value=70e3, min=1e3, max=1e6, shown_in="GPa",
                               description="elastic slope")  # fmt: skip
    yield_stress = Parameter("MPa", value=200.0, min=1.0, max=5e3,
                             description="stress at which plastic strain begins")  # fmt: skip
    hardening_modulus = Parameter("MPa", value=1000.0, min=1.0, max=1e5,
                                  description="slope against plastic strain")  # fmt: skip
    golden = Golden(
        {"youngs_modulus": (100, "GPa"), "yield_stress": 200.0, "hardening_modulus": (25, "GPa")},
        {"strain": [0.0, 0.001, 0.004, 0.012]},
        {"stress": [0.0, 100.0, 240.0, 400.0]},
        source="two straight lines, E = 100 GPa and E_t = 20 GPa, corner at 0.2 %",
    )

    def evaluate(self, x, p):
        elastic = p.youngs_modulus
        tangent = elastic * p.hardening_modulus / (elastic + p.hardening_modulus)
        corner = p.yield_stress / elastic
        width = corner / 50
        beyond = width * softplus((x.strain - corner) / width)
        return {"stress": elastic * x.strain - (elastic - tangent) * beyond}
