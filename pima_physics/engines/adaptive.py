"""Own adaptive steps for every sample: the control of the step, and the record of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pima_physics.engines import Describe, Rhs, failure
from pima_physics.engines.record import Record, Steps

_PERIOD = 8  # steps between looks at the whole batch (each look waits for the device)


State = tuple[Tensor, ...]
Attempt = Callable[..., tuple[Tensor, Tensor, Tensor, Tensor | None]]


@dataclass(frozen=True)
class Method:
    """A one-step method. States and slopes are (n, M): one row per state, memory in that order.

    Attributes
    ----------
    order : int
        Local order of the error estimate: the step changes by error^(-1/order).
    attempt : callable
        (like) -> (rhs, t, y, f, h, p) -> (y1, f1, error, middle), which does one step of all
        columns of a state of the shape of ``like`` without a graph; t and h are (M,). ``f`` is
        the slope at y; ``middle`` helps to interpolate (or is None).
    weights : callable
        (x, h) -> weights of (y1 - y0, f0, f1[, middle - y0]) at the fraction x of a step.
    linearise : callable
        (like, columns) -> what differentiates blocks of up to so many steps; see
        :mod:`pima_physics.engines.linearise`.
    late : float
        ``linearise`` leaves ``late h f1`` out of the middle: f1 is the next step's f0.
    """

    order: int
    attempt: Callable[[Tensor], Attempt]
    weights: Callable[[Tensor, Tensor], tuple[Tensor, ...]]
    linearise: Callable[[Tensor, int], Any]
    late: float = 0.0


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
    linearise: Any = None  # compiled linearisation, if any


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
) -> tuple[State, State]:
    """Try one step of every sample: the new state, and the record (t, y, f, h done, middle).

    A sample whose step fails, or that has arrived (nothing left, a step of zero), stays where it
    is to the last bit. Every operation here is paid hundreds of times: they are few on purpose.
    """
    left, y, f, h, size = state
    end, p = fixed
    t = end - left
    y1, f1, error, middle = attempt(rhs, t, y, f, h, p)
    before = y.abs()
    size = torch.maximum(size, before)
    allowed = torch.add(torch.maximum(before, y1.abs()), size, alpha=atol / rtol)
    square, limit = (error / allowed).square().sum(0), len(y) * rtol**2  # an RMS of at most rtol
    good = square <= limit  # False where not finite
    factor = square.pow(-0.5 / order) * (0.9 * limit ** (0.5 / order))
    factor = torch.nan_to_num(factor, nan=0.2).clamp(0.2, 8.0)
    done = h * good
    left = left - done
    ahead = (torch.where(good, y1, y), torch.where(good, f1, f), torch.minimum(h * factor, left))
    return (left, *ahead, size), (t, y, f, done, *([] if middle is None else [middle]))


@torch.no_grad()
def march(
    method: Method, rhs: Rhs, initial: Tensor, times: Tensor, p: Tensor, settings: Settings
) -> Steps:
    """Step every sample to its own last time, with its own steps."""
    batch = len(initial)
    t, end = times[:, :1], times[:, -1:]
    f, size, h = _first_step(rhs, initial, t, end - t, p, method, settings)
    tiny = torch.finfo(initial.dtype).tiny * settings.rtol / settings.atol
    y, f, size = (x.T.contiguous() for x in (initial, f, size.clamp(min=tiny)))
    state, fixed = ((end - t)[:, 0], y, f, h[:, 0], size), (end[:, 0], p)
    look = _Look(settings, batch, 32 * torch.maximum(end.abs(), t.abs())[:, 0])
    record, last = Record(batch), [y, f]  # and the last values of the samples set aside
    step, attempt = settings.step or advance, method.attempt(y)
    for number in range(1, settings.max_steps + 1):
        state, row = step(attempt, method.order, rhs, state, fixed, settings.rtol, settings.atol)
        record.add(row)
        if number % _PERIOD and number > 2 and number < settings.max_steps:
            continue
        going = look(state, fixed)
        count = int(going.sum())
        if count == 0:
            break
        # set aside the samples that have arrived; a compiled step keeps its shape
        if settings.step is None and count < 0.5 * len(going):
            last = [_merge(a, b, look.alive) for a, b in zip(last, state[1:3], strict=True)]
            keep = going.nonzero()[:, 0]
            look.alive = keep if look.alive is None else look.alive[keep]
            state = tuple(part[..., keep] for part in state)
            fixed = (fixed[0][keep], fixed[1].T[:, keep].T)
            attempt = method.attempt(state[1])
            record.narrow(look.alive)
    else:
        raise look.failed(f"more than max_steps = {settings.max_steps} steps", going, state, fixed)
    last = [_merge(a, b, look.alive) for a, b in zip(last, state[1:3], strict=True)]
    return record.steps(end[:, 0], *last)


def _merge(full: Tensor, part: Tensor, alive: Tensor | None) -> Tensor:
    return part if alive is None else full.index_copy(-1, alive, part)


class _Look:
    """A look at the whole batch: who is still going, and whether a step has become too small."""

    def __init__(self, settings: Settings, batch: int, rounding: Tensor) -> None:
        self.settings, self.batch, self.rounding = settings, batch, rounding
        self.alive: Tensor | None = None  # samples still going; None: all

    def __call__(self, state: State, fixed: State) -> Tensor:
        left, h = state[0], state[3]
        eps = torch.finfo(left.dtype).eps
        rounding = eps * (self.rounding if self.alive is None else self.rounding[self.alive])
        least = eps * torch.maximum(2 * (fixed[0] - left).abs(), 1e-2 * left)
        stuck = (left > rounding) & ~(h > least)
        if bool(stuck.any()):
            what = "the step became too small (stiff or unbounded solution)"
            raise self.failed(what, stuck, state, fixed)
        return left > 0

    def failed(self, what: str, bad: Tensor, state: State, fixed: State) -> Exception:
        """Describe the bad sample that has most of its way to go."""
        left, y, _, h, _ = state
        row = int(torch.where(bad, left, -1.0).argmax())
        sample = row if self.alive is None else int(self.alive[row])
        end = fixed[0][row].item()
        return failure(
            what,
            sample=sample,
            batch=self.batch,
            affected=int(bad.sum()),
            time=f"{end - left[row].item():.6g} of {end:.6g}, step {h[row].item():.3g}, "
            f"state {[float(f'{v:.4g}') for v in y[:, row].tolist()]}",
            values=self.settings.describe(sample),
            fix=self.settings.fix,
        )
