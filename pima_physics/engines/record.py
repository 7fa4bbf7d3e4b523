"""The accepted steps of a solve, without gaps: what is kept of it for output and gradient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Steps:
    """All accepted steps (R columns in all), and one step of length zero at every sample's end.

    Columns are ordered by step; within a step by the number of steps that samples take, most
    first. So step s of the sample that is j-th in that order is column ``first[s] + j``, its next
    step is column ``first[s + 1] + j``, and the samples that take step s are the first of all.

    t, h : (R,); y, f : (n, R) state and slope at the start of the step; middle : (n, R) or None;
    step, place : (R,) the s and j of every column; order : (B,) the sample that is j-th;
    first : (S + 1,) where a step begins, and R.
    """

    t: Tensor
    h: Tensor
    y: Tensor
    f: Tensor
    middle: Tensor | None
    step: Tensor
    place: Tensor
    order: Tensor
    first: Tensor

    def find(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Columns of the steps that hold the times (B, T), and of the steps after them."""
        j = torch.empty_like(self.order)
        j[self.order] = torch.arange(len(j), device=j.device)
        ends = torch.where(self.h > 0, self.t + self.h, torch.inf)
        grid = ends.new_full((len(j), len(self.first) - 1), torch.inf)
        grid[self.order[self.place], self.step] = ends
        step = torch.searchsorted(grid, times.contiguous())
        here = self.first[step] + j[:, None]
        after = self.first[step + 1] + j[:, None]
        return here, torch.where(self.h[here] > 0, after, here)

    def blocks(self, columns: int) -> Iterable[tuple[int, list[int]]]:
        """First column and widths of successive steps, about ``columns`` together, last first."""
        first = self.first.tolist()
        widths, end = [b - a for a, b in pairwise(first)], len(first) - 1
        while end > 0:
            start = end - 1
            while start > 0 and first[end] - first[start - 1] <= columns:
                start -= 1
            yield first[start], widths[start:end]
            end = start


class Record:
    """What a march tries, one entry (t, y, f, h done, middle or nothing) after another."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.rows: list[tuple[Tensor, ...]] = []
        self.groups: list[tuple[int, Tensor | None]] = [(0, None)]

    def add(self, row: tuple[Tensor, ...]) -> None:
        """Add what was tried for the present samples."""
        self.rows.append(row)

    def narrow(self, alive: Tensor) -> None:
        """Say which samples the next entries are of."""
        self.groups.append((len(self.rows), alive))

    def steps(self, t: Tensor, y: Tensor, f: Tensor) -> Steps:
        """Put the accepted steps in order, with the ends (t, y, f) of all samples."""
        samples = torch.arange(self.batch, device=t.device)
        count = torch.zeros_like(samples)
        column, sample, step, offset = [], [], [], 0
        ends = [start for start, _ in self.groups[1:]] + [len(self.rows)]
        for (start, alive), end in zip(self.groups, ends, strict=True):
            present = samples if alive is None else alive
            taken = torch.stack([row[3] for row in self.rows[start:end]]) > 0
            number = taken.cumsum(0) - 1 + count[present]
            flat = taken.flatten().nonzero()[:, 0]
            column.append(offset + flat)
            sample.append(present[flat % len(present)])
            step.append(number.flatten()[flat])
            count[present] = number[-1] + 1
            offset += taken.numel()
        order = torch.argsort(count, descending=True, stable=True)
        place = torch.empty_like(order)
        place[order] = samples
        widths = torch.bincount(count).flip(0).cumsum(0).flip(0)
        first = torch.cat([widths.new_zeros(1), widths.cumsum(0)])
        step, sample = torch.cat([*step, count]), torch.cat([*sample, samples])
        source = torch.empty_like(step)
        source[first[step] + place[sample]] = torch.cat([*column, offset + samples])

        work = y.new_empty(len(y), offset + self.batch)  # once: new memory costs more than copies

        def gather(part: int, end: Tensor) -> Tensor:
            parts = [*(row[part] for row in self.rows), end]
            values = torch.cat(parts, -1, out=work if end.ndim == 2 else work[0])
            return values.gather(-1, source.expand(*end.shape[:-1], -1))  # much the fastest way

        width = torch.repeat_interleave(first[:-1], widths)
        return Steps(
            t=gather(0, t), h=gather(3, torch.zeros_like(t)), y=gather(1, y), f=gather(2, f),
            middle=gather(4, y) if len(self.rows[0]) > 4 else None,
            step=torch.repeat_interleave(torch.arange(len(widths), device=t.device), widths),
            place=torch.arange(len(step), device=t.device) - width, order=order, first=first,
        )  # fmt: skip
