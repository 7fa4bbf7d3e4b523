r"""Several processes on one fit, started by torchrun.

Every process has all the data and all the weights, and works on its share of every batch. Sums
over the batch (gradients, noise residuals, statistics of the mixture, terms of the bound) are
reduced over the processes, so that all take the same step; random draws are made for the whole
batch by each, of which it uses its share. A fit therefore follows the same trajectory as in one
process with the same batch size, up to the order of sums. Only the first process writes.

Started by hand or on SLURM::

    torchrun --nproc-per-node 2 -m pima_physics.cli fit experiment.yaml
    srun torchrun --nnodes $SLURM_NNODES --nproc-per-node 4 --rdzv-backend c10d \
        --rdzv-endpoint $(scontrol show hostnames $SLURM_NODELIST | head -1):29500 \
        -m pima_physics.cli fit experiment.yaml --resume
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def rank() -> int:
    """Number of this process, 0 where there is only one."""
    return int(os.environ.get("RANK", "0")) if launched() else 0


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def active() -> bool:
    """Whether the processes are connected."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@contextlib.contextmanager
def connected(device: torch.device | str = "cpu") -> Iterator[None]:
    """Connect the processes inside the block, where torchrun started several."""
    if not launched() or active():
        yield
        return
    cuda = torch.device(device).type == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True)
class Share:
    """The part of a batch that this process works on.

    Attributes
    ----------
    size : int
        Samples of the whole batch.
    part : slice
    """

    size: int
    part: slice

    @staticmethod
    def of(size: int) -> Share:
        """The share of this process; all where there is only one."""
        if not active():
            return Share(size, slice(0, size))
        world, number = dist.get_world_size(), dist.get_rank()
        return Share(size, slice(size * number // world, size * (number + 1) // world))

    def of_all(self, draw: Callable[[Tensor], Tensor], own: Tensor) -> Tensor:
        """This share's rows of something random that is drawn for the whole batch."""
        if len(own) == self.size:
            return draw(own)
        whole = torch.zeros(self.size, *own.shape[1:], dtype=own.dtype, device=own.device)
        whole[self.part] = own
        return draw(whole)[self.part]


def mine(number: int) -> bool:
    """Whether the n-th of several pieces of work is for this process."""
    return not active() or number % dist.get_world_size() == dist.get_rank()


def total(tensors: Sequence[Tensor]) -> None:
    """Sum tensors over the processes, in place, in one message."""
    if not active():
        return
    flat = torch.cat([t.reshape(-1) for t in tensors])
    dist.all_reduce(flat)
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def from_first(make: Callable[[], T]) -> T:
    """What the first process makes, for all."""
    if not active():
        return make()
    box = [make() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(box, src=0)
    return box[0]  # type: ignore[return-value]


def anyone(flag: bool) -> bool:
    """Whether it is so in any process."""
    if not active():
        return flag
    where = "cuda" if dist.get_backend() == "nccl" else "cpu"
    mark = torch.tensor(int(flag), device=where)
    dist.all_reduce(mark, op=dist.ReduceOp.MAX)
    return bool(mark)


def wait() -> None:
    """Until all processes have come here."""
    if active():
        dist.barrier()
