"""How many groups few samples show: every number of groups against one fewer.

Reference: G. McLachlan, Appl. Statist. 36, 1987 (bootstrapping the likelihood ratio of mixtures;
here of the evidence that tells the two closest groups apart).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pima_physics.dataset import Data
from pima_physics.evidence import Finding
from pima_physics.prototypes import Block, least_evidence, means_by_group, partition
from pima_physics.single import NULL_DRAWS, Scatter, blocks_of, find_prototypes

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

STARTS = 60
# Numbers of groups in a row that may fail: three groups need not show as two.
SKIPPED = 1


def count_groups(data: Data, most: int, *, seed: int) -> list[tuple[Finding, bool]]:
    """Every number of groups from two on, with whether all of its groups differ.

    All do if even the two closest differ above chance, and more than in data with one group
    fewer: those that were found, with Gaussian scatter as within them.
    """
    rng = np.random.default_rng(seed)
    blocks, tried, failed = blocks_of(data), [], 0
    fewer = np.zeros(data.size, dtype=np.int64)
    for count in range(2, most + 1):
        found = find_prototypes(data, count, seed=seed)
        if found is None or failed > SKIPPED:
            break
        label = found.probability.argmax(1)
        least = least_evidence(blocks, label)
        draw = _sampler(blocks, fewer, rng)
        null = (_least_in(draw(), count, rng) for _ in range(NULL_DRAWS))
        holds = found.supported and least > 0.0 and all(least > other for other in null)
        tried.append((found, holds))
        failed = 0 if holds else failed + 1
        fewer = label
    return tried


def _least_in(blocks: Sequence[Block], count: int, rng: np.random.Generator) -> float:
    found = partition(blocks, count, rng=rng, starts=STARTS)
    return -np.inf if found is None else least_evidence(blocks, found.label)


def _sampler(
    blocks: Sequence[Block], label: Labels, rng: np.random.Generator
) -> Callable[[], list[Block]]:
    """New samples around the means of some groups, with their common scatter and gaps."""
    groups = int(label.max()) + 1
    means = [means_by_group(b, label, np.zeros((groups, b.values.shape[1])))[label] for b in blocks]
    inside = [(b.values - m) * b.mask for b, m in zip(blocks, means, strict=True)]
    scatter = Scatter.of(np.concatenate(inside, axis=1), means=groups)

    def draw() -> list[Block]:
        parts = zip(blocks, means, scatter.draw(blocks, rng), strict=True)
        return [Block((m + s) * b.mask, b.mask) for b, m, s in parts]

    return draw
