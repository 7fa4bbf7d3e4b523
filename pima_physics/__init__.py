"""Causal features from multimodal measurements, with physics decoders.

Every public name is listed here once. A name is imported when it is first used, so that
``import pima_physics`` (and ``pima-physics --help``) starts without loading torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pima_physics import datasets, simulators, validation
    from pima_physics.check import check_simulator
    from pima_physics.dag import DAG
    from pima_physics.dataset import open_dataset
    from pima_physics.emulator import emulate
    from pima_physics.errors import InputError, PimaError
    from pima_physics.modality import Neural, Physics
    from pima_physics.model import PIMA
    from pima_physics.parameters import Constant, Parameter, Simplex
    from pima_physics.results import FitResult, load
    from pima_physics.simulator import ODE, ExternalSimulator, Simulator
    from pima_physics.training import fit
    from pima_physics.training_proposal import propose_nodes

__version__ = "0.1.0"

_HOME = {
    "Constant": "pima_physics.parameters",
    "DAG": "pima_physics.dag",
    "ExternalSimulator": "pima_physics.simulator",
    "FitResult": "pima_physics.results",
    "InputError": "pima_physics.errors",
    "Neural": "pima_physics.modality",
    "ODE": "pima_physics.simulator",
    "PIMA": "pima_physics.model",
    "Parameter": "pima_physics.parameters",
    "Physics": "pima_physics.modality",
    "PimaError": "pima_physics.errors",
    "Simplex": "pima_physics.parameters",
    "Simulator": "pima_physics.simulator",
    "check_simulator": "pima_physics.check",
    "emulate": "pima_physics.emulator",
    "fit": "pima_physics.training",
    "load": "pima_physics.results",
    "open_dataset": "pima_physics.dataset",
    "propose_nodes": "pima_physics.training_proposal",
}
_SUBPACKAGES = ("datasets", "simulators", "validation")

__all__ = [
    "DAG",
    "ODE",
    "PIMA",
    "Constant",
    "ExternalSimulator",
    "FitResult",
    "InputError",
    "Neural",
    "Parameter",
    "Physics",
    "PimaError",
    "Simplex",
    "Simulator",
    "__version__",
    "check_simulator",
    "datasets",
    "emulate",
    "fit",
    "load",
    "open_dataset",
    "propose_nodes",
    "simulators",
    "validation",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name in _SUBPACKAGES:
        return import_module(f"pima_physics.{name}")
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value  # the next access finds it without this function
        return value
    raise AttributeError(f"module 'pima_physics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
