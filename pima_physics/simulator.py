"""Physical laws with units: everything that a user of laws needs, in one place.

:class:`Simulator` is a law in closed form, :class:`ODE` one as a differential equation,
:class:`ExternalSimulator` one computed by other code than torch,
:func:`simulator` makes a law of a function, and :func:`find` looks one up by name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from torch import Tensor

from pima_physics.declarations import Declared, Golden, Values, check_names
from pima_physics.errors import InputError, closest
from pima_physics.law import GROUP, Simulator, registered, reserved
from pima_physics.ode import ODE
from pima_physics.simulator_external import ExternalSimulator

__all__ = [
    "GROUP",
    "ODE",
    "ExternalSimulator",
    "Golden",
    "Simulator",
    "Values",
    "find",
    "registered",
    "simulator",
]


class _Function(Simulator):
    """A law written as a function; made by :func:`simulator`."""

    _function: Callable[[Any, Any], Any]

    def evaluate(self, x: Any, p: Any) -> Mapping[str, Tensor]:
        result = self._function(x, p)
        return result if isinstance(result, Mapping) else {next(iter(self.outputs)): result}

    @property
    def reference(self) -> str:
        return f"{self._function.__module__}:{self._function.__qualname__}"

    def __repr__(self) -> str:
        return self._function.__name__


def simulator(
    *,
    coordinates: Mapping[str, str],
    outputs: Mapping[str, str],
    parameters: Mapping[str, Declared],
    golden: Golden | None = None,
) -> Callable[[Callable[[Any, Any], Any]], Simulator]:
    """Make a law of a function ``(x, p) -> tensor or dict``.

    @simulator(coordinates={"time": "s"}, outputs={"charge": "coulomb"},
               parameters={"start": Parameter("coulomb"), "rate": Parameter("1/s", min=0)})
    def discharge(x, p):
        return p.start * torch.exp(-p.rate * x.time)
    """

    def make(function: Callable[[Any, Any], Any]) -> Simulator:
        check_names(function.__name__, parameters, reserved(_Function))
        law = _Function()
        law._function, law._declared = function, dict(parameters)
        law.coordinates, law.outputs = dict(coordinates), dict(outputs)  # type: ignore[misc]
        law.golden, law.__doc__ = golden, function.__doc__  # type: ignore[misc]
        return law

    return make


def find(name: str) -> Simulator:
    """Return a law by its registered name or as ``package.module:Object``.

    Raises
    ------
    InputError
        If there is none; the message names the closest registered ones.
    """
    known = registered()
    target = known.get(name, name)
    module, _, attribute = target.partition(":")
    near = closest(name, known)
    if not attribute:
        raise InputError(
            f"no simulator is named '{name}'",
            expected="package.module:Object, or one of " + ", ".join(known),
            fix=f"did you mean '{near}'?" if near else None,
        )
    found = _imported(module, attribute)
    if not isinstance(found, Simulator):
        raise InputError(
            f"'{target}' is no simulator",
            found=type(found).__name__,
            expected="a subclass of Simulator or ODE, or an instance of one",
            fix=_suggestion(module, attribute),
        )
    return found


def _imported(module: str, attribute: str) -> Any:
    """Return what is at ``module:attribute``; a simulator class is called."""
    name, found, fix = f"{module}:{attribute}", "", None
    try:
        thing: Any = import_module(module)
        for part in attribute.split("."):
            thing = getattr(thing, part)
        return thing() if isinstance(thing, type) and issubclass(thing, Simulator) else thing
    except InputError:
        raise
    except ImportError as error:
        cause, found = error, str(error)
        fix = "put the file beside the experiment file, install the module, or set PYTHONPATH"
    except AttributeError as error:
        cause, found, fix = error, str(error), _suggestion(module, attribute)
    except Exception as error:  # the user's module may raise anything
        cause, found = error, f"{type(error).__name__}: {error}"
        fix = f"correct it: python -c 'import {module}' shows where"
    raise InputError(f"the simulator '{name}' cannot be loaded", found=found, fix=fix) from cause


def _suggestion(module: str, attribute: str) -> str | None:
    """Return which simulator of the module may have been meant."""
    offered = [
        name
        for name, thing in vars(sys.modules.get(module, object)).items()
        if isinstance(thing, Simulator)
        or (isinstance(thing, type) and issubclass(thing, Simulator) and thing.__module__ == module)
    ]
    near = closest(attribute, offered) or (offered[0] if len(offered) == 1 else None)
    return f"did you mean '{module}:{near}'?" if near else None
