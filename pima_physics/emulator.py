r"""A slow law replaced by a fast, differentiable one, which is used only where it is right.

The outputs over the grid are projected on their principal components, and each score is a
Gaussian process of the parameters u, scaled to [-1, 1] over a box:

.. math:: y(u) = \bar y + \sum_k v_k \Big(m_k + s_k \sum_i a_k
          e^{-\frac12 \sum_j (u_j - u_{ij})^2 / \ell_{kj}^2} \alpha_{ki}\Big)

It is trained on a Sobol design (Rasmussen and Williams, Gaussian Processes for Machine Learning,
2006; Higdon et al., J. Am. Stat. Assoc. 103 (2008) 570), and must pass a gate on values *and*
gradients at parameters that it has not seen: right values do not imply right gradients.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pima_physics.declarations import Values, check_keys
from pima_physics.emulator_design import Design, design
from pima_physics.emulator_gate import Gate, measure
from pima_physics.errors import InputError, SolveError
from pima_physics.law import Simulator

# Variance that the principal components may leave out, as a share; most components.
LEFT_OUT, MOST = 1e-8, 24
# Further starts of the fit of a process, at random lengths.
RESTARTS = 1
# Coordinates and parameters as far off as this, relative to their range, are the same (float32).
SAME = 1e-5


@dataclass(frozen=True)
class Processes:
    """Gaussian processes of the scores, in float64.

    Attributes
    ----------
    seen : Tensor, shape (n, d)
        Scaled parameters of the training runs.
    length : Tensor, shape (K, d)
    weight : Tensor, shape (K, n)
        Amplitude times alpha, in units of the score.
    mean : Tensor, shape (K,)
    basis : Tensor, shape (K, outputs * points)
    centre : Tensor, shape (outputs * points,)
    """

    seen: Tensor
    length: Tensor
    weight: Tensor
    mean: Tensor
    basis: Tensor
    centre: Tensor

    def __call__(self, u: Tensor) -> Tensor:
        """Outputs (B, outputs * points) at scaled parameters (B, d)."""
        here, there = u / self.length[:, None], self.seen / self.length[:, None]  # (K, B|n, d)
        square = here.square().sum(2)[:, :, None] + there.square().sum(2)[:, None]
        kernel = torch.exp(here @ there.mT - 0.5 * square)
        score = (kernel @ self.weight[:, :, None])[..., 0] + self.mean[:, None]
        return self.centre + score.T @ self.basis


class Emulator(Simulator):
    """A law that has been emulated on a fixed grid; made by :func:`emulate`.

    It has the law's outputs, coordinates and parameters, bounded by the box. Other grids, other
    values of fixed parameters and parameters outside of the box are refused, and so is every
    use where the gate was not passed.
    """

    def __init__(
        self, law: Simulator, plan: Design, processes: Processes, gate: Gate, name: str | None
    ) -> None:
        self.law, self.plan, self.processes, self.gate, self.name = law, plan, processes, gate, name
        self.coordinates, self.outputs = dict(law.coordinates), dict(law.outputs)  # type: ignore[misc]
        self.golden = None  # type: ignore[misc]
        self._declared = {
            key: plan.bounded(key, value) if key in plan.box else value
            for key, value in law._declared.items()
        }

    @property
    def reference(self) -> str:
        """Where :func:`find` gets this emulator; without a name, the law that it stands for."""
        return self.name or self.law.reference

    @final
    def evaluate(self, x: Any, p: Any) -> Mapping[str, Tensor]:
        """Outputs of the emulator, where it may be used."""
        if not self.gate.passed:
            raise InputError(
                f"the emulator of {self.law} did not pass its gate and is not used",
                found=self.gate.worst(),
                expected=self.gate.limits(),
                fix="more samples, a smaller box, or fewer free parameters; or use the law itself",
            )
        self._check_grid(x)
        given = torch.cat([getattr(p, key).reshape(-1, 1).double() for key in self.plan.box], 1)
        u = self.plan.scaled(given)
        self._check_box(u, p)
        made = self.processes(u.clamp(-1.0, 1.0)).to(next(iter(vars(p).values())))
        parts = made.view(len(u), len(self.outputs), -1)
        return {name: parts[:, i] for i, name in enumerate(self.outputs)}

    def _check_grid(self, x: Values) -> None:
        for name, wanted in self.plan.grid.items():
            given = getattr(x, name).detach().cpu().double()
            size = float(np.ptp(wanted)) or float(np.abs(wanted).max()) or 1.0
            known = torch.as_tensor(wanted)
            if given.shape[1] != len(known) or bool(((given - known).abs() > SAME * size).any()):
                raise InputError(
                    f"the emulator of {self.law} was made for another grid of '{name}'",
                    found=f"{given.shape[1]} points from {given.min():.6g} to {given.max():.6g}",
                    expected=f"{len(known)} points from {known.min():.6g} to {known.max():.6g}",
                    fix="emulate the law on the grid of the data",
                )

    def _check_box(self, u: Tensor, p: Values) -> None:
        outside = (u.detach().abs() > 1.0 + SAME).any(1)
        if bool(outside.any()):
            bad = int(outside.nonzero()[0])
            raise SolveError(
                f"the emulator of {self.law} is asked outside of its box\n"
                f"  sample:   {bad} of {len(u)} ({int(outside.sum())} affected)\n"
                f"  values:   {self.describe(p, bad)}\n"
                f"  expected: {self.plan.described(self._declared)}\n"
                "  fix:      emulate the law on a larger box, or tighten the bounds"
            )
        for name, value in self.plan.fixed.items():
            given = getattr(p, name).detach()
            if bool(((given - value).abs() > SAME * max(abs(value), 1e-300)).any()):
                raise InputError(
                    f"the emulator of {self.law} was made for another value of '{name}'",
                    found=float(given.reshape(-1)[0]),
                    expected=value,
                    fix="emulate the law with this value",
                )

    def __repr__(self) -> str:
        return f"Emulator({self.law})"


def emulate(
    law: Simulator,
    coordinates: Mapping[str, Any],
    *,
    box: Mapping[str, tuple[float, float]] | None = None,
    samples: int = 256,
    held_out: int = 64,
    gradients: int = 16,
    tolerance: float = 0.01,
    gradient_tolerance: float = 0.05,
    seed: int = 0,
    name: str | None = None,
    cache: str | Path | None = None,
) -> Emulator:
    """Run a law over a box of its parameters, and emulate it.

    Parameters
    ----------
    law : Simulator
        Any law; what it fixes (``vary=False``) stays fixed.
    coordinates : mapping of (points,)
        The grid, in the declared units.
    box : mapping, optional
        Free parameter -> lowest and highest value, in its declared unit. Default: its bounds.
    samples, held_out, gradients : int
        Runs for training and for the gate; of the latter, how many with all derivatives.
    tolerance, gradient_tolerance : float
        Largest error of any held-out run: of its values, relative to their standard deviation
        over the box; of its derivative by any parameter, relative to that derivative's RMS.
    seed : int
        Of the designs.
    name : str, optional
        ``package.module:object`` under which a stored run finds the emulator again. Without it,
        a loaded run works with the law itself.
    cache : path, optional
        File that keeps the runs: they are made only where it does not hold them already. A
        run of the law is compared with the file's, in case the code behind it has changed.

    Returns
    -------
    Emulator
        Also where the gate was not passed: it then refuses every use, and ``.gate`` says why.

    Raises
    ------
    InputError
        If a free parameter has no range, or the law has fractions (Simplex).
    """
    check_keys(f"coordinates of {law}", coordinates, law.coordinates)
    plan = design(law, coordinates, box or {}, samples, held_out, gradients, seed)
    runs = plan.run(law, None if cache is None else Path(cache))
    processes = _trained(runs.training, runs.values, seed)
    size = len(law.outputs)
    gate = measure(processes, runs, size, tuple(plan.box), tolerance, gradient_tolerance)
    return Emulator(law, plan, processes, gate, name)


def _trained(u: np.ndarray, values: np.ndarray, seed: int) -> Processes:
    """Fit one process to every principal component."""
    centre = values.mean(0)
    # Outputs of different size count alike.
    size = np.broadcast_to(
        np.sqrt(values.var(0).mean(-1, keepdims=True)).clip(1e-300), values.shape[1:]
    ).reshape(-1)
    left, strength, right = np.linalg.svd((values - centre).reshape(len(u), -1) / size, False)
    after = 1.0 - np.cumsum(strength**2) / max(float((strength**2).sum()), 1e-300)
    kept = min(MOST, len(strength), 1 + int((after > LEFT_OUT).sum()))
    scores = left[:, :kept] * strength[:kept]
    fits = [_process(u, scores[:, k], seed) for k in range(kept)]
    length, weight, mean = (np.stack(parts) for parts in zip(*fits, strict=True))
    basis = right[:kept] * size
    return Processes(
        *(torch.as_tensor(a) for a in (u, length, weight, mean, basis, centre.ravel()))
    )


def _process(u: np.ndarray, score: np.ndarray, seed: int) -> tuple[np.ndarray, ...]:
    """Length scales, weights of the training runs, and mean of one score."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    spread = float(score.std())
    if spread == 0.0:
        return np.ones(u.shape[1]), np.zeros(len(u)), np.array(score.mean())
    # Amplitude and lengths start large: laws are smooth, and from there the fit finds out where
    # they are not. With less noise than its least the matrix is singular for smooth laws.
    lengths: Any = np.full(u.shape[1], 2.0)
    kernel = ConstantKernel(1e2, (1e-2, 1e6)) * RBF(lengths, (5e-2, 1e2))
    kernel = kernel + WhiteKernel(1e-6, (1e-10, 1.0))
    model = GaussianProcessRegressor(
        kernel, alpha=1e-12, n_restarts_optimizer=RESTARTS, random_state=seed
    )
    with warnings.catch_warnings():  # a length at its bound is no fault; the gate is the judge
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(u, (score - score.mean()) / spread)
    fitted: Any = model.kernel_
    amplitude, length = fitted.k1.k1.constant_value, np.atleast_1d(fitted.k1.k2.length_scale)
    return length, spread * amplitude * np.ravel(model.alpha_), np.array(score.mean())
