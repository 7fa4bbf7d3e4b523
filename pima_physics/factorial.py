"""Joint outcomes of several nodes as products of the nodes' own probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def product_of(marginals: Sequence[Array]) -> Array:
    """Joint probabilities of independent node probabilities, shape (sample, component)."""
    joint = marginals[0]
    for other in marginals[1:]:
        joint = (joint[:, :, None] * other[:, None, :]).reshape(len(joint), -1)
    return joint
