"""A law between unconstrained parameters and the stored values of one modality."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from pima_physics.dataset import ModalityInfo
from pima_physics.errors import DataError
from pima_physics.simulator import Simulator
from pima_physics.units import compatible, conversion, pretty


def bind_coordinates(simulator: Simulator, info: ModalityInfo) -> dict[str, str]:
    """Match the simulator's coordinates to the data's, by name or, where there is one, by unit.

    Returns
    -------
    dict
        Simulator's coordinate -> data's coordinate.

    Raises
    ------
    DataError
        Where a coordinate has no counterpart or an incompatible unit.
    """
    wanted, given = dict(simulator.coordinates), dict(info.coordinates)
    match = {name: name for name in wanted if name in given}
    left = [name for name in wanted if name not in match]
    spare = [name for name in given if name not in match.values()]
    if len(left) == 1 and len(spare) == 1:
        match[left[0]] = spare[0]
        left = []
    law = type(simulator).__name__
    if left or (len(spare) > 0 and len(match) < len(given)):
        raise DataError(
            f"modality '{info.name}': coordinates do not match those of {law}",
            found=", ".join(f"{n} ({_shown(c.unit)})" for n, c in given.items()) or "none",
            expected=", ".join(f"{n} ({_shown(u)})" for n, u in wanted.items()) or "none",
            fix="rename the data's dimension, or give it a coordinate variable with units",
        )
    for name, counterpart in match.items():
        unit = given[counterpart].unit
        if not compatible(unit, wanted[name]):
            raise DataError(
                f"modality '{info.name}': coordinate '{counterpart}' has the wrong unit for {law}",
                found=unit,
                expected=f"a unit compatible with {wanted[name]}",
                fix=f"set the attribute units of '{counterpart}' in the file",
            )
    return match


def _shown(unit: str) -> str:
    return pretty(unit) or "dimensionless"


class Law(nn.Module):
    """A simulator between unconstrained parameters and stored values of one modality.

    Parameters
    ----------
    common : tuple of str
        Free parameters that have one value for all samples, held in ``common_raw``.
    """

    common_raw: Tensor
    common_covariance: Tensor

    def __init__(
        self,
        simulator: Simulator,
        observe: str,
        info: ModalityInfo,
        *,
        common: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.simulator = simulator
        self.observe = observe
        self.common = common
        self.free = tuple(name for name in simulator.free if name not in common)
        if common:
            self.register_buffer("common_raw", torch.zeros(len(common)))
            self.register_buffer("common_covariance", torch.zeros(len(common), len(common)))
        self.known = tuple(info.inputs)
        self.shape = tuple(info.shape)
        self.binding = bind_coordinates(simulator, info)
        self._factors = {}
        for name, counterpart in self.binding.items():
            change = conversion(info.coordinates[counterpart].unit, simulator.coordinates[name])
            self._factors[name] = (change.scale, change.offset)
        grids = np.meshgrid(
            *[c.values for c in info.coordinates.values() if np.ndim(c.values) == 1],
            indexing="ij",
        )
        shared = [n for n, c in info.coordinates.items() if np.ndim(c.values) == 1]
        for name, values in zip(shared, grids, strict=True):
            self.register_buffer(f"grid_{name}", torch.as_tensor(values.ravel().copy()))
        to_data = conversion(simulator.outputs[observe], info.unit)
        scale = np.broadcast_to(np.asarray(info.scale, dtype=float), self.shape).ravel()
        shift = np.broadcast_to(np.asarray(info.shift, dtype=float), self.shape).ravel()
        self.register_buffer("gain", torch.as_tensor(to_data.scale / scale))
        self.register_buffer("offset", torch.as_tensor((to_data.offset - shift) / scale))
        self.gain: Tensor
        self.offset: Tensor

    def coordinates(self, grid: Mapping[str, Tensor] | None, like: Tensor) -> dict[str, Tensor]:
        """Coordinates in the simulator's units, each (points,) or (batch, points)."""
        result = {}
        for name, counterpart in self.binding.items():
            own = (grid or {}).get(counterpart)
            values = getattr(self, f"grid_{counterpart}") if own is None else own
            scale, offset = self._factors[name]
            result[name] = (scale * values + offset).to(like)
        return result

    def parameters_of(self, raw: Tensor) -> dict[str, Tensor]:
        """Free parameters in the simulator's units, each of shape (batch,)."""
        declared = self.simulator.parameters
        return {name: declared[name].constrain(raw[:, j]) for j, name in enumerate(self.free)}

    def given_of(self, grid: Mapping[str, Tensor] | None, like: Tensor) -> dict[str, Tensor]:
        """Parameters that are known of every sample or common to all, each of shape (batch,)."""
        given = {name: grid[name][:, 0].to(like) for name in self.known} if grid else {}
        declared = self.simulator.parameters
        for j, name in enumerate(self.common):
            given[name] = declared[name].constrain(self.common_raw[j].to(like)).expand(len(like))
        return given

    def with_free(self, names: tuple[str, ...]) -> Law:
        """The same law with these parameters as the free ones, and none common to all samples."""
        law = copy.copy(self)
        law.free, law.common = names, ()
        return law

    def forward(self, raw: Tensor, grid: Mapping[str, Tensor] | None) -> Tensor:
        """Prediction in stored values, shape (batch, *shape)."""
        # In training on a GPU nothing waits: the bound is looked at after the epoch.
        outputs = self.simulator.simulate(
            self.coordinates(grid, raw),
            self.parameters_of(raw) | self.given_of(grid, raw),
            check_finite=not (self.training and raw.is_cuda),
        )
        flat = outputs[self.observe] * self.gain.to(raw) + self.offset.to(raw)
        return flat.reshape(len(raw), *self.shape)
