r"""Can the parameters of a law be told apart from its outputs?

The sensitivities $J = \partial y / \partial r$ by the raw parameters, each output relative to
its own size, are made into a singular value decomposition. Reference: D. V. Raksanyi et al.,
Math. Biosci. 77 (1985) 91; Belsley, Kuh and Welsch, Regression Diagnostics (1980), chapter 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pima_physics.check_probe import Probe

CONDITION_LIMIT = 1e4
CORRELATION_LIMIT = 0.999


def sensitivities(probe: Probe) -> Tensor:
    """Jacobian of all outputs at typical values, (outputs x points, free parameters)."""
    law, names = probe.law, probe.law.free
    points = next(iter(probe.run(probe.typical).values())).shape[1]
    # one copy of the sample per point: one backward pass gives the gradient of every point
    raw = torch.zeros(points, len(names), dtype=torch.float64, requires_grad=True)
    many = {k: v.expand(points, *v.shape[1:]) for k, v in probe.typical.items()}
    for j, name in enumerate(names):
        many[name] = law.parameters[name].constrain(raw[:, j])
    rows = []
    for values in probe.run(many).values():
        size = values.detach().abs().max().clamp(min=1e-300)
        own = (values.diagonal() / size).sum()
        if not own.requires_grad:
            rows.append(torch.zeros_like(raw))
            continue
        grad = torch.autograd.grad(own, raw, retain_graph=True, materialize_grads=True)[0]
        rows.append(grad)
    return torch.cat(rows).detach()


def identifiability(probe: Probe) -> list[str]:
    """Warn of parameters without effect, and of those that act alike."""
    names = probe.law.free
    return judge(names, sensitivities(probe)) if names else []


def judge(names: tuple[str, ...], jacobian: Tensor) -> list[str]:
    """The same from sensitivities (points, parameters)."""
    length = jacobian.norm(dim=0)
    idle = [n for n, size in zip(names, length.tolist(), strict=True) if size < 1e-9]
    problems = []
    if idle:
        problems.append(
            f"warning: no output depends on {', '.join(idle)} at typical values: unused, or "
            "named but not inferable here"
        )
    kept = [j for j, name in enumerate(names) if name not in idle]
    if len(kept) > 1:
        problems += _alike([names[j] for j in kept], jacobian[:, kept] / length[kept])
    return problems


def _alike(names: list[str], columns: Tensor) -> list[str]:
    """Describe collinear columns of unit length."""
    if len(columns) < len(names):
        return [f"warning: {len(names)} parameters and {len(columns)} points: too few to tell"]
    alike = columns.T @ columns
    pairs = [
        f"{names[i]} and {names[j]} (correlation {alike[i, j]:.4f})"
        for i in range(len(names))
        for j in range(i)
        if abs(alike[i, j]) > CORRELATION_LIMIT
    ]
    _, values, directions = torch.linalg.svd(columns, full_matrices=False)
    condition = float(values[0] / values[-1].clamp(min=1e-300))
    if pairs:
        return [
            f"warning: they act alike: {'; '.join(pairs)}; condition {condition:.2g}\n"
            "fix one of them (vary=False) or declare their product or ratio instead"
        ]
    if condition > CONDITION_LIMIT:
        weak = [n for n, w in zip(names, directions[-1].abs().tolist(), strict=True) if w > 0.2]
        return [
            f"warning: condition {condition:.2g}: a combination of {', '.join(weak)} has almost "
            "no effect\nfix one of them (vary=False) or use coordinates that tell them apart"
        ]
    return []
