"""What a law is probed with, and the checks that need no more than one run."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pima_physics import units
from pima_physics.declarations import plain
from pima_physics.errors import InputError
from pima_physics.simulator import ODE, ExternalSimulator, Golden, Simulator

POINTS = 16
SAMPLES = 4


@dataclass(frozen=True)
class Finding:
    """One verdict: "pass", "warning" or "fail", with a message that says what and where."""

    check: str
    verdict: str
    message: str


@dataclass(frozen=True)
class Probe:
    """A law with a grid, its typical parameters (1,) and some near them (SAMPLES,).

    ``tolerance`` is the relative error that the law's own numerics may have.
    """

    law: Simulator
    coordinates: dict[str, Tensor]
    typical: dict[str, Tensor]
    varied: dict[str, Tensor]
    tolerance: float
    note: str

    @property
    def loose(self) -> bool:
        """Whether the numbers come from a solver and are not exact to rounding."""
        return self.tolerance > 1e-8

    def run(self, parameters: Mapping[str, Tensor], law: Simulator | None = None) -> Any:
        """Outputs on the grid of the probe."""
        return (law or self.law).simulate(self.coordinates, parameters)

    def raw(self, scale: float, count: int, seed: int) -> dict[str, Tensor]:
        """Parameters at normal random raw values, at most ``2 scale`` from the typical ones."""
        generator = torch.Generator().manual_seed(seed)
        values = {}
        for name, parameter in self.law.parameters.items():
            draw = torch.randn(count, generator=generator, dtype=torch.float64)
            raw = scale * draw.clamp(-2, 2)
            values[name] = parameter.constrain(raw if parameter.vary else 0 * raw)
        for name, simplex in self.law.simplices.items():
            draw = torch.randn(count, simplex.size, generator=generator, dtype=torch.float64)
            values[name] = simplex.constrain(scale * draw)
        return values


def make_probe(law: Simulator, coordinates: Mapping[str, Any] | None, seed: int) -> Probe:
    """Choose a grid and parameter values to probe a law with."""
    law, tolerance = sharpen(law)
    grid, note = _grid(law, coordinates)
    empty = Probe(law, grid, {}, {}, tolerance, note)
    return Probe(law, grid, empty.raw(0, 1, seed), empty.raw(0.4, SAMPLES, seed), tolerance, note)


def sharpen(law: Simulator) -> tuple[Simulator, float]:
    """Return the law with small solver tolerances, and the relative error it then has."""
    if isinstance(law, ExternalSimulator):
        return law, max(1e-9, 100 * law.accuracy)
    if not isinstance(law, ODE):
        return law, 1e-9
    law = copy(law)
    law.compiled = False
    if law.method == "matrix_exp" or (law.method == "auto" and law.linear):
        return law, 1e-8
    law.rtol, law.atol = (1e-6, 1e-8) if law.method == "rodas3" else (1e-9, 1e-10)
    return law, 3e4 * law.rtol if law.method == "rodas3" else 1e-5


def _grid(law: Simulator, coordinates: Mapping[str, Any] | None) -> tuple[dict[str, Tensor], str]:
    if coordinates is not None:
        given = {k: torch.as_tensor(v, dtype=torch.float64) for k, v in coordinates.items()}
        return given, ""
    grid = {}
    for name, unit in law.coordinates.items():
        known = law.golden.coordinates.get(name) if law.golden else None
        ends = torch.tensor([0.0, 1.0]) if known is None else torch.as_tensor(plain(known, unit))
        low, high = float(ends.min()), float(ends.max())
        # away from the ends, where laws may be singular; other coordinates in another order
        line = torch.linspace(0.02, 1.0, POINTS, dtype=torch.float64) * (high - low) + low
        grid[name] = line.roll(5 * len(grid))
    span = ", ".join(f"{k} 0 to 1 {u}" for k, u in law.coordinates.items())
    note = "" if law.golden or not span else f"checked on {span}; give coordinates= for others"
    return grid, note


def declaration(law: Simulator) -> list[str]:
    """Problems of the declaration itself."""
    problems = []
    for what, declared in (("coordinates", law.coordinates), ("outputs", law.outputs)):
        for name, unit in declared.items():
            try:
                units.parse(unit)
            except InputError as error:
                problems.append(f"{what}: '{name}': {error}")
    if not law.outputs:
        problems.append('no outputs are declared: outputs = {"name": "unit"}')
    if isinstance(law, ODE) and not law.state:
        problems.append('no state is declared: state = {"name": "unit"}')
    return problems


def golden(probe: Probe) -> list[str]:
    """Compare with the answer known from elsewhere, at the law's own tolerances."""
    point: Golden | None = probe.law.golden
    if point is None:
        return ["warning: there is no golden point: factors without dimension are not checked"]
    law = probe.law
    values = {k: v.clone() for k, v in probe.typical.items()}
    for name, value in point.parameters.items():
        unit = law.parameters[name].unit if name in law.parameters else "dimensionless"
        values[name] = torch.as_tensor(plain(value, unit)).reshape(values[name].shape)
    grid = {k: torch.as_tensor(plain(point.coordinates[k], u)) for k, u in law.coordinates.items()}
    got = law.simulate(grid, values)
    problems = []
    for name, value in point.expected.items():
        want = torch.as_tensor(plain(value, law.outputs[name])).reshape(-1)
        have = got[name].detach()[0]
        error = (have - want).abs()
        size = want.abs().max().item() or 1.0
        if not error.max().item() <= point.rtol * size:
            problems.append(_deviation(name, law.outputs[name], have, want, point.source))
    return problems


def _deviation(name: str, unit: str, have: Tensor, want: Tensor, source: str) -> str:
    """Say how an answer differs: by a sign, by a factor, or how much."""
    worst = int((have - want).abs().argmax())
    text = (
        f"output '{name}' is {have[worst].item():.6g}, not {want[worst].item():.6g} "
        f"{units.pretty(unit)} (point {worst}; {source})"
    )
    big = want.abs() > 1e-3 * want.abs().max()
    ratio = have[big] / want[big]
    if len(ratio) and float((ratio - ratio.mean()).abs().max()) < 1e-4 * abs(float(ratio.mean())):
        factor = float(ratio.mean())
        guess = "a sign error" if abs(factor + 1) < 1e-4 else "a unit prefix or a missing factor"
        text += f"\nevery value is {factor:.6g} times too large: {guess}?"
    else:
        text += "\na sign error or a wrong term?"
    return text
