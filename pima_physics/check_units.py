r"""Does a law obey its declared units?

Changing the base units changes every number: a quantity of dimension $\prod_b b^{e_b}$ is
multiplied by $\prod_b \lambda_b^{-e_b}$. A law that is dimensionally right gives outputs that
change by their own factors. One base unit is changed at a time, so that a failure names it.
Factors without dimension (percent, a prefix of 10^3) cannot be seen this way: the golden point
sees them. The idea is that of G. I. Barenblatt, Scaling (2003), chapter 1.
"""

from __future__ import annotations

import math
from copy import copy

from torch import Tensor

from pima_physics import units
from pima_physics.check_probe import Probe
from pima_physics.declarations import Values
from pima_physics.simulator import ODE

_STRETCHES = (1.37, 0.81)


def unit_covariance(probe: Probe) -> list[str]:
    """Change each base unit and compare; see the module."""
    law = probe.law
    inputs = {
        **dict(law.coordinates),
        **{k: v.unit for k, v in law.parameters.items()},
        **{k: v.unit for k, v in law.constants.items()},
    }
    given = {name: units.dimensions(unit) for name, unit in inputs.items()}
    wanted = {name: units.dimensions(unit) for name, unit in law.outputs.items()}
    everything = (*given.values(), *wanted.values())
    bases = [base for base in units.BASE_DIMENSIONS if any(e[base] for e in everything)]
    reference = {k: v.detach() for k, v in probe.run(probe.varied).items()}
    problems = []
    for base in bases:
        offset = [n for n, u in {**inputs, **law.outputs}.items() if _has_offset(u)]
        if base == "[temperature]" and offset:
            problems.append(
                f"warning: {base} is not checked: {', '.join(offset)} in a unit with an offset; "
                "declare K"
            )
            continue
        problems += _check_base(probe, base, given, wanted, reference)
    return problems


def _has_offset(unit: str) -> bool:
    exponents = units.dimensions(unit)
    alone = exponents["[temperature]"] == 1 and sum(map(abs, exponents.values())) == 1
    return alone and units.conversion(unit, "kelvin").offset != 0


def _check_base(
    probe: Probe,
    base: str,
    given: dict[str, dict[str, float]],
    wanted: dict[str, dict[str, float]],
    reference: dict[str, Tensor],
) -> list[str]:
    tolerance = max(1e-7, 10 * probe.tolerance)
    found: dict[str, list[float]] = {}
    for stretch in _STRETCHES:
        factors = {name: stretch ** -e[base] for name, e in given.items()}
        outputs = _run_scaled(probe, factors)
        for name, exponents in wanted.items():
            want = reference[name] * stretch ** -exponents[base]
            have = outputs[name].detach()
            size = want.abs().amax(1, keepdim=True).clamp(min=1e-300)
            if not bool(((have - want).abs() <= tolerance * size).all()):
                found.setdefault(name, []).append(_exponent(have, reference[name], stretch))
    involved = [name for name, e in given.items() if e[base]]
    return [
        _message(name, base, wanted[name][base], exponents, involved)
        for name, exponents in found.items()
    ]


def _run_scaled(probe: Probe, factors: dict[str, float]) -> dict[str, Tensor]:
    law = probe.law
    coordinates = {k: v * factors[k] for k, v in probe.coordinates.items()}
    parameters = {k: v * factors.get(k, 1.0) for k, v in probe.varied.items()}
    if isinstance(law, ODE):
        law = copy(law)
        if law.start is not None:
            law.start = law.start * factors["time"]  # type: ignore[misc]
        law.magnitude = {}  # type: ignore[misc]
    x, p = law.arguments(coordinates, parameters)
    constants = {k: c.value * factors[k] for k, c in law.constants.items()}
    return law.run(x, Values(**{**vars(p), **constants}))


def _exponent(have: Tensor, reference: Tensor, stretch: float) -> float:
    """Power of the base unit with which an output changed, as the median over its values."""
    big = reference.abs() > 1e-3 * reference.abs().max()
    ratio = (have[big] / reference[big]).abs().log() / math.log(stretch)
    return -float(ratio.median()) if len(ratio) else math.nan


def _message(
    name: str, base: str, declared: float, exponents: list[float], involved: list[str]
) -> str:
    seen = sum(exponents) / len(exponents)
    nearest = round(2 * seen) / 2
    steady = len(exponents) == 2 and all(abs(e - nearest) < 0.02 for e in exponents)
    kind = (
        f"computed as {base}^{nearest:g}: a factor is missing or too many, or a unit is declared "
        "wrongly"
        if steady and nearest != declared
        else "computed with no fixed power: terms of different units are added, or a number with "
        "a unit (such as 9.81) is hidden in the code"
    )
    entering = ", ".join(involved) or "nothing declared"
    return (
        f"output '{name}' is declared as {base}^{declared:g} and {kind}\n"
        f"{base} enters through: {entering}"
    )
