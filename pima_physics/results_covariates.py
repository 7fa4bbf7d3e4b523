"""Numbers known of every sample that no modality uses: test temperature, batch, a numeric label.

They take no part in a fit. Physical parameters are shown against them in the report.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from pima_physics.results_tree import safe, sample_coordinate

# Tables with more columns than this are kept out of the results beyond it.
MOST = 64
KEPT = ("units", "long_name", "flag_values", "flag_meanings")


def covariates_group(
    dataset: xr.Dataset, sample_dim: str, labels: Any, used: Iterable[str]
) -> xr.Dataset:
    """/covariates: every further numeric variable with the sample as its only dimension.

    Parameters
    ----------
    labels : array (sample,)
        Names of the samples.
    used : iterable of str
        Variables that a modality is made of.
    """
    taken, found = set(used), {}
    for name, array in dataset.data_vars.items():
        numeric = np.issubdtype(array.dtype, np.number) and array.dtype.kind != "c"
        if array.dims != (sample_dim,) or not numeric or name in taken or len(found) == MOST:
            continue
        attrs = {k: array.attrs[k] for k in KEPT if k in array.attrs}

        found[safe(str(name))] = ("sample", array.values, {"units": "dimensionless", **attrs})
    return xr.Dataset(found, coords={"sample": sample_coordinate(labels)})
