"""Laws that are not written in torch: NumPy, SciPy, compiled codes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pima_physics.declarations import Values, check_keys
from pima_physics.errors import InputError, SolveError
from pima_physics.law import Simulator
from pima_physics.simulator_workers import Job, Workers, run_jobs
from pima_physics.timelimit import time_limit

_STEPS = 0.1 * 0.25 ** np.arange(12.0)  # relative steps tried: 0.1 to 2.4e-8
_WORST = 1e-2  # relative disagreement of neighbouring steps above which none is trusted
_COARSER = 4.0  # ratio of neighbouring steps


class ExternalSimulator(Simulator):
    """A law computed by any code, one sample at a time.

    A subclass declares coordinates, outputs and parameters as every law, and writes
    :meth:`compute`; where the derivatives are known, also :meth:`jacobian`. Otherwise they
    come from central differences whose step is probed at every call: relative errors from
    1e-6 to 3.8 were seen with fixed steps. The step is found at one sample and compared with a
    coarser one at every other; a sample where they disagree gets its own. Where no step is
    trustworthy, an error says so.

    A code that is too slow for training is replaced by an emulator that has passed its gate:
    :func:`pima_physics.emulator.emulate`.

    Attributes
    ----------
    accuracy : float
        Relative error of the outputs, for the checks.
    time_limit : float
        Seconds that one call of :meth:`compute`, for one sample, may take.
    workers : int
        Processes that share the samples of a batch; 1: this process only. The class must then
        lie at the top of a module, and a script that uses it keeps its own work under
        ``if __name__ == "__main__":``. The processes end with the law, or by :meth:`close`.
    """

    accuracy: ClassVar[float] = 1e-8
    workers: int = 1

    @abstractmethod
    def compute(self, x: Any, p: Any) -> Mapping[str, Any]:
        """Return every output of one sample.

        ``x.<coordinate>`` is an array (T,), ``p.<parameter>`` a float, in the declared units.
        """

    def jacobian(self, x: Any, p: Any) -> Mapping[str, Mapping[str, Any]] | None:
        """Return ``{output: {parameter: (T,)}}`` for one sample, or None: differences."""
        return None

    @final
    def evaluate(self, x: Any, p: Any) -> Mapping[str, Tensor]:
        """Run :meth:`compute` for every sample."""
        packed, jobs = self._jobs(x, p)
        out: Tensor = _External.apply(packed, self, jobs)  # type: ignore[assignment]
        return {name: out[:, i] for i, name in enumerate(self.outputs)}

    def _evaluated(self, x: Values, p: Values) -> Mapping[str, Tensor]:
        return self.evaluate(x, p)  # each sample has its own time limit

    @final
    def jacobians(self, x: Any, p: Any) -> Tensor:
        """Derivatives of every sample, (samples, parameters, outputs, points).

        Parameters in the order of declaration; zero for those that do not vary.

        Raises
        ------
        SolveError
            If finite differences are not reliable, or the code fails.
        """
        packed, jobs = self._jobs(x, p)
        return torch.as_tensor(self._slopes(jobs)).to(packed)

    @final
    def close(self) -> None:
        """End the worker processes, if there are any."""
        kept = vars(self).get("_workers")
        if kept is not None:
            kept.close()

    def _spread(self, method: str, jobs: Sequence[Job]) -> list[Any]:
        """Call a method for every job, in the worker processes where there are any."""
        if self.workers <= 1 or len(jobs) <= 1:
            return run_jobs(self, method, jobs)
        kept = vars(self).setdefault("_workers", Workers(self.workers))
        return kept.run(self, method, jobs)

    def _slopes(self, jobs: Sequence[Job]) -> np.ndarray:
        """:meth:`jacobians` of prepared samples, each (grid, parameters, points)."""
        middle = jobs[len(jobs) // 2]
        steps = np.zeros(len(self.parameters))
        if self.jacobian(Values(**middle[0]), self._values(middle[1])) is None:
            # what is fixed needs no derivative
            vary = [j for j, p in enumerate(self.parameters.values()) if p.vary]
            steps[vary] = self._spread("probe_step", [(*middle, j) for j in vary])
        return np.stack(self._spread("derivative", [(*job, steps) for job in jobs]))

    def _jobs(self, x: Any, p: Any) -> tuple[Tensor, list[Job]]:
        """Parameters (B, P), and (grid, parameters, points) of every sample."""
        batch, points = self.shape(x, p)
        packed = torch.cat([getattr(p, name).expand(batch, 1) for name in self.parameters], 1)
        rows = packed.detach().cpu().double().numpy()
        grid = {k: v.detach().cpu().double().numpy() for k, v in vars(x).items()}
        grids = [{k: v[min(i, len(v) - 1)] for k, v in grid.items()} for i in range(batch)]
        return packed, [(g, row, points) for g, row in zip(grids, rows, strict=True)]

    def described(self, values: np.ndarray) -> str:
        """Parameters of one sample in the units in which they are reported."""
        named = zip(self.parameters, values.tolist(), strict=True)
        return self.describe(Values(**{k: torch.tensor([[v]]) for k, v in named}), 0)

    def one(self, grid: Mapping[str, np.ndarray], values: np.ndarray, points: int) -> np.ndarray:
        """Outputs of one sample as (outputs, T), from parameters in the order of declaration."""
        with time_limit(self.time_limit, str(self), self.limit_hint):
            result = self.compute(Values(**grid), self._values(values))
        check_keys(f"outputs of {self}", result, self.outputs)
        rows = [np.broadcast_to(np.asarray(result[k], dtype=float), points) for k in self.outputs]
        return np.stack(rows)

    def derivative(
        self, grid: Mapping[str, np.ndarray], values: np.ndarray, points: int, steps: np.ndarray
    ) -> np.ndarray:
        """Jacobian of one sample, (parameters, outputs, T)."""
        with time_limit(self.time_limit, f"jacobian() of {self}", self.limit_hint):
            known = self.jacobian(Values(**grid), self._values(values))
        found = np.zeros((len(self.parameters), len(self.outputs), points))
        if known is not None:
            self._check_known(known)
        for j, name in enumerate(self.parameters):
            if known is not None:
                for i, output in enumerate(self.outputs):
                    found[j, i] = known[output].get(name, 0.0)
            elif steps[j]:
                found[j] = self._checked_difference(grid, values, points, j, steps[j])
        return found

    def _check_known(self, known: Mapping[str, Mapping[str, Any]]) -> None:
        check_keys(f"outputs in jacobian() of {self}", known, self.outputs)
        for output in self.outputs:
            missing = [name for name in self.free if name not in known[output]]
            if missing:
                raise InputError(
                    f"{self}: jacobian() leaves out derivatives of '{output}'",
                    found=", ".join(known[output]) or "none",
                    expected="also " + ", ".join(missing),
                    fix="give 0.0 where a parameter has no effect",
                )

    def _checked_difference(
        self, grid: Mapping[str, np.ndarray], values: np.ndarray, points: int, j: int, step: float
    ) -> np.ndarray:
        """Difference at a step found elsewhere, or at an own step where that is not reliable."""
        fine, coarse = (
            self.difference(grid, values, points, j, s) for s in (step, _COARSER * step)
        )
        size = max(np.abs(fine).max(), np.abs(coarse).max())
        if size == 0:  # no effect here, or one smaller than the code's resolution
            size = np.abs(self.difference(grid, values, points, j, float(_STEPS[0]))).max()
        if np.abs(fine - coarse).max() <= _WORST * size and (size == 0 or fine.any()):
            return fine
        own = self.probe_step(grid, values, points, j)
        return self.difference(grid, values, points, j, own)

    def difference(
        self,
        grid: Mapping[str, np.ndarray],
        values: np.ndarray,
        points: int,
        index: int,
        step: float,
    ) -> np.ndarray:
        """Central difference by one parameter, with a step relative to its size."""
        size = step * self._size(values, index)
        up, down = values.copy(), values.copy()
        up[index] += size
        down[index] -= size
        change = self.one(grid, up, points) - self.one(grid, down, points)
        return change / (up[index] - down[index])

    def probe_step(
        self, grid: Mapping[str, np.ndarray], values: np.ndarray, points: int, index: int
    ) -> float:
        """Relative step at which neighbouring differences agree best.

        Large steps err by curvature, small ones by the noise of the code: in between lies a
        valley, whose depth is a measure of the error.

        Raises
        ------
        SolveError
            If no two steps agree.
        """
        tried = [self.difference(grid, values, points, index, step) for step in _STEPS]
        size = float(np.median([np.abs(d).max() for d in tried[:4]]))
        if size == 0:
            return float(_STEPS[4])
        # a code that rounds its result has differences of exactly zero at small steps
        flat = [np.abs(d).max() < 1e-3 * size for d in tried]
        gaps = np.array([np.abs(a - b).max() / size for a, b in pairwise(tried)])
        gaps[np.array(flat[1:])] = np.inf
        best = int(np.nanargmin(gaps))
        if not gaps[best] < _WORST:
            name = list(self.parameters)[index]
            raise SolveError(
                f"{self}: finite differences by '{name}' are not reliable\n"
                f"  found:    the best two steps differ by {gaps[best]:.2g}\n"
                f"  expected: less than {_WORST:g}\n"
                "  fix:      tighten the tolerances of the code, or write jacobian()"
            )
        return float(_STEPS[best + 1])

    def _values(self, values: np.ndarray) -> Values:
        fixed = {k: c.value for k, c in self.constants.items()}
        given = zip(self.parameters, values.tolist(), strict=True)
        return Values(**fixed, **dict(given))

    def _size(self, values: np.ndarray, index: int) -> float:
        typical = abs(list(self.parameters.values())[index].typical)
        return max(abs(float(values[index])), 1e-3 * typical) or 1.0


class _External(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, packed: Tensor, law: ExternalSimulator, jobs: list[Job]) -> Tensor:
        ctx.law, ctx.jobs = law, jobs
        return torch.as_tensor(np.stack(law._spread("one", jobs))).to(packed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        jacobian = torch.as_tensor(ctx.law._slopes(ctx.jobs)).to(grad)
        return torch.einsum("bkot,bot->bk", jacobian, grad), None, None
