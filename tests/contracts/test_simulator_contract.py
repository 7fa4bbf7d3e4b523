"""Every registered law: it passes the check, is documented, and reproduces its golden point.

A new mechanism joins by its line in pyproject.toml, another package's by its entry point.
"""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import torch

from pima_physics.check import check_simulator
from pima_physics.declarations import plain
from pima_physics.simulator import find, registered
from pima_physics.units import compatible

NAMES = tuple(registered())


def test_the_library_is_there():
    assert len(NAMES) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_passes_every_check_without_a_warning(name):
    report = check_simulator(find(name))
    assert report.passed and not report.warnings, str(report)


@pytest.mark.parametrize("name", NAMES)
def test_is_documented(name):
    """Equation, symbol table with every name and unit, and source."""
    law = find(name)
    text = inspect.getdoc(law) or ""
    assert ".. math::" in text and "Source:" in text
    for symbol in (*law.coordinates, *law.outputs, *law.parameters):
        stem = symbol.rsplit("_", 1)[0] if symbol[-1].isdigit() else symbol
        assert stem in text, f"{symbol} is missing in the symbol table"
    assert all(p.description for p in law.parameters.values())


@pytest.mark.parametrize("name", NAMES)
def test_golden_point_covers_every_output_and_names_its_source(name):
    law = find(name)
    assert law.golden is not None and law.golden.source
    assert set(law.golden.expected) == set(law.outputs)
    assert set(law.golden.parameters) <= set(law.parameters)


@pytest.mark.parametrize("name", NAMES)
def test_shown_units_fit(name):
    for parameter in find(name).parameters.values():
        assert compatible(parameter.unit, parameter.shown_in)


@pytest.mark.parametrize("name", NAMES)
def test_is_found_again_by_its_reference_and_survives_copying(name):
    law = find(name)
    assert law.reference == name
    twin = pickle.loads(pickle.dumps(law))
    assert twin.parameters == law.parameters == copy.deepcopy(law).parameters


@pytest.mark.parametrize("name", NAMES)
def test_own_grid_per_sample_equals_the_shared_grid(name):
    law = find(name)
    grid = {}
    for index, coordinate in enumerate(law.coordinates):
        known = plain(law.golden.coordinates[coordinate], law.coordinates[coordinate])
        values = torch.as_tensor(known)
        grid[coordinate] = values.roll(index)
    two = torch.ones(2, dtype=torch.float64)
    typical = {k: v.value * two for k, v in law.parameters.items()}
    shared = law.simulate(grid, typical)
    own = law.simulate({k: v.expand(2, -1) for k, v in grid.items()}, typical)
    for output in law.outputs:
        torch.testing.assert_close(own[output], shared[output], rtol=1e-9, atol=1e-12)
