"""Where a law is run to emulate it, and the runs, which can be kept in a file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pima_physics import units
from pima_physics.atomic import atomic_path
from pima_physics.declarations import Declared, check_keys
from pima_physics.errors import InputError, Problems
from pima_physics.law import Simulator
from pima_physics.parameters import Parameter
from pima_physics.simulator_external import ExternalSimulator

# Relative difference of two runs of one law up to which nothing has changed, beside its accuracy.
UNCHANGED = 1e-6


@dataclass(frozen=True)
class Runs:
    """Runs of a law: training, held out, and derivatives of the first held-out ones.

    Attributes
    ----------
    training, held_out : array, shape (n, d)
        Scaled parameters.
    values, truth : array, shape (n, outputs, points)
    slopes : array, shape (g, d, outputs, points)
        By the scaled parameters.
    """

    training: np.ndarray
    held_out: np.ndarray
    values: np.ndarray
    truth: np.ndarray
    slopes: np.ndarray


@dataclass(frozen=True)
class Design:
    """A box of parameters and a grid.

    Attributes
    ----------
    box : mapping
        Free parameter -> (lowest, highest, whether on a logarithmic scale).
    fixed : mapping of float
    grid : mapping of array (points,)
    sizes : tuple of int
        Runs for training, held out, and with derivatives.
    """

    box: Mapping[str, tuple[float, float, bool]]
    fixed: Mapping[str, float]
    grid: Mapping[str, np.ndarray]
    sizes: tuple[int, int, int]
    seed: int

    def scaled(self, values: Tensor) -> Tensor:
        """Parameters (B, d) on [-1, 1], each on its own scale."""
        columns = []
        for column, (low, high, log) in zip(values.unbind(1), self.box.values(), strict=True):
            x, a, b = (column.log(), np.log(low), np.log(high)) if log else (column, low, high)
            columns.append((x - a) * (2.0 / (b - a)) - 1.0)
        return torch.stack(columns, 1)

    def parameters(self, u: Tensor) -> dict[str, Tensor]:
        """Inverse of :meth:`scaled`, by name, with the fixed ones."""
        found = {}
        for column, (name, (low, high, log)) in zip(u.unbind(1), self.box.items(), strict=True):
            a, b = (np.log(low), np.log(high)) if log else (low, high)
            value = a + (b - a) * (column + 1.0) / 2.0
            found[name] = (value.exp() if log else value).clamp(low, high)
        return found | {k: torch.full_like(u[:, 0], v) for k, v in self.fixed.items()}

    def bounded(self, name: str, declared: Declared) -> Declared:
        """A declared parameter within the box."""
        assert isinstance(declared, Parameter)
        low, high, log = self.box[name]
        middle = float(np.sqrt(low * high)) if log else (low + high) / 2.0
        value = declared.typical if low < declared.typical < high else middle
        return Parameter(
            declared.unit, value=value, min=low, max=high, scale="log" if log else "linear",
            shown_in=declared.shown_in, description=declared.description,
        )  # fmt: skip

    def described(self, declared: Mapping[str, Declared]) -> str:
        """The box in words, in the declared units."""
        return ", ".join(
            f"{name} {low:.6g} to {high:.6g} {units.pretty(str(declared[name].unit))}".rstrip()  # type: ignore[union-attr]
            for name, (low, high, _) in self.box.items()
        )

    def run(self, law: Simulator, cache: Path | None) -> Runs:
        """Run the law, or take the runs from the file."""
        kept = None if cache is None else self._read(law, cache)
        if kept is not None:
            return kept
        training, held_out = _sobol(len(self.box), self.sizes, self.seed)
        u = torch.as_tensor(np.concatenate([training, held_out]))
        found = _values(law, self.grid, self.parameters(u)).detach().numpy()
        first = u[len(training) :][: self.sizes[2]]
        slopes = self._slopes(law, first)
        count = len(training)
        runs = Runs(training, held_out, found[:count], found[count:], slopes)
        if cache is not None:
            with atomic_path(cache) as part, open(part, "wb") as file:
                np.savez_compressed(file, digest=np.array(self.digest(law)), **vars(runs))
        return runs

    def digest(self, law: Simulator) -> str:
        """Fingerprint of everything that the runs depend on, except the code behind the law."""
        said = {
            "law": law.reference, "box": dict(self.box), "fixed": dict(self.fixed),
            "grid": {k: v.tolist() for k, v in self.grid.items()},
            "constants": {k: c.value for k, c in law.constants.items()},
            "outputs": dict(law.outputs), "sizes": self.sizes, "seed": self.seed, "format": 1,
        }  # fmt: skip
        return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def _read(self, law: Simulator, cache: Path) -> Runs | None:
        """Runs in the file; None where it is not there, is of another design or has gone stale."""
        try:
            with np.load(cache, allow_pickle=False) as file:
                content = {key: file[key] for key in file.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return None
        if str(content.pop("digest", "")) != self.digest(law):
            return None
        runs = Runs(**content)
        u = torch.as_tensor(runs.held_out[:1])
        again = _values(law, self.grid, self.parameters(u)).detach().numpy()
        accuracy = law.accuracy if isinstance(law, ExternalSimulator) else 0.0
        size = np.abs(runs.truth[:1]).max()
        close = np.abs(again - runs.truth[:1]).max() <= (UNCHANGED + 10 * accuracy) * size
        return runs if close else None

    def _slopes(self, law: Simulator, u: Tensor) -> np.ndarray:
        """Derivatives by the scaled parameters, (g, d, outputs, points)."""
        leaf = u.clone().requires_grad_()
        parameters = self.parameters(leaf)
        if isinstance(law, ExternalSimulator):
            total = torch.stack([parameters[name] for name in self.box]).sum()
            (by_u,) = torch.autograd.grad(total, leaf)
            fixed = {k: v.detach() for k, v in parameters.items()}
            x, p = law.arguments({k: torch.as_tensor(v) for k, v in self.grid.items()}, fixed)
            wanted = [list(law.parameters).index(name) for name in self.box]
            return (law.jacobians(x, p)[:, wanted] * by_u[:, :, None, None]).numpy()
        values = _values(law, self.grid, parameters)
        flat = values.flatten(1)
        rows = [
            torch.autograd.grad(point.sum(), leaf, retain_graph=True, materialize_grads=True)[0]
            for point in flat.unbind(1)
        ]
        return torch.stack(rows, 2).view(*u.shape, *values.shape[1:]).numpy()


def design(
    law: Simulator,
    coordinates: Mapping[str, Any],
    box: Mapping[str, tuple[float, float]],
    samples: int,
    held_out: int,
    gradients: int,
    seed: int,
) -> Design:
    """Check the box and the grid.

    Raises
    ------
    InputError
        If a free parameter has no range, or the law has fractions.
    """
    check_keys("box", box, law.free, complete=False)
    problems = Problems()
    if law.simplices or not law.free:
        what = ", ".join(law.simplices) or "nothing free"
        problems.add(InputError(f"{law} cannot be emulated", found=what, expected="parameters"))
    if min(samples, held_out, gradients) < 1 or gradients > held_out:
        problems.add(
            InputError(
                "wrong numbers of runs",
                found=f"samples {samples}, held_out {held_out}, gradients {gradients}",
                expected="at least one of each, and gradients at most held_out",
            )
        )
    ranges = {}
    for name in law.free:
        low, high = (float(end) for end in box.get(name, law.parameters[name].bounds))
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            problems.add(
                InputError(
                    f"{law}: '{name}' has no range to be emulated over",
                    found=f"{low:g} to {high:g}",
                    expected=f"lowest and highest value in {law.parameters[name].unit}",
                    fix=f"give box={{'{name}': (low, high)}}, or bounds",
                )
            )
            continue
        ranges[name] = (low, high, low > 0 and (high / low > 100 or _log(law.parameters[name])))
    problems.raise_if_any()
    grid = {k: np.atleast_1d(np.asarray(v, dtype=float)) for k, v in coordinates.items()}
    fixed = {k: v.typical for k, v in law.parameters.items() if not v.vary}
    return Design(ranges, fixed, grid, (samples, held_out, gradients), seed)


def _log(parameter: Parameter) -> bool:
    return parameter.scale == "log"


def _sobol(dims: int, sizes: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and held-out points of [-1, 1]^d: two scrambled sequences, so none is in both."""
    from scipy.stats import qmc

    found = []
    for number, size in enumerate(sizes[:2]):
        sampler = qmc.Sobol(dims, rng=np.random.default_rng([seed, number]))
        power = int(np.ceil(np.log2(size)))
        found.append(2.0 * sampler.random_base2(power)[:size] - 1.0)
    return found[0], found[1]


def _values(law: Simulator, grid: Mapping[str, np.ndarray], p: Mapping[str, Tensor]) -> Tensor:
    outputs = law.simulate({k: torch.as_tensor(v) for k, v in grid.items()}, p)
    return torch.stack([outputs[name] for name in law.outputs], 1)
