"""What a law is declared with, and the checks of its arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pima_physics import units
from pima_physics.errors import InputError, Problems, closest
from pima_physics.parameters import Constant, Parameter, Simplex

Declared = Parameter | Constant | Simplex


class Values:
    """Named values, read as attributes: ``p.mass``, ``y.velocity``, ``x.time``."""

    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        return f"Values({', '.join(vars(self))})"

    def __getattr__(self, name: str) -> Any:  # only reached for names that are not there
        if name.startswith("__"):
            raise AttributeError(name)
        near = closest(name, vars(self))
        raise AttributeError(
            f"no value named '{name}'; there is {', '.join(vars(self)) or 'nothing'}"
            + (f" (did you mean '{near}'?)" if near else "")
        )


@dataclass(frozen=True)
class Golden:
    """A point at which the right answer is known from elsewhere.

    Values are numbers in the declared units, or pairs such as ``(70, "GPa")``. Parameters
    that are left out take their typical values.
    """

    parameters: Mapping[str, Any]
    coordinates: Mapping[str, Any]
    expected: Mapping[str, Any]
    source: str
    rtol: float = 1e-6


def plain(value: Any, unit: str) -> Any:
    """Turn ``(70, "GPa")`` into a number in ``unit``; a bare number is in ``unit`` already."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str):
        return units.convert(np.asarray(value[0], dtype=float), value[1], unit)
    return np.asarray(value, dtype=float)


def declared_in(cls: type) -> dict[str, Declared]:
    """Parameters, constants and simplices of a class and its bases, in order of declaration."""
    found: dict[str, Declared] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Parameter | Constant | Simplex):
                found[name] = value
            else:
                found.pop(name, None)  # a subclass may drop an inherited parameter
    return found


def check_names(law: str, declared: Mapping[str, Declared], reserved: Iterable[str]) -> None:
    """Refuse names that would hide what every law provides, and values that are missing."""
    problems = Problems()
    for name in sorted(set(declared) & set(reserved)):
        problems.add(
            InputError(
                f"{law}: '{name}' cannot be the name of a parameter",
                expected="a name that Simulator and ODE do not use themselves",
                fix=f"call it '{name}_' or give it a longer name",
            )
        )
    problems.raise_if_any()


def check_keys(
    what: str, given: Iterable[str], wanted: Iterable[str], *, complete: bool = True
) -> None:
    """Demand that the names given are those wanted; every offender in one message."""
    given, wanted = list(given), list(wanted)
    problems = Problems()
    for name in given:
        if name not in wanted:
            near = closest(name, wanted)
            problems.add(
                InputError(
                    f"{what}: unknown '{name}'",
                    expected=", ".join(wanted) or "none",
                    fix=f"did you mean '{near}'?" if near else None,
                )
            )
    missing = [name for name in wanted if name not in given] if complete else []
    if missing:
        problems.add(InputError(f"{what}: missing {', '.join(missing)}"))
    problems.raise_if_any()


def common_kind(tensors: list[Tensor]) -> dict[str, Any]:
    """Return the dtype and device that computations with these tensors take."""
    floating = [t for t in tensors if t.is_floating_point()]
    if not floating:
        return {"dtype": torch.get_default_dtype(), "device": "cpu"}
    dtype = floating[0].dtype
    for tensor in floating[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    # a scalar on the CPU goes along with tensors on an accelerator
    devices = [t.device for t in floating if t.device.type != "cpu"]
    return {"dtype": dtype, "device": devices[0] if devices else floating[0].device}


def batch_size(law: str, parameters: Mapping[str, Tensor], grid: Mapping[str, Tensor]) -> int:
    """Return the one batch size of the arguments; a single value serves every sample."""
    sizes = {name: len(v) for name, v in parameters.items() if v.ndim}
    sizes |= {name: len(v) for name, v in grid.items() if v.ndim == 2}
    points = {name: v.shape[-1] for name, v in grid.items() if v.ndim}
    if any(v.ndim > 2 for v in (*parameters.values(), *grid.values())):
        raise InputError(
            f"{law}: arguments have too many axes",
            found={k: tuple(v.shape) for k, v in {**parameters, **grid}.items()},
            expected="parameters (samples,), coordinates (points,) or (samples, points)",
            fix="flatten the points of a field to one axis",
        )
    for what, counts in (("samples", sizes), ("points", points)):
        if len({n for n in counts.values() if n != 1}) > 1:
            raise InputError(f"{law}: different numbers of {what}", found=counts)
    return max(sizes.values(), default=1)
