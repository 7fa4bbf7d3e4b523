"""A search that leaves something unexplained begins again, once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pima_physics import discovery_sets
from pima_physics.nodesets import along
from pima_physics.representations import Representation
from pima_physics.search import Found
from pima_physics.views import View

# The best set of every search (axis of its node, what it leaves in nats, what it scores), those
# that are to be made, and the axis of the best.
CASES = [
    ([(0, 0.0, 50.0), (1, 0.0, 90.0)], 1, 0),  # nothing is left
    ([(0, 9.0, 50.0), (0, 9.0, 50.0), (1, 0.0, 90.0)], 2, 0),  # the same again
    ([(0, 9.0, 50.0), (1, 9.0, 60.0), (2, 0.0, 90.0)], 2, 1),  # better
    ([(0, 9.0, 60.0), (1, 5.0, 50.0), (2, 0.0, 90.0)], 2, 0),  # worse
]


@pytest.mark.parametrize(("ends", "made", "best"), CASES)
def test_searches_until_one_is_enough(
    ends: list[tuple[int, float, float]], made: int, best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    values = 6.0 * rng.integers(0, 2, (400, 4)) + rng.normal(size=(400, 4))
    present = np.ones(400, dtype=bool)
    view = View.of(Representation("latent", "latent", values, present))
    nodes = along(view, np.eye(4), 2)
    left = iter(ends)
    count = 0

    def found(*_args: Any, **_options: Any) -> list[Found]:
        nonlocal count
        count += 1
        axis, unexplained, score = next(left)
        judged = Found.of([nodes[axis]])
        judged = replace(judged, judgement=replace(judged.judgement, score=score + 3 * unexplained))
        return [replace(judged, left=unexplained)]

    monkeypatch.setattr(discovery_sets, "find_sets", found)
    first = discovery_sets.find_sets([view], [2], rng=rng)
    sets = discovery_sets._searched_again(first, [view], [2], [], rng)
    assert count == made
    assert sets[0].nodes[0] is nodes[best]
    assert len({id(s.nodes[0]) for s in sets}) == len(sets)


@pytest.mark.parametrize("first", [True, False])
def test_searches_that_find_nothing(first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """None at all, or only the first found something."""
    made = [[replace(Found.of([]), left=9.0)]] if first else []
    every = iter([*made, []])
    monkeypatch.setattr(discovery_sets, "find_sets", lambda *_args, **_options: next(every))
    rng = np.random.default_rng(0)
    sets = discovery_sets._searched_again(next(every), [], [2], [], rng)
    assert len(sets) == int(first)
