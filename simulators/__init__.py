"""Mechanisms ready to use: one file per equation.

``simulators.Voce()`` finds the class through the entry points of the distribution, so that a
new mechanism is one file and one line of pyproject.toml.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

if __name__ != "pima_physics.simulators":
    raise ImportError(
        "the folder simulators/ is the package pima_physics.simulators: "
        "write `from pima_physics import simulators` (after `pip install -e .`)"
    )


def _classes() -> dict[str, str]:
    """Class name -> module, for the mechanisms of this package."""
    return {
        entry.attr: entry.module
        for entry in entry_points(group=__name__)
        if entry.module.startswith(f"{__name__}.")
    }


def __getattr__(name: str) -> Any:
    """Import a mechanism's class on first use."""
    module = None if name.startswith("_") else _classes().get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted(_classes())
