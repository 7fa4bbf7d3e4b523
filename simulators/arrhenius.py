"""First-order reaction at any temperature."""

from __future__ import annotations

import torch

from pima_physics.parameters import Constant, Parameter
from pima_physics.simulator import Golden, Simulator


class Arrhenius(Simulator):
    r"""Decay of a reactant, first order, with Arrhenius rate.

    .. math:: c(t, T) = c_0\,e^{-k(T)\,t}, \qquad
              k(T) = k_r \exp\!\Big[-\frac{E_a}{R}\Big(\frac1T - \frac1{T_r}\Big)\Big]

    | symbol | name                  | unit    |
    |--------|-----------------------|---------|
    | t      | time                  | s       |
    | T      | temperature           | K       |
    | c      | concentration         | mol/m^3 |
    | c_0    | initial_concentration | mol/m^3 |
    | k_r    | reference_rate        | 1/s     |
    | E_a    | activation_energy     | J/mol   |
    | R      | gas_constant          | J/mol/K |
    | T_r    | reference_temperature | K       |

    The rate at a reference temperature stands for the usual pre-exponential factor,
    A = k_r exp(E_a / (R T_r)), which data determine only together with E_a.

    Source: IUPAC Compendium of Chemical Terminology, Arrhenius equation; the form with a
    reference temperature: M. Schwaab and J. C. Pinto, Chem. Eng. Sci. 62 (2007) 2750.
    """

    coordinates, outputs = {"time": "s", "temperature": "K"}, {"concentration": "mol/m^3"}
    initial_concentration = Parameter("mol/m^3", value=1.0, min=0.0, description="at t = 0")
    reference_rate = Parameter("1/s", value=1e-3, min=1e-9, max=1e3,
                               description="at the reference temperature")  # fmt: skip
    activation_energy = Parameter("J/mol", value=5e4, min=1e3, max=5e5, shown_in="kJ/mol",
                                  description="height of the barrier")  # fmt: skip
    gas_constant = Constant(8.314462618, "J/mol/K", "CODATA 2018")
    reference_temperature = Constant(298.15, "K")
    golden = Golden(
        {"initial_concentration": 2.0, "reference_rate": 1e-3, "activation_energy": (60, "kJ/mol")},
        {"time": [0.0, 600.0, 600.0, 60.0], "temperature": [300.0, 298.15, 330.0, 350.0]},
        {"concentration": [2.0, 1.0976232721880528, 0.004042494201235767, 0.22961006791119387]},
        source="the equation in the standard library's math",
    )

    def evaluate(self, x, p):
        barrier = p.activation_energy / p.gas_constant
        change = barrier * (1 / x.temperature - 1 / p.reference_temperature)
        rate = p.reference_rate * torch.exp(-change.clamp(min=-80.0))  # exp(80) ends any reaction
        return {"concentration": p.initial_concentration * torch.exp(-rate * x.time)}
