"""Whitened representations, in which directions are sought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pima_physics.pursuit import Whitening, whiten
from pima_physics.representations import Representation

Array = NDArray[np.float64]

# Samples that sets of nodes are searched in, and the fewest that a view must have.
SEARCHED, FEWEST = 3000, 8


@dataclass(frozen=True)
class View:
    """A whitened representation.

    Attributes
    ----------
    representation : Representation
    whitening : Whitening
    white : array, shape (present sample, axis)
    """

    representation: Representation
    whitening: Whitening
    white: Array

    @staticmethod
    def of(representation: Representation) -> View:
        """Whiten the samples that are present."""
        values = representation.values[representation.present]
        whitening = whiten(values)
        return View(representation, whitening, whitening.apply(values))

    @staticmethod
    def of_part(representation: Representation, part: NDArray[np.int64]) -> View | None:
        """A view of some of the samples; None where too few have it, or all alike."""
        chosen = replace(
            representation,
            values=representation.values[part],
            present=representation.present[part],
        )
        few = chosen.present.sum() < FEWEST or not chosen.values.shape[1]
        return None if few or not chosen.values[chosen.present].std() > 0.0 else View.of(chosen)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Samples that have this view."""
        return self.representation.present


def split(views: Sequence[View]) -> tuple[list[View], list[View]]:
    """Views without bends, less those that only repeat the latent, and views with bends."""
    straight = [v for v in views if v.representation.straight and not v.representation.derived]
    return straight, [v for v in views if not v.representation.straight]


def searched(size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Samples that sets of nodes are searched in."""
    return np.sort(rng.permutation(size)[:SEARCHED])
