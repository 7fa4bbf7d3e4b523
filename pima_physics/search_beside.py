r"""One more node beside known ones, where the pursuit does not find it.

With the others known, a node is judged by what it shows among samples that agree in them, summed
over all such cells before anything is taken off for chance (each cell of a weak feature shows less
than chance could), and by what it shows alone, as far as the cells bear it out:

.. math:: J(a) = E_{cells}(a) + \min(E_{alone}(a), E_{cells}(a))

Directions blind to the known nodes climb it by random turns, narrower after each round that did
not help. They start from groups within cells, and from what the pursuit finds. Evidence alone
would climb towards functions of the known nodes. Where these are all other nodes of a set in the
latent, such a function together with a rare node also wins J: it parts groups in one cell, cuts
through them in others, and shows most by itself. There what the cells show is counted as far as it
lies where the shares of the groups in them say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pima_physics.cell_pursuit import pursue_within_cells
from pima_physics.evidence import clear
from pima_physics.modes import BINS, Mixture1D, fit_mixture, full_cuts, histograms
from pima_physics.modes_evidence import lost_without, nats_borne_out
from pima_physics.nodesets import (
    SAME_PARTITION,
    Node,
    agreement,
    along,
    cells_of,
    columns_of,
    first_distinct,
    joint_code,
    masses_in_large_cells,
    refine,
)
from pima_physics.pursuit import (
    blind_axes,
    expected_means,
    known_effects,
)
from pima_physics.search import further
from pima_physics.views import View

Array = NDArray[np.float64]

# Rounds of so many turns each, the first by about this angle (radian), and how it shrinks.
ROUNDS, TURNS, ANGLE, NARROWER = 14, 16, 0.35, 0.7
# Steps of fitting groups, as many as for every node: those that hardly part lie elsewhere after
# fewer. Groups near to those of another direction begin there.
ITERATIONS, NEAR = 15, 5
# Directions of the pursuit from which to climb.
PURSUED = 6
# Sweeps of settling, after each of which climbed directions are compared: at the very top of the
# evidence they fit its noise, of which little is left when they settle.
SETTLED = 2
# The best directions that are averaged over so many halves of the samples, if they agree less, and
# how often; the one that was chosen, in a finer view.
AVERAGED, HALVES, ALIKE = 4, 8, 0.9
AVERAGINGS, SHARPENINGS = 2, 3


def beside(
    views: Sequence[View],
    known: Sequence[Node],
    outcomes: int,
    *,
    rng: np.random.Generator,
    witnesses: Sequence[View] = (),
    finest: View | None = None,
    through_two: bool = False,
    by_shares: bool = False,
) -> Node | None:
    """The clearest further node given others; None where nothing shows.

    Parameters
    ----------
    views : sequence of View
        In which it is sought.
    known : sequence of Node
        At least one.
    witnesses : sequence of View
        Further views, in which it counts what the same partition shows, up to what it shows where
        it was found: bends show more.
    finest : View, optional
        The one of these views in which the best few are averaged before one is chosen, where none
        is clear.
    through_two : bool
        Begin also where directions of two outcomes climb to, if there are more: along the direction
        of several groups in a row two of them part as well, and it is found from more places.
    by_shares : bool
        Judge directions by what they show in cells as far as it lies where the shares of their
        groups say (:func:`pima_physics.modes_evidence.nats_borne_out`), in place of J.
    """
    every = [_Beyond.of(v, known, outcomes, by_shares=by_shares) for v in (*views, *witnesses)]
    found: list[tuple[float, Node]] = []
    for beyond in every[: len(views)]:
        begin = _starts(beyond, known, through_two=through_two, rng=rng)
        if len(begin):
            nodes, own = _settled(beyond, known, beyond.climb(begin, rng))
            found += zip(_witnessed(nodes, own, beyond, every), nodes, strict=True)
    shown = [node for worth, node in sorted(found, key=lambda f: -f[0]) if worth > 0.0]
    best = first_distinct(shown, _alike, AVERAGED)
    where = next((b for b in every if b.view is finest), None)
    if where is None or not best or clear(best[0]):
        return best[0] if best else None
    return _averaged(best, where, every, rng)


def sharpened(
    node: Node,
    view: View,
    known: Sequence[Node],
    *,
    rng: np.random.Generator,
    by_shares: bool = False,
) -> Node:
    """A node found beside known ones as a finer view shows it; itself where that leads elsewhere.

    Along the mean of the directions to which halves of the samples climb there.
    """
    beyond = _Beyond.of(view, known, node.outcomes, by_shares=by_shares)
    axes = beyond.seen([node])
    for _ in range(SHARPENINGS):
        axes = beyond.mean_end(axes, rng)
    new = along(view, axes, node.outcomes)[0]
    return new if agreement(new.probability, node.probability) > SAME_PARTITION else node


def _starts(
    beyond: _Beyond, known: Sequence[Node], *, through_two: bool, rng: np.random.Generator
) -> Array:
    """Directions to climb from, shape (direction, axis)."""
    view, outcomes = beyond.view, beyond.outcomes
    begin = [pursue_within_cells(view.white, beyond.columns, outcomes, beyond.cells, rng=rng)]
    counts = {outcomes, 2} if through_two else {outcomes}
    for count in sorted(counts, reverse=True):
        begin += [n.axis[None] for n in further([view], known, count, PURSUED, rng=rng)]
    if through_two and outcomes > 2:
        two = replace(beyond, outcomes=2)
        axes = pursue_within_cells(view.white, two.columns, 2, two.cells, rng=rng)
        begin += [axes, two.climb(axes, rng)] if len(axes) else []
    return np.concatenate(begin)


def _alike(a: Node, b: Node) -> bool:
    return agreement(a.probability, b.probability) >= ALIKE


def _averaged(
    nodes: Sequence[Node], beyond: _Beyond, every: Sequence[_Beyond], rng: np.random.Generator
) -> Node:
    """The best along means of the directions to which halves of the samples climb.

    What each of them fits of the evidence's noise is its own (Buehlmann and Yu, "Analyzing
    bagging", Annals of Statistics 30, 2002): alternatives are compared without it.
    """
    kept: list[tuple[float, Node]] = []
    for _ in range(AVERAGINGS):
        axes = beyond.mean_end(beyond.seen(nodes), rng)
        new = along(beyond.view, axes, beyond.outcomes)
        worth = _witnessed(new, beyond.worth(axes), beyond, every)
        nodes = [new[int(worth.argmax())]]
        kept.append((float(worth.max()), nodes[0]))
    return max(kept, key=lambda k: k[0])[1]


def _witnessed(
    nodes: Sequence[Node], own: Array, where: _Beyond, every: Sequence[_Beyond]
) -> Array:
    """What nodes are worth with what other views show of them, each up to their own worth."""
    others = [np.minimum(b.worth_of(nodes), own) for b in every if b is not where]
    return own + np.sum(others, axis=0)


def _settled(beyond: _Beyond, known: Sequence[Node], axes: Array) -> tuple[list[Node], Array]:
    """Nodes along directions after they settled, and what they are worth, in nats."""
    sets = [[*known, node] for node in along(beyond.view, axes, beyond.outcomes)]
    each: list[list[Node]] = []
    for _ in range(SETTLED):
        sets = refine(sets, sweeps=1)
        each.append([s[-1] for s in sets])
    worth = [beyond.worth(np.stack([n.axis for n in nodes])) for nodes in each]
    return each[0], np.mean(worth, axis=0)


@dataclass(frozen=True)
class _Beyond:
    """What directions of a view show beside known nodes."""

    view: View
    columns: Array
    cells: NDArray[np.int64]
    outcomes: int
    by_shares: bool = False

    @staticmethod
    def of(view: View, known: Sequence[Node], outcomes: int, *, by_shares: bool = False) -> _Beyond:
        """In a view, of samples that have it."""
        cells = cells_of(known, view.present)
        assert cells is not None
        return _Beyond(view, columns_of(known, view.present), cells, outcomes, by_shares)

    def of_part(self, part: NDArray[np.int64]) -> _Beyond:
        """Of some of the samples."""
        view = replace(self.view, white=self.view.white[part])
        cells = joint_code(self.cells[part, None])  # some have none of them
        return replace(self, view=view, columns=self.columns[part], cells=cells)

    def seen(self, nodes: Sequence[Node]) -> Array:
        """Directions of partitions found elsewhere, shape (node, axis)."""
        scores = np.stack([n.score[self.view.present] for n in nodes], axis=1)
        return blind_axes(self.view.white, scores, self.columns)

    def worth_of(self, nodes: Sequence[Node]) -> Array:
        """What the view shows of them, in nats, (node,)."""
        return self.worth(self.seen(nodes))

    def mean_end(self, axes: Array, rng: np.random.Generator) -> Array:
        """Mean of the directions to which halves of the samples climb from each given one."""
        samples, total = len(self.cells), np.zeros_like(axes)
        for _ in range(HALVES):
            half = np.sort(rng.permutation(samples)[: samples // 2])
            ends = self.of_part(half).climb(axes, rng)
            total += ends * np.sign((ends * axes).sum(1, keepdims=True))
        return self.blind(total)

    def climb(self, axes: Array, rng: np.random.Generator) -> Array:
        """Directions (direction, axis) of more worth, near those given."""
        count, size = axes.shape
        best = self.blind(axes)
        value, angle = self.worth(best), np.full(count, ANGLE)
        for _ in range(ROUNDS if size > 1 else 0):
            like = self._groups(best)[2].take(np.repeat(np.arange(count), TURNS))
            noise = rng.normal(size=(count, TURNS, size)) / np.sqrt(size)
            turned = best[:, None] + angle[:, None, None] * noise
            turned = self.blind(turned.reshape(-1, size), like)
            found = self.worth(turned, like).reshape(count, TURNS)
            top, up = found.argmax(1), found.max(1) > value
            chosen = turned.reshape(count, TURNS, size)[np.arange(count), top]
            best = np.where(up[:, None], chosen, best)
            value = np.where(up, found.max(1), value)
            angle = np.where(up, angle, NARROWER * angle)
        return best

    def _groups(
        self, axes: Array, like: Mixture1D | None = None
    ) -> tuple[NDArray[np.int64], Array, Mixture1D]:
        """Bins, masses and groups along directions, which may be near to those of others."""
        bins, mass = histograms(self.view.white @ axes.T)
        iterations = ITERATIONS if like is None else NEAR
        return bins, mass, fit_mixture(mass, self.outcomes, iterations=iterations, start=like)

    def blind(self, axes: Array, like: Mixture1D | None = None) -> Array:
        """The nearest directions that do not answer to the known nodes."""
        axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
        index, _, groups = self._groups(axes, like)
        effects = known_effects(self.view.white, expected_means(groups, index), self.columns)
        gram = effects @ np.swapaxes(effects, 1, 2) + 1e-6 * np.eye(effects.shape[1])
        seen = np.linalg.solve(gram, effects @ axes[:, :, None])
        axes = axes - (np.swapaxes(effects, 1, 2) @ seen)[..., 0]
        return axes / np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), 1e-12)

    def worth(self, axes: Array, like: Mixture1D | None = None) -> Array:
        """Evidence in cells, and alone as far as these bear it out, in nats, (direction,)."""
        bins, mass, groups = self._groups(axes, like)
        some, cuts = full_cuts(groups, self.outcomes)
        worth = np.zeros(len(axes))
        if not len(some):
            return worth
        each, counts = masses_in_large_cells(self.cells, bins[:, some])
        if self.by_shares:
            worth[some] = nats_borne_out(each, counts, cuts)
            return worth
        masses = np.concatenate([mass[some][None], each])
        where = np.tile(cuts, (len(masses), 1))
        lost = lost_without(masses.reshape(-1, BINS), where).reshape(len(masses), len(some), -1)
        alone = len(bins) * lost[0].min(1)
        inside = np.einsum("c,clk->lk", counts.astype(float), lost[1:]).min(1)
        worth[some] = (self.outcomes - 1) * (inside + np.minimum(alone, inside))
        return worth
