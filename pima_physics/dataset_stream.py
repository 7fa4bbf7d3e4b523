r"""Modalities that stay on disk: read in contiguous windows, shuffled inside them.

A modality that would not fit into memory is checked and summed up in one pass through the file.
From then on it is read where it is needed: a few samples become tensors, many stay on disk.

Training draws its batches from windows. A window joins a few contiguous pieces from random places
of the file, which are shuffled together; the next one is read by a thread while the present one is
trained on, each into memory of its own that is used again. Quality of the shuffle: every epoch sees
every sample once, in other pieces, windows and batches each time; the samples of a batch come from
up to eight places of the file. In a file that is sorted by some factor with many values a batch
therefore shows about that many of them, not all: shuffle such a file once.
"""

from __future__ import annotations

import hashlib
import os
import resource
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pima_physics.dataset_info import ModalityInfo
from pima_physics.dataset_records import Data, ModalityData
from pima_physics.dataset_slices import Source
from pima_physics.dataset_store import Store
from pima_physics.errors import DataError

# Bytes of values in one window; fewer samples than fit into one are read at once.
WINDOW_BYTES = 2**24
# So many samples are always read at once: what works in chunks asks for no more.
AT_ONCE = 2048
# Share of the memory that is available that checked data may take before they stay on disk.
SHARE = 0.25


def available_memory() -> int:
    """Bytes that this process may still take: of the machine, its group and its own limits."""
    limits = []
    try:
        pairs = (line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        limits.append(1024 * int({k: v.split()[0] for k, v in pairs}["MemAvailable"]))
        group = Path("/sys/fs/cgroup")
        if (most := (group / "memory.max").read_text().strip()) != "max":
            limits.append(int(most) - int((group / "memory.current").read_text()))
    except (OSError, KeyError, ValueError):
        pass
    used = os.sysconf("SC_PAGE_SIZE") * _pages()
    for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
        soft = resource.getrlimit(kind)[0]
        if soft != resource.RLIM_INFINITY:
            limits.append(max(0, soft - used))
    return min(limits, default=2**62)


def _pages() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[5])  # data and stack
    except (OSError, IndexError, ValueError):
        return 0


def too_large(source: Source, dtype: torch.dtype) -> bool:
    """Whether the tensors of a modality would take more than their share of the memory."""
    numbers = source.size * max(1, int(np.prod(source.shape)))
    return numbers * (dtype.itemsize + 1) > SHARE * available_memory()


class StreamedModality(ModalityData):
    """A modality on disk; :meth:`take` gives tensors of a few samples, or a smaller one.

    Parameters
    ----------
    present : Tensor of bool, shape (sample,)
    index : int array, optional
        Positions of its samples in the file.
    """

    def __init__(
        self,
        info: ModalityInfo,
        store: Store,
        present: Tensor,
        grid: dict[str, Tensor] | None = None,
        *,
        index: np.ndarray | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        own = {"info": info, "store": store, "grid": grid, "device": device}
        own["present"] = present.to(device)
        own["index"] = np.arange(len(present)) if index is None else index
        for name, value in own.items():
            object.__setattr__(self, name, value)

    store: Store
    index: np.ndarray
    device: torch.device | str

    @property
    def observed_share(self) -> float:
        """Share of all entries in the file that were observed."""
        return self.store.observed_share

    @property
    def bytes_each(self) -> int:
        """Bytes of a sample's values."""
        return max(1, int(np.prod(self.info.shape))) * self.store.dtype.itemsize

    def _few(self, count: int) -> bool:
        return count <= max(AT_ONCE, WINDOW_BYTES // self.bytes_each)

    def _whole(self, what: str) -> Tensor:
        if not self._few(len(self.index)):
            raise DataError(
                f"modality '{self.info.name}' does not fit into memory as a whole",
                found=f"{len(self.index)} samples of {self.bytes_each} bytes",
                fix="use fewer samples, or coarser ones",
            )
        return getattr(self.in_memory(), what)

    @property
    def values(self) -> Tensor:  # type: ignore[override]
        """All values, where they are few."""
        return self._whole("values")

    @property
    def mask(self) -> Tensor:  # type: ignore[override]
        """Which values were observed, where they are few."""
        return self._whole("mask")

    def load(self, rows: np.ndarray, memory: Tensor | None = None) -> ModalityData:
        """Tensors of some of the samples, the values in memory that is given or new."""
        where = torch.from_numpy(rows).to(self.present.device)
        values, mask = self.store.read(self.index[rows], memory)
        grid = None if self.grid is None else {k: v[where] for k, v in self.grid.items()}
        return ModalityData(self.info, values, mask, self.present[where], grid).to(self.device)

    def in_memory(self) -> ModalityData:
        """The same as tensors, however large."""
        return self.load(np.arange(len(self.index)))

    def take(self, index: Any) -> ModalityData:
        """Return some samples: as tensors where they are few."""
        host = index.cpu().numpy() if isinstance(index, Tensor) else index
        rows = np.arange(len(self.index))[host]
        if self._few(len(rows)):
            return self.load(rows)
        where = torch.from_numpy(rows).to(self.present.device)
        return StreamedModality(
            self.info,
            self.store,
            self.present[where],
            None if self.grid is None else {k: v[where] for k, v in self.grid.items()},
            index=self.index[rows],
            device=self.device,
        )

    def to(self, device: torch.device | str) -> ModalityData:
        """Return the same, with tensors on a device when they are read."""
        grid = None if self.grid is None else {k: v.to(device) for k, v in self.grid.items()}
        return StreamedModality(
            self.info, self.store, self.present, grid, index=self.index, device=device
        )

    def checksum(self) -> str:
        """What tells the data of one experiment from those of another."""
        place = hashlib.sha256(np.ascontiguousarray(self.index).tobytes()).hexdigest()
        return f"{self.store.digest} {place}"


def is_streamed(data: Data) -> bool:
    """Whether some modality stays on disk."""
    return any(isinstance(m, StreamedModality) for m in data.modalities.values())


def window_size(data: Data, batch_size: int) -> int:
    """Samples of a window: as many as fit, at least four batches."""
    streamed = [m for m in data.modalities.values() if isinstance(m, StreamedModality)]
    each = sum(m.bytes_each for m in streamed)
    return max(4 * batch_size, WINDOW_BYTES // max(1, each))


def chunk_starts(data: Data) -> Tensor | None:
    """Positions where a chunk of the largest modality on disk begins; None without chunks."""
    streamed = [m for m in data.modalities.values() if isinstance(m, StreamedModality)]
    largest = max(streamed, key=lambda m: m.bytes_each)
    number = largest.index // largest.store.source.chunk
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    return torch.from_numpy(starts) if len(starts) < data.size else None


def load(data: Data, index: Tensor, memory: Mapping[str, Tensor] | None = None) -> Data:
    """Tensors of some samples, however many; values from disk in memory that is given or new."""
    rows, memory = index.cpu().numpy(), memory or {}
    modalities = {
        name: m.load(rows, memory.get(name)) if isinstance(m, StreamedModality) else m.take(index)
        for name, m in data.modalities.items()
    }
    return replace(replace(data, modalities={}).take(index), modalities=modalities)


def ahead(loads: list[Callable[[], Data]]) -> Iterator[Data]:
    """The results of loading, each read by a thread while the one before is in use."""
    with ThreadPoolExecutor(1, thread_name_prefix="pima-read") as reader:
        coming = reader.submit(loads[0]) if loads else None
        for load in [*loads[1:], None]:
            assert coming is not None
            ready = coming.result()
            coming = None if load is None else reader.submit(load)
            yield ready
            del ready


def feed(data: Data, windows: list[list[Tensor]], skip: int = 0) -> Iterator[tuple[Tensor, Data]]:
    """Batches of windows, with their positions, after the first ``skip``.

    Windows of data on disk are read in turn into two pieces of memory, in the order of the file.
    Batches are copies, as they are of data in memory.
    """
    if not is_streamed(data):
        yield from ((index, data.take(index)) for sets in windows for index in sets[skip:])
        return
    left = []
    for sets in windows:
        left.append(sets[min(skip, len(sets)) :])
        skip -= min(skip, len(sets))
    left = [sets for sets in left if sets]
    rows = [torch.cat(sets).sort().values for sets in left]
    pieces = [_memory(data, max(map(len, rows[n::2]))) for n in range(min(2, len(rows)))]
    loads = [partial(load, data, index, pieces[n % 2]) for n, index in enumerate(rows)]
    for sets, order, window in zip(left, rows, ahead(loads), strict=True):
        for index in sets:
            yield index, window.take(torch.searchsorted(order, index))


def _memory(data: Data, count: int) -> dict[str, Tensor]:
    """Memory for so many samples of what is on disk."""
    streamed = {n: m for n, m in data.modalities.items() if isinstance(m, StreamedModality)}
    return {name: m.store.memory(count) for name, m in streamed.items()}


def in_turn(
    data: Data, chunk: int, *, mine: Callable[[int], bool] = lambda number: True
) -> Iterator[tuple[slice, Data]]:
    """Slices of all samples in their order, read ahead where they are on disk.

    Parameters
    ----------
    mine : callable
        Which of the slices, by number.
    """
    begins = [b for n, b in enumerate(range(0, data.size, chunk)) if mine(n)]
    parts = [slice(b, min(b + chunk, data.size)) for b in begins]
    if not is_streamed(data):
        yield from ((part, data.take(part)) for part in parts)
        return
    loads = [lambda part=part: data.take(part) for part in parts]
    yield from zip(parts, ahead(loads), strict=True)
