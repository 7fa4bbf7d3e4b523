"""Curves that were taken on own grids, on one grid for all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pima_physics.dataset import ModalityData

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def on_one_grid(modality: ModalityData, values: Array, mask: Mask) -> tuple[Array, Mask]:
    """Values (sample, point) and mask, interpolated where every sample has its own grid.

    Feature by feature, curves that were taken at other times are no curves. The common grid has
    as many points, at quantiles of all observed ones; between a sample's observed points its curve
    is interpolated linearly, and outside it is not known.
    """
    own = modality.info.seen_grids
    if len(own) != 1 or len(modality.info.shape) != 1 or modality.grid is None or not mask.any():
        return values, mask
    grid = modality.grid[next(iter(own))].double().cpu().numpy()
    size, points = values.shape
    ends = np.where(mask, grid, np.inf).min(1), np.where(mask, grid, -np.inf).max(1)
    common = np.quantile(grid[mask], (np.arange(points) + 0.5) / points)
    # Sample after sample on one long axis, so that all are interpolated at once; what would lie
    # between two samples is outside both.
    away = (np.arange(size) * 2.0 * np.ptp(grid[mask]) + np.arange(size))[:, None]
    at, x = (grid + away)[mask], values[mask]
    order = at.argsort()
    found = np.interp((common + away).ravel(), at[order], x[order]).reshape(size, points)
    seen = (common >= ends[0][:, None]) & (common <= ends[1][:, None])
    return found * seen, seen
