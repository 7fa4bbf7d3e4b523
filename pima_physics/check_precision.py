"""Checks that a law computes in the precision, and on the device, of its parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from pima_physics.check_numbers import differs
from pima_physics.check_probe import Probe
from pima_physics.declarations import Values
from pima_physics.simulator import ODE, ExternalSimulator


def precision(probe: Probe) -> list[str]:
    """float32 in, float32 out and close to float64; float64 not rounded to float32 inside."""
    loose = probe.loose
    grid = {k: v.float() for k, v in probe.coordinates.items()}
    single = probe.law.simulate(grid, {k: v.float() for k, v in probe.varied.items()})
    double = probe.run(probe.varied)
    problems = []
    for name, values in double.items():
        if values.dtype != torch.float64:
            problems.append(f"output '{name}' is {values.dtype} for float64: .float() somewhere?")
        elif single[name].dtype != torch.float32:
            problems.append(
                f"output '{name}' is {single[name].dtype} for float32: a float64 tensor is made "
                "inside; use plain numbers, or dtype=x.<name>.dtype"
            )
        elif (error := differs(single[name].double(), values.detach())) > (2e-2 if loose else 2e-3):
            problems.append(f"warning: output '{name}' loses precision in float32: {error:.1g}")
    return problems or _constants(probe, double) or ([] if loose else _rounding(probe, double))


def _constants(probe: Probe, double: dict[str, Tensor]) -> list[str]:
    """Constants made as tensors of the default type are float32 in a float64 computation."""
    kind = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        again = probe.run(probe.varied)
    finally:
        torch.set_default_dtype(kind)
    return [
        f"output '{name}' changes with torch's default dtype: a constant is made as float32, "
        "as by torch.tensor(9.81); write plain numbers"
        for name, values in double.items()
        if differs(again[name].detach(), values.detach()) > 1e-13
    ]


def _rounding(probe: Probe, double: dict[str, Tensor]) -> list[str]:
    """A change of 1e-9 must come through; a detour over float32 swallows or magnifies it."""
    problems = []
    for name in probe.law.free:
        moved = [
            probe.run({**probe.varied, name: probe.varied[name] * (1 + change)})
            for change in (1e-9, 2e-9, 1e-5)
        ]
        for output, values in double.items():
            steps = [(m[output] - values).detach() for m in moved]
            slope = steps[2] / 1e-5
            noise = 1e-13 * values.detach().abs().max() + 1e-300
            for step, change in zip(steps[:2], (1e-9, 2e-9), strict=True):
                wrong = (step - slope * change).abs() > 0.5 * slope.abs().max() * change + noise
                if bool(wrong.any()):
                    problems.append(
                        f"output '{output}' does not follow a change of {name} by 1e-9: the "
                        "computation passes through float32 (.float(), dtype=torch.float32)"
                    )
                    break
    return problems[:1]


def device(probe: Probe) -> list[str]:
    """Run on torch's device without memory: whatever is tied to the CPU shows at once."""
    law = probe.law
    if isinstance(law, ExternalSimulator):
        return []  # runs outside torch, on the CPU, whatever the device of the model
    x, p = law.arguments(probe.coordinates, probe.varied)
    x, p = _to_meta(x), _to_meta(p)
    try:
        if isinstance(law, ODE):
            law.initial(p)
            row = torch.empty(len(next(iter(probe.varied.values()), [0])), 1, device="meta")
            state = Values(**dict.fromkeys(law.state, row.double()))
            law.rhs(row.double(), state, p)
        else:
            law.evaluate(x, p)
    except Exception as error:  # whatever stops the law on another device is the finding
        text = str(error).splitlines()[0]
        if "device" in text:
            return [f"tensors are made on the CPU; use device=x.<name>.device ({text})"]
        return [f"warning: could not run without data, as for torch.compile ({text})"]
    return []


def _to_meta(values: Values) -> Values:
    moved = {k: v.to("meta") if isinstance(v, Tensor) else v for k, v in vars(values).items()}
    return Values(**moved)
