"""Initial value problems of the benchmark, and their reference solutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pima_physics.engines import Rhs


@dataclass(frozen=True)
class System:
    """One batch of problems: initial (B, n), times (T,), parameters (B, k)."""

    name: str
    rhs: Rhs
    initial: Tensor
    times: Tensor
    parameters: Tensor
    exact: Callable[[Tensor, Tensor], Tensor] | None = None
    stiff: bool = False


def oscillator(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
    """Damped oscillator with p = (angular frequency, damping ratio)."""
    omega, zeta = p[:, :1], p[:, 1:]
    x, v = y[:, :1], y[:, 1:]
    return torch.cat([v, -omega * omega * x - 2.0 * zeta * omega * v], 1)


def oscillator_exact(times: Tensor, p: Tensor) -> Tensor:
    """Position and speed after release from 1; (B, T, 2)."""
    omega, zeta = p[:, :1], p[:, 1:]
    fast = omega * (1.0 - zeta**2).sqrt()
    envelope = torch.exp(-zeta * omega * times)
    cosine, sine = torch.cos(fast * times), torch.sin(fast * times)
    position = envelope * (cosine + zeta * omega / fast * sine)
    return torch.stack([position, -envelope * omega**2 / fast * sine], 2)


def lotka_volterra(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
    """Prey and predator with four rates."""
    a, b, c, d = p.split(1, 1)
    prey, predator = y[:, :1], y[:, 1:]
    return torch.cat([(a - b * predator) * prey, (d * prey - c) * predator], 1)


def van_der_pol(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
    """Relaxation oscillator."""
    x, v = y[:, :1], y[:, 1:]
    return torch.cat([v, p * (1.0 - x * x) * v - x], 1)


def robertson(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
    """Three reactions of very different speed."""
    k1, k2, k3 = p.split(1, 1)
    a, b, c = y.split(1, 1)
    first, second, third = k1 * a, k2 * b * b, k3 * b * c
    return torch.cat([third - first, first - third - second, second], 1)


def make(name: str, batch: int, *, points: int = 64, seed: int = 0) -> System:
    """Draw a batch of problems."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*ranges: tuple[float, float]) -> Tensor:
        low, high = torch.tensor(ranges, dtype=torch.float64).T
        part = torch.rand(batch, len(ranges), generator=generator, dtype=torch.float64)
        return low + (high - low) * part

    def start(*values: float) -> Tensor:
        return torch.tensor([values], dtype=torch.float64).repeat(batch, 1)

    def grid(end: float) -> Tensor:
        return torch.linspace(0.0, end, points, dtype=torch.float64)

    if name == "damped oscillator":
        p = draw((1.0, 5.0), (0.02, 0.5))
        return System(name, oscillator, start(1.0, 0.0), grid(10.0), p, oscillator_exact)
    if name == "Lotka-Volterra":
        return System(name, lotka_volterra, start(1.5, 0.8), grid(15.0), draw(*[(0.5, 1.5)] * 4))
    if name == "Van der Pol":
        p = torch.full((batch, 1), 100.0, dtype=torch.float64) * draw((0.9, 1.1))
        return System(name, van_der_pol, start(2.0, 0.0), grid(200.0), p, stiff=True)
    log = torch.logspace(-4, math.log10(40.0), points - 1, dtype=torch.float64)
    times = torch.cat([torch.zeros(1, dtype=torch.float64), log])
    p = draw((0.03, 0.05), (2e7, 4e7), (0.8e4, 1.2e4))
    return System("Robertson", robertson, start(1.0, 0.0, 0.0), times, p, stiff=True)


def reference(system: System, parameters: Tensor) -> np.ndarray:
    """Solutions by SciPy at a tolerance of 1e-11; (B, T, n)."""
    from scipy.integrate import solve_ivp

    method = "Radau" if system.stiff else "DOP853"
    solutions = []
    for initial, p in zip(system.initial[: len(parameters)], parameters, strict=True):

        def rhs(t: float, y: np.ndarray, p: Tensor = p) -> np.ndarray:
            rows = torch.as_tensor(y)[None]
            return system.rhs(torch.full((1, 1), t, dtype=torch.float64), rows, p[None])[0].numpy()

        times = system.times.numpy()
        found = solve_ivp(
            rhs, times[[0, -1]], initial.numpy(), method, times, rtol=1e-11, atol=1e-13
        )
        solutions.append(found.y.T)
    return np.stack(solutions)
