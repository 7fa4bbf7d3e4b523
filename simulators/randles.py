"""Impedance of an electrode."""

from __future__ import annotations

import math

from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator


class Randles(Simulator):
    r"""Randles cell with Warburg diffusion.

    .. math:: Z = R_s + \frac{1}{j\omega C + \dfrac{1}{R_{ct} + \sigma\,\omega^{-1/2}(1 - j)}},
              \quad \omega = 2\pi f

    | symbol | name                       | unit       |
    |--------|----------------------------|------------|
    | f      | frequency                  | Hz         |
    | Re Z   | resistance                 | ohm        |
    | Im Z   | reactance                  | ohm        |
    | R_s    | solution_resistance        | ohm        |
    | R_ct   | charge_transfer_resistance | ohm        |
    | C      | double_layer_capacitance   | farad      |
    | σ      | warburg_coefficient        | ohm s^-0.5 |

    Source: A. J. Bard and L. R. Faulkner, Electrochemical Methods, 2nd ed., section 10.3.
    """

    coordinates, outputs = {"frequency": "Hz"}, {"resistance": "ohm", "reactance": "ohm"}
    solution_resistance = Parameter("ohm", value=10.0, min=1e-3, max=1e6,
                                    description="of the electrolyte")  # fmt: skip
    charge_transfer_resistance = Parameter("ohm", value=100.0, min=1e-2, max=1e8,
                                           description="of the reaction")  # fmt: skip
    double_layer_capacitance = Parameter("farad", value=2e-5, min=1e-9, max=1.0, shown_in="uF",
                                         description="of the interface")  # fmt: skip
    warburg_coefficient = Parameter("ohm s^-0.5", value=20.0, min=1e-3, max=1e6,
                                    description="of the diffusion")  # fmt: skip
    golden = Golden(
        {"solution_resistance": 10.0, "charge_transfer_resistance": 100.0,
         "double_layer_capacitance": (20, "uF"), "warburg_coefficient": 30.0},
        {"frequency": [1.0, 10.0, 1e3, 1e5]},
        {"resistance": [121.61020161712045, 111.10108149844223, 10.626548474237504,
                        10.000063301694741],
         "reactance": [-13.518331483020807, -16.88994294428282, -7.905713645125981,
                       -0.0795773972423965]},
        source="complex arithmetic in NumPy",
    )  # fmt: skip

    def evaluate(self, x, p):
        omega = 2 * math.pi * x.frequency
        warburg = p.warburg_coefficient / omega.sqrt()
        # impedance of the reaction r - j w, and Z - R_s = (r - j w) / (1 + j ω C (r - j w))
        real, imaginary = p.charge_transfer_resistance + warburg, -warburg
        susceptance = omega * p.double_layer_capacitance
        below_real, below_imaginary = 1 - susceptance * imaginary, susceptance * real
        size = below_real**2 + below_imaginary**2
        resistance = (real * below_real + imaginary * below_imaginary) / size
        reactance = (imaginary * below_real - real * below_imaginary) / size
        return {"resistance": p.solution_resistance + resistance, "reactance": reactance}
