"""Discovery of one node by itself: the clearest of what several searches propose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pima_physics.dataset import Data
from pima_physics.evidence import (
    Finding,
    confirmed_by,
    finding_of,
    nothing_found,
)
from pima_physics.evidence_null import against_chance
from pima_physics.nodesets import conditional_nats
from pima_physics.representations import JOINT, STACKED, Representation
from pima_physics.search import find_sets
from pima_physics.sharing import shared_nats
from pima_physics.sharing_views import shared_views
from pima_physics.single import ENOUGH_TO_WHITEN, find_prototypes
from pima_physics.single_evidence import evidence_between
from pima_physics.single_mixture import find_mixture
from pima_physics.single_settled import Proposal, around_prototypes, pooled
from pima_physics.views import View, searched

Array = NDArray[np.float64]

IN_A_ROW = 4


def find_single(
    representations: Sequence[Representation], data: Data, outcomes: int, *, seed: int
) -> Finding:
    """One node: along a direction, in a mixture, or around prototypes.

    Several features may show; a node of its own is to say what the modalities have in common.
    Among those above chance the one with most evidence of modes and most knowledge of a second
    modality, both in nats per sample, is taken.
    """
    if data.size < ENOUGH_TO_WHITEN:
        direct = find_prototypes(data, outcomes, seed=seed)
        if direct is not None:
            return _pooled(direct, representations, seed)
    rng = np.random.default_rng(seed)
    about = shared_views(data, representations, seed=seed)
    # What several modalities show together is left to the mixture; many groups in a row are rare.
    left_out = (JOINT, STACKED)
    alone = [r for r in representations if r.name not in left_out]
    if outcomes > IN_A_ROW:
        alone = [r for r in alone if r.kind == "latent"]
    found = _along_directions([*alone, *about], outcomes, rng)
    proposed = [Proposal.of(f, f.evidence) for f in found]
    starts = [f.probability.argmax(1) for f in found]
    mixture = find_mixture(representations, outcomes, seed=seed, others=starts)
    several = [] if mixture is None else [Proposal.of(*mixture)]
    around = around_prototypes(representations, outcomes, seed=seed)
    several += [] if around is None else [around]
    proposed += [_where_shown(p, representations, outcomes) for p in several]
    if not proposed:
        return nothing_found(data.size, outcomes)
    views = [*representations, *about]
    rated = [replace(p, finding=_with_shared(p.finding, views, data)) for p in proposed]
    sure = [p for p in rated if p.sure]
    return _pooled(max(sure or rated, key=_rank).finding, representations, seed)


def _rank(proposal: Proposal) -> tuple[float, float]:
    """Nats per sample; of those that show nothing the most stable."""
    found = proposal.finding
    return proposal.contrast + float(np.nan_to_num(found.shared)), found.stability


def _with_shared(found: Finding, views: Sequence[Representation], data: Data) -> Finding:
    return replace(found, shared=shared_nats(found.probability, views, data.names))


def _pooled(found: Finding, representations: Sequence[Representation], seed: int) -> Finding:
    return replace(found, probability=pooled(found.probability, representations, seed=seed))


def _where_shown(
    proposal: Proposal, representations: Sequence[Representation], outcomes: int
) -> Proposal:
    """Support only where a view without bends shows the groups, too."""
    found = proposal.finding
    shown = _straight(representations, found.probability.argmax(1), outcomes)
    found = replace(found, confirmed=shown, supported=found.supported and shown)
    return replace(proposal, finding=found)


def _along_directions(
    representations: Sequence[Representation], outcomes: int, rng: np.random.Generator
) -> list[Finding]:
    """The clearest node of every view."""
    part = searched(len(representations[0].values), rng)
    views = [v for r in representations if (v := View.of_part(r, part)) is not None]
    straight = [v for v in views if v.representation.straight]
    found = []
    for view in views:
        sets = find_sets([view], [outcomes], rng=rng)
        for node in sets[0].nodes if sets else ():
            nats = conditional_nats(node, ())
            sure = confirmed_by(straight, [node], 0)
            found.append(finding_of(node, nats, representations, outcomes, rng, confirmed=sure))
    return found


def _straight(
    representations: Sequence[Representation], label: NDArray[np.int64], outcomes: int
) -> bool:
    """Whether a view without bends has modes between groups found elsewhere."""
    for r in representations:
        if r.straight and r.values.shape[1] and r.present.any():
            between = evidence_between(r.values[r.present], label[r.present], outcomes)
            if between.nats > against_chance(between.nats, r.values.shape[1], outcomes).threshold:
                return True
    return False
