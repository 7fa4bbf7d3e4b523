"""Can the parameters of a law be told apart on the grid of the data?

A law may pass its check on a grid of its own and still be undetermined here: a curve that ends
before it saturates tells the rate and the height of saturation by their product only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pima_physics.check_identifiability import judge
from pima_physics.decoders_law import Law
from pima_physics.errors import SolveError
from pima_physics.refine import double
from pima_physics.refine_jacobian import Grid, jacobian_of


def alike(law: Law, raw: Tensor | None = None, grid: Grid = None) -> list[str]:
    """Describe parameters that the data cannot tell apart; nothing where all is well.

    Parameters
    ----------
    law : Law
        Bound to the data, which gives the grid.
    raw : Tensor, shape (parameter,), optional
        Unconstrained parameters at which to look. Default: typical values.
    grid : mapping of Tensor (1, points), optional
        Own grid of a sample.
    """
    if not law.free:
        return []
    at = torch.zeros(len(law.free)) if raw is None else raw
    try:
        jacobian = jacobian_of(double(law), at.double()[None], grid)[0]
    except SolveError:
        return []
    if not bool(torch.isfinite(jacobian).all()):
        return []
    found = judge(law.free, jacobian.detach().cpu())
    return [" ".join(text.removeprefix("warning: ").split()) for text in found]
