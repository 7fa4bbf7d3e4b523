"""What a check found: passed, failed or left open by the data, with its evidence in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from pima_physics.errors import PimaError

PASSED, FAILED, OPEN = "passed", "failed", "open"


class CheckError(PimaError, AssertionError):
    """A required check did not pass."""


@dataclass(frozen=True)
class Check:
    """One expectation and what the results say about it.

    Attributes
    ----------
    claim : str
        What was expected.
    status : {"passed", "failed", "open"}
        "open": the data neither show nor contradict it at the confidence asked for.
    evidence : str
        The numbers behind the status, with units and errors.
    required : bool
        Whether :meth:`CheckReport.require` insists on it.
    numbers : dict of float
        The same numbers for programs.
    """

    claim: str
    status: str
    evidence: str
    required: bool = True
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the expectation is met; one that is left open is not."""
        return self.status == PASSED

    def __str__(self) -> str:
        optional = "" if self.required else " (not required)"
        return f"{self.status:<6}  {self.claim}{optional}\n        {self.evidence}"


@dataclass(frozen=True)
class CheckReport:
    """Several checks.

    ``report.require()`` raises where a required one did not pass, so that a report serves in a
    test of your own; ``report.require(lambda check: ...)`` looks only at the checks chosen.
    """

    checks: tuple[Check, ...]

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def __len__(self) -> int:
        return len(self.checks)

    def __getitem__(self, claim: str | int) -> Check:
        if isinstance(claim, int):
            return self.checks[claim]
        return next(check for check in self.checks if check.claim == claim)

    def __add__(self, other: CheckReport) -> CheckReport:
        return CheckReport(self.checks + other.checks)

    @property
    def passed(self) -> bool:
        """Whether every required check passed."""
        return all(check.passed for check in self.checks if check.required)

    def require(self, which: str | Callable[[Check], bool] | None = None) -> CheckReport:
        """Raise unless the required checks passed; return the report itself.

        Parameters
        ----------
        which : str or callable, optional
            A claim, or what picks checks. These must pass, also where not marked as required.

        Raises
        ------
        CheckError
            Lists every check that did not pass, with its evidence.
        KeyError
            Where nothing has that claim.
        """
        if which is None:
            chosen = [check for check in self.checks if check.required]
        elif isinstance(which, str):
            chosen = [check for check in self.checks if check.claim == which]
            if not chosen:
                raise KeyError(which)
        else:
            chosen = [check for check in self.checks if which(check)]
        missed = [check for check in chosen if not check.passed]
        if missed:
            listed = "\n".join(str(check) for check in missed)
            raise CheckError(f"{len(missed)} of {len(chosen)} checks did not pass\n{listed}")
        return self

    def to_records(self) -> list[dict[str, Any]]:
        """Plain dictionaries, for JSON; numbers that are not known are left out."""
        records = [asdict(check) for check in self.checks]
        for record in records:
            kept = {k: float(v) for k, v in record["numbers"].items() if math.isfinite(v)}
            record["numbers"] = kept
        return records

    def __str__(self) -> str:
        counts = {s: sum(c.status == s for c in self.checks) for s in (PASSED, FAILED, OPEN)}
        total = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        return "\n".join([*(str(check) for check in self.checks), total or "no checks"])


def verdict(low: float, high: float, *, inside: tuple[float, float]) -> str:
    """Status of an estimate with interval [low, high] that ought to lie within bounds.

    Passed where the whole interval lies inside, failed where all of it lies outside.
    """
    if not (low <= high):  # NaN: nothing is known
        return OPEN
    if inside[0] <= low and high <= inside[1]:
        return PASSED
    return FAILED if high < inside[0] or low > inside[1] else OPEN
