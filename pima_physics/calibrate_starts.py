"""Parameter sets from which fits of a law start: random ones, and the best for every sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pima_physics.dataset import Data
from pima_physics.decoders_law import Law
from pima_physics.errors import SolveError
from pima_physics.model import squared_residuals
from pima_physics.refine_jacobian import take
from pima_physics.simulator import ODE, ExternalSimulator

# Parameter sets tried as starts, samples fitted at most, and both for a law that has to be solved.
STARTS, MAX_SAMPLES = 1024, 4000
SLOW_STARTS, SLOW_MAX_SAMPLES = 64, 400
# Of the starts, in unconstrained units.
SPREAD = 2.0


@dataclass(frozen=True)
class Observed:
    """Samples that a law is fitted to, in stored values and float64.

    Attributes
    ----------
    index : int Tensor, shape (sample,)
        Their positions.
    values, mask : Tensor, shape (sample, points)
    grid : mapping of Tensor, optional
    groups : int Tensor, shape (sample,), optional
        Which samples belong together, and so are no independent ones.
    """

    index: Tensor
    values: Tensor
    mask: Tensor
    grid: dict[str, Tensor] | None
    groups: Tensor | None = None

    @staticmethod
    def of(law: Law, data: Data, name: str, generator: torch.Generator) -> Observed:
        """Samples that have a modality, as many as there is time for."""
        modality = data.modalities[name]
        few = SLOW_MAX_SAMPLES if is_slow(law) else MAX_SAMPLES
        index = modality.present.nonzero()[:, 0]
        order = torch.randperm(len(index), generator=generator)[:few].to(index.device)
        index = index[order]
        part = modality.take(index)
        grid = None if part.grid is None else {k: v.double() for k, v in part.grid.items()}
        mask = part.mask.double().flatten(1)
        groups = data.groups
        together = None if groups is None else torch.from_numpy(groups).to(index)[index]
        return Observed(index, part.values.double().flatten(1), mask, grid, together)

    def take(self, rows: Tensor | slice) -> Observed:
        """Some of the samples."""
        part = self.index[rows], self.values[rows], self.mask[rows]
        groups = None if self.groups is None else self.groups[rows]
        return Observed(*part, take(self.grid, rows), groups)


def is_slow(law: Law) -> bool:
    """Whether a law has to be solved, so that few starts can be tried."""
    return isinstance(law.simulator, ODE | ExternalSimulator)


def trials_of(
    law: Law,
    grid: Mapping[str, Tensor] | None,
    generator: torch.Generator,
    like: Tensor,
) -> Tensor:
    """Parameter sets around typical values; nearer ones where the law cannot be solved."""
    spread, count = SPREAD, SLOW_STARTS if is_slow(law) else STARTS
    while spread > 0.1:
        trials = spread * torch.randn(count, len(law.free), generator=generator).to(like)
        trials[0] = 0.0
        try:
            law(
                trials,
                None if grid is None else {k: v[:1].expand(count, -1) for k, v in grid.items()},
            )
            return trials
        except SolveError:
            spread *= 0.5
    return torch.zeros(1, len(law.free), dtype=like.dtype, device=like.device)


def best_trials(
    law: Law, trials: Tensor, values: Tensor, mask: Tensor, grid: Mapping[str, Tensor] | None
) -> Tensor:
    """The two best trials of every sample, shape (rank, sample, parameter)."""
    ranks = min(2, len(trials))
    if grid is None:
        square, _ = squared_residuals(law(trials, None), values, mask)
    else:
        few = trials[:32]
        columns = [
            (mask * (values - law(t.expand(len(values), -1), grid).flatten(1)).square()).sum(1)
            for t in few
        ]
        square, trials = torch.stack(columns, dim=1), few
    square = torch.nan_to_num(square, nan=torch.inf)
    return trials[square.topk(ranks, dim=1, largest=False).indices].transpose(0, 1)
