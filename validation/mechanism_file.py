"""Mechanisms as text and as YAML, and their check against the results of a fit.

.. code-block:: yaml

    confidence: 0.95                       # optional
    order: {process: [1, 0]}               # optional: outcomes in ascending order of meaning
    mechanisms:
      - process -> curve.yield_stress increases
      - law curve holds within 5 MPa
      - {expect: edge process -> lattice absent, required: false}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pima_physics.config_yaml import read_mapping
from pima_physics.errors import ConfigError, InputError, Problems, closest
from pima_physics.units import parse
from pima_physics.validation.findings import Factor, Findings
from pima_physics.validation.mechanisms import Edge, Law, Mechanism, Relation, Value
from pima_physics.validation.metrics import match_nodes
from pima_physics.validation.runs import categories, factor_codes
from pima_physics.verdicts import CheckReport

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_PATTERNS = {
    "relation": re.compile(
        rf"(?P<node>\S+) -> (?P<quantity>\S+) (?P<kind>increases|decreases|changes"
        rf"|constant within (?P<tolerance>{_NUMBER}) ?(?P<unit>\S.*)?)"
    ),
    "edge": re.compile(r"edge (?P<a>\S+) (?P<sign>->|<-|--) (?P<b>\S+) (?P<state>present|absent)"),
    "law": re.compile(
        rf"law (?P<name>\S+) holds within (?:(?P<noise>noise)"
        rf"|(?P<tolerance>{_NUMBER}) ?(?P<unit>\S.*)?)"
    ),
    "value": re.compile(
        rf"(?P<quantity>\S+)(?: of (?:component (?P<component>\d+)"
        rf"|(?P<node>\S+) (?P<outcome>\S+)))? = (?P<value>{_NUMBER}) ?(?:\+-|±|\+/-) ?"
        rf"(?P<tolerance>{_NUMBER}) ?(?P<unit>\S.*)?"
    ),
}
_FORMS = (
    "'node -> quantity increases' (decreases, changes, constant within 2 MPa), "
    "'edge a -> b absent' (present; -- for either direction), 'law modality holds within 5 MPa' "
    "(3 %, noise), 'quantity of component 3 = 69 +- 3 GPa' (of node outcome; or neither)"
)


@dataclass(frozen=True)
class Expectations:
    """What a file of mechanisms states.

    Attributes
    ----------
    mechanisms : tuple of (Mechanism, bool)
        Each with whether it is required.
    confidence : float
    order : dict
        Node -> outcomes in ascending order of their meaning.
    """

    mechanisms: tuple[tuple[Mechanism, bool], ...]
    confidence: float = 0.95
    order: Mapping[str, Sequence[int]] = field(default_factory=dict)


def mechanism(text: str) -> Mechanism:
    """Read one statement; see :mod:`pima_physics.validation.mechanisms` for the forms.

    Raises
    ------
    ConfigError
        Where it has none of these forms, or a unit is unknown.
    """
    words = " ".join(str(text).split())
    for kind, pattern in _PATTERNS.items():
        found = pattern.fullmatch(words)
        if found:
            return _BUILD[kind](found.groupdict())
    raise ConfigError(f"the mechanism '{words}' cannot be read", expected=_FORMS)


def _relation(part: Mapping[str, Any]) -> Relation:
    if part["tolerance"] is None:
        return Relation(part["node"], part["quantity"], part["kind"])
    unit = _unit(part["unit"])
    return Relation(part["node"], part["quantity"], "constant", float(part["tolerance"]), unit)


def _edge(part: Mapping[str, Any]) -> Edge:
    ends = (part["b"], part["a"]) if part["sign"] == "<-" else (part["a"], part["b"])
    return Edge(*ends, present=part["state"] == "present", either=part["sign"] == "--")


def _law(part: Mapping[str, Any]) -> Law:
    if part["noise"]:
        return Law(part["name"])
    unit = "%" if part["unit"] == "%" else _unit(part["unit"])
    return Law(part["name"], float(part["tolerance"]), unit)


def _value(part: Mapping[str, Any]) -> Value:
    component = None if part["component"] is None else int(part["component"])
    return Value(
        part["quantity"],
        float(part["value"]),
        float(part["tolerance"]),
        _unit(part["unit"]),
        component,
        part["node"],
        part["outcome"],
    )


def _unit(text: str | None) -> str:
    return parse(text.strip()) if text else "dimensionless"


_BUILD = {"relation": _relation, "edge": _edge, "law": _law, "value": _value}


def read_mechanisms(source: str | Path | Mapping[str, Any]) -> Expectations:
    """Read a YAML file of mechanisms, or the same as a mapping.

    Raises
    ------
    ConfigError
        Unknown keys or statements that cannot be read, all at once.
    """
    content = source if isinstance(source, Mapping) else read_mapping(Path(source))
    problems = Problems()
    _known_keys(content, ("mechanisms", "confidence", "order"), problems)
    confidence = content.get("confidence", 0.95)
    if not isinstance(confidence, (int, float)) or not 0.5 < confidence < 1:
        problems.add(ConfigError("confidence", found=confidence, expected="between 0.5 and 1"))
    entries = content.get("mechanisms")
    if not isinstance(entries, list) or not entries:
        problems.add(ConfigError("'mechanisms' is no list of statements", expected=_FORMS))
        entries = []
    found: list[tuple[Mechanism, bool]] = []
    for entry in entries:
        item = entry if isinstance(entry, Mapping) else {"expect": entry}
        _known_keys(item, ("expect", "required"), problems)
        required = item.get("required", True)
        if not isinstance(required, bool):
            problems.add(ConfigError("'required'", found=required, expected="true or false"))
        try:
            found.append((mechanism(str(item.get("expect", ""))), bool(required)))
        except InputError as error:
            problems.add(error)
    problems.raise_if_any()
    return Expectations(tuple(found), float(confidence), dict(content.get("order") or {}))


def check_mechanisms(
    results: xr.DataTree | Any,
    expected: str | Path | Mapping[str, Any] | Expectations | Sequence[str | Mechanism],
    *,
    confidence: float | None = None,
    order: Mapping[str, Sequence[int]] | None = None,
    labels: xr.Dataset | None = None,
) -> CheckReport:
    """Check known mechanisms against the results of a fit.

    Parameters
    ----------
    results : FitResult or DataTree
    expected : sequence of statements, YAML file, mapping or Expectations
        A sequence may mix text with :class:`~pima_physics.validation.mechanisms.Relation`,
        ``Edge``, ``Law`` and ``Value``; all of it is required.
    confidence : float, optional
        Default: that of the file, else 0.95.
    order : mapping, optional
        Node -> its outcomes in ascending order of their meaning.
    labels : Dataset, optional
        Known factors. Each is matched with a node, and statements may then name the factor and
        its levels instead of the node and its outcomes; levels are in ascending order. Of a file
        that holds more (parameters, a graph), only the categories count.

    Returns
    -------
    CheckReport
        ``report.require()`` raises where something did not pass.

    Raises
    ------
    InputError
        A statement that cannot be read or names something that is not there, all at once.

    Examples
    --------
    >>> report = check_mechanisms(
    ...     result, ["curve.youngs_modulus of lattice 0 = 20 +- 1 GPa"]
    ... )  # doctest: +SKIP
    >>> report.require()  # doctest: +SKIP
    """
    if isinstance(expected, Sequence) and not isinstance(expected, str):
        pairs = [(mechanism(e) if isinstance(e, str) else e, True) for e in expected]
        wanted = Expectations(tuple(pairs))
    else:
        wanted = expected if isinstance(expected, Expectations) else read_mechanisms(expected)
    tree = results if isinstance(results, xr.DataTree) else results.to_datatree()
    factors = {} if labels is None else match_factors(tree, labels)
    findings = Findings(tree, factors, {**wanted.order, **(order or {})})
    checks, problems = [], Problems()
    for one, required in wanted.mechanisms:
        try:
            check = one.check(findings, confidence or wanted.confidence)
            checks.append(replace(check, required=required))
        except InputError as error:
            problems.add(error)
    problems.raise_if_any()
    return CheckReport(tuple(checks))


def match_factors(tree: xr.DataTree, labels: xr.Dataset) -> dict[str, Factor]:
    """Match known factors with nodes, one to one; factors without a node are left out."""
    outcomes = tree["posterior"].to_dataset()["node_outcome"].transpose("sample", "node")
    codes = factor_codes(categories(labels), outcomes)
    match = match_nodes(
        np.stack([code for code, _ in codes.values()], axis=1),
        outcomes.values.astype(int),
        factors=list(codes),
        nodes=[str(n) for n in outcomes["node"].values],
    )
    found = {}
    for name, node, mapping in zip(match.factors, match.nodes, match.outcome_maps, strict=True):
        if node:
            ranked = [int(o) for o in np.argsort(mapping, kind="stable") if mapping[o] >= 0]
            names = tuple(codes[name][1][mapping[o]] for o in ranked)
            found[name] = Factor(node, tuple(ranked), names)
    return found


def _known_keys(content: Mapping[str, Any], keys: Sequence[str], problems: Problems) -> None:
    for key in content:
        if key not in keys:
            near = closest(str(key), keys)
            fix = f"did you mean '{near}'?" if near else None
            problems.add(ConfigError(f"unknown key '{key}'", expected=", ".join(keys), fix=fix))
