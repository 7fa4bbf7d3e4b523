r"""Known mechanisms, stated as expectations and checked against the results of a fit.

=====================================================  ==========================================
statement                                              passes where
=====================================================  ==========================================
``temperature -> curve.yield_stress decreases``        every step between neighbouring outcomes
                                                       has that sign at the confidence asked for
``temperature -> curve.yield_stress changes``          some two outcomes differ so
``temperature -> curve.modulus constant within 2 GPa`` no two outcomes differ by more
``edge temperature -> direction absent``               probability of that arrow <= 1 - confidence
``edge temperature -- direction present``              probability of either arrow >= confidence
``law curve holds within 5 MPa`` (or ``3 %``)          root mean square residual of held-out data
``law curve holds within noise``                       every posterior predictive check passes
``curve.modulus of component 3 = 69 +- 3 GPa``         the interval of the estimate lies inside
``curve.modulus of temperature 0 = 69 +- 3 GPa``       the same for one outcome of a node
``curve.modulus = 69 +- 3 GPa``                        the same for the mean over samples
=====================================================  ==========================================

An expectation that the data neither show nor contradict is *open* and does not pass. All steps
of "increases" must hold at once, so each is tested at the confidence itself (an
intersection-union test [1]_); "changes" looks at all pairs and is corrected for their number.

What goes with an outcome is compared as observed: a parameter that differs between the outcomes
of a node need not be an effect of the node. ``result.effect`` answers that under the graph.

References
----------
.. [1] R. L. Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics
   24, 1982.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Protocol

import numpy as np
from scipy.stats import norm

from pima_physics.errors import InputError
from pima_physics.plots_tree import children, labels, variable
from pima_physics.posterior_checks import predictive_checks
from pima_physics.results_text import number
from pima_physics.units import conversion, difference, pretty
from pima_physics.validation.findings import Estimate, Findings
from pima_physics.verdicts import FAILED, OPEN, PASSED, Check, verdict


class Mechanism(Protocol):
    """An expectation that can be checked against findings."""

    def check(self, findings: Findings, confidence: float) -> Check:
        """Return what the findings say about it."""
        ...


@dataclass(frozen=True)
class Relation:
    """``node -> quantity increases`` (or decreases, changes, constant within a tolerance).

    Attributes
    ----------
    kind : {"increases", "decreases", "changes", "constant"}
    tolerance, unit
        Of "constant" only: the largest difference admitted.
    """

    node: str
    quantity: str
    kind: str
    tolerance: float = np.nan
    unit: str = "dimensionless"

    def __str__(self) -> str:
        within = f" within {self.tolerance:g} {self.unit}" if self.kind == "constant" else ""
        return f"{self.node} -> {self.quantity} {self.kind}{within}"

    def check(self, findings: Findings, confidence: float) -> Check:
        """Compare the means by outcome."""
        order, found = findings.outcomes(self.node), findings.by_outcome(self.node, self.quantity)
        directed = self.kind in ("increases", "decreases")
        if directed and order is None:
            evidence = (
                "the outcomes of a discovered node have arbitrary numbers: give their order, "
                "or labels of the known factor"
            )
            return Check(str(self), OPEN, evidence)
        positions = order or range(len(found))
        row = [found[k] for k in positions if np.isfinite(found[k].value)]
        if len(row) < 2:
            return Check(str(self), OPEN, "fewer than two outcomes have samples")
        evidence = ", ".join(f"{k}: {_text(found[k])}" for k in positions)
        if self.kind == "constant":
            return self._constant(row, evidence, confidence)
        pairs = list(pairwise(row) if directed else combinations(row, 2))
        sign = -1.0 if self.kind == "decreases" else 1.0
        z = np.array([sign * (b.value - a.value) / np.hypot(a.error, b.error) for a, b in pairs])
        if not np.isfinite(z).all():
            return Check(str(self), OPEN, f"{evidence}; errors are not known")
        if not directed:
            z = np.abs(z)
            limit = float(norm.isf((1 - confidence) / (2 * len(pairs))))
            status = PASSED if z.max() > limit else OPEN
            return Check(str(self), status, f"{evidence}; {_sigmas(z.max())}", numbers=_z(z.max()))
        limit = float(norm.ppf(confidence))
        status = PASSED if z.min() > limit else FAILED if z.min() < -limit else OPEN
        evidence = f"{evidence}; smallest step {_sigmas(z.min())}"
        return Check(str(self), status, evidence, numbers=_z(z.min()))

    def _constant(self, row: list[Estimate], evidence: str, confidence: float) -> Check:
        scale = conversion(difference(self.unit), difference(row[0].unit)).scale
        z, tolerance = float(norm.ppf(confidence)), self.tolerance * scale
        gaps = [
            (abs(a.value - b.value), z * np.hypot(a.error, b.error))
            for a, b in combinations(row, 2)
        ]
        if not np.isfinite(gaps).all():
            return Check(str(self), OPEN, f"{evidence}; errors are not known")
        if all(gap + spread <= tolerance for gap, spread in gaps):
            status = PASSED
        else:
            status = FAILED if any(gap - spread > tolerance for gap, spread in gaps) else OPEN
        largest = float(max(gap for gap, _ in gaps))
        text = f"{evidence}; largest difference {number(largest)} {pretty(row[0].unit)}".rstrip()
        return Check(str(self), status, text, numbers={"difference": largest})


@dataclass(frozen=True)
class Edge:
    """An edge expected in the graph, or not.

    Attributes
    ----------
    present : bool
    either : bool
        Whether both directions count (written ``--``) or only parent -> child (``->``).
    """

    parent: str
    child: str
    present: bool
    either: bool = False

    def __str__(self) -> str:
        sign = "--" if self.either else "->"
        return f"edge {self.parent} {sign} {self.child} {'present' if self.present else 'absent'}"

    def check(self, findings: Findings, confidence: float) -> Check:
        """Compare the probability of the edge with the confidence asked for."""
        table = variable(findings.tree, "graph", "edge_probability")
        if table is None:
            return Check(str(self), OPEN, "these results have no edge probabilities")
        names = labels(table, "parent")
        i, j = (names.index(findings.node(name)) for name in (self.parent, self.child))
        if i == j:
            raise InputError(f"'{self}' joins a node with itself", found=names[i])
        values = table.transpose("parent", "child").values
        forward, back = float(values[i, j]), float(values[j, i])
        chance = min(forward + back, 1.0) if self.either else forward
        wanted = chance if self.present else 1.0 - chance
        status = PASSED if wanted >= confidence else FAILED if wanted <= 1 - confidence else OPEN
        evidence = f"probability {chance:.3f} (-> {forward:.3f}, <- {back:.3f})"
        if not self.either and status == OPEN and forward + back >= confidence:
            evidence += "; they are joined, but the data do not settle the direction"
        return Check(str(self), status, evidence, numbers={"probability": chance})


@dataclass(frozen=True)
class Law:
    """The physical law of a modality reproduces held-out data.

    Attributes
    ----------
    tolerance : float
        Largest root mean square residual, in ``unit``; per cent of the root mean square of the
        observed values where the unit is "%"; NaN: as far as the stated noise allows.
    """

    modality: str
    tolerance: float = np.nan
    unit: str = "noise"

    def __str__(self) -> str:
        within = "noise" if self.unit == "noise" else f"{self.tolerance:g} {self.unit}"
        return f"law {self.modality} holds within {within}"

    def check(self, findings: Findings, confidence: float) -> Check:
        """Compare the residuals with the tolerance."""
        if self.modality not in children(findings.tree, "parameters"):
            raise InputError(
                f"modality '{self.modality}' has no physical law in these results",
                fix="state a law only of modalities with a physics decoder",
            )
        data, which = findings.reproduced(self.modality)
        if self.unit == "noise":
            found = predictive_checks(findings.tree, [self.modality])
            missed = [check.evidence for check in found if not check.passed]
            status = FAILED if missed else PASSED
            evidence = "; ".join(missed) or f"all {len(found)} posterior predictive checks pass"
            return Check(str(self), status, evidence)
        observed = data["observed"].values.astype(float).reshape(data.sizes["sample"], -1)
        residual = observed - data["mean"].values.reshape(observed.shape)
        unit = str(data["observed"].attrs["units"])
        if self.unit == "%":
            tolerance = self.tolerance / 100 * float(np.sqrt(np.nanmean(observed**2)))
        else:
            change = conversion(difference(self.unit), difference(unit))
            tolerance = self.tolerance * change.scale
        size, error = _root_mean_square(residual)
        z = float(norm.ppf(confidence))
        status = verdict(size - z * error, size + z * error, inside=(-np.inf, tolerance))
        evidence = (
            f"root mean square residual {number(size, error)} {pretty(unit)} over "
            f"{data.sizes['sample']} {which}, tolerance {number(tolerance)} {pretty(unit)}"
        )
        return Check(str(self), status, evidence, numbers={"residual": size, "error": error})


@dataclass(frozen=True)
class Value:
    """A parameter has a known value: of a component, of an outcome, or on average."""

    quantity: str
    value: float
    tolerance: float
    unit: str = "dimensionless"
    component: int | None = None
    node: str | None = None
    outcome: str | None = None

    def __str__(self) -> str:
        place = f" of component {self.component}" if self.component is not None else ""
        if self.node is not None:
            place = f" of {self.node} {self.outcome}"
        return f"{self.quantity}{place} = {self.value:g} +- {self.tolerance:g} {self.unit}"

    def check(self, findings: Findings, confidence: float) -> Check:
        """Compare the interval of the estimate with value and tolerance."""
        found = self._estimate(findings)
        change = conversion(self.unit, found.unit)
        centre = change.scale * self.value + change.offset
        width = abs(change.scale) * self.tolerance
        if not np.isfinite(found.value):
            return Check(str(self), OPEN, "no sample belongs there")
        z = float(norm.ppf(confidence))
        low, high = found.value - z * found.error, found.value + z * found.error
        status = verdict(low, high, inside=(centre - width, centre + width))
        evidence = f"estimated {_text(found)}, expected {number(centre, width)}"
        numbers = {"value": found.value, "error": found.error}
        return Check(str(self), status, evidence, numbers=numbers)

    def _estimate(self, findings: Findings) -> Estimate:
        if self.node is not None:
            outcome = findings.outcome(self.node, str(self.outcome))
            return findings.by_outcome(self.node, self.quantity)[outcome]
        if self.component is None:
            return findings.overall(self.quantity)
        rows = findings.by_component(self.quantity)
        if not 0 <= self.component < len(rows):
            raise InputError(
                f"there is no component {self.component}", expected=f"0 to {len(rows) - 1}"
            )
        return rows[self.component]


def _text(estimate: Estimate) -> str:
    return f"{number(estimate.value, estimate.error)} {pretty(estimate.unit)}".rstrip()


def _sigmas(z: float) -> str:
    return f"{z:.1f} standard errors"


def _z(value: float) -> dict[str, float]:
    return {"z": float(value)}


def _root_mean_square(residual: np.ndarray) -> tuple[float, float]:
    """Root mean square of residuals (sample, point) and its error from the scatter of samples."""
    squares: Sequence[float] = [np.nanmean(r**2) for r in residual if np.isfinite(r).any()]
    mean = float(np.mean(squares))
    error = float(np.std(squares, ddof=1) / np.sqrt(len(squares))) if len(squares) > 1 else np.nan
    return float(np.sqrt(mean)), error / (2 * np.sqrt(mean)) if mean > 0 else 0.0
