"""The gradient of the engines with own steps, against autograd through the steps they took."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch

from pima_physics.engines import replay
from pima_physics.engines.adaptive import Settings, march


def law(t, y, p):
    """Depends on time, state and parameters, and is linear in none."""
    x, v = y[:, :1], y[:, 1:]
    return torch.cat([v * p[:, :1], torch.sin(p[:, 1:] * t) - x**3 - p[:, :1] * v], 1)


def problem():
    """Four samples of different length, one of which is only asked for its start."""
    generator = torch.Generator().manual_seed(0)
    p = 1 + 2 * torch.rand(4, 2, generator=generator).double()
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float64).repeat(4, 1)
    ends = torch.tensor([[3.0], [0.9], [6.0], [0.0]], dtype=torch.float64)
    return start, ends * torch.linspace(0, 1, 12).double(), p


def written_out(module, steps, sample, times, y, p):
    """Solution of one sample, made of its accepted steps with everything differentiable."""
    own = (steps.order[steps.place] == sample).nonzero()[:, 0]
    y, p, out = y[:, None], p[None], {}
    for column in own.tolist():
        t, h = steps.t[column][None], steps.h[column][None]
        end, first, *middle = module.stages(law, t, y, h, p)
        last = law((t + h)[:, None], end.T, p).T
        if middle:
            middle = [middle[0] + module.METHOD.late * h * last - y]
        for i, time in enumerate(times):
            if i not in out and (time <= t + h or column == own[-1]):
                x = torch.where(h > 0, (time - t) / h, 0.0)
                parts = zip(module.weights(x, h), (end - y, first, last, *middle), strict=True)
                out[i] = (y + sum(weight * part for weight, part in parts))[:, 0]
        y = end
    return torch.stack([out[i] for i in range(len(times))])


@pytest.mark.parametrize("method", ["dopri5", "rodas3"])
@pytest.mark.parametrize("values", [64, 131_072])  # many blocks of steps, and one
def test_gradient_is_autograd_through_the_accepted_steps(method, values, monkeypatch):
    monkeypatch.setattr(replay, "_VALUES", values)
    module = import_module(f"pima_physics.engines.{method}_engine")
    start, times, p = problem()
    inputs = start.requires_grad_(), p.requires_grad_()
    states = module.solve(law, start, times, p, rtol=1e-4)
    steps = march(module.METHOD, law, start, times, p, Settings(1e-4, 1e-8, 1000, None, str, ""))
    expected = torch.stack(
        [written_out(module, steps, i, times[i], start[i], p[i]) for i in range(4)]
    )
    torch.testing.assert_close(states, expected, rtol=1e-10, atol=1e-12)
    weight = torch.rand(4, 12, 2, generator=torch.Generator().manual_seed(2)).double()
    pairs = [torch.autograd.grad((x * weight).sum(), inputs) for x in (states, expected)]
    torch.testing.assert_close(pairs[0], pairs[1], rtol=1e-9, atol=1e-11)
