"""Checks of a fit against what is known: factors, graphs, mechanisms, calibration, cases.

===========================  =====================================================================
``check_mechanisms``         known mechanisms, stated in words, against the results of a fit
``predictive_checks``        where the data differ from what the model says of them
``match_nodes``              discovered nodes against known factors, with a permutation null
``compare_graphs``           distances between graphs; ``adjustment_distance``
``parameter_recovery``       error, z-score and coverage of physical parameters
``reliability``              stated probabilities against the share that came true
``rank_test``                simulation-based calibration; ``simulation_based_calibration``
``self_calibration``         a fitted model on data that it drew itself
``compare_fits``             the same samples fitted several times; ``bootstrap_edges``
===========================  =====================================================================

Names are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ != "pima_physics.validation":
    raise ImportError(
        "the folder validation/ is the package pima_physics.validation: "
        "write `from pima_physics import validation` (after `pip install -e .`)"
    )

if TYPE_CHECKING:
    from pima_physics.posterior_checks import predictive_checks as predictive_checks
    from pima_physics.validation.calibration import coverage as coverage
    from pima_physics.validation.calibration import rank_test as rank_test
    from pima_physics.validation.calibration import reliability as reliability
    from pima_physics.validation.calibration import (
        simulation_based_calibration as simulation_based_calibration,
    )
    from pima_physics.validation.fit_calibration import self_calibration as self_calibration
    from pima_physics.validation.graphs import adjustment_distance as adjustment_distance
    from pima_physics.validation.graphs import compare_graphs as compare_graphs
    from pima_physics.validation.graphs import shd as shd
    from pima_physics.validation.mechanism_file import check_mechanisms as check_mechanisms
    from pima_physics.validation.mechanism_file import mechanism as mechanism
    from pima_physics.validation.mechanism_file import read_mechanisms as read_mechanisms
    from pima_physics.validation.mechanisms import Edge as Edge
    from pima_physics.validation.mechanisms import Law as Law
    from pima_physics.validation.mechanisms import Relation as Relation
    from pima_physics.validation.mechanisms import Value as Value
    from pima_physics.validation.metrics import match_nodes as match_nodes
    from pima_physics.validation.metrics import match_outcomes as match_outcomes
    from pima_physics.validation.metrics import parameter_recovery as parameter_recovery
    from pima_physics.validation.runs import validate_run as validate_run
    from pima_physics.validation.stability import bootstrap_edges as bootstrap_edges
    from pima_physics.validation.stability import compare_fits as compare_fits
    from pima_physics.verdicts import Check as Check
    from pima_physics.verdicts import CheckError as CheckError
    from pima_physics.verdicts import CheckReport as CheckReport

_HOMES = {
    "Check": "pima_physics.verdicts",
    "CheckError": "pima_physics.verdicts",
    "CheckReport": "pima_physics.verdicts",
    "Edge": "mechanisms",
    "Law": "mechanisms",
    "Relation": "mechanisms",
    "Value": "mechanisms",
    "adjustment_distance": "graphs",
    "bootstrap_edges": "stability",
    "check_mechanisms": "mechanism_file",
    "compare_fits": "stability",
    "compare_graphs": "graphs",
    "coverage": "calibration",
    "match_nodes": "metrics",
    "match_outcomes": "metrics",
    "mechanism": "mechanism_file",
    "parameter_recovery": "metrics",
    "predictive_checks": "pima_physics.posterior_checks",
    "rank_test": "calibration",
    "read_mechanisms": "mechanism_file",
    "reliability": "calibration",
    "self_calibration": "fit_calibration",
    "shd": "graphs",
    "simulation_based_calibration": "calibration",
    "validate_run": "runs",
}

__all__ = [
    "Check",
    "CheckError",
    "CheckReport",
    "Edge",
    "Law",
    "Relation",
    "Value",
    "adjustment_distance",
    "bootstrap_edges",
    "check_mechanisms",
    "compare_fits",
    "compare_graphs",
    "coverage",
    "match_nodes",
    "match_outcomes",
    "mechanism",
    "parameter_recovery",
    "predictive_checks",
    "rank_test",
    "read_mechanisms",
    "reliability",
    "self_calibration",
    "shd",
    "simulation_based_calibration",
    "validate_run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    return getattr(import_module(home if "." in home else f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return __all__
