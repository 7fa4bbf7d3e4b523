"""Elastic, then saturating (Voce) hardening, as tension curves of metals show it."""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator


class Voce(Simulator):
    r"""Tension with saturating hardening over the total strain.

    .. math:: \sigma(\varepsilon) = E\,(\varepsilon - \varepsilon_p)
              + Q\,(1 - e^{-b\,\varepsilon_p}) + H\,\varepsilon_p, \qquad
              \varepsilon_p = \varepsilon_r
              \ln\!\big(1 + e^{(\varepsilon - \varepsilon_y)/\varepsilon_r}\big)

    with ε_y = σ_y/E and ε_r = ε_y/50. Here ε_p is the strain beyond yield, a smooth
    max(ε - ε_y, 0): before yield the curve is Eε, after it σ_y + Q(1 - e^(-b ε_p)) + H ε_p.

    Voce's law has the *plastic* strain ε - σ/E in the place of ε_p, which makes σ implicit.
    The two differ by the elastic strain that hardening adds, (σ - σ_y)/E (0.2 % strain for
    140 MPa at 70 GPa): b and H are per strain beyond yield. The linear modulus H may be
    negative, because engineering stress falls where the specimen necks.

    | symbol | name              | unit          |
    |--------|-------------------|---------------|
    | ε      | strain            | dimensionless |
    | σ      | stress            | MPa           |
    | E      | youngs_modulus    | MPa           |
    | σ_y    | yield_stress      | MPa           |
    | Q      | saturation_stress | MPa           |
    | b      | hardening_rate    | dimensionless |
    | H      | linear_modulus    | MPa           |

    Source: E. Voce, The relationship between stress and strain for homogeneous deformation,
    J. Inst. Metals 74 (1948) 537; explicit form in the total strain as stated above.
    """

    coordinates, outputs = {"strain": "dimensionless"}, {"stress": "MPa"}
    youngs_modulus = Parameter("MPa", value=70e3, min=1e3, max=1e6, shown_in="GPa",
                               description="elastic slope")  # fmt: skip
    yield_stress = Parameter("MPa", value=200.0, min=1.0, max=5e3,
                             description="stress at which hardening begins")  # fmt: skip
    saturation_stress = Parameter("MPa", value=100.0, min=0.1, max=5e3,
                                  description="increase that hardening tends to")  # fmt: skip
    hardening_rate = Parameter(value=20.0, min=0.1, max=1e4,
                               description="per strain beyond yield")  # fmt: skip
    linear_modulus = Parameter("MPa", value=0.0, min=-1e4, max=1e4,
                               description="remaining slope; negative where necking")  # fmt: skip
    golden = Golden(
        {"youngs_modulus": (100, "GPa"), "yield_stress": 200.0, "saturation_stress": 150.0,
         "hardening_rate": 10.0, "linear_modulus": -100.0},
        {"strain": [0.0, 0.001, 0.052, 0.102]},
        {"stress": [0.0, 100.0, 254.02040104310502, 284.8180838242836]},
        source="Eε; 200 + 150 (1 - e^-0.5) - 5; 200 + 150 (1 - e^-1) - 10",
    )  # fmt: skip

    def evaluate(self, x, p):
        yielding = p.yield_stress / p.youngs_modulus
        width = yielding / 50
        beyond = width * softplus((x.strain - yielding) / width)
        hardening = -p.saturation_stress * torch.expm1(-p.hardening_rate * beyond)
        elastic = p.youngs_modulus * (x.strain - beyond)
        return {"stress": elastic + hardening + p.linear_modulus * beyond}
