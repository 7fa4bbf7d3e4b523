"""Laws that are not written in torch: NumPy, SciPy, compiled codes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pima_physics.declarations import Values, check_keys
from pima_physics.errors import SolveError
from pima_physics.law import Simulator

_STEPS = 0.1 * 0.25 ** np.arange(12)  # relative steps tried: 0.1 to 2.4e-8
_WORST = 1e-2  # relative disagreement of neighbouring steps above which none is trusted


class ExternalSimulator(Simulator):
    """A law computed by any code, one sample at a time.

    A subclass declares coordinates, outputs and parameters as every law, and writes
    :meth:`compute`; where the derivatives are known, also :meth:`jacobian`. Otherwise they
    come from central differences whose step is probed at every call: relative errors from
    1e-6 to 3.8 were seen with fixed steps. Where no step is trustworthy, an error says so.

    Attributes
    ----------
    accuracy : float
        Relative error of the outputs, for the checks.
    """

    accuracy: ClassVar[float] = 1e-8

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
        names = tuple(self.parameters)
        batch, points = self.shape(x, p)
        packed = torch.cat([getattr(p, name).expand(batch, 1) for name in names], 1)
        grid = {k: v.detach().cpu().double().numpy() for k, v in vars(x).items()}
        grids = [{k: v[min(i, len(v) - 1)] for k, v in grid.items()} for i in range(batch)]
        out: Tensor = _External.apply(packed, self, grids, points)  # type: ignore[assignment]
        return {name: out[:, i] for i, name in enumerate(self.outputs)}

    def one(self, grid: Mapping[str, np.ndarray], values: np.ndarray, points: int) -> np.ndarray:
        """Outputs of one sample as (outputs, T), from parameters in the order of declaration."""
        result = self.compute(Values(**grid), self._values(values))
        check_keys(f"outputs of {self}", result, self.outputs)
        rows = [np.broadcast_to(np.asarray(result[k], dtype=float), points) for k in self.outputs]
        return np.stack(rows)

    def derivative(
        self, grid: Mapping[str, np.ndarray], values: np.ndarray, points: int, steps: np.ndarray
    ) -> np.ndarray:
        """Jacobian of one sample, (parameters, outputs, T)."""
        known = self.jacobian(Values(**grid), self._values(values))
        found = np.zeros((len(self.parameters), len(self.outputs), points))
        for j, name in enumerate(self.parameters):
            if known is not None:
                for i, output in enumerate(self.outputs):
                    found[j, i] = known[output].get(name, 0.0)
            elif steps[j]:
                found[j] = self.difference(grid, values, points, j, steps[j])
        return found

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
    def forward(
        ctx: Any, packed: Tensor, law: ExternalSimulator, grids: list[Any], points: int
    ) -> Tensor:
        rows = packed.detach().cpu().double().numpy()
        ctx.law, ctx.grids, ctx.points, ctx.rows = law, grids, points, rows
        found = [law.one(grid, row, points) for grid, row in zip(grids, rows, strict=True)]
        return torch.as_tensor(np.stack(found)).to(packed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        law, grids, points, rows = ctx.law, ctx.grids, ctx.points, ctx.rows
        middle = len(rows) // 2
        steps = np.zeros(rows.shape[1])
        if law.jacobian(Values(**grids[middle]), law._values(rows[middle])) is None:
            for j, parameter in enumerate(law.parameters.values()):
                if parameter.vary:  # what is fixed needs no derivative
                    steps[j] = law.probe_step(grids[middle], rows[middle], points, j)
        found = [
            law.derivative(grid, row, points, steps) for grid, row in zip(grids, rows, strict=True)
        ]
        jacobian = torch.as_tensor(np.stack(found)).to(grad)
        return torch.einsum("bkot,bot->bk", jacobian, grad), None, None, None
