"""Numbers and words for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

DIGITS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _typeset(body: str) -> str:
    """A true minus sign, and narrow spaces between thousands at which no line breaks."""
    return body.replace("-", "−").replace(",", "\u202f")


def number(value: float, significant: int = 3) -> str:
    """A number with ``significant`` digits; "n/a" where there is none."""
    value = float(value)
    if not math.isfinite(value):
        return "n/a"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent >= 6 or exponent < -4:
        mantissa = _typeset(f"{value / 10.0**exponent:.{significant - 1}f}")
        return f"{mantissa}\u00a0×\u00a010{str(exponent).translate(DIGITS)}"
    return _typeset(f"{value:,.{max(0, significant - 1 - exponent)}f}")


def with_error(value: float, error: float, unit: str = "") -> str:
    """``205.3 ± 1.2 MPa``: the error to two digits, the value to the same place."""
    tail = f"\u00a0{unit}" if unit else ""
    if not math.isfinite(value):
        return "n/a"
    if not (math.isfinite(error) and error > 0):
        return number(value, 4) + tail
    largest = math.floor(math.log10(max(abs(value), error)))
    if largest >= 6 or largest < -3:
        body = with_error(value / 10.0**largest, error / 10.0**largest)
        return f"({body})\u00a0×\u00a010{str(largest).translate(DIGITS)}{tail}"
    places = max(0, 1 - math.floor(math.log10(error)))
    return _typeset(f"{value:,.{places}f}\u00a0±\u00a0{error:,.{places}f}") + tail


def percent(share: float) -> str:
    """``62 %``; "n/a" where there is none, "< 1 %" and "> 99 %" at the ends."""
    if not math.isfinite(share):
        return "n/a"
    if 0 < share < 0.01:
        return "<\u00a01\u00a0%"
    if 0.99 < share < 1:
        return ">\u00a099\u00a0%"
    return f"{100 * share:.0f}\u00a0%"


def probability(value: float) -> str:
    """Two decimals; never a bare 0 or 1 for something that is only nearly so."""
    if not math.isfinite(value):
        return "n/a"
    if 0.995 <= value < 1:
        return "> 0.99"
    if 0 < value < 0.005:
        return "< 0.01"
    return f"{value:.2f}"


def short(text: str, limit: int = 60) -> str:
    """Text cut to ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def joined(items: Sequence[str]) -> str:
    """``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """``1 sample``, ``2 samples``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}".replace(",", "\u202f")


def moment(stamp: str) -> str:
    """An ISO time stamp for people; anything else as it is."""
    from datetime import datetime

    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:
        return stamp
    zone = at.tzname() or ""
    return f"{at.day} {at:%B %Y, %H:%M} {zone}".strip()


def duration(seconds: float) -> str:
    """``93 s``, ``12 min``, ``3.4 h``."""
    if seconds < 180:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
