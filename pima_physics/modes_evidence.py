r"""Evidence that one-dimensional groups have modes of their own, on histograms.

Between cuts a density may have a mode in every piece. What that explains beyond any density with a
single mode,

.. math:: G = \sum_{k} \ell_{uni}(\text{piece } k) - \ell_{uni}(\text{whole})

in nats per sample, where :math:`\ell_{uni}` is the log likelihood of the best unimodal density, is
0 for *every* unimodal shape (uniform, skewed, heavy-tailed), so that a strong continuous nuisance
is no evidence, and needs no bandwidth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Bins that go together where densities are compared: finer ones hold noise, and cost time.
COARSE = 3
# Rows whose slopes are compared at once, and prefixes: as many as a processor's cache holds.
ROWS, PREFIXES = 128, 8

Array = NDArray[np.float64]


def unimodal_score(mass: Array) -> Array:
    """Largest sum(mass * log(bin probability)) over unimodal bin probabilities, (row,).

    All splits into a rising and a falling part are tried, each part at its monotone optimum.

    Parameters
    ----------
    mass : array, shape (row, bin)
    """
    return (_rising(mass) + _rising(mass[:, ::-1])[:, ::-1]).max(1)


def multimodality(mass: Array, cuts: NDArray[np.int64]) -> Array:
    """Evidence for modes between cuts, over any density with a single mode, (row,).

    Parameters
    ----------
    mass : array, shape (row, bin)
    cuts : int array, shape (row, cut)
        Bins at which a new piece begins.
    """
    pieces, count = _Pieces.of(mass, cuts), cuts.shape[1] + 1
    alone = sum((pieces.score(k, k) for k in range(count)), np.zeros(len(mass)))
    return np.maximum(alone - pieces.score(0, count - 1), 0.0)


def lost_without(mass: Array, cuts: NDArray[np.int64]) -> Array:
    """What each cut is worth, in nats per sample, shape (row, cut).

    Without a cut its neighbours are one piece; the others stay as they are.

    Parameters
    ----------
    mass : array, shape (row, bin)
    cuts : int array, shape (row, cut)
    """
    pieces = _Pieces.of(mass, cuts)
    alone = [pieces.score(k, k) for k in range(cuts.shape[1] + 1)]
    lost = [alone[k] + alone[k + 1] - pieces.score(k, k + 1) for k in range(cuts.shape[1])]
    return np.maximum(np.stack(lost, axis=1), 0.0) if lost else np.zeros(cuts.shape)


def multimodality_of_all(mass: Array, cuts: Sequence[NDArray[np.int64]]) -> Array:
    """Evidence that every cut parts two modes: their number times that of the weakest, (row,).

    In the sum a clear cut would pay for one through the middle of a group.

    Parameters
    ----------
    mass : array, shape (row, bin)
    cuts : sequence of int array
        Of every row, whose numbers may differ.
    """
    numbers, found = np.array([len(c) for c in cuts], dtype=np.int64), np.zeros(len(mass))
    for number in set(numbers[numbers > 0].tolist()):
        rows = np.flatnonzero(numbers == number)
        some = np.stack([cuts[int(j)] for j in rows])
        found[rows] = number * lost_without(mass[rows], some).min(1)
    return found


def nats_over_cells(
    mass: Array, counts: NDArray[np.int64], cuts: NDArray[np.int64], *, chance: float
) -> Array:
    """Evidence for modes between cuts in every cell beyond what chance shows, in nats, (row,).

    Parameters
    ----------
    mass : array, shape (cell, row, bin)
    counts : int array, shape (cell,)
        Samples of every cell.
    cuts : int array, shape (row, cut)
    chance : float
        Nats that are taken off in every cell.
    """
    found = multimodality(*_every_row(mass, cuts)).reshape(mass.shape[:2])
    return np.maximum(found * counts[:, None] - chance, 0.0).sum(0)


def nats_borne_out(mass: Array, counts: NDArray[np.int64], cuts: NDArray[np.int64]) -> Array:
    r"""What the weakest of all cuts is worth over cells, times their number, in nats, (row,).

    Only as far as it lies where the shares say. Two groups as far apart in every cell show about
    as the square of the rarer one's share, :math:`n r^2`, in each (:math:`r^{1.9}` at 4.5 standard
    deviations, :math:`r^{2.4}` at 4, :math:`r^{1.7}` at 5). A partition that parts two groups in
    some cells and cuts through one in others shows nothing there.

    Parameters
    ----------
    mass, counts, cuts
        As of `nats_over_cells`.
    """
    size = counts[:, None, None]
    nats = size * lost_without(*_every_row(mass, cuts)).reshape(*mass.shape[:2], cuts.shape[1])
    below = np.take_along_axis(mass.cumsum(2), np.maximum(cuts - 1, 0)[None], axis=2)
    group = np.diff(below, axis=2, prepend=0.0, append=1.0)
    first, second = group[..., :-1], group[..., 1:]
    due = size * np.minimum(first, second) ** 2 / np.maximum(first + second, 1e-12)
    due = due * nats.sum(0) / np.maximum(due.sum(0), 1e-12)
    return cuts.shape[1] * np.minimum(nats, due).sum(0).min(1)


def _every_row(mass: Array, cuts: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64]]:
    """The rows of all cells (cell, row, bin) one after the other, and their cuts."""
    cells, rows, bins = mass.shape
    return mass.reshape(cells * rows, bins), np.tile(cuts, (cells, 1))


@dataclass(frozen=True)
class _Pieces:
    """Scores of parts of histograms between cuts.

    Attributes
    ----------
    edges : int array, shape (row, piece + 1)
    rising : array, shape (row, piece, bin + 1)
        Of the best rising density from a piece's start to each bin, also beyond its end.
    falling : array, shape (row, piece, bin + 1)
        Of the best falling density from each bin to a piece's end.
    """

    edges: NDArray[np.int64]
    rising: Array
    falling: Array

    @staticmethod
    def of(mass: Array, cuts: NDArray[np.int64]) -> _Pieces:
        """Between cuts (row, cut) of histograms (row, bin), in coarse bins.

        Bins that are empty in all rows are left out at the ends: the best density is zero there.
        """
        mass = mass.reshape(len(mass), mass.shape[1] // COARSE, COARSE).sum(2)
        filled = np.flatnonzero(mass.any(0))
        first, end = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, 1)
        mass, size = mass[:, first:end], end - first
        inner = (np.round(cuts / COARSE).astype(np.int64) - first).clip(0, size)
        edges = np.pad(np.pad(inner, ((0, 0), (1, 0))), ((0, 0), (0, 1)), constant_values=size)
        bins, shape = np.arange(size), (len(inner), inner.shape[1] + 1, size + 1)
        after = np.where(bins >= edges[:, :-1, None], mass[:, None], 0.0).reshape(-1, size)
        before = np.where(bins < edges[:, 1:, None], mass[:, None], 0.0).reshape(-1, size)
        both = _rising(np.concatenate([after, before[:, ::-1]])).reshape(2, *shape)
        return _Pieces(edges, both[0], both[1, ..., ::-1])

    def score(self, first: int, last: int) -> Array:
        """Of the best unimodal density from a piece to a later one, (row,)."""
        at = np.arange(self.rising.shape[2])
        inside = (at >= self.edges[:, first, None]) & (at <= self.edges[:, last + 1, None])
        total = self.rising[:, first] + self.falling[:, last]
        return np.where(inside, total, -np.inf).max(1)


def _rising(mass: Array) -> Array:
    """Best log likelihood of a non-decreasing density on every prefix, (row, bin + 1).

    The maximum-likelihood monotone density is the slope of the greatest convex minorant of the
    cumulative mass (Grenander 1956); its log likelihood is sum(block mass * log(block mean)). The
    last block of a prefix is the one with the steepest chord to its end; what comes before it is
    the best of a shorter prefix.
    """
    rows, bins = mass.shape
    cumulative = np.zeros((rows, bins + 1))
    np.cumsum(mass, axis=1, out=cumulative[:, 1:])
    length = np.arange(1, bins + 1)[:, None] - np.arange(bins)
    share = np.where(length > 0, 1.0 / np.maximum(length, 1), 0.0)
    start = np.zeros((rows, bins), dtype=np.int64)
    for some in range(0, rows, ROWS):
        part = slice(some, some + ROWS)
        _last_blocks(cumulative[part], share, start[part])
    block = cumulative[:, 1:] - np.take_along_axis(cumulative, start, axis=1)
    filled = np.where(block > 0.0, block, 1.0)
    term = np.where(block > 0.0, filled * np.log(filled / (np.arange(1, bins + 1) - start)), 0.0)
    scores, every = np.zeros((rows, bins + 1)), np.arange(rows)
    for i in range(bins):
        scores[:, i + 1] = scores[every, start[:, i]] + term[:, i]
    return scores


def _last_blocks(cumulative: Array, share: Array, start: NDArray[np.int64]) -> None:
    """Put where the last block of every prefix starts into ``start`` (row, bin).

    ``share`` (end, start) is one over the lengths of blocks.
    """
    bins = start.shape[1]
    for i in range(0, bins, PREFIXES):
        end = min(i + PREFIXES, bins)
        chord = cumulative[:, i + 1 : end + 1, None] - cumulative[:, None, :end]
        np.multiply(chord, share[i:end, :end], out=chord)
        chord.argmax(2, out=start[:, i:end])
