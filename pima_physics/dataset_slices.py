"""Variables of one modality, read in slices of samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr

from pima_physics.dataset_coordinates import Grids
from pima_physics.dataset_files import damaged, one_thread
from pima_physics.dataset_info import Coordinate, Request, channel_dim
from pima_physics.units import Conversion

# Slices hold about this many numbers, so that float64 copies stay small beside the data.
SLICE_NUMBERS = 2**19
# Chunks of the file with more numbers are decompressed again for each of their slices.
LARGEST_SLICE = 2**23


@dataclass(frozen=True)
class Source:
    """Variables of one modality with the conversion of each to the modality's unit.

    A variable that is absent (admitted in prediction) is None and reads as not observed.
    """

    request: Request
    variables: tuple[xr.DataArray | None, ...]
    conversions: tuple[Conversion, ...]
    unit: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    coordinates: dict[str, Coordinate]
    grids: Grids
    sample_dim: str
    size: int

    @property
    def stacked(self) -> bool:
        """Whether channels are standardised one by one."""
        return not self.dims or self.dims == (channel_dim(self.request.name),)

    @property
    def channels(self) -> tuple[str, ...]:
        """What is standardised as a whole: every scalar variable, or the one array."""
        return self.request.variables

    def slices(
        self, begin: int = 0, end: int | None = None, *, as_stored: bool = False
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield float64 values of some samples, in the modality's unit, NaN if not observed.

        Slices end where chunks of the file do: none is decompressed for two of them.

        Parameters
        ----------
        as_stored : bool
            Leave numbers that are in that unit already in the type of the file.
        """
        end, points = self.size if end is None else end, max(1, int(np.prod(self.shape)))
        chunk = self.chunk
        start = begin - begin % chunk
        count = max(1, round((end - start) * points / SLICE_NUMBERS))
        step = chunk * max(1, -(-(end - start) // (count * chunk)))
        if step * points > LARGEST_SLICE:
            start, step = begin, max(1, SLICE_NUMBERS // points)
        edges = [begin, *range(start + step, end, step), end]
        for first, last in pairwise(edges):
            yield (part := slice(first, last)), self._read(part, as_stored)

    @property
    def chunk(self) -> int:
        """Samples of a chunk of the file, 1 where it has none."""
        found = [v.encoding.get("preferred_chunks") or {} for v in self.variables if v is not None]
        return max([1, *(int(chunks.get(self.sample_dim, 1)) for chunks in found)])

    def _read(self, part: slice, as_stored: bool) -> np.ndarray:
        columns = []
        for name, variable, (scale, offset) in zip(
            self.request.variables, self.variables, self.conversions, strict=True
        ):
            if variable is None:
                shape = () if self.stacked else self.shape
                columns.append(np.full((part.stop - part.start, *shape), np.nan))
                continue
            try:
                with one_thread(variable):
                    raw = variable.isel({self.sample_dim: part}).values
            except Exception as error:  # a damaged file shows itself only here
                raise damaged(name, error) from error
            same = (scale, offset) == (1.0, 0.0)
            numbers = raw if same and as_stored else raw.astype(np.float64)
            columns.append(numbers if same else numbers * scale + offset)
        return np.stack(columns, 1) if self.stacked else columns[0]

    def resolution(self) -> np.ndarray:
        """Relative rounding error of every channel, shape (channel,)."""
        floating = [v is not None and v.dtype.kind == "f" for v in self.variables]
        types = [
            v.dtype if f and v is not None else np.float64
            for f, v in zip(floating, self.variables, strict=True)
        ]
        return np.array([float(np.finfo(t).eps) for t in types])
