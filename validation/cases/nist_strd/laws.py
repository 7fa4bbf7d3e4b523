r"""The 26 laws of NIST's Statistical Reference Datasets for nonlinear regression.

Each class states its law as $y = f(x; b_1 \dots b_P)$; numbers are dimensionless, as NIST gives
them. Parameters have no bounds; a problem's start becomes their typical value.

Source: National Institute of Standards and Technology, Statistical Reference Datasets,
https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pima_physics.parameters import Parameter
from pima_physics.simulator import Simulator

_X: dict[str, str] = {"x": "dimensionless"}
_Y: dict[str, str] = {"y": "dimensionless"}


def _free(count: int) -> tuple[Parameter, ...]:
    return tuple(Parameter() for _ in range(count))


class Bennett5(Simulator):
    r"""Magnetisation against time, $b_1 (b_2 + x)^{-1/b_3}$."""

    coordinates, outputs = _X, _Y
    b1, b2, b3 = _free(3)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": p.b1 * (p.b2 + x.x) ** (-1.0 / p.b3)}


class Saturation(Simulator):
    r"""Exponential saturation, $b_1 (1 - e^{-b_2 x})$: BoxBOD, Misra1a."""

    coordinates, outputs = _X, _Y
    b1, b2 = _free(2)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": -p.b1 * torch.expm1(-p.b2 * x.x)}


class Chwirut(Simulator):
    r"""Ultrasonic response against distance, $e^{-b_1 x} / (b_2 + b_3 x)$."""

    coordinates, outputs = _X, _Y
    b1, b2, b3 = _free(3)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": torch.exp(-p.b1 * x.x) / (p.b2 + p.b3 * x.x)}


class DanWood(Simulator):
    r"""Radiated energy against temperature, $b_1 x^{b_2}$."""

    coordinates, outputs = _X, _Y
    b1, b2 = _free(2)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": p.b1 * x.x**p.b2}


class ENSO(Simulator):
    r"""Pressure differences with an annual and two free cycles of period $b_4$ and $b_7$.

    $b_1 + b_2 \cos(2πx/12) + b_3 \sin(2πx/12) + b_5 \cos(2πx/b_4) + b_6 \sin(2πx/b_4)
    + b_8 \cos(2πx/b_7) + b_9 \sin(2πx/b_7)$
    """

    coordinates, outputs = _X, _Y
    b1, b2, b3, b4, b5, b6, b7, b8, b9 = _free(9)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        angle = 2.0 * math.pi * x.x
        year = p.b2 * torch.cos(angle / 12) + p.b3 * torch.sin(angle / 12)
        first = p.b5 * torch.cos(angle / p.b4) + p.b6 * torch.sin(angle / p.b4)
        second = p.b8 * torch.cos(angle / p.b7) + p.b9 * torch.sin(angle / p.b7)
        return {"y": p.b1 + year + first + second}


class Eckerle4(Simulator):
    r"""Transmittance against wavelength, $(b_1/b_2)\, e^{-((x - b_3)/b_2)^2/2}$."""

    coordinates, outputs = _X, _Y
    b1, b2, b3 = _free(3)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": p.b1 / p.b2 * torch.exp(-0.5 * ((x.x - p.b3) / p.b2) ** 2)}


class Gauss(Simulator):
    r"""Two peaks on a decaying baseline.

    $b_1 e^{-b_2 x} + b_3 e^{-(x - b_4)^2/b_5^2} + b_6 e^{-(x - b_7)^2/b_8^2}$
    """

    coordinates, outputs = _X, _Y
    b1, b2, b3, b4, b5, b6, b7, b8 = _free(8)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        first = p.b3 * torch.exp(-(((x.x - p.b4) / p.b5) ** 2))
        second = p.b6 * torch.exp(-(((x.x - p.b7) / p.b8) ** 2))
        return {"y": p.b1 * torch.exp(-p.b2 * x.x) + first + second}


class CubicRatio(Simulator):
    r"""Ratio of cubics: Hahn1 (thermal expansion), Thurber (electron mobility).

    $(b_1 + b_2 x + b_3 x^2 + b_4 x^3) / (1 + b_5 x + b_6 x^2 + b_7 x^3)$
    """

    coordinates, outputs = _X, _Y
    b1, b2, b3, b4, b5, b6, b7 = _free(7)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        above = p.b1 + x.x * (p.b2 + x.x * (p.b3 + x.x * p.b4))
        return {"y": above / (1.0 + x.x * (p.b5 + x.x * (p.b6 + x.x * p.b7)))}


class Kirby2(Simulator):
    r"""Line widths of a microscope, $(b_1 + b_2 x + b_3 x^2) / (1 + b_4 x + b_5 x^2)$."""

    coordinates, outputs = _X, _Y
    b1, b2, b3, b4, b5 = _free(5)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        above = p.b1 + x.x * (p.b2 + x.x * p.b3)
        return {"y": above / (1.0 + x.x * (p.b4 + x.x * p.b5))}


class Lanczos(Simulator):
    r"""Three decays, $b_1 e^{-b_2 x} + b_3 e^{-b_4 x} + b_5 e^{-b_6 x}$."""

    coordinates, outputs = _X, _Y
    b1, b2, b3, b4, b5, b6 = _free(6)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        slow = p.b1 * torch.exp(-p.b2 * x.x)
        return {"y": slow + p.b3 * torch.exp(-p.b4 * x.x) + p.b5 * torch.exp(-p.b6 * x.x)}


class MGH09(Simulator):
    r"""Enzyme reaction, $b_1 (x^2 + b_2 x) / (x^2 + b_3 x + b_4)$."""

    coordinates, outputs = _X, _Y
    b1, b2, b3, b4 = _free(4)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": p.b1 * (x.x**2 + x.x * p.b2) / (x.x**2 + x.x * p.b3 + p.b4)}


class MGH10(Simulator):
    r"""Resistance of a thermistor, $b_1 e^{b_2 / (x + b_3)}$."""

    coordinates, outputs = _X, _Y
    b1, b2, b3 = _free(3)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": p.b1 * torch.exp(p.b2 / (x.x + p.b3))}


class MGH17(Simulator):
    r"""Two decays on a constant, $b_1 + b_2 e^{-b_4 x} + b_3 e^{-b_5 x}$."""

    coordinates, outputs = _X, _Y
    b1, b2, b3, b4, b5 = _free(5)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": p.b1 + p.b2 * torch.exp(-x.x * p.b4) + p.b3 * torch.exp(-x.x * p.b5)}


class Misra1b(Simulator):
    r"""Monomolecular adsorption, $b_1 (1 - (1 + b_2 x/2)^{-2})$."""

    coordinates, outputs = _X, _Y
    b1, b2 = _free(2)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": p.b1 * (1.0 - (1.0 + p.b2 * x.x / 2.0) ** -2.0)}


class Misra1c(Simulator):
    r"""Monomolecular adsorption, $b_1 (1 - (1 + 2 b_2 x)^{-1/2})$."""

    coordinates, outputs = _X, _Y
    b1, b2 = _free(2)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": p.b1 * (1.0 - (1.0 + 2.0 * p.b2 * x.x) ** -0.5)}


class Misra1d(Simulator):
    r"""Monomolecular adsorption, $b_1 b_2 x / (1 + b_2 x)$."""

    coordinates, outputs = _X, _Y
    b1, b2 = _free(2)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": p.b1 * p.b2 * x.x / (1.0 + p.b2 * x.x)}


class Rat42(Simulator):
    r"""Logistic growth, $b_1 / (1 + e^{b_2 - b_3 x})$."""

    coordinates, outputs = _X, _Y
    b1, b2, b3 = _free(3)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": p.b1 / (1.0 + torch.exp(p.b2 - p.b3 * x.x))}


class Rat43(Simulator):
    r"""Generalised logistic growth, $b_1 / (1 + e^{b_2 - b_3 x})^{1/b_4}$."""

    coordinates, outputs = _X, _Y
    b1, b2, b3, b4 = _free(4)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": p.b1 / (1.0 + torch.exp(p.b2 - p.b3 * x.x)) ** (1.0 / p.b4)}


class Roszman1(Simulator):
    r"""Quantum defects in iodine, $b_1 - b_2 x - \arctan(b_3 / (x - b_4)) / π$."""

    coordinates, outputs = _X, _Y
    b1, b2, b3, b4 = _free(4)

    def evaluate(self, x: Any, p: Any) -> dict[str, Tensor]:
        return {"y": p.b1 - p.b2 * x.x - torch.atan(p.b3 / (x.x - p.b4)) / math.pi}


LAWS: dict[str, type[Simulator]] = {
    "Bennett5": Bennett5, "BoxBOD": Saturation, "Chwirut1": Chwirut, "Chwirut2": Chwirut,
    "DanWood": DanWood, "ENSO": ENSO, "Eckerle4": Eckerle4, "Gauss1": Gauss,
    "Gauss2": Gauss, "Gauss3": Gauss, "Hahn1": CubicRatio, "Kirby2": Kirby2,
    "Lanczos1": Lanczos, "Lanczos2": Lanczos, "Lanczos3": Lanczos, "MGH09": MGH09,
    "MGH10": MGH10, "MGH17": MGH17, "Misra1a": Saturation, "Misra1b": Misra1b,
    "Misra1c": Misra1c, "Misra1d": Misra1d, "Rat42": Rat42, "Rat43": Rat43,
    "Roszman1": Roszman1, "Thurber": CubicRatio,
}  # fmt: skip
"""Law of every problem, by NIST's name."""
