"""Checks of what training relies on: independent samples, right gradients, finite values."""

from __future__ import annotations

import torch
from torch import Tensor

from pima_physics.check_probe import Probe
from pima_physics.errors import SolveError
from pima_physics.simulator import ODE


def differs(a: Tensor, b: Tensor) -> float:
    """Largest difference relative to the largest value of b; infinite where not comparable."""
    if a.shape != b.shape:
        return float("inf")
    size = b.abs().max().clamp(min=1e-300)
    return float(((a - b).abs().max() / size).nan_to_num(torch.inf))


def batching(probe: Probe) -> list[str]:
    """A sample must not depend on the others, on its place, or on earlier runs."""
    before = {k: v.clone() for k, v in {**probe.varied, **probe.coordinates}.items()}
    whole = {k: v.detach().clone() for k, v in probe.run(probe.varied).items()}
    after = {**probe.varied, **probe.coordinates}
    changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
    if changed:
        return [f"the law writes into its arguments ({', '.join(changed)}): make new tensors"]
    again = probe.run(probe.varied)
    problems = []
    for name, values in whole.items():
        if differs(again[name].detach(), values) > probe.tolerance:
            problems.append(f"output '{name}' differs from run to run: random numbers or a state?")
    if problems:
        return problems
    for sample in range(len(next(iter(whole.values())))):
        alone = probe.run({k: v[sample : sample + 1] for k, v in probe.varied.items()})
        for name, values in whole.items():
            error = differs(alone[name].detach()[0], values[sample])
            if error > probe.tolerance:
                return [
                    f"output '{name}' of sample {sample} changes by {error:.2g} when other "
                    "samples are in the batch\nlook for sums, means, cumsum or [0] over the "
                    "first axis, and for writing in place"
                ]
    return []


def gradients(probe: Probe) -> list[str]:
    """Compare autograd with central differences of fourth order, in float64."""
    problems: list[str] = []
    # small enough for the curvature, large enough for the noise of a solver
    step = 2e-2 if probe.tolerance > 1e-3 else 2e-3 if probe.loose else 1e-3
    tolerance = 5e-3 if probe.loose else 1e-5
    base = {k: v[:1] for k, v in probe.varied.items()}
    generator = torch.Generator().manual_seed(1)
    for name in probe.law.free:
        parameter = probe.law.parameters[name]
        raw = parameter.unconstrain(base[name]).detach()
        shifts = step * torch.tensor([[-2.0], [-1.0], [1.0], [2.0]], dtype=torch.float64)
        many = {k: v.expand(4, *v.shape[1:]) for k, v in base.items()}
        moved = probe.run({**many, name: parameter.constrain(raw + shifts)[:, 0]})
        leaf = raw.clone().requires_grad_()
        outputs = probe.run({**base, name: parameter.constrain(leaf)})
        for output, values in outputs.items():
            weights = torch.rand(values.shape[1], generator=generator, dtype=torch.float64) + 0.5
            m = (moved[output].detach() * weights).sum(1)
            numeric = ((m[0] - m[3]) + 8 * (m[2] - m[1])).item() / (12 * step)
            size = (moved[output].detach().abs() * weights).sum(1).max().item()
            exact = 0.0
            if values.requires_grad:
                total = (values[0] * weights).sum()
                grad = torch.autograd.grad(total, leaf, retain_graph=True, allow_unused=True)[0]
                exact = 0.0 if grad is None else grad.sum().item()
            problem = _compare(exact, numeric, tolerance, size)
            if problem:
                problems.append(f"d {output} / d {name}: {problem}")
    return problems


def _compare(exact: float, numeric: float, tolerance: float, size: float) -> str:
    if exact != exact or abs(exact) == float("inf"):
        return (
            "autograd gives a value that is not finite: sqrt or log at zero, or torch.where "
            "with a branch that is not finite where it is not taken"
        )
    if abs(exact - numeric) <= tolerance * max(abs(exact), abs(numeric)) + 1e-3 * tolerance * size:
        return ""
    if exact == 0:
        return (
            f"autograd gives 0, differences give {numeric:.4g}: the graph is cut by .detach(), "
            ".item(), float(), .data, numpy or rounding"
        )
    return f"autograd gives {exact:.6g}, differences give {numeric:.6g}"


def bounds(probe: Probe) -> list[str]:
    """Run over the whole range of the parameters, and into its corners."""
    try:
        probe.run(probe.raw(1.0, 16, seed=2))
    except SolveError as error:
        return [f"within the bounds, near typical values:\n{error}"]
    law = probe.law
    if isinstance(law, ODE):
        return _bounds_ode(probe)
    generator = torch.Generator().manual_seed(3)
    names = [*law.parameters]
    signs = torch.randint(0, 2, (32, len(names)), generator=generator).double() * 2 - 1
    signs[0], signs[1] = 1, -1
    values = {k: v.expand(32, *v.shape[1:]) for k, v in probe.typical.items()}
    for j, name in enumerate(names):
        parameter = law.parameters[name]
        if parameter.vary:
            values[name] = parameter.constrain(_reach(parameter) * signs[:, j])
    try:
        probe.run(values)
    except SolveError as error:
        return [f"in a corner of the bounds:\n{error}"]
    return []


def _reach(parameter) -> float:
    """Raw distance of a bound; a few scales where there is none."""
    return 20.0 if parameter.min is not None and parameter.max is not None else 3.0


def _bounds_ode(probe: Probe) -> list[str]:
    """An ODE may be too stiff in a corner, which is worth knowing and no error of the law."""
    law = probe.law
    assert isinstance(law, ODE)
    law.max_steps, saved = min(law.max_steps, 3000), law.max_steps
    law.rtol, sharp = max(law.rtol, 1e-5), law.rtol
    try:
        probe.run(probe.raw(2.0, 16, seed=4))
    except SolveError as error:
        return [f"warning: far from typical values, at a loose tolerance:\n{error}"]
    finally:
        law.max_steps, law.rtol = saved, sharp
    return []
