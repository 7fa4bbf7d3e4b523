"""Own adaptive steps for every sample: the control of the step, and the record of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pima_physics.engines import Describe, Rhs, failure

_PERIOD = 8  # steps between looks at the whole batch (each look waits for the device)


Attempt = Callable[..., tuple[Tensor, Tensor, Tensor, Tensor | None]]
State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Method:
    """A one-step method.

    Attributes
    ----------
    order : int
        Local order of the error estimate: the step changes by error^(-1/order).
    attempt : callable
        (like) -> (rhs, t, y, f, h, p) -> (y1, f1, error, middle), which does one step of all
        rows of the shape of ``like`` without a graph. ``f`` is the slope at y; ``middle`` helps
        to interpolate (or is None).
    stages : callable
        (rhs, t, y, h, p) -> (y1, f0, f1[, middle]): the same step as a function of y and p.
    weights : callable
        (x, h) -> weights of (y1 - y0, f0, f1[, middle - y0]) at the fraction x of a step.
    """

    order: int
    attempt: Callable[[Tensor], Attempt]
    stages: Callable[..., tuple[Tensor, ...]]
    weights: Callable[[Tensor, Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Settings:
    """What the solve may cost and how failures are described."""

    rtol: float
    atol: float
    max_steps: int
    scale: Tensor | None
    describe: Describe
    fix: str
    step: Callable[..., Any] | None = None  # compiled `advance`, if any
    linearise: Callable[..., Any] | None = None  # compiled linearisation, if any


@dataclass(frozen=True)
class Steps:
    """Accepted steps, those of every sample first; S is the largest count.

    t, h : (S, B, 1); y, f : (S + 1, B, n) states and slopes at the ends of the steps;
    middle : (S, B, n) or None; count : (B,).
    """

    t: Tensor
    h: Tensor
    y: Tensor
    f: Tensor
    middle: Tensor | None
    count: Tensor


def start_size(y: Tensor, f: Tensor, f_near: Tensor, span: Tensor) -> Tensor:
    """Magnitude of every state before it has moved.

    A state that starts at zero takes a thousandth of what its first slopes would reach; one
    that has not even a slope yet takes a millionth of the others, so that its first steps are
    not held to a tolerance of zero.
    """
    slope = 1e-3 * span * torch.maximum(f.abs(), f_near.abs())
    size = torch.where(y.abs() > 0, y.abs(), slope)
    return torch.where(size > 0, size, 1e-6 * size.amax(1, keepdim=True))


def _first_step(
    rhs: Rhs, y: Tensor, t: Tensor, span: Tensor, p: Tensor, method: Method, settings: Settings
) -> tuple[Tensor, Tensor, Tensor]:
    """First slope, magnitude and step (Hairer, Norsett and Wanner, section II.4)."""
    f = rhs(t, y, p)
    tiny = torch.finfo(y.dtype).tiny
    near = rhs(t + 1e-6 * span, y + 1e-6 * span * f, p)
    size = start_size(y, f, near, span) if settings.scale is None else settings.scale
    tolerance = (settings.atol * size + settings.rtol * y.abs()).clamp(min=tiny)
    d0, d1 = _rms(y / tolerance), _rms(f / tolerance)
    h = torch.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6 * span, 0.01 * d0 / d1)
    h = torch.minimum(h, span)
    d2 = _rms((rhs(t + h, y + h * f, p) - f) / tolerance) / h.clamp(min=tiny)
    best = (0.01 / torch.maximum(d1, d2).clamp(min=1e-15)) ** (1 / method.order)
    h = torch.minimum(torch.minimum(100 * h, best), span)
    return f, size, torch.where(torch.isfinite(h), h, 1e-6 * span)


def _rms(x: Tensor) -> Tensor:
    return x.square().mean(1, keepdim=True).sqrt()


def advance(
    attempt: Attempt, order: int, rhs: Rhs, state: State, fixed: State, rtol: float, atol: float
) -> tuple[State, Tensor, Tensor | None]:
    """Try one step of every sample: new (t, y, f, h, size), the step done (or 0), the middle."""
    t, y, f, h, size = state
    end, slack, p = fixed
    y1, f1, error, middle = attempt(rhs, t, y, f, h, p)
    tolerance = atol * size + rtol * torch.maximum(y.abs(), y1.abs())
    ratio = _rms(error / tolerance.clamp(min=torch.finfo(y.dtype).tiny))
    good = ratio <= 1  # False where not finite
    factor = torch.nan_to_num(0.9 * ratio.clamp(min=1e-10) ** (-1 / order), nan=0.2)
    factor = torch.where(good, factor.clamp(0.2, 8.0), factor.clamp(0.2, 1.0))
    done = torch.where(good, h, 0.0)
    moved = done > 0  # a sample that has arrived stays where it is
    t, y, f = t + done, torch.where(moved, y1, y), torch.where(moved, f1, f)
    left = end - t
    left = torch.where(left <= slack, 0.0, left)
    h = torch.minimum(h * factor, left)
    # a step that no longer changes the time is marked at once
    h = torch.where((h > 0) & (h <= 2 * torch.finfo(y.dtype).eps * t.abs()), torch.nan, h)
    return (t, y, f, h, torch.maximum(size, y.abs())), done, middle


@torch.no_grad()
def march(
    method: Method, rhs: Rhs, initial: Tensor, times: Tensor, p: Tensor, settings: Settings
) -> Steps:
    """Step every sample to its own last time, with its own steps."""
    batch = len(initial)
    t, end = times[:, :1].clone(), times[:, -1:]
    span = end - t
    f, size, h = _first_step(rhs, initial, t, span, p, method, settings)
    eps = torch.finfo(initial.dtype).eps
    slack = 32 * eps * torch.maximum(end.abs(), times[:, :1].abs())
    state, fixed = (t, initial, f, h, size), (end, slack, p)
    full = [t, initial, f]  # last known values of every sample, also of those set aside
    alive: Tensor | None = None
    record: list[list[Tensor]] = [[], [], [], [], []]
    step, attempt = settings.step or advance, method.attempt(initial)
    for number in range(1, settings.max_steps + 1):
        before = state
        state, done, middle = step(
            attempt, method.order, rhs, state, fixed, settings.rtol, settings.atol
        )
        row = [*before[:3], done, before[1] if middle is None else middle]
        for store, part in zip(record, row, strict=True):
            store.append(part if alive is None else _spread(part, alive, batch))
        if number % _PERIOD and number > 2:
            continue
        _check(state, fixed, alive, batch, settings, eps)
        going = state[3] > 0
        count = int(going.sum())
        shrinks = settings.step is None or count == 0  # a compiled step keeps its shape
        if shrinks and count < 0.5 * len(going):  # set aside the samples that have arrived
            full = [_merge(a, b, alive) for a, b in zip(full, state[:3], strict=True)]
            keep = going[:, 0].nonzero()[:, 0]
            alive = keep if alive is None else alive[keep]
            state = tuple(part[keep] for part in state)
            fixed = tuple(part[keep] for part in fixed)
            attempt = method.attempt(state[1])
        if count == 0:
            break
    else:
        raise _exhausted(state, fixed, alive, batch, settings)
    full = [_merge(a, b, alive) for a, b in zip(full, state[:3], strict=True)]
    return _compress(record, full, with_middle=middle is not None)


def _spread(part: Tensor, alive: Tensor, batch: int) -> Tensor:
    """Rows of the samples still going, among zeros for the others."""
    return part.new_zeros(batch, part.shape[1]).index_copy_(0, alive, part)


def _merge(full: Tensor, part: Tensor, alive: Tensor | None) -> Tensor:
    return part if alive is None else full.index_copy(0, alive, part)


def _compress(record: list[list[Tensor]], last: list[Tensor], *, with_middle: bool) -> Steps:
    """Move the accepted steps of every sample to the front and append its last state."""
    t, y, f, h, middle = (torch.stack(parts) for parts in record)
    accepted = h[..., 0] > 0
    count = accepted.sum(0)
    longest = max(int(count.max()), 1)
    order = torch.argsort((~accepted).to(torch.int8), dim=0, stable=True)[:longest, :, None]

    def pick(x: Tensor) -> Tensor:
        return x.gather(0, order.expand(-1, -1, x.shape[2]))

    def close(x: Tensor, end: Tensor) -> Tensor:
        x = torch.cat([pick(x), torch.zeros_like(end)[None]])
        return x.scatter_(0, count[None, :, None].expand(1, -1, x.shape[2]), end[None])

    return Steps(
        t=pick(t), h=pick(h), y=close(y, last[1]), f=close(f, last[2]),
        middle=pick(middle) if with_middle else None, count=count,
    )  # fmt: skip


def _check(
    state: State,
    fixed: State,
    alive: Tensor | None,
    batch: int,
    settings: Settings,
    eps: float,
) -> None:
    """Raise where a step has become too small to change the time."""
    t, h = state[0], state[3]
    stuck = h.isnan() | ((h > 0) & (h <= 1e-2 * eps * (fixed[0] - t).abs()))
    if bool(stuck.any()):
        what = "the step became too small (stiff or unbounded solution)"
        raise _failed(what, stuck, state, fixed, alive, batch, settings)


def _exhausted(
    state: State,
    fixed: State,
    alive: Tensor | None,
    batch: int,
    settings: Settings,
) -> Exception:
    what = f"more than max_steps = {settings.max_steps} steps"
    return _failed(what, state[3] > 0, state, fixed, alive, batch, settings)


def _failed(
    what: str,
    bad: Tensor,
    state: State,
    fixed: State,
    alive: Tensor | None,
    batch: int,
    settings: Settings,
) -> Exception:
    t, y, _, h, _ = state
    row = int(torch.where(bad, (fixed[0] - t).abs(), -1.0).argmax())
    sample = row if alive is None else int(alive[row])
    return failure(
        what,
        sample=sample,
        batch=batch,
        affected=int(bad.sum()),
        time=f"{t[row].item():.6g} of {fixed[0][row].item():.6g}, step {h[row].item():.3g}, "
        f"state {[float(f'{v:.4g}') for v in y[row].tolist()]}",
        values=settings.describe(sample),
        fix=settings.fix,
    )
