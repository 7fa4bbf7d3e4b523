"""How many nodes with how many outcomes the data show: what ``nodes: auto`` proposes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pima_physics.dataset import Data
from pima_physics.discovery_sets import find_nodes
from pima_physics.evidence import Finding, examine
from pima_physics.factorial_choice import find_factorial
from pima_physics.nodesets import RAREST, Node
from pima_physics.proposal_prototypes import count_groups
from pima_physics.representations import Representation
from pima_physics.search import Found
from pima_physics.sharing import nothing_shared, shared_nats
from pima_physics.single import ENOUGH_TO_WHITEN
from pima_physics.views import searched

Array = NDArray[np.float64]

# Most binary nodes and most outcomes of a single node that are tried.
MOST_NODES, MOST_OUTCOMES = 5, 6
# Two equal Gaussians have two modes only if they are further apart, in standard deviations.
BIMODAL = 2.0


@dataclass(frozen=True)
class Tried:
    """One number of nodes and outcomes, and what it shows.

    Attributes
    ----------
    outcomes : tuple of int
    evidence : tuple of float
        Nats per sample of every node, clearest first.
    supported : int
        How many of them are above chance, stable, confirmed and not told by the others.
    null : float
        What continuous data show of one node at most, in nats per sample.
    """

    outcomes: tuple[int, ...]
    evidence: tuple[float, ...]
    supported: int
    null: float = 0.0

    @property
    def total(self) -> float:
        """Evidence of all nodes, in nats per sample."""
        return sum(self.evidence)

    @property
    def holds(self) -> bool:
        """All nodes are supported."""
        return self.supported == len(self.outcomes)


@dataclass(frozen=True)
class Proposal:
    """Proposed nodes, and the evidence of all that was tried.

    Attributes
    ----------
    outcomes : tuple of int
        Of every proposed node; none where no feature shows.
    curve : tuple of Tried
    reason : str
    """

    outcomes: tuple[int, ...]
    curve: tuple[Tried, ...]
    reason: str

    @property
    def nodes(self) -> dict[str, int]:
        """Names and outcomes, as in the experiment file."""
        return {f"feature_{i + 1}": count for i, count in enumerate(self.outcomes)}

    def to_dataset(self) -> xr.Dataset:
        """What was tried, as in the group ``/proposal`` of the results."""
        total = [t.total for t in self.curve]
        return xr.Dataset(
            {
                "outcomes": ("tried", [" x ".join(map(str, t.outcomes)) for t in self.curve]),
                "evidence": ("tried", total, {"units": "dimensionless"}),
                "weakest": ("tried", [min(t.evidence, default=0.0) for t in self.curve]),
                "supported": ("tried", [t.supported for t in self.curve]),
                "nodes": ("tried", [len(t.outcomes) for t in self.curve]),
            },
            attrs={
                "proposed": " x ".join(map(str, self.outcomes)) or "none",
                "reason": self.reason,
                "evidence_unit": "nats per sample, for modes over any density with a single one",
            },
        )

    def __str__(self) -> str:
        named = ", ".join(f"{n}: {c}" for n, c in self.nodes.items()) or "no features"
        rows = [
            f"  {' x '.join(map(str, t.outcomes)):<14} evidence {t.total:6.3f} nats per sample, "
            f"{t.supported} of {len(t.outcomes)} supported"
            for t in self.curve
        ]
        return "\n".join([f"proposed: {named} ({self.reason})", *rows])


def propose(
    representations: Sequence[Representation], data: Data | None = None, *, seed: int = 0
) -> Proposal:
    """Number of nodes and outcomes with evidence for each.

    Nodes of two outcomes are added as long as all of them are supported and show more in sum, by as
    much as one node is to show. A node of several outcomes shows as several of two whose joint
    table has empty cells: those are put together.

    Parameters
    ----------
    representations : sequence of Representation
    data : Data, optional
        With fewer than 200 samples one node is sought, by prototypes. Modalities that have
        nothing in common have no node.
    """
    if data is not None and data.size < ENOUGH_TO_WHITEN:
        return _few_samples(data, seed)
    groups = None if data is None else data.groups
    curve: list[Tried] = []
    best, nodes = Tried((), (), 0), ()
    for count in range(1, MOST_NODES + 1):
        tried, found = _try(representations, (2,) * count, seed, groups)
        curve.append(tried)
        # Half-features, unions of the same nodes, support each other, but show less in sum, or
        # hardly more.
        if not tried.holds or tried.total <= best.total + tried.null:
            break
        best, nodes = tried, found
    if not tried.holds:
        # Groups in a row may show as several where they do not as two, or as two that are not all.
        wider = [(3, *tried.outcomes[1:]), (3, *best.outcomes[1:])] if nodes else [(3,), (4,)]
        for outcomes in wider:
            more, found = _try(representations, outcomes, seed, groups)
            curve.append(more)
            if more.holds and more.total > best.total:
                best, nodes = more, found
                break
    outcomes = _put_together(nodes)
    if outcomes != best.outcomes:
        tried, _ = _try(representations, outcomes, seed, groups)
        curve.append(tried)
        if not tried.holds:
            # Directions know several outcomes in a row only.
            tried = _try_mixture(representations, outcomes, seed, groups)
            curve.append(tried)
        outcomes = outcomes if tried.holds else best.outcomes
    if nodes and data is not None and _nothing_in_common(nodes, representations, data, seed):
        return Proposal((), tuple(curve), "the modalities have nothing in common")
    reason = "one node more is not supported" if nodes else "no groups above chance"
    if len(nodes) == MOST_NODES:
        reason = f"more than {MOST_NODES} nodes of two outcomes are not tried"
    return Proposal(outcomes, tuple(curve), reason)


def _nothing_in_common(
    nodes: Sequence[Node], representations: Sequence[Representation], data: Data, seed: int
) -> bool:
    if len(nodes[0].probability) < data.size:  # a part was searched: shared views tell
        return nothing_shared([], representations, data, seed=seed)
    shared = [shared_nats(n.probability, representations, data.names) for n in nodes]
    return nothing_shared(shared, representations, data, seed=seed)


def _try(
    representations: Sequence[Representation],
    outcomes: tuple[int, ...],
    seed: int,
    groups: NDArray[np.int64] | None,
) -> tuple[Tried, tuple[Node, ...]]:
    """Whether so many nodes are supported together."""
    rng = np.random.default_rng(seed)
    sets = find_nodes(representations, list(outcomes), rng=rng, polishing=False)
    if not sets:
        return Tried(outcomes, (), 0), ()
    findings = _examined(sets[0], rng)
    if groups is not None:
        part = searched(len(groups), np.random.default_rng(seed))
        findings = [f.among(groups[part]) for f in findings]
    return _tried(outcomes, findings), sets[0].nodes


def _try_mixture(
    representations: Sequence[Representation],
    outcomes: tuple[int, ...],
    seed: int,
    groups: NDArray[np.int64] | None,
) -> Tried:
    """Whether a mixture whose effects add up shows so many nodes."""
    found = find_factorial(representations, outcomes, rng=np.random.default_rng(seed))
    if found is None:
        return Tried(outcomes, (), 0)
    return _tried(outcomes, [f.among(groups) for f in found.findings])


def _tried(outcomes: tuple[int, ...], findings: Sequence[Finding]) -> Tried:
    order = np.argsort([-f.evidence for f in findings])
    evidence = tuple(findings[i].evidence for i in order)
    # More than two groups are to be apart where two Gaussians would be, each from its neighbours.
    apart = [f.probability.shape[1] == 2 or f.separation > BIMODAL for f in findings]
    held = sum(f.supported and a for f, a in zip(findings, apart, strict=True))
    return Tried(outcomes, evidence, held, max(f.null for f in findings))


def _examined(found: Found, rng: np.random.Generator) -> list[Finding]:
    confirmed = found.confirmed or (True,) * len(found.nodes)
    each = zip(found.nodes, found.judgement.conditional, confirmed, strict=True)
    return [examine(n, float(c), rng, confirmed=sure) for n, c, sure in each]


def _put_together(nodes: Sequence[Node]) -> tuple[int, ...]:
    """Outcomes after nodes are joined whose joint table has a single path of occupied cells.

    Cuts of the same variable in a row, or around the same centre: a pair of nodes of C and D
    outcomes then occupies C + D - 1 cells of C x D.
    """
    labels = [n.label for n in nodes]
    while True:
        pairs = ((i, j) for j in range(len(labels)) for i in range(j))
        joined = ((pair, _joined(labels[pair[0]], labels[pair[1]])) for pair in pairs)
        pair, code = next((found for found in joined if found[1] is not None), ((), None))
        if code is None:
            return tuple(sorted((int(x.max()) + 1 for x in labels), reverse=True))
        labels = [code, *(x for k, x in enumerate(labels) if k not in pair)]


def _joined(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The joint outcome where the occupied cells are as few as for cuts of one variable."""
    rows, columns = int(a.max()) + 1, int(b.max()) + 1
    cell = a * columns + b
    share = np.bincount(cell, minlength=rows * columns) / len(a)
    occupied = share > RAREST
    if occupied.sum() > rows + columns - 1 or occupied.sum() == rows * columns:
        return None
    # Rare cells go to the occupied cell of the same row that is largest.
    table = np.where(occupied, share, -1.0).reshape(rows, columns)
    target = np.where(
        occupied,
        np.arange(len(share)),
        np.repeat(np.arange(rows) * columns, columns) + np.repeat(table.argmax(1), columns),
    )
    return np.unique(target[cell], return_inverse=True)[1].reshape(-1)


def _few_samples(data: Data, seed: int) -> Proposal:
    """One node: as many groups around prototypes as differ, each from each."""
    tried = count_groups(data, min(MOST_OUTCOMES, data.size // 4), seed=seed)
    if data.groups is not None:
        each = [(f.among(data.groups), holds) for f, holds in tried]
        tried = [(f, holds and f.evidence > f.null) for f, holds in each]
    curve = tuple(Tried((f.probability.shape[1],), (f.evidence,), int(h)) for f, h in tried)
    best = next((t.outcomes for t in reversed(curve) if t.holds), ())
    return Proposal(best, curve, "as many groups as differ" if best else "no groups above chance")
