r"""Physical parameters: declared once with unit, bounds, scale and typical value.

A network works on a raw number r without bounds; :meth:`Parameter.constrain` maps it to the
physical value p. With typical value t, lower bound a, upper bound b and the sigmoid s::

    two bounds, linear     p = a + (b - a) s(r + c)                 c such that p(0) = t
    two bounds, log        p = exp(log a + (log b - log a) s(r + c))
    lower bound, linear    p = a + (t - a) softplus(r + c)          c = log(e - 1)
    lower bound, log       p = a + (t - a) exp(r)
    upper bound            p = b - (b - t) softplus(-r + c)
    no bound               p = t + |t| r                            (t + r where t = 0)

Every map increases with r, and r = 0 is the typical value.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from dataclasses import replace as _replace_fields
from typing import Any

import torch
from torch import Tensor

from pima_physics.errors import ConfigError, InputError, Problems
from pima_physics.parameters_checks import (
    allows_log,
    check_bounds,
    check_scale,
    check_units,
    check_value,
    in_unit,
    number,
)
from pima_physics.units import parse

# A sigmoid saturates to 0 or 1 in float32, and a law may divide by zero at its bound: values stay
# this fraction of the interval away from both bounds.
MARGIN = 1e-6
LOG_SCALE_RATIO = 100.0
# exp overflows float32 beyond 88
_MAX_EXPONENT = 80.0
_SOFTPLUS_ONE = math.log(math.e - 1.0)  # softplus of it is 1


@dataclass(frozen=True)
class Parameter:
    """A physical parameter, inferred from data (``vary=True``) or fixed.

    Parameters
    ----------
    unit : str
        Unit in which the law's equation takes the value.
    value : float, optional
        Typical value: the start of inference, the value itself where ``vary=False``. Default: the
        midpoint of the bounds (geometric for log scale), or 1.
    min, max : float, optional
        Bounds, in ``unit``. Values stay inside by construction.
    scale : {"linear", "log"}, optional
        Default: "log" where both bounds are positive and their ratio exceeds 100.
    vary : bool
        Whether the parameter is inferred.
    shown_in : str, optional
        Unit of the reported values. Default: ``unit``.
    description : str
        What the parameter is.

    Raises
    ------
    InputError
        Where bounds, value, scale or units contradict each other; all contradictions at once.
    """

    unit: str = "dimensionless"
    _: KW_ONLY
    value: float | None = None
    min: float | None = None
    max: float | None = None
    scale: str | None = None
    vary: bool = True
    shown_in: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        problems = Problems()
        for name in ("value", "min", "max"):
            _set(self, name, number(name, getattr(self, name), problems))
        _set(self, "shown_in", self.shown_in or self.unit)
        try:
            check_units(self.unit, str(self.shown_in))
        except InputError as error:
            problems.add(error)
        problems.raise_if_any()
        check_bounds(self.min, self.max, self.unit)
        _set(self, "scale", self.scale or self._usual_scale())
        check_scale(str(self.scale), self.min, self.max)
        if self.value is None:
            if not self.vary:
                raise ConfigError("a fixed parameter needs a value", fix="give 'value'")
            _set(self, "value", self._default())
        check_value(self.typical, self.bounds, self.vary, self.unit)

    @property
    def typical(self) -> float:
        """The typical value, in ``unit``."""
        assert self.value is not None
        return self.value

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper bound, infinite where there is none."""
        low = -math.inf if self.min is None else self.min
        return low, math.inf if self.max is None else self.max

    def constrain(self, raw: Tensor) -> Tensor:
        """Map raw numbers to values in ``unit``, inside the bounds; any shape."""
        t, a, b = self.typical, self.min, self.max
        if a is not None and b is not None:
            low, high = self._interval()
            centre, margins = self._centre()
            fraction = torch.sigmoid(raw + centre).clamp(*margins)
            value = low + (high - low) * fraction
            value = value.exp() if self.scale == "log" else value
        elif a is not None:
            value = a + (t - a) * self._positive(raw)
        elif b is not None:
            value = b - (b - t) * self._positive(-raw)
        else:
            return t + (abs(t) or 1.0) * raw
        # exp and rounding to float32 overshoot the bounds by some ulps
        return value.clamp(*_inside(self.bounds, value.dtype))

    def unconstrain(self, value: Tensor | float) -> Tensor:
        """Map values in ``unit`` to raw numbers; values at a bound count as just inside it."""
        v = torch.as_tensor(value)
        v = v if v.is_floating_point() else v.to(torch.get_default_dtype())
        t, a, b = self.typical, self.min, self.max
        if a is not None and b is not None:
            low, high = self._interval()
            centre, margins = self._centre()
            inside = v.clamp(min=a).log() if self.scale == "log" else v
            return torch.logit(((inside - low) / (high - low)).clamp(*margins)) - centre
        if a is not None:
            return self._positive_inverse((v - a) / (t - a))
        if b is not None:
            return -self._positive_inverse((b - v) / (b - t))
        return (v - t) / (abs(t) or 1.0)

    def replace(self, **changes: Any) -> Parameter:
        """Return a copy with changes, as an experiment file writes them.

        Parameters
        ----------
        bounds : pair of float or None
            Short for ``min`` and ``max``.
        min, max, value : float
            Numbers in ``units`` where given, in the parameter's own unit otherwise.
        scale, vary, shown_in, description
            As in the class.
        units : str
            Unit of the numbers given here, and of the reported values.

        Raises
        ------
        InputError
            Where a key is unknown, the unit incompatible or the result inconsistent.
        """
        changes = in_unit(changes, self.unit)
        low, high = changes.get("min", self.min), changes.get("max", self.max)
        if {"min", "max", "scale"} & set(changes) and _numbers_or_none(low, high):
            self._reconsider(changes, low, high)
        return _replace_fields(self, **changes)

    def _reconsider(self, changes: dict[str, Any], low: float | None, high: float | None) -> None:
        """Choose scale and typical value again where they were only usual or no longer fit."""
        deliberate = self.scale != self._usual_scale()
        fits = self.scale == "linear" or allows_log(low, high)
        changes.setdefault("scale", self.scale if deliberate and fits else None)
        outside = (low is not None and self.typical <= low) or (
            high is not None and self.typical >= high
        )
        if changes.get("vary", self.vary) and (outside or self.typical == self._default()):
            changes.setdefault("value", None)

    def _usual_scale(self) -> str:
        a, b = self.min, self.max
        if a is None or b is None or a <= 0:
            return "linear"
        return "log" if b / a > LOG_SCALE_RATIO else "linear"

    def _default(self) -> float:
        a, b = self.min, self.max
        if a is not None and b is not None:
            return math.sqrt(a) * math.sqrt(b) if self.scale == "log" else a + 0.5 * (b - a)
        low, high = self.bounds
        if low < 1.0 < high:
            return 1.0
        return low + max(1.0, abs(low)) if a is not None else high - max(1.0, abs(high))

    def _interval(self) -> tuple[float, float]:
        low, high = self.bounds
        return (math.log(low), math.log(high)) if self.scale == "log" else (low, high)

    def _centre(self) -> tuple[float, tuple[float, float]]:
        """Raw offset of the typical value, and the range that a fraction is clamped to."""
        low, high = self._interval()
        t = math.log(self.typical) if self.scale == "log" else self.typical
        below, above = (t - low) / (high - low), (high - t) / (high - low)
        # a typical value nearer than the margin to a bound must still be reachable
        low_margin, high_margin = (max(min(MARGIN, 0.5 * x), 1e-300) for x in (below, above))
        centre = math.log(max(below, 1e-300)) - math.log(max(above, 1e-300))
        return centre, (low_margin, 1.0 - high_margin)

    def _positive(self, raw: Tensor) -> Tensor:
        if self.scale == "log":
            return raw.clamp(-_MAX_EXPONENT, _MAX_EXPONENT).exp()
        return torch.nn.functional.softplus(raw + _SOFTPLUS_ONE)

    def _positive_inverse(self, ratio: Tensor) -> Tensor:
        ratio = ratio.clamp(min=MARGIN)
        if self.scale == "log":
            return ratio.log()
        # log(exp(x) - 1) without overflow for large x
        return ratio + torch.log(-torch.expm1(-ratio)) - _SOFTPLUS_ONE


@dataclass(frozen=True)
class Constant:
    """A number of nature or of the apparatus with its unit; never inferred."""

    value: float
    unit: str
    description: str = ""

    def __post_init__(self) -> None:
        problems = Problems()
        value = number("value", self.value, problems)
        if value is None:
            problems.add(ConfigError("a constant needs a value"))
        _set(self, "value", value)
        try:
            parse(self.unit)
        except InputError as error:
            problems.add(error)
        problems.raise_if_any()


@dataclass(frozen=True)
class Simplex:
    """Fractions that are positive and sum to one.

    Parameters
    ----------
    size : int
        How many fractions, at least two.
    description : str
        What the fractions are of.
    """

    size: int
    description: str = ""
    unit: str = "dimensionless"

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 2:
            raise ConfigError(
                "fractions that sum to one are at least two", found=f"size {self.size!r}"
            )

    def constrain(self, raw: Tensor) -> Tensor:
        """Map raw numbers (..., size) to fractions; raw 0 gives equal fractions."""
        return torch.softmax(raw, -1)

    def unconstrain(self, value: Tensor) -> Tensor:
        """Inverse of :meth:`constrain`, with raw numbers that sum to zero."""
        logs = value.clamp(min=MARGIN).log()
        return logs - logs.mean(-1, keepdim=True)


def _numbers_or_none(*values: Any) -> bool:
    return all(isinstance(value, int | float | None) for value in values)


def _set(record: Any, name: str, value: Any) -> None:
    object.__setattr__(record, name, value)


def _inside(bounds: tuple[float, float], dtype: torch.dtype) -> tuple[float, float]:
    """Bounds as numbers of ``dtype`` that do not lie outside the exact ones."""
    low, high = (torch.tensor(bound, dtype=dtype) for bound in bounds)
    infinity = torch.tensor(math.inf, dtype=dtype)
    if low.item() < bounds[0]:
        low = torch.nextafter(low, infinity)
    if high.item() > bounds[1]:
        high = torch.nextafter(high, -infinity)
    return low.item(), high.item()
