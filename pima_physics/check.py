"""Is a law fit to be fitted? Dimensions, gradients, batching, precision, identifiability.

:func:`check_simulator` treats the law as a black box and says for each check whether it passed,
and where not, what is wrong and where to look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch

from pima_physics.check_identifiability import identifiability
from pima_physics.check_numbers import batching, bounds, gradients
from pima_physics.check_precision import device, precision
from pima_physics.check_probe import Finding, Probe, declaration, golden, make_probe
from pima_physics.check_units import unit_covariance
from pima_physics.errors import PimaError, TimeLimitError
from pima_physics.simulator import Simulator

_CHECKS: dict[str, Callable[[Probe], list[str]]] = {
    "golden point": golden,
    "batching": batching,
    "gradients": gradients,
    "units": unit_covariance,
    "bounds": bounds,
    "precision": precision,
    "device": device,
    "identifiability": identifiability,
}
_MEANING = {
    "declaration": "names, units and shapes are as declared",
    "golden point": "the known answer is reproduced",
    "batching": "a batch gives what its samples give one by one",
    "gradients": "autograd agrees with finite differences",
    "units": "outputs change with the base units as declared",
    "bounds": "outputs are finite up to the bounds",
    "precision": "float32 in, float32 out; float64 is not degraded",
    "device": "nothing is tied to the CPU",
    "identifiability": "the parameters can be told apart at typical values",
}


@dataclass(frozen=True)
class CheckReport:
    """Findings about one law; ``print(report)`` shows a table of verdicts."""

    simulator: str
    findings: tuple[Finding, ...]
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether no check failed; warnings do not count."""
        return not self.failures

    @property
    def failures(self) -> tuple[Finding, ...]:
        """Findings of checks that failed."""
        return tuple(f for f in self.findings if f.verdict == "fail")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that deserve a look and do not fail the law."""
        return tuple(f for f in self.findings if f.verdict == "warning")

    def __str__(self) -> str:
        width = max(len(name) for name in _MEANING)
        lines = [f"{self.simulator}: {'passed' if self.passed else 'FAILED'}"]
        if self.note:
            lines.append(self.note)
        for finding in self.findings:
            first, *rest = finding.message.splitlines() or [""]
            lines.append(f"  {finding.verdict:<8}{finding.check:<{width}}  {first}")
            lines += [" " * (width + 12) + line for line in rest]
        return "\n".join(lines)


def check_simulator(
    simulator: Simulator | type[Simulator],
    *,
    coordinates: Mapping[str, Any] | None = None,
    seed: int = 0,
    time_limit: float | None = None,
) -> CheckReport:
    """Check a law as a black box.

    Parameters
    ----------
    simulator : Simulator
        The law, or its class.
    coordinates : mapping of (T,), optional
        Grid to check on, in the declared units. Default: the range of the golden point, or 0
        to 1 where there is none.
    seed : int
        Seed of the parameter values tried.
    time_limit : float, optional
        Seconds that one call of the law may take. Default: the law's own ``time_limit``.

    Returns
    -------
    CheckReport
        ``report.passed`` tells whether no check failed.
    """
    law = simulator() if isinstance(simulator, type) else simulator
    if time_limit is not None:
        law = copy(law)
        law.time_limit = time_limit
    with torch.random.fork_rng(devices=[]):  # a law that draws random numbers leaves no trace
        torch.manual_seed(seed)
        problems = declaration(law)
        if problems:
            return CheckReport(str(law), tuple(Finding("declaration", "fail", m) for m in problems))
        probe = make_probe(law, coordinates, seed)
        findings: list[Finding] = []
        try:
            findings += _run("declaration", lambda p: _typical(p), probe)
            if all(f.verdict != "fail" for f in findings):
                for name, check in _CHECKS.items():
                    findings += _run(name, check, probe)
        except TimeLimitError as error:  # the other checks would wait as long
            findings.append(Finding("time limit", "fail", str(error)))
    return CheckReport(str(law), tuple(findings), probe.note)


def _typical(probe: Probe) -> list[str]:
    """Run the law once at its typical values; whatever it raises is the finding."""
    probe.law.simulate(probe.coordinates, probe.typical)
    return []


def _run(name: str, check: Callable[[Probe], list[str]], probe: Probe) -> list[Finding]:
    """Run one check; what it or the law raises is a finding too."""
    try:
        problems = check(probe)
    except TimeLimitError:
        raise
    except PimaError as error:
        problems = [str(error)]
    except Exception as error:  # the law is not our code: whatever it raises is the news
        problems = [f"the law raised {type(error).__name__}: {error}"]
    if not problems:
        return [Finding(name, "pass", _MEANING[name])]
    findings = []
    for problem in problems:
        mild = problem.startswith("warning: ")
        verdict = "warning" if mild else "fail"
        findings.append(Finding(name, verdict, problem.removeprefix("warning: ")))
    return findings
