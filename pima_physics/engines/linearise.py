"""Derivatives of many steps at once, by autograd through their stages.

==========  ===========  ==============================================================
symbol      shape        meaning
==========  ===========  ==============================================================
t, h, y, p  (M,), (M,),  steps: time, length, start, parameters
            (n, M),
            (M, k)
given       (n, M) each  cotangents of f0 and, where the method has one, of the middle
ahead       (n, M)       cotangent of the end y1 of every step
heads       (n + 1, n,   head e is dy1[e]/dy; the last head is the cotangent of y that
            M)           ``given`` brings about
==========  ===========  ==============================================================

The cotangent of y is then sum_e ahead[e] heads[e] + heads[n]; ``ahead`` is known only when all
later steps are done, so a linearisation is ``heads`` and a function of ``ahead`` that returns the
cotangent of p, (M, k).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pima_physics.engines import Rhs

Stages = Callable[..., tuple[Tensor, ...]]
Pull = Callable[[Tensor], Tensor]
At = tuple[Tensor, Tensor, Tensor, Tensor]


class Linearise:
    """Differentiate with one graph through the stages, n + 1 times by y and once by p."""

    def __init__(self, stages: Stages) -> None:
        self.stages = stages

    def __call__(
        self, rhs: Rhs, t: Tensor, y: Tensor, h: Tensor, p: Tensor, given: list[Tensor]
    ) -> tuple[Tensor, Pull]:
        """Differentiate steps."""
        y, p = y.detach().requires_grad_(), p.detach().requires_grad_()
        with torch.enable_grad():
            ends = self.stages(rhs, t, y, h, p)
        heads = [vjp(ends[:1], [y], [unit])[0] for unit in units(y)]
        heads += vjp(ends[1:], [y], given)

        def pull(ahead: Tensor) -> Tensor:
            return vjp(ends, [p], [ahead, *given])[0]

        return torch.stack(heads), pull


def units(y: Tensor) -> list[Tensor]:
    """Unit vectors of the state (n, M), for every column."""
    eye = torch.eye(len(y), dtype=y.dtype, device=y.device)
    return [row[:, None].expand_as(y) for row in eye]


def vjp(
    outputs: Sequence[Tensor], inputs: list[Tensor], cotangents: Sequence[Tensor]
) -> list[Tensor]:
    """Vector-Jacobian products, zeros where nothing depends on an input; keeps the graph."""
    used = [(o, c) for o, c in zip(outputs, cotangents, strict=True) if o.requires_grad]
    if not used:
        return [torch.zeros_like(x) for x in inputs]
    return list(
        torch.autograd.grad(
            [o for o, _ in used], inputs, [c for _, c in used], retain_graph=True,
            materialize_grads=True,
        )
    )  # fmt: skip


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a copy of a function for each shape.

    torch counts compilations by code object and goes back to plain calls, silently, at the
    ninth: two laws must not share one.
    """
    code = function.__code__.replace()
    return torch.compile(FunctionType(code, function.__globals__), dynamic=False)


class Kernels:
    """The same, compiled; one shape only, so steps of length zero fill it up."""

    def __init__(self, stages: Stages, columns: int) -> None:
        self.stages, self.columns = stages, columns
        self.heads = compiled(_heads)
        self.pull = compiled(_pull)

    def __call__(
        self, rhs: Rhs, t: Tensor, y: Tensor, h: Tensor, p: Tensor, given: list[Tensor]
    ) -> tuple[Tensor, Pull]:
        """Differentiate steps."""
        size = len(t)
        fill = (0, -size % self.columns)
        at = (*(functional.pad(x, fill) for x in (t, y, h)), functional.pad(p.T, fill).T)
        padded = [functional.pad(c, fill) for c in given]
        heads = self.heads(self.stages, rhs, *at, padded)[..., :size]

        def pull(ahead: Tensor) -> Tensor:
            return self.pull(self.stages, rhs, *at, [functional.pad(ahead, fill), *padded])[:size]

        return heads, pull


def _heads(stages: Stages, rhs: Rhs, *rest: Any) -> Tensor:
    t, y, h, p, given = rest
    ends, back = torch.func.vjp(lambda a: stages(rhs, t, a, h, p), y)[:2]
    zeros = [torch.zeros_like(end) for end in ends]
    heads = [back((unit, *zeros[1:]))[0] for unit in units(y)]
    return torch.stack([*heads, back((zeros[0], *given))[0]])


def _pull(stages: Stages, rhs: Rhs, *rest: Any) -> Tensor:
    t, y, h, p, cotangents = rest
    back = torch.func.vjp(lambda b: stages(rhs, t, y, h, b), p)[1]
    return back(tuple(cotangents))[0]
