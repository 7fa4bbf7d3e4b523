"""Derivatives of many explicit steps at once, from the Jacobians of the right-hand side.

A step is Y_i = y + h sum_j a_ij k_j, k_i = f(Y_i, p), y1 = y + h sum_i b_i k_i and the middle
y + h sum_i m_i k_i. With J_i = df/dy at Y_i, cotangents A of y1 and G of the middle come back as

    K_i = b_i A + m_i G + sum_(j > i) a_ji Z_j,    Z_i = h K_i J_i,    y: A + G + sum_i Z_i,

which asks for n vector-Jacobian products of f alone, and one more by p when A is known; autograd
through the stages would repeat all of them n + 1 times. Symbols and shapes are those of
:mod:`pima_physics.engines.linearise`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pima_physics.engines import Rhs
from pima_physics.engines.linearise import Pull, units, vjp


@dataclass(frozen=True)
class Tableau:
    """Coefficients of an explicit method of s stages whose first is the slope at the start.

    nodes (s,); forward (s, s): row i holds [1, a_i1, a_i2, ...] for [y, h k_1, h k_2, ...];
    back (s, s + 2): row i holds [b_i, m_i, a_si, ..., a_(i+1)i, 0, ...] for
    [A, G, Z_s, ..., Z_(i+1), ...].
    """

    nodes: Tensor
    forward: Tensor
    back: Tensor


def tableau(
    nodes: tuple[float, ...],
    matrix: tuple[tuple[float, ...], ...],
    middle: tuple[float, ...],
    like: Tensor,
) -> Tableau:
    """Arrange nodes (of stages 2 to s), the rows a_ij of those stages and b, and m."""
    size = len(matrix)
    ahead, back = like.new_zeros(size, size), like.new_zeros(size, size + 2)
    ahead[:, 0] = 1.0
    for i, row in enumerate(matrix[:-1], 1):
        ahead[i, 1 : i + 1] = like.new_tensor(row)
    for i in range(size):
        column = [matrix[j - 1][i] for j in range(size - 1, i, -1)]
        row = [matrix[-1][i], middle[i], *column]
        back[i, : len(row)] = like.new_tensor(row)
    return Tableau(like.new_tensor([0.0, *nodes[: size - 1]]), ahead, back)


class Linearise:
    """Differentiate blocks of steps, one after another; see :mod:`.linearise`.

    The working memory is made once, for the largest block: touching new memory would cost more
    than the arithmetic. So the results of a block end with the call for the next one.
    """

    def __init__(self, table: Tableau, size: int, columns: int) -> None:
        count = len(table.nodes)
        self.table = table
        new = table.forward.new_empty
        self.state = new(count, size * columns)  # [y, h k_1, ...]
        self.jacobian = new(count, size * size * columns)  # h J_i
        self.back = new(count + 2, (size + 1) * size * columns)  # [A, G, Z_s, ..., Z_1] by heads
        self.kept = new(count, (size + 1) * size * columns)  # K_i by heads

    def __call__(
        self, rhs: Rhs, t: Tensor, y: Tensor, h: Tensor, p: Tensor, given: list[Tensor]
    ) -> tuple[Tensor, Pull]:
        """Differentiate steps; ``given`` are the cotangents of the first slope and the middle."""
        points, slopes, p = self._evaluate(rhs, t, y, h, p)
        (size, count), (by_first, by_middle) = (len(y), len(points)), given
        jacobian = _part(self.jacobian, size, *y.shape)
        direct = torch.zeros_like(y)  # what comes back through the first slope
        for b, unit in enumerate(units(y)):
            rows = vjp(slopes, points, [unit.T] * count)
            direct.addcmul_(rows[0].T, by_first[b])
            for into, row in zip(jacobian[:, b].unbind(0), rows, strict=True):
                torch.mul(row.T, h, out=into)
        kept = self._through(jacobian, by_middle)
        heads = _part(self.back, size + 1, *y.shape).sum(0)
        heads[size] += direct

        def pull(ahead: Tensor) -> Tensor:
            total = kept[:, size]
            for e in range(size):
                total.addcmul_(ahead[e], kept[:, e])
            total.mul_(h)[0].add_(by_first)
            return vjp(slopes, [p], total.transpose(1, 2).unbind(0))[0]

        return heads, pull

    def _evaluate(
        self, rhs: Rhs, t: Tensor, y: Tensor, h: Tensor, p: Tensor
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """States and slopes of all stages, and p: every stage has a graph of its own."""
        p = p.detach().requires_grad_()
        table, buffer, width = self.table, _part(self.state, *y.shape), h[:, None]
        buffer[0] = y
        flat = self.state[:, : y.numel()]
        times = torch.addcmul(t[:, None], table.nodes[:, None, None], width).unbind(0)
        points, slopes = [], []
        for i, time in enumerate(times):
            state = torch.mv(flat[: i + 1].T, table.forward[i, : i + 1]).view_as(y).T
            with torch.enable_grad():
                points.append(state.requires_grad_())
                slopes.append(rhs(time, state, p))
            if i + 1 < len(times):
                torch.mul(slopes[-1].detach().T, h, out=buffer[i + 1])
        return points, slopes, p

    def _through(self, jacobian: Tensor, by_middle: Tensor) -> Tensor:
        """Go back through the stages: fill ``back`` and return all K_i."""
        count, size, width = len(jacobian), *by_middle.shape
        back = _part(self.back, size + 1, size, width)
        kept = _part(self.kept, size + 1, size, width)
        flat, sums = (x[:, : back[0].numel()] for x in (self.back, self.kept))
        back[:2] = 0.0
        for e in range(size):
            back[0, e, e] = 1.0
        back[1, size] = by_middle
        for i in reversed(range(count)):
            last = count + 1 - i
            torch.mv(flat[:last].T, self.table.back[i, :last], out=sums[i])
            columns = kept[i].split(1, 1)
            torch.mul(columns[0], jacobian[i, 0], out=back[last])
            for b in range(1, size):
                back[last].addcmul_(columns[b], jacobian[i, b])
        return kept


def _part(memory: Tensor, *shape: int) -> Tensor:
    """Arrange the begin of every row of the memory."""
    return memory[:, : torch.Size(shape).numel()].view(-1, *shape)
