"""Absorption spectrum of a mixture."""

from __future__ import annotations

import torch

from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator


class BeerLambert(Simulator):
    r"""Absorbance of two dissolved species with Gaussian bands.

    .. math:: A(\lambda) = \ell \sum_{i=1}^{2} \epsilon_i c_i
              \exp\!\Big[-\frac{(\lambda - \lambda_i)^2}{2 w_i^2}\Big] + A_0

    | symbol | name                 | unit          |
    |--------|----------------------|---------------|
    | λ      | wavelength           | nm            |
    | A      | absorbance           | dimensionless |
    | ℓ      | path_length (fixed)  | cm            |
    | ε_i    | absorptivity_i (fixed) | L/mol/cm    |
    | c_i    | concentration_i      | mol/L         |
    | λ_i    | centre_i             | nm            |
    | w_i    | width_i              | nm            |
    | A_0    | baseline             | dimensionless |

    The absorbance is decadic. Only the product of absorptivity and concentration acts, so the
    absorptivities are fixed: give the known ones.

    Source: IUPAC Compendium of Chemical Terminology, Beer-Lambert law.
    """

    coordinates, outputs = {"wavelength": "nm"}, {"absorbance": "dimensionless"}
    path_length = Parameter("cm", value=1.0, vary=False, description="of the cell")
    absorptivity_1 = Parameter("L/mol/cm", value=1e4, vary=False, description="at the first peak")
    concentration_1 = Parameter("mol/L", value=1e-4, min=0.0, description="of the first species")
    centre_1 = Parameter("nm", value=450.0, min=200.0, max=900.0, description="first peak")
    width_1 = Parameter("nm", value=20.0, min=1.0, max=200.0, description="standard deviation")
    absorptivity_2 = Parameter("L/mol/cm", value=1e4, vary=False, description="at the second peak")
    concentration_2 = Parameter("mol/L", value=5e-5, min=0.0, description="of the second species")
    centre_2 = Parameter("nm", value=550.0, min=200.0, max=900.0, description="second peak")
    width_2 = Parameter("nm", value=30.0, min=1.0, max=200.0, description="standard deviation")
    baseline = Parameter(value=0.01, description="offset of the instrument")
    golden = Golden(
        {"concentration_1": 2e-4, "centre_1": 400.0, "width_1": 10.0, "concentration_2": 1e-4,
         "centre_2": 700.0, "width_2": 25.0, "baseline": 0.05},
        {"wavelength": [400.0, 410.0, 700.0, 750.0]},
        {"absorbance": [2.05, 0.05 + 2 * 0.6065306597126334, 1.05, 0.05 + 0.1353352832366127]},
        source="peaks, one and two standard deviations off: exp(-1/2), exp(-2)",
    )  # fmt: skip

    def evaluate(self, x, p):
        first = torch.exp(-0.5 * ((x.wavelength - p.centre_1) / p.width_1) ** 2)
        second = torch.exp(-0.5 * ((x.wavelength - p.centre_2) / p.width_2) ** 2)
        per_length = (
            p.absorptivity_1 * p.concentration_1 * first
            + p.absorptivity_2 * p.concentration_2 * second
        )
        return {"absorbance": p.path_length * per_length + p.baseline}
