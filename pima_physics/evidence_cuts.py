"""Nodes that cut through something continuous, as a view without bends tells.

A bend shows as groups in principal components, where a latent space with a continuous prior lays
it out straight. There a cut through a continuous feature has sharp borders: its two sides are told
apart with fewer errors than two groups whose means are as near to each other, and there is no gap
between them. A feature that the latent hardly knows has none either, but many errors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pima_physics.evidence import above_chance
from pima_physics.nodesets import Node, along
from pima_physics.views import View

Array = NDArray[np.float64]

# Fewer errors than those of two groups, in standard deviations of their number.
SURPRISING = 3.0


def cuts_through(views: Sequence[View], node: Node) -> bool:
    """Whether one of some views without bends tells that a node's groups are no groups.

    Parameters
    ----------
    views : sequence of View
        Without bends.
    node : Node
        Found in a view with bends.
    """
    assert node.view is not None
    return any(
        _cut_through(view, node, node.view.present & view.present, low)
        for view in views
        for low in range(node.outcomes - 1)
    )


def _cut_through(view: View, node: Node, shown: NDArray[np.bool_], low: int) -> bool:
    """Of two neighbouring groups: no gap, and too few errors."""
    both = shown & ((node.label == low) | (node.label == low + 1))
    upper = (node.label > low)[both]
    white = view.white[both[view.present]]
    counts = np.bincount(upper.astype(int), minlength=2)
    if counts.min() <= view.white.shape[1]:
        return False
    axis, distance, errors = _discriminant(white, upper)
    if errors >= _errors_of_groups(distance, counts) - SURPRISING * np.sqrt(max(errors, 1.0)):
        return False
    return not above_chance(along(view, axis[None], 2)[0], np.inf)


def _discriminant(white: Array, upper: NDArray[np.bool_]) -> tuple[Array, float, float]:
    """Fisher's direction, distance of the means in standard deviations along it, and errors."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    lda = LinearDiscriminantAnalysis(solver="lsqr").fit(white, upper)
    axis = lda.coef_[0] / np.linalg.norm(lda.coef_[0])
    low, high = (white[~upper] @ axis, white[upper] @ axis)
    share = float(upper.mean())
    std = np.sqrt((1.0 - share) * low.var() + share * high.var())
    distance = float((high.mean() - low.mean()) / std)
    return axis, distance, float(np.count_nonzero(lda.predict(white) != upper))


def _errors_of_groups(distance: float, counts: NDArray[np.int64]) -> float:
    """Expected errors of the same discriminant between Gaussians of one deviation."""
    from scipy.special import ndtr

    border = 0.5 * distance + np.log(counts[0] / counts[1]) / distance
    return float(counts[0] * ndtr(-border) + counts[1] * ndtr(border - distance))
