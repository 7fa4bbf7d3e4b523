"""The table of what the search finds in featureless data is what it finds."""

from __future__ import annotations

import numpy as np
import pytest

from pima_physics import evidence_null
from pima_physics.evidence_null import (
    MOST_AXES,
    MOST_OUTCOMES,
    NULL_DRAWS,
    null_evidence,
    simulate,
)


@pytest.mark.parametrize("size", [(1, 2), (3, 2), (8, 3)])
def test_the_table_is_that_of_the_search(size: tuple[int, int]) -> None:
    # Processors round differently, and a search may then end elsewhere: its threshold stays.
    listed, found = (
        np.quantile(values, 0.95) for values in (null_evidence(*size), simulate(*size))
    )
    assert listed == pytest.approx(found, rel=0.2, abs=0.3)


def test_every_size_has_all_draws() -> None:
    table = evidence_null._table()
    assert len(table) == MOST_AXES * (MOST_OUTCOMES - 1)
    assert all(len(v) == NULL_DRAWS and min(v) >= 0.0 for v in table.values())


def test_a_size_beyond_the_table_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(evidence_null, "simulate", lambda a, c: asked.append((a, c)) or (1.0,))
    null_evidence.cache_clear()
    assert null_evidence(MOST_AXES + 1, 2) == (1.0,)
    assert len(null_evidence(MOST_AXES, 2)) == NULL_DRAWS
    assert asked == [(MOST_AXES + 1, 2)]
    null_evidence.cache_clear()
