"""A small version of the study of fits that are killed and resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pima_physics.validation.benchmarks import kills


@pytest.mark.study
def test_killed_fits_end_as_if_undisturbed(tmp_path: Path) -> None:
    rows = kills.compare(tmp_path, random=1, aimed=1, chained=2, samples=200, epochs=20)
    assert len(rows) == 5
    assert all(row.same for row in rows), kills.table(rows)


def test_a_changed_bit_is_seen() -> None:
    one = np.arange(3.0)
    other = one.copy()
    other[1] = np.nextafter(1.0, 2.0)
    assert kills.same_arrays({"a": one}, {"a": one.copy()})
    assert not kills.same_arrays({"a": one}, {"a": other})
    assert not kills.same_arrays({"a": one}, {"b": one})
    assert not kills.same_arrays({"a": one}, {"a": one.astype(np.float32)})
