"""Partitions whose outcomes have no names in common: matched one to one."""

from __future__ import annotations

import numpy as np


def matched_share(first: np.ndarray, second: np.ndarray, outcomes: int) -> float:
    """Share of samples with the same outcome, outcomes matched for the highest share.

    Parameters
    ----------
    first, second : int array, shape (sample,)
        Outcomes 0 to ``outcomes`` - 1.
    """
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((outcomes, outcomes))
    np.add.at(table, (first, second), 1.0)
    rows, columns = linear_sum_assignment(-table)
    return float(table[rows, columns].sum() / max(len(first), 1))
