"""Gumbel-max counterfactuals of one categorical node, in closed form.

A node is n = argmax_k (log p_k + g_k) with standard Gumbel noises g_k. Its outcome under the
observed parents is known; its parents change; what is its outcome, the noises being the same?

Reference: M. Oberst and D. Sontag, "Counterfactual off-policy evaluation with Gumbel-max
structural causal models", ICML 2019 (who sample; the integral below is exact).
"""

from __future__ import annotations

import numpy as np


def gumbel_transition(before: np.ndarray, outcome: int, after: np.ndarray) -> np.ndarray:
    r"""Return P(counterfactual outcome = j | observed ``outcome`` o) in closed form.

    With Gumbel noises shared by both worlds, e_k = exp(-g_k) ~ Exp(1), both worlds are
    exponential races, and integrating the race times out gives for r_k = p'_k / p_k

    .. math::
        P(o, j) = p_o p'_j \int_{r_o}^{r_j} \frac{du}{D(u)^2}, \quad
        D(u) = \sum_k \max(p'_k, p_k u), \quad
        P(o, o) = \Big[ \sum_k \max(p_k / p_o, p'_k / p'_o) \Big]^{-1}

    and P(o, j) = 0 for r_j <= r_o (counterfactual stability). D is linear between
    neighbouring r_k, where the integral over [a, b] is (b - a) / (D(a) D(b)).

    Parameters
    ----------
    before : array (C,)
        Probabilities p under the observed parents.
    outcome : int
        The outcome o that was observed, p_o > 0.
    after : array (..., C)
        Probabilities p' under the counterfactual parents.

    Returns
    -------
    array (..., C), summing to one over the last axis
    """
    before, after = np.asarray(before, float), np.asarray(after, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((before == 0) & (after == 0), 1.0, after / before)
    rank = np.argsort(ratio, axis=-1)
    cuts = np.take_along_axis(ratio, rank, axis=-1)
    finite = np.isfinite(cuts)
    safe = np.where(finite, cuts, 0.0)
    height = np.maximum(after[..., None, :], before * safe[..., :, None]).sum(-1)
    low, high = slice(None, -1), slice(1, None)
    # The last piece may reach infinity (p_j = 0 < p'_j), where its integral is 1 / D(low).
    piece = np.where(
        finite[..., high],
        (safe[..., high] - safe[..., low]) / (height[..., low] * height[..., high]),
        np.where(finite[..., low], 1.0 / height[..., low], 0.0),
    )
    area_sorted = np.concatenate([np.zeros((*piece.shape[:-1], 1)), np.cumsum(piece, -1)], -1)
    area = np.empty_like(area_sorted)
    np.put_along_axis(area, rank, area_sorted, axis=-1)
    moved = after * np.maximum(area - area[..., outcome, None], 0.0)
    own = after[..., outcome]
    # (1 / p_o) / sum_k max(p_k / p_o, p'_k / p'_o), multiplied through by p_o p'_o
    stay = own / np.maximum(before * own[..., None], after * before[outcome]).sum(-1)
    moved[..., outcome] = stay
    return moved / moved.sum(-1, keepdims=True)
