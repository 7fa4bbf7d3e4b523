"""A physical law in closed form, with units.

A law declares its coordinates, outputs and parameters once, each with a unit. Inside, every
number is plain and in the declared unit; conversion happens outside, at the edge of the data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from importlib.metadata import entry_points
from typing import Any, ClassVar, cast, final

import torch
from torch import Tensor

from pima_physics import units
from pima_physics.declarations import (
    Declared,
    Golden,
    Values,
    batch_size,
    check_keys,
    check_names,
    common_kind,
    declared_in,
)
from pima_physics.errors import InputError, SolveError
from pima_physics.parameters import Constant, Parameter, Simplex
from pima_physics.timelimit import time_limit

GROUP = "pima_physics.simulators"


def registered() -> dict[str, str]:
    """Names of the laws that installed distributions offer, and where each is."""
    return {entry.name: entry.value for entry in sorted(entry_points(group=GROUP))}


class Simulator(ABC):
    r"""A law in closed form, $y = f(x; p)$.

    A subclass declares ``coordinates``, ``outputs`` and its parameters, and writes
    :meth:`evaluate`:

        class Hooke(Simulator):
            coordinates, outputs = {"strain": "dimensionless"}, {"stress": "MPa"}
            modulus = Parameter("MPa", value=70e3, min=1e3, max=1e6, shown_in="GPa")

            def evaluate(self, x, p):
                return {"stress": p.modulus * x.strain}

    Attributes
    ----------
    time_limit : float
        Seconds that one call of :meth:`evaluate`, for a whole batch, may take.
    """

    time_limit: float = 300.0
    coordinates: ClassVar[Mapping[str, str]] = {}
    outputs: ClassVar[Mapping[str, str]] = {}
    golden: ClassVar[Golden | None] = None
    _declared: Mapping[str, Declared] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._declared = declared_in(cls)
        check_names(cls.__name__, cls._declared, reserved(cls))

    @abstractmethod
    def evaluate(self, x: Any, p: Any) -> Mapping[str, Tensor]:
        """Return every output as plain numbers in its declared unit.

        Parameters
        ----------
        x : Values
            Coordinates, ``x.<name>`` of shape (1, T) or (B, T).
        p : Values
            Parameters, ``p.<name>`` of shape (B, 1); constants are floats; the fractions of a
            simplex have shape (size, B, 1).
        """

    def _evaluated(self, x: Values, p: Values) -> Mapping[str, Tensor]:
        """:meth:`evaluate` within the time limit."""
        with time_limit(self.time_limit, str(self), self.limit_hint):
            return self.evaluate(x, p)

    @property
    def limit_hint(self) -> str:
        """What to do where the law takes too long."""
        return (
            "correct the loop or wait there, tighten the bounds of the parameters, or set "
            f"time_limit = {10 * self.time_limit:g} in the class"
        )

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Parameters by name, in the order of declaration."""
        return {k: v for k, v in self._declared.items() if isinstance(v, Parameter)}

    @property
    def simplices(self) -> dict[str, Simplex]:
        """Groups of fractions that sum to one."""
        return {k: v for k, v in self._declared.items() if isinstance(v, Simplex)}

    @property
    def constants(self) -> dict[str, Constant]:
        """Constants of nature and other fixed numbers with units."""
        return {k: v for k, v in self._declared.items() if isinstance(v, Constant)}

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the parameters to be inferred."""
        return tuple(name for name, parameter in self.parameters.items() if parameter.vary)

    @property
    def reference(self) -> str:
        """Name under which :func:`find` returns this law."""
        target = f"{type(self).__module__}:{type(self).__qualname__}"
        names = [name for name, value in registered().items() if value == target]
        return names[0] if names else target

    @final
    def replace(self, **changes: Parameter | Mapping[str, Any]) -> Simulator:
        """Return a copy with other parameters.

        A parameter is replaced as a whole, or changed by a mapping as in the experiment file:
        ``replace(modulus={"bounds": [10, 100], "units": "GPa"})``.
        """
        check_keys(f"parameters of {self}", changes, self.parameters, complete=False)
        new = copy(self)
        for name, change in changes.items():
            old = self.parameters[name]
            if isinstance(change, Parameter) and change.unit != old.unit:
                raise InputError(
                    f"{self}: '{name}' is replaced in another unit",
                    found=change.unit,
                    expected=old.unit,
                    fix='give a mapping with "units": it is converted',
                )
            kept = change if isinstance(change, Parameter) else old.replace(**change)
            new._declared = {**new._declared, name: kept}
        return new

    @final
    def simulate(
        self,
        coordinates: Mapping[str, Any],
        parameters: Mapping[str, Any],
        *,
        check_finite: bool = True,
    ) -> dict[str, Tensor]:
        """Run the law for a batch of samples.

        Parameters
        ----------
        coordinates : mapping of (T,) or (B, T)
            One grid for every sample, or one per sample, in the declared units.
        parameters : mapping of (B,)
            In the declared units; parameters that do not vary may be left out. A simplex is
            given as (B, size).
        check_finite : bool
            Look at every output, which waits for a GPU.

        Returns
        -------
        dict of (B, T)
            Every output in its declared unit; dtype and device are the parameters'.

        Raises
        ------
        InputError
            If names or shapes are wrong.
        SolveError
            If an output is not finite, naming the sample and its parameters.
        """
        x, p = self.arguments(coordinates, parameters)
        return self.run(x, p, check_finite=check_finite)

    @final
    def run(self, x: Values, p: Values, *, check_finite: bool = True) -> dict[str, Tensor]:
        """Like :meth:`simulate`, from prepared arguments; checks what :meth:`evaluate` returns."""
        outputs = self._evaluated(x, p)
        if not isinstance(outputs, Mapping):
            raise InputError(
                f"{self}: wrong result",
                found=type(outputs).__name__,
                expected="a dict with " + ", ".join(self.outputs),
            )
        check_keys(f"outputs of {self}", outputs, self.outputs)
        batch, points = self.shape(x, p)
        results = {}
        for name in self.outputs:
            try:
                results[name] = torch.as_tensor(outputs[name]).expand(batch, points)
                if results[name].is_complex():
                    raise TypeError("complex numbers")
            except (RuntimeError, TypeError, ValueError):
                given = outputs[name]
                raise InputError(
                    f"{self}: output '{name}' has a wrong shape or kind",
                    found=f"{tuple(getattr(given, 'shape', ()))} {getattr(given, 'dtype', given)}",
                    expected=f"({batch}, {points}) = (samples, points)",
                    fix="p.<name> has shape (B, 1) and x.<name> (1 or B, T): keep both axes",
                ) from None
            if check_finite:
                self._check_finite(name, results[name], p)
        return results

    @final
    def arguments(
        self, coordinates: Mapping[str, Any], parameters: Mapping[str, Any]
    ) -> tuple[Values, Values]:
        """Check names and shapes; return ``x`` and ``p`` as :meth:`evaluate` gets them."""
        fixed = {k: v.value for k, v in self.parameters.items() if not v.vary}
        check_keys(f"coordinates of {self}", coordinates, self.coordinates)
        wanted = {**self.parameters, **self.simplices}
        check_keys(f"parameters of {self}", {**fixed, **parameters}, wanted)
        given = {k: torch.as_tensor(v) for k, v in parameters.items()}
        grid = {k: torch.as_tensor(v) for k, v in coordinates.items()}
        kind = common_kind(list(given.values()) or list(grid.values()))
        batch = batch_size(str(self), given, grid)
        p = Values()
        for name in self._declared:
            if name in self.constants:
                setattr(p, name, self.constants[name].value)
            elif name in self.simplices:
                setattr(p, name, given[name].to(**kind).reshape(batch, -1).T[..., None])
            else:
                # A number is filled in where it is needed: copying it would wait for a GPU.
                value = given.get(name)
                if value is None:
                    value = torch.full((1,), cast(float, fixed[name]), **kind)
                setattr(p, name, value.to(**kind).reshape(-1, 1).expand(batch, 1))
        x = {k: v.to(**kind).reshape(-1, v.shape[-1] if v.ndim else 1) for k, v in grid.items()}
        return Values(**x), p

    @staticmethod
    def shape(x: Values, p: Values) -> tuple[int, int]:
        """Numbers of samples and of points of prepared arguments."""
        given = [v for v in vars(p).values() if isinstance(v, Tensor)]
        grids = list(vars(x).values())
        batch = max([1, *(v.shape[-2] for v in given), *(len(v) for v in grids)])
        return batch, max([v.shape[1] for v in grids], default=1)

    def _check_finite(self, name: str, values: Tensor, p: Values) -> None:
        good = torch.isfinite(values.detach()).all(1)
        if bool(good.all()):
            return
        bad = int((~good).nonzero()[0])
        raise SolveError(
            f"{self}: output '{name}' is not finite\n"
            f"  sample:   {bad} of {len(good)} ({int((~good).sum())} affected)\n"
            f"  values:   {self.describe(p, bad)}\n"
            "  fix:      tighten the bounds of the parameters, or guard the law there"
        )

    def describe(self, p: Values, sample: int) -> str:
        """Parameters of one sample in the units in which they are reported."""
        texts = []
        for name, parameter in self.parameters.items():
            shown = parameter.shown_in or parameter.unit
            column = getattr(p, name).detach()
            value = column[sample if len(column) > 1 else 0].item()
            value = units.convert(value, parameter.unit, shown)
            texts.append(f"{name} = {value:.6g} {units.pretty(shown)}")
        return ", ".join(texts)

    def __repr__(self) -> str:
        return type(self).__name__


def reserved(cls: type[Simulator]) -> set[str]:
    """Names that a parameter of this class may not take: they are in use above it."""
    above = cls.__mro__[1]
    return set(dir(above)) - set(getattr(above, "_declared", ()))
