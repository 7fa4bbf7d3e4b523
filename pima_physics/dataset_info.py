"""What is asked of a dataset for one modality, and what was found: dims, units, scaling."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pima_physics.units import DIMENSIONLESS, difference

# What is kept of own grids.
OF_GRIDS = ("shift", "scale", "typical")


@dataclass(frozen=True)
class Input:
    """A parameter of a law that is known of every sample.

    Attributes
    ----------
    variable : str
        Of the data, with the sample as its only dimension.
    unit : str
        Of the parameter; the values are kept in it, in :attr:`ModalityData.grid`.
    low, high : float
        Bounds of the parameter.
    shift, scale : float
        Centre and spread over the training samples, for the encoder.
    """

    variable: str
    unit: str
    low: float = -math.inf
    high: float = math.inf
    shift: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Request:
    """One modality's wish: which variables, in which unit, under which likelihood.

    Several scalar variables are stacked to a vector. ``coordinates`` names, for a dimension, the
    variable that holds its coordinate where that is not the variable of the same name; with dims
    (sample, dim) it is an own grid per sample. ``inputs`` are known parameters of its law.
    """

    name: str
    variables: tuple[str, ...]
    units: str | None = None
    likelihood: str = "normal"
    coordinates: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Input] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = (self.variables,) if isinstance(self.variables, str) else tuple(self.variables)
        object.__setattr__(self, "variables", names)


@dataclass(frozen=True)
class Coordinate:
    """Coordinate along one dimension of a modality.

    Attributes
    ----------
    name : str
        Name of the coordinate; that of the dimension unless the data say otherwise.
    unit : str
    values : ndarray, shape (n,)
        Shared by all samples; shape (0, n) where each sample has its own grid, which is then in
        :attr:`ModalityData.grid`.
    dim : str
        Dimension that it belongs to.
    shift, scale : float
        Centre and spread of own grids over the training samples, for networks; a scale of 0 where
        they do not see the grid (runs of older versions).
    typical : tuple of float
        Medians of own grids over the training samples, for samples without one.
    """

    name: str
    unit: str
    values: np.ndarray
    dim: str = ""
    shift: float = 0.0
    scale: float = 0.0
    typical: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", self.dim or self.name)

    @property
    def own_grid(self) -> bool:
        """Whether every sample has its own values."""
        return self.values.ndim == 2


@dataclass(frozen=True)
class ModalityInfo:
    """What networks are built from, and what turns stored values back to data units.

    Attributes
    ----------
    dims : tuple of str
        Dimensions beside the sample; none for one scalar, whose ``shape`` is (1,).
    shift, scale : ndarray
        stored = (data - shift) / scale; both broadcast to ``shape``.
    has_missing : bool
        Whether a sample that is present has gaps.
    inputs : mapping of Input
        Parameter of the law -> what is known of it.
    """

    name: str
    variables: tuple[str, ...]
    unit: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    coordinates: dict[str, Coordinate]
    shift: np.ndarray
    scale: np.ndarray
    likelihood: str = "normal"
    has_missing: bool = False
    inputs: Mapping[str, Input] = field(default_factory=dict)

    @property
    def stacked(self) -> bool:
        """Whether the modality is a scalar or a vector of scalar variables."""
        return not self.dims or self.dims == (channel_dim(self.name),)

    @cached_property
    def seen_grids(self) -> dict[str, Coordinate]:
        """Own grids that networks see."""
        return {key: c for key, c in self.coordinates.items() if c.own_grid and c.scale > 0.0}

    @property
    def grid_points(self) -> int:
        """Numbers per sample of the own grids that networks see."""
        return sum(c.values.shape[1] for c in self.seen_grids.values())

    def standardised_grids(self, grid: Mapping[str, Tensor] | None, like: Tensor) -> Tensor:
        """Own grids as networks see them, (batch, grid_points); at their centre without any."""
        if grid is None:
            return like.new_zeros(len(like), self.grid_points)
        each = [(grid[key] - c.shift) / c.scale for key, c in self.seen_grids.items()]
        return torch.cat(each, dim=1).to(like)

    @property
    def origin(self) -> dict[str, str]:
        """Attribute with the variable of the data that this was, where it is a single one."""
        return {"variable": self.variables[0]} if len(self.variables) == 1 else {}

    def request(self) -> Request:
        """The request that leads to this modality again."""
        given = {c.dim: c.name for c in self.coordinates.values() if c.name != c.dim}
        return Request(
            self.name, self.variables, self.unit, self.likelihood, given, inputs=self.inputs
        )

    def destandardise(self, values: Tensor) -> Tensor:
        """Return stored values in data units, in float64: shift and scale may be far apart."""
        wide, shift, scale = self._factors(values)
        return wide * scale + shift

    def scale_std(self, values: Tensor) -> Tensor:
        """Return standard deviations of stored values in data units: the scale, no shift."""
        wide, _, scale = self._factors(values)
        return wide * scale

    def _factors(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # Apple's GPUs have no float64
        dtype = values.dtype if values.device.type == "mps" else torch.float64
        shift, scale = (
            torch.as_tensor(factor, dtype=dtype, device=values.device)
            for factor in (self.shift, self.scale)
        )
        return values.to(dtype), shift, scale

    def as_dataarray(
        self,
        values: np.ndarray,
        *,
        sample_dim: str,
        sample_labels: np.ndarray,
        name: str | None = None,
        std: bool = False,
        grid: Mapping[str, np.ndarray] | None = None,
    ) -> xr.DataArray:
        """Label an array (N, *shape) in data units.

        Parameters
        ----------
        std : bool
            The values are standard deviations: degC becomes K.
        grid : mapping, optional
            Own grids of the samples by coordinate name, each (N, n).
        """
        values = np.asarray(values)
        if not self.dims:
            values = values.reshape(len(values))
        unit = difference(self.unit) if std else self.unit
        labels = np.asarray(sample_labels)
        coords: dict[str, Any] = {sample_dim: (sample_dim, labels, _unit_of(labels))}
        if self.dims == (channel_dim(self.name),):
            coords[self.dims[0]] = (self.dims[0], np.array(self.variables))
        for key, c in self.coordinates.items():
            if not c.own_grid:
                coords[key] = (c.dim, c.values, _unit_of(c.values, c.unit))
            elif grid and key in grid:
                coords[key] = ((sample_dim, c.dim), np.asarray(grid[key]), {"units": c.unit})
        return xr.DataArray(
            values,
            dims=(sample_dim, *self.dims),
            coords=coords,
            name=name,
            attrs={"units": unit} | self.origin,
        )

    def to_json(self) -> str:
        """Return a JSON text from which :meth:`from_json` restores the record exactly."""
        record = {
            "name": self.name,
            "variables": list(self.variables),
            "unit": self.unit,
            "dims": list(self.dims),
            "shape": list(self.shape),
            "coordinates": {
                key: {"name": c.name, "unit": c.unit, "dim": c.dim, "own_grid": c.own_grid}
                | {"values": c.values.shape[1] if c.own_grid else c.values.tolist()}
                | ({k: getattr(c, k) for k in OF_GRIDS} if c.own_grid else {})
                for key, c in self.coordinates.items()
            },
            "shift": self.shift.tolist(),
            "scale": self.scale.tolist(),
            "likelihood": self.likelihood,
            "has_missing": self.has_missing,
        }
        if self.inputs:
            # Without bounds there is nothing to write: JSON knows no infinity.
            record["inputs"] = {
                key: {k: v for k, v in asdict(i).items() if v not in (math.inf, -math.inf)}
                for key, i in self.inputs.items()
            }
        return json.dumps(record, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any]) -> ModalityInfo:
        """Restore a record from :meth:`to_json`, or from the mapping in it."""
        record: dict[str, Any] = dict(json.loads(text) if isinstance(text, str) else text)
        coordinates = {}
        for key, c in record["coordinates"].items():
            values = np.empty((0, c["values"])) if c["own_grid"] else np.asarray(c["values"])
            grids = {k: c[k] for k in OF_GRIDS if k in c}
            grids |= {"typical": tuple(grids["typical"])} if grids else {}
            coordinates[key] = Coordinate(c["name"], c["unit"], values, c["dim"], **grids)
        record["coordinates"] = coordinates
        record["inputs"] = {k: Input(**v) for k, v in record.get("inputs", {}).items()}
        for key in ("variables", "dims", "shape"):
            record[key] = tuple(record[key])
        for key in ("shift", "scale"):
            record[key] = np.asarray(record[key], dtype=np.float64)
        return cls(**record)


def channel_dim(name: str) -> str:
    """Dimension of a modality that stacks scalar variables."""
    return f"channel_{name}"


def _unit_of(values: np.ndarray, unit: str = DIMENSIONLESS) -> dict[str, str]:
    return {"units": unit} if np.issubdtype(values.dtype, np.number) else {}
