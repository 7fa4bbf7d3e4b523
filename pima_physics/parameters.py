r"""Physical parameters: declared once with unit, bounds, scale and typical value.

A network or an optimiser works on a raw number r without bounds; :meth:`Parameter.constrain` maps
it to the physical value p. With typical value t, lower bound a, upper bound b and the sigmoid s:

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
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from dataclasses import replace as _replace_fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pima_physics.errors import ConfigError, InputError, Problems, closest
from pima_physics.units import compatible, convert, parse

# A sigmoid saturates to exactly 0 or 1 in float32 and a law may divide by zero at its bound, so
# values stay this fraction of the interval away from both bounds.
MARGIN = 1e-6
LOG_SCALE_RATIO = 100.0
# exp overflows float32 beyond 88
_MAX_EXPONENT = 80.0
_SOFTPLUS_ONE = math.log(math.e - 1.0)  # softplus of it is 1
_CHANGES = ("bounds", "min", "max", "value", "scale", "vary", "units", "shown_in", "description")


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
            _set(self, name, _number(name, getattr(self, name), problems))
        _set(self, "shown_in", self.shown_in or self.unit)
        for unit in (self.unit, self.shown_in):
            try:
                parse(unit)
            except InputError as error:
                problems.add(error)
        problems.raise_if_any()
        if not compatible(self.unit, str(self.shown_in)):
            problems.add(
                ConfigError(
                    "a parameter cannot be shown in a unit of another quantity",
                    found=f"shown_in '{self.shown_in}'",
                    expected=f"a unit compatible with '{self.unit}'",
                )
            )
        self._check_bounds(problems)
        problems.raise_if_any()
        if self.scale is None:
            _set(self, "scale", "log" if self._spans_decades() else "linear")
        self._check_scale(problems)
        problems.raise_if_any()
        if self.value is None:
            if not self.vary:
                problems.add(ConfigError("a fixed parameter needs a value", fix="give 'value'"))
            _set(self, "value", self._default())
        self._check_value(problems)
        problems.raise_if_any()

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
        v = value if isinstance(value, Tensor) else torch.tensor(float(value))
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
        _check_changes(changes)
        units = changes.pop("units", None)
        if "bounds" in changes:
            changes["min"], changes["max"] = _pair(changes.pop("bounds"))
        if units is not None:
            for name in {"value", "min", "max"} & set(changes):
                number = changes[name]
                if isinstance(number, int | float) and not isinstance(number, bool):
                    changes[name] = convert(float(number), str(units), self.unit)
            convert(0.0, str(units), self.unit)  # incompatible units fail even without numbers
            changes.setdefault("shown_in", str(units))
        if {"min", "max", "scale"} & set(changes):
            changes.setdefault("scale", None)
            self._keep_or_forget_value(changes)
        return _replace_fields(self, **changes)

    def _keep_or_forget_value(self, changes: dict[str, Any]) -> None:
        """A typical value that was only the old midpoint, or lies outside, gives way."""
        if "value" in changes or not changes.get("vary", self.vary):
            return
        low, high = changes.get("min", self.min), changes.get("max", self.max)
        numbers = [x for x in (low, high) if isinstance(x, int | float)]
        outside = (low in numbers and self.typical <= low) or (
            high in numbers and self.typical >= high
        )
        if outside or self.typical == self._default():
            changes["value"] = None

    def _spans_decades(self) -> bool:
        a, b = self.min, self.max
        return a is not None and b is not None and a > 0 and b / a > LOG_SCALE_RATIO

    def _default(self) -> float:
        a, b = self.min, self.max
        if a is not None and b is not None:
            return math.sqrt(a) * math.sqrt(b) if self.scale == "log" else a + 0.5 * (b - a)
        low, high = self.bounds
        if low < 1.0 < high:
            return 1.0
        return low + max(1.0, abs(low)) if a is not None else high - max(1.0, abs(high))

    def _check_bounds(self, problems: Problems) -> None:
        if self.min is not None and self.max is not None and not self.min < self.max:
            problems.add(
                ConfigError(
                    "the lower bound of a parameter must be below the upper one",
                    found=f"min {self.min:g}, max {self.max:g} {self.unit}",
                    fix="a parameter that is known exactly takes value and vary: false",
                )
            )

    def _check_scale(self, problems: Problems) -> None:
        if self.scale not in ("linear", "log"):
            problems.add(
                ConfigError(f"unknown scale {self.scale!r} of a parameter", expected="linear, log")
            )
        elif self.scale == "log" and not self._allows_log():
            problems.add(
                ConfigError(
                    "a log scale needs positive bounds",
                    found=f"min {self.min}, max {self.max}",
                    expected="0 < min < max, or min >= 0 without max",
                    fix="give min a positive value, or use scale: linear",
                )
            )

    def _allows_log(self) -> bool:
        if self.min is None:
            return False
        return self.min > 0 if self.max is not None else self.min >= 0

    def _check_value(self, problems: Problems) -> None:
        low, high = self.bounds
        inside = low < self.typical < high if self.vary else low <= self.typical <= high
        if not inside:
            problems.add(
                ConfigError(
                    "the value of a parameter lies outside its bounds",
                    found=f"value {self.typical:g} {self.unit}",
                    expected=f"{low:g} < value < {high:g}",
                    fix="change value, min or max (all in the same unit)",
                )
            )

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
        return F.softplus(raw + _SOFTPLUS_ONE)

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
        value = _number("value", self.value, problems)
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


def _set(record: Any, name: str, value: Any) -> None:
    object.__setattr__(record, name, value)


def _number(name: str, value: Any, problems: Problems) -> float | None:
    """Return a finite float, or note the problem."""
    if value is None:
        return None
    try:
        if isinstance(value, bool | str):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        problems.add(
            ConfigError(f"'{name}' must be a finite number", found=repr(value), fix=None)
        )
        return None
    return number


def _check_changes(changes: Mapping[str, Any]) -> None:
    problems = Problems()
    for key in changes:
        if key not in _CHANGES:
            guess = closest(key, _CHANGES)
            problems.add(
                ConfigError(
                    f"unknown setting '{key}' of a parameter",
                    expected=", ".join(_CHANGES),
                    fix=f"did you mean '{guess}'?" if guess else None,
                )
            )
    if "bounds" in changes and {"min", "max"} & set(changes):
        problems.add(ConfigError("give either 'bounds' or 'min' and 'max' of a parameter"))
    if not isinstance(changes.get("vary", True), bool):
        problems.add(
            ConfigError("'vary' must be true or false", found=repr(changes["vary"]))
        )
    problems.raise_if_any()


def _pair(bounds: Any) -> tuple[Any, Any]:
    if isinstance(bounds, list | tuple) and len(bounds) == 2:
        return bounds[0], bounds[1]
    raise ConfigError(
        "'bounds' of a parameter must be two numbers", found=repr(bounds), expected="[low, high]"
    )


def _inside(bounds: tuple[float, float], dtype: torch.dtype) -> tuple[float, float]:
    """Bounds as numbers of ``dtype`` that do not lie outside the exact ones."""
    low, high = (torch.tensor(bound, dtype=dtype) for bound in bounds)
    infinity = torch.tensor(math.inf, dtype=dtype)
    if low.item() < bounds[0]:
        low = torch.nextafter(low, infinity)
    if high.item() > bounds[1]:
        high = torch.nextafter(high, -infinity)
    return low.item(), high.item()
