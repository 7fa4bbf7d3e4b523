"""Ramberg-Osgood tension curve."""

from __future__ import annotations

import torch
from torch import Tensor

from pima_physics.parameters import Constant, Parameter
from pima_physics.simulator import Golden, Simulator


class RambergOsgood(Simulator):
    r"""Tension with power-law hardening, stress as a function of strain.

    .. math:: \varepsilon = \frac{\sigma}{E} + 0.002\left(\frac{\sigma}{\sigma_{0.2}}\right)^n

    is solved for σ by Newton's method; the last two iterations carry the graph, which makes
    the first and second derivatives those of the implicit function.

    | symbol | name           | unit          |
    |--------|----------------|---------------|
    | ε      | strain         | dimensionless |
    | σ      | stress         | MPa           |
    | E      | youngs_modulus | MPa           |
    | σ_0.2  | proof_stress   | MPa           |
    | n      | exponent       | dimensionless |

    Compression is the mirror image of tension.

    Source: W. Ramberg and W. R. Osgood, NACA Technical Note 902 (1943); with the 0.2 % proof
    stress: MMPDS, section 9.8.4.
    """

    coordinates, outputs = {"strain": "dimensionless"}, {"stress": "MPa"}
    youngs_modulus = Parameter("MPa", value=70e3, min=1e3, max=1e6, shown_in="GPa",
                               description="slope at zero stress")  # fmt: skip
    proof_stress = Parameter("MPa", value=200.0, min=1.0, max=5e3,
                             description="stress at 0.2 % plastic strain")  # fmt: skip
    exponent = Parameter(value=10.0, min=1.5, max=100.0, description="sharpness of the knee")
    offset = Constant(0.002, "dimensionless", "plastic strain at the proof stress")
    golden = Golden(
        {"youngs_modulus": (70, "GPa"), "proof_stress": 200.0, "exponent": 8.0},
        {"strain": [0.0, 0.0014363839285714286, 0.004857142857142857, 0.02002890013428572]},
        {"stress": [0.0, 100.0, 200.0, 260.0]},
        source="strains from the equation at the given stresses",
    )

    def evaluate(self, x, p):
        size = x.strain.abs() + 0 * p.exponent
        with torch.no_grad():
            # convex and increasing: from above, every iteration comes closer and stays above
            knee = p.proof_stress * (size / p.offset) ** (1 / p.exponent)
            stress = torch.minimum(p.youngs_modulus * size, knee)
            for _ in range(12):
                stress = _newton(stress, size, p)
        for _ in range(2):
            stress = _newton(stress, size, p)
        return {"stress": torch.sign(x.strain) * stress}


def _newton(stress: Tensor, strain: Tensor, p) -> Tensor:
    ratio = stress / p.proof_stress
    excess = stress / p.youngs_modulus + p.offset * ratio**p.exponent - strain
    slope = 1 / p.youngs_modulus + p.offset * p.exponent / p.proof_stress * ratio ** (
        p.exponent - 1
    )
    return stress - excess / slope
