"""Data sets with known answers: one function per set, each returns ``(xr.Dataset, Truth)``.

Generators (``circles``, ``lattices``, ``digits_line`` and two negative controls) make data whose
features, graph and physical parameters are known; loaders open real measurements and take the known
factors out, so that a fit can never see them.

Functions are imported on first use, so that importing this package stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ != "pima_physics.datasets":
    raise ImportError(
        f"this folder was imported as '{__name__}', which makes a second copy of the module; "
        "install the package (pip install -e .) and import pima_physics.datasets"
    )

if TYPE_CHECKING:
    from pima_physics.datasets.catalogue import describe as describe
    from pima_physics.datasets.catalogue import registered as registered
    from pima_physics.datasets.catalogue import write as write
    from pima_physics.datasets.circle import circles as circles
    from pima_physics.datasets.controls import continuous_control as continuous_control
    from pima_physics.datasets.controls import permuted_control as permuted_control
    from pima_physics.datasets.digits import digits_line as digits_line
    from pima_physics.datasets.experiments import experiment as experiment
    from pima_physics.datasets.lattice import lattices as lattices
    from pima_physics.datasets.real import al6061_tension as al6061_tension
    from pima_physics.datasets.real import ising_images as ising_images
    from pima_physics.datasets.real import lighttunnel_spur as lighttunnel_spur
    from pima_physics.datasets.real import nist_strd as nist_strd
    from pima_physics.datasets.real import sachs as sachs

_HOMES = {
    "al6061_tension": "real",
    "circles": "circle",
    "continuous_control": "controls",
    "describe": "catalogue",
    "digits_line": "digits",
    "experiment": "experiments",
    "ising_images": "real",
    "lattices": "lattice",
    "lighttunnel_spur": "real",
    "nist_strd": "real",
    "permuted_control": "controls",
    "registered": "catalogue",
    "sachs": "real",
    "write": "catalogue",
}

__all__ = [
    "al6061_tension",
    "circles",
    "continuous_control",
    "describe",
    "digits_line",
    "experiment",
    "ising_images",
    "lattices",
    "lighttunnel_spur",
    "nist_strd",
    "permuted_control",
    "registered",
    "sachs",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pima_physics.datasets' has no attribute '{name}'")
    return getattr(import_module(f"pima_physics.datasets.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
