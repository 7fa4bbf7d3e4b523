"""Data larger than memory: what is found in a part of them, spread over all.

Fits of laws to single samples and the discovery of the nodes need their samples at once. Of data
that stay on disk they get a random part as large as memory allows; so does the phase in which
discovered outcomes are taken as given. Then training goes on with all samples: those of the part
keep what was discovered of them as evidence, the others have none of their own and get their
outcomes from the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pima_physics.calibrate import Calibration
from pima_physics.dataset import Data
from pima_physics.dataset_stream import WINDOW_BYTES, StreamedModality, is_streamed, load
from pima_physics.decoders import ConvDecoder, MLPDecoder
from pima_physics.discovery import Discovery
from pima_physics.errors import DataError
from pima_physics.model import Network

# Samples beyond this number tell discovery little and cost it much.
MOST_KNOWN = 20_000
# Contiguous pieces of the file that they come from.
PIECES = 200


@dataclass(frozen=True)
class Known:
    """The samples that are in memory.

    Attributes
    ----------
    data : Data
    positions : Tensor, shape (known,), or None
        Their places among all; None where they are all.
    size : int
        Number of all samples.
    """

    data: Data
    positions: Tensor | None
    size: int

    def _scatter(self, part: Tensor, fill: float) -> Tensor:
        if self.positions is None:
            return part
        whole = torch.full((self.size, *part.shape[1:]), fill, dtype=part.dtype, device=part.device)
        whole[self.positions.to(part.device)] = part
        return whole

    def targets(self, part: Tensor) -> Tensor:
        """Responsibilities of all samples; uniform, which is no evidence, for the others."""
        return self._scatter(part, 1.0 / part.shape[1])

    def fits(self, part: Mapping[str, Calibration]) -> dict[str, Calibration]:
        """Fits of all samples; the others count as not fitted."""
        return {
            name: Calibration(*(self._scatter(tensor, 0) for tensor in vars(fit).values()))
            for name, fit in part.items()
        }

    def discovery(self, part: Discovery) -> Discovery:
        """The discovery with uniform rows for the others."""
        if self.positions is None:
            return part
        found = tuple(
            replace(f, probability=self.targets(torch.as_tensor(f.probability)).numpy())
            for f in part.findings
        )
        whole = self.targets(torch.as_tensor(part.responsibility)).numpy()
        return replace(part, findings=found, responsibility=whole)


def known_part(data: Data, network: Network, *, seed: int) -> Known:
    """All samples that are in memory, or a random part of those on disk.

    Raises
    ------
    DataError
        Where the data of a law are on disk: its parameters are reported for every sample.
    """
    if not is_streamed(data):
        return Known(data, None, data.size)
    laws = [
        name
        for name, decoder in zip(network.names, network.decoders, strict=True)
        if not isinstance(decoder, MLPDecoder | ConvDecoder)
        and isinstance(data.modalities[name], StreamedModality)
    ]
    if laws:
        raise DataError(
            f"the data of {', '.join(laws)} do not fit into memory, and are decoded by a law",
            expected="modalities with physics decoders in memory; others may stay on disk",
            fix="use fewer samples or points, or more memory",
        )
    each = sum(m.bytes_each for m in data.modalities.values() if isinstance(m, StreamedModality))
    most = int(np.clip(WINDOW_BYTES // max(1, each), 1000, MOST_KNOWN))
    pieces = np.array_split(np.arange(data.size), min(data.size, PIECES * data.size // most))
    chosen = np.random.default_rng(seed).permutation(len(pieces))
    joined = np.concatenate([pieces[i] for i in chosen[: PIECES + 1]])[:most]
    positions = torch.from_numpy(np.sort(joined))
    return Known(load(data, positions), positions, data.size)


def told(targets: Tensor) -> Tensor:
    """Samples whose targets say anything, bool (sample,)."""
    return (targets != targets[:, :1]).any(1)
