"""The model and data of the benchmark `gpu`, and the steps that it times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pima_physics.dataset import Data
from pima_physics.trainer_loop import Loop, Options, start
from pima_physics.training import prepare_fit
from pima_physics.validation.benchmarks.step import (
    SIZE,
    Bare,
    Step,
    endless,
    images_and_curves,
    model,
    our_step,
)


@dataclass(frozen=True)
class Case:
    """One model and its data on a device."""

    network: str
    components: int
    batch: int
    data: Data
    targets: Tensor
    fresh: Callable[[Options], Loop]

    @staticmethod
    def make(device: torch.device, network: str, components: int, batch: int) -> Case:
        """Blobs and curves, with made-up targets."""
        made = model(network, components)
        prepared = prepare_fit(made, images_and_curves(max(2 * SIZE, 2 * components, 2 * batch)))
        data = prepared.data.take(slice(0, max(SIZE, batch))).to(device)
        targets = torch.softmax(3.0 * torch.randn(data.size, components), 1).to(device)

        def fresh(options: Options) -> Loop:
            return start(made.build(prepared.infos, seed=0).to(device), options, seed=0, epochs=1)

        return Case(network, components, batch, data, targets, fresh)

    @property
    def order(self) -> Tensor:
        """Positions of the samples, on the host, as an epoch has them."""
        return torch.randperm(self.data.size, generator=torch.Generator().manual_seed(0))

    def ours(self, **options: object) -> Step:
        """A step of `pima.fit`."""
        loop = self.fresh(Options(batch_size=self.batch, **options))  # type: ignore[arg-type]
        return our_step(
            loop, self.data, self.order, phase="free", targets=self.targets, batch=self.batch
        )

    def bare(self, *, recorded: bool) -> Step:
        """A step of the peer."""
        peer = Bare(self.fresh(Options()).network)
        optimiser = torch.optim.Adam(peer.parameters(), lr=1e-3, fused=True, capturable=recorded)
        tensors = [m.values for m in self.data.modalities.values()]
        indices, device = endless(self.order, self.batch), tensors[0].device
        own = [x[: self.batch].clone() for x in tensors]

        def advance(batch: list[Tensor]) -> None:
            loss = peer(batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

        def plain() -> None:
            index = next(indices).to(device, non_blocking=True)
            advance([x.index_select(0, index) for x in tensors])

        if not recorded:
            return plain
        for _ in range(5):
            plain()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            advance(own)

        def replayed(kept: object = (peer, optimiser)) -> None:
            # A recording does not keep the memory of the weights that it reads and writes.
            index = next(indices).to(device, non_blocking=True)
            for place, x in zip(own, tensors, strict=True):
                place.copy_(x.index_select(0, index))
            graph.replay()

        return replayed
