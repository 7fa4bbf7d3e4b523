"""The gate that an emulator must pass: errors at parameters that it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pima_physics.emulator_design import Runs

# Derivatives by a parameter with less effect than this share of the strongest are held to that
# share: relative to a derivative of zero, every error is infinite.
WEAKEST = 1e-3


@dataclass(frozen=True)
class Gate:
    """Errors of an emulator at held-out parameters, and what they may be.

    Attributes
    ----------
    value_error : array, shape (held out,)
        RMS over the points of the worst output, relative to its standard deviation over the box.
    gradient_error : array, shape (parameter, held out with derivatives)
        RMS over outputs and points, relative to the RMS of the derivative over the box.
    parameters : tuple of str
    tolerance, gradient_tolerance : float
    """

    value_error: np.ndarray
    gradient_error: np.ndarray
    parameters: tuple[str, ...]
    tolerance: float
    gradient_tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every held-out run is within both tolerances."""
        values, slopes = float(self.value_error.max()), float(self.gradient_error.max())
        return values <= self.tolerance and slopes <= self.gradient_tolerance

    def worst(self) -> str:
        """The largest errors in words."""
        by = self.parameters[int(np.unravel_index(self._worst_slope, self.gradient_error.shape)[0])]
        return (
            f"errors up to {self.value_error.max():.2g} in values, "
            f"{self.gradient_error.max():.2g} in gradients (by {by})"
        )

    def limits(self) -> str:
        """What is admitted, in words."""
        return f"at most {self.tolerance:g} in values, {self.gradient_tolerance:g} in gradients"

    @property
    def _worst_slope(self) -> int:
        return int(np.argmax(self.gradient_error))

    def __str__(self) -> str:
        median = f"{np.median(self.value_error):.2g}, {np.median(self.gradient_error):.2g}"
        return (
            f"{'passed' if self.passed else 'not passed'}: {self.worst()}; medians {median}; "
            f"{self.limits()}; {len(self.value_error)} held-out runs, "
            f"{self.gradient_error.shape[1]} with derivatives"
        )


def measure(
    emulator: Callable[[Tensor], Tensor],
    runs: Runs,
    outputs: int,
    parameters: tuple[str, ...],
    tolerance: float,
    gradient_tolerance: float,
) -> Gate:
    """Compare an emulator with held-out runs of its law.

    Parameters
    ----------
    emulator : callable
        Scaled parameters (B, d) -> (B, outputs * points).
    """
    u = torch.as_tensor(runs.held_out)
    made = emulator(u).view(len(u), outputs, -1).numpy()
    spread = np.sqrt(runs.values.var(0).mean(1)).clip(1e-300)
    wrong = np.sqrt(np.square(made - runs.truth).mean(2)) / spread
    leaf = u[: len(runs.slopes)].clone().requires_grad_()
    flat = emulator(leaf)
    columns = [
        torch.autograd.grad(point.sum(), leaf, retain_graph=True)[0] for point in flat.unbind(1)
    ]
    slopes = torch.stack(columns, 2).view(*leaf.shape, outputs, -1).numpy()
    # Outputs of different size count alike.
    scaled, exact = slopes / spread[:, None], runs.slopes / spread[:, None]
    size = np.sqrt(np.square(exact).mean((0, 2, 3)))
    size = np.maximum(size, WEAKEST * size.max()).clip(1e-300)
    off = np.sqrt(np.square(scaled - exact).mean((2, 3))) / size
    return Gate(wrong.max(1), off.T, parameters, tolerance, gradient_tolerance)
