"""Tensors of checked data, whole and by modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pima_physics.dataset_info import ModalityInfo
from pima_physics.dataset_inputs import standardised
from pima_physics.masks import expand, per_sample

Index = slice | Tensor | np.ndarray


@dataclass(frozen=True)
class ModalityData:
    """Tensors of one modality.

    Attributes
    ----------
    values : Tensor, shape (N, *shape)
        Standardised (raw for bernoulli and poisson), zero where not observed.
    mask : Tensor of bool, shape (N, *shape)
        Observed entries; an expanded flag per sample where no sample has gaps.
    present : Tensor of bool, shape (N,)
        Samples of which anything was observed.
    grid : mapping of Tensor, shape (N, n)
        Own coordinate grids, in the coordinate's unit, and known parameters of the law, (N, 1).
    """

    info: ModalityInfo
    values: Tensor
    mask: Tensor
    present: Tensor
    grid: Mapping[str, Tensor] | None = None

    @property
    def known(self) -> Tensor | None:
        """Known parameters of the law, standardised, (N, input); None without any."""
        return standardised(self.info.inputs, self.grid)

    @property
    def beside(self) -> Tensor | None:
        """What networks see beside the values: known parameters and own grids; None for nothing."""
        known = self.known
        if not self.info.grid_points:
            return known
        grids = self.info.standardised_grids(self.grid, self.values)
        return grids if known is None else torch.cat([known, grids], dim=1)

    @property
    def observed_share(self) -> float:
        """Share of all entries that were observed."""
        return float(self.mask.double().mean())

    def in_memory(self) -> ModalityData:
        """The same as tensors, where it is on disk."""
        return self

    def take(self, index: Any) -> ModalityData:
        """Return some samples."""
        here = isinstance(index, Tensor) and index.device == self.values.device
        if here and index.dtype == torch.long:
            return self._map(lambda t: t.index_select(0, index))  # several times as fast
        return self._map(lambda t: t[index])

    def _map(self, change: Callable[[Tensor], Tensor]) -> ModalityData:
        """The same change of all tensors; a mask that is a flag per sample stays one."""
        values, present = change(self.values), change(self.present)
        # A flag per sample says which samples are present.
        whole = per_sample(self.mask) is not None
        mask = expand(present, values.shape) if whole else change(self.mask)
        grid = None if self.grid is None else {k: change(v) for k, v in self.grid.items()}
        return replace(self, values=values, mask=mask, present=present, grid=grid)

    def hide(self, mask: Tensor) -> ModalityData:
        """Return the samples with only some of their entries observed."""
        seen = mask.flatten(1).any(1)
        return replace(self, values=self.values * mask, mask=mask, present=self.present & seen)

    def to(self, device: torch.device | str) -> ModalityData:
        """Return the tensors on a device."""
        return self._map(lambda t: t.to(device))


@dataclass(frozen=True)
class Data:
    """Checked data: every modality over the same samples.

    Attributes
    ----------
    labels : mapping of LongTensor, shape (N,)
        Known outcomes of nodes, -1 where unknown.
    intervened : Tensor of bool, shape (N, L), or None
        Nodes that were set from outside.
    warnings : tuple of str
        What had to be assumed; shown with the results.
    label_names : mapping of tuple of str
        What outcome 0, 1, ... of a labelled node was called.
    groups : int array, shape (N,), or None
        Which samples belong together, and so are no independent ones.
    worth : float
        Independent samples that each counts as in the joint counts of the nodes.
    """

    modalities: dict[str, ModalityData]
    sample_dim: str
    sample_labels: np.ndarray
    labels: dict[str, Tensor]
    intervened: Tensor | None
    size: int
    warnings: tuple[str, ...] = ()
    label_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: np.ndarray | None = None
    worth: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return tuple(self.modalities)

    def take(self, index: Index) -> Data:
        """Return some samples: a slice (no copy) or a tensor or array of positions."""
        host = index.cpu().numpy() if isinstance(index, Tensor) else index
        where = torch.as_tensor(index) if isinstance(index, np.ndarray) else index
        if isinstance(where, Tensor) and self.modalities:
            # From the host, so that nothing waits for a GPU.
            device = next(iter(self.modalities.values())).present.device
            where = where.to(device, non_blocking=True)
        sample_labels = self.sample_labels[host]
        return replace(
            self,
            modalities={name: m.take(where) for name, m in self.modalities.items()},
            sample_labels=sample_labels,
            labels={name: label[where] for name, label in self.labels.items()},
            intervened=None if self.intervened is None else self.intervened[where],
            size=len(sample_labels),
            groups=None if self.groups is None else self.groups[host],
        )

    def to(self, device: torch.device | str) -> Data:
        """Return the tensors on a device."""
        return replace(
            self,
            modalities={name: m.to(device) for name, m in self.modalities.items()},
            labels={name: label.to(device) for name, label in self.labels.items()},
            intervened=None if self.intervened is None else self.intervened.to(device),
        )


@dataclass(frozen=True)
class Split:
    """Positions of the training, validation and test samples."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
