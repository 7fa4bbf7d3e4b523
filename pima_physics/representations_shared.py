"""What latents that were trained from different weights have in common.

Each latent has axes of its own making: how its encoder bends what is continuous, and what it takes
for a feature and others do not. What the data alone decide comes again in every latent, up to an
affine map.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pima_physics.pursuit import whiten

Array = NDArray[np.float64]

# Mean correlation between latents, along an axis, from which on it counts as common.
COMMON = 0.6


def side_by_side(parts: Sequence[Array], present: NDArray[np.bool_]) -> Array:
    """Views (sample, axis) of the same samples, each whitened by those that are present."""
    return np.concatenate([whiten(values[present]).apply(values) for values in parts], axis=1)


def shared_latent(latents: Sequence[Array], present: NDArray[np.bool_]) -> Array:
    """Axes that several latents of the same samples have in common, the most common first.

    The principal axes of the whitened latents side by side; of k latents, one along which these
    have the mean correlation r has the variance 1 + (k - 1) r.

    Parameters
    ----------
    latents : sequence of array, shape (sample, axis)
        Of one alone, all axes as they are.
    present : bool array, shape (sample,)
        Samples that decide.

    Returns
    -------
    array, shape (sample, axis)
        One axis at least.

    References
    ----------
    J. R. Kettenring, "Canonical analysis of several sets of variables", Biometrika 58:433, 1971
    (maximum variance).
    """
    if len(latents) == 1:
        return latents[0]
    white = side_by_side(latents, present)
    variance, axes = np.linalg.eigh(np.cov(white[present], rowvar=False, bias=True))
    correlation = (variance - 1.0) / (len(latents) - 1)
    common = max(int(np.count_nonzero(correlation > COMMON)), 1)
    return white @ axes[:, ::-1][:, :common]
