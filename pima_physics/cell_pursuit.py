r"""Directions of groups among samples that agree in all known nodes, with cuts of each cell's own.

Given other nodes, the groups of a further one lie at another place in each of their joint outcomes
(cells) where effects do not add up. Cuts that all cells share then pass through groups, and no
direction shows them. Here every cell c is standardised by itself, and has a mixture of its own,

.. math:: v_i = \frac{a^\top x_i - m_{c(i)}}{s_{c(i)}}, \qquad
    g_i = E_{c(i)} \sum_k \mu_{c(i)k}\, p_{c(i)}(k \mid v_i), \qquad
    a \leftarrow X^\top g / |X^\top g|,

with X centred in each cell and white over all of them, the mixture's means mu, and evidence E of
modes in the cell. Where nothing shows, next to nothing pulls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pima_physics.modes import BINS, Mixture1D, fit_mixture, full_cuts, histograms
from pima_physics.modes_evidence import lost_without
from pima_physics.nodesets import CHANCE_NATS, SMALLEST_CELL, first_distinct
from pima_physics.pursuit import blind_axes, masses_in_cells, whiten

Array = NDArray[np.float64]

# Random directions to start from, and steps of each.
STARTS, STEPS = 200, 10
# Iterations of the mixtures in the first step and in later ones, which go on from there.
FIRST, NEXT = 12, 6
# What a cell without evidence counts beside one with a nat of it.
FAINT = 0.1
# Directions that are more alike than this count as one.
ALIKE = 0.95


def pursue_within_cells(
    white: Array,
    others: Array,
    outcomes: int,
    cells: NDArray[np.int64],
    *,
    rng: np.random.Generator,
    keep: int = 12,
) -> Array:
    """Directions along whose groups cells fall apart, blind to the others, clearest first.

    Parameters
    ----------
    white : array, shape (sample, axis)
    others : array, shape (sample, outcome)
        Known partitions, to which the directions shall be blind.
    outcomes : int
        Number of groups.
    cells : int array, shape (sample,)
        Joint outcome of the known partitions.
    keep : int
        So many at most, each by its groups and by what these weigh.

    Returns
    -------
    array, shape (at most 2 keep, axis)
    """
    cell = _Cells(cells)
    away = white - cell.mean(white)[cells]
    x = whiten(away).apply(away)
    directions = rng.normal(size=(STARTS, x.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    nats, score, label, mixture = _groups(x @ directions.T, cell, outcomes, None)
    for _ in range(STEPS):
        turned = score.T @ x
        norm = np.linalg.norm(turned, axis=1, keepdims=True)
        directions = np.where(norm > 0.0, turned / np.maximum(norm, 1e-300), directions)
        nats, score, label, mixture = _groups(x @ directions.T, cell, outcomes, mixture)
    clear = [int(j) for j in nats.argsort()[::-1] if nats[j] > 0.0]
    kept = first_distinct(clear, lambda i, j: abs(directions[i] @ directions[j]) >= ALIKE, keep)
    scores = np.concatenate([label[:, kept].astype(float), score[:, kept]], axis=1)
    return blind_axes(white, scores, others) if kept else np.zeros((0, white.shape[1]))


class _Cells:
    """Sums over the samples of every cell."""

    def __init__(self, cells: NDArray[np.int64]) -> None:
        self.of = cells
        self.counts = np.bincount(cells)
        self.member = np.eye(len(self.counts))[cells]

    def mean(self, values: Array) -> Array:
        """Shape (cell, column)."""
        return self.member.T @ values / self.counts[:, None]


def _groups(
    along: Array, cell: _Cells, outcomes: int, before: Mixture1D | None
) -> tuple[Array, Array, NDArray[np.int64], Mixture1D]:
    """Groups of every cell in projections (sample, direction).

    Returns
    -------
    nats : array, shape (direction,)
        Over all cells, less what chance shows in each.
    score, label : array, shape (sample, direction)
    mixture : Mixture1D
        Of all cells and directions, in this order.
    """
    lines = along.shape[1]
    mean = cell.mean(along)
    std = np.sqrt(np.maximum(cell.mean(along**2) - mean**2, 1e-12))
    index, _ = histograms((along - mean[cell.of]) / std[cell.of])
    mass = masses_in_cells(cell.of, index)[0].reshape(-1, BINS)
    iterations = FIRST if before is None else NEXT
    mixture = fit_mixture(mass, outcomes, iterations=iterations, start=before)
    nats = _evidence(mass, mixture, cell.counts, outcomes)
    row = cell.of[:, None] * lines + np.arange(lines)
    value = np.einsum("rkb,rk->rb", mixture.responsibility, mixture.mean)[row, index]
    score = (value - cell.mean(value)[cell.of]) * (nats + FAINT)[cell.of]
    return nats.sum(0), score, mixture.responsibility.argmax(1)[row, index], mixture


def _evidence(mass: Array, mixture: Mixture1D, counts: NDArray[np.int64], outcomes: int) -> Array:
    """Nats of every cell along every direction beyond chance, shape (cell, direction)."""
    lines = len(mass) // len(counts)
    some, cuts = full_cuts(mixture, outcomes)
    size = np.repeat(counts, lines)[some]
    large = size >= 2 * SMALLEST_CELL
    some, cuts, size = some[large], cuts[large], size[large]
    nats = np.zeros(len(mass))
    if len(some):
        found = (outcomes - 1) * lost_without(mass[some], cuts).min(1) * size
        nats[some] = np.maximum(found - CHANCE_NATS, 0.0)
    return nats.reshape(len(counts), lines)
