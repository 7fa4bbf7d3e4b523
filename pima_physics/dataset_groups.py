r"""Samples that belong together: frames of one simulation, spots of one specimen.

They are alike, so that n of them tell less than n independent ones. With the intraclass
correlation :math:`\rho` of a quantity and groups of m samples, a sample is worth

.. math:: w = \frac{1}{1 + (m - 1)\,\rho}

independent ones (Kish's design effect), for the association of two quantities with
:math:`\rho = \rho_1 \rho_2` (Moulton). Groups of different sizes count by
:math:`m = \sum_g m_g^2 / \sum_g m_g`.

References
----------
L. Kish, "Survey Sampling", Wiley 1965. B. Moulton, "An illustration of a pitfall in estimating the
effects of aggregate variables on micro units", Review of Economics and Statistics 72, 1990.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pima_physics.dataset_factors import as_text, column_of
from pima_physics.errors import DataError

Groups = NDArray[np.int64]


def read_groups(dataset: xr.Dataset, name: str, sample_dim: str) -> Groups:
    """Number of the group of every sample; one without a value (NaN, "") is a group by itself.

    Raises
    ------
    DataError
        Where the variable does not exist, is not one value per sample, or all are the same.
    """
    values = column_of(dataset, name, sample_dim, "split.groups")
    if values.dtype.kind in "OSU":
        values = np.array([as_text(value) for value in values])
        missing = values == ""
    else:
        missing = np.isnat(values) if values.dtype.kind in "mM" else values != values
    code = np.full(len(values), -1)
    found, code[~missing] = np.unique(values[~missing], return_inverse=True)
    code[missing] = len(found) + np.arange(missing.sum())
    if code.max() < 1:
        raise DataError(
            f"split.groups: all samples have the same value of '{name}'",
            found=str(found[0]),
            expected="a variable that says which samples belong together",
            fix="name another variable, or remove split.groups",
        )
    return code


def whole_groups(groups: Groups, order: Groups, counts: Sequence[int]) -> list[NDArray[np.int64]]:
    """Positions of parts that are made of whole groups; the rest of the samples is the last part.

    Parameters
    ----------
    groups : int array, shape (sample,)
    order : int array, shape (group,)
        In which groups are dealt out.
    counts : sequence of int
        Samples wanted in each part. Groups that would take a part further from that are passed
        over; where any is wanted, there is one at least, the smallest, and the rest gets one.
    """
    sizes, left, parts = np.bincount(groups), list(order), []
    for number, wanted in enumerate(counts):
        taken, total = [], 0.0
        most = len(left) - 1 - sum(more > 0 for more in counts[number + 1 :])
        for group in left:
            if total + 0.5 * sizes[group] <= wanted and len(taken) < most:
                taken.append(group)
                total += sizes[group]
        if wanted and not taken:
            taken = [min(left, key=lambda g: sizes[g])]
        chosen = set(taken)
        left = [g for g in left if g not in chosen]
        parts.append(np.flatnonzero(np.isin(groups, taken)))
    return [*parts, np.flatnonzero(np.isin(groups, left))]


def redrawn(groups: Groups | None, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions of a bootstrap sample: samples, or whole groups, with replacement."""
    if groups is None:
        return rng.integers(0, size, size)
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    return np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])


def intraclass_correlation(values: NDArray[np.floating], groups: Groups) -> float:
    """How alike samples of the same group are, 0 to 1 (analysis of variance).

    Parameters
    ----------
    values : array, shape (sample,) or (sample, column)
        Columns count together.
    """
    columns = np.asarray(values, dtype=float).reshape(len(values), -1)
    columns = columns - columns.mean(0)
    group = np.unique(groups, return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(group).astype(float)
    size, count = len(columns), len(sizes)
    if not 1 < count < size:
        return 0.0 if count > 1 else 1.0
    sums = np.stack([np.bincount(group, weights=c) for c in columns.T], axis=1)
    between = float((sums**2 / sizes[:, None]).sum())
    within = max(float((columns**2).sum()) - between, 0.0) / (size - count)
    between /= count - 1
    typical = (size - (sizes**2).sum() / size) / (count - 1)
    spread = between + (typical - 1.0) * within
    return float(np.clip((between - within) / spread, 0.0, 1.0)) if spread > 0.0 else 0.0


def worth(correlation: float, groups: Groups | None) -> float:
    """Independent samples that one sample is worth, above 0 to 1."""
    if groups is None:
        return 1.0
    sizes = np.bincount(groups).astype(float)
    return 1.0 / (1.0 + ((sizes**2).sum() / sizes.sum() - 1.0) * correlation)


def worth_of_partition(probability: NDArray[np.floating], groups: Groups | None) -> float:
    """What a sample is worth as evidence of a feature (sample, outcome)."""
    return 1.0 if groups is None else worth(intraclass_correlation(probability, groups), groups)


def worth_of_counts(probabilities: Sequence[NDArray[np.floating]], groups: Groups | None) -> float:
    """What a sample is worth in joint counts of features: for the pair that is most alike."""
    if groups is None:
        return 1.0
    alike = sorted((intraclass_correlation(p, groups) for p in probabilities), reverse=True)
    return worth(float(np.prod(alike[:2])), groups)
