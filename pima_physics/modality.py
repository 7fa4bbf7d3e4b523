"""What a user says about one modality: its variable, its likelihood and its decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pima_physics.dataset import Input, Request
from pima_physics.errors import ConfigError, closest
from pima_physics.likelihoods import LIKELIHOODS
from pima_physics.simulator import Simulator

NETWORKS = ("auto", "mlp", "conv")


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(
            f"unknown {what} '{value}'",
            expected=", ".join(choices),
            fix=f"did you mean '{closest(value, choices) or choices[0]}'?",
        )


@dataclass(frozen=True)
class Neural:
    """A modality decoded by a neural network.

    Parameters
    ----------
    variable : str or sequence of str
        Variable of the dataset; several scalar variables are stacked to a vector.
    units : str, optional
        Unit to work and report in; the data are converted. Default: the unit in the file.
    likelihood : {"normal", "student_t", "bernoulli", "poisson"}
    network : {"auto", "mlp", "conv"}
        Kind of encoder and decoder; "auto" chooses by the data's shape.
    hidden : tuple of int
        Widths of the hidden layers of the encoder; the decoder mirrors them.
    coordinates : mapping, optional
        Dimension -> variable that holds an own grid per sample.
    """

    variable: str | tuple[str, ...]
    units: str | None = None
    likelihood: str = "normal"
    network: str = "auto"
    hidden: tuple[int, ...] = (128, 64)
    coordinates: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.variable, str):
            object.__setattr__(self, "variable", tuple(self.variable))
        object.__setattr__(self, "hidden", tuple(int(h) for h in self.hidden))
        _check_choice("likelihood", self.likelihood, tuple(LIKELIHOODS))
        _check_choice("network", self.network, NETWORKS)

    def request(self, name: str) -> Request:
        """What the dataset must supply for this modality."""
        return _request(name, self.variable, self.units, self.likelihood, self.coordinates)


@dataclass(frozen=True)
class Physics:
    """A modality decoded by a physical law with units.

    Parameters
    ----------
    simulator : Simulator
        The law; see :class:`pima_physics.Simulator` and :class:`pima_physics.ODE`.
    observe : str, optional
        Output of the simulator that is observed. Default: its only output.
    variable : str, optional
        Variable of the dataset. Default: the name of the output.
    units : str, optional
        Unit to work and report in. Default: the unit in the file.
    likelihood : {"normal", "student_t"}
    per : {"sample", "component"}
        One set of parameters for every sample (inferred from its latent position), or one for
        every joint outcome of the nodes.
    parameters : mapping, optional
        Name -> changes of a declared parameter: ``bounds``, ``value``, ``vary``, ``units``, ...
        ``{"variable": NAME}``: known of every sample from that variable of the data, such as a dose
        or a length; it is not inferred. ``{"common": True}``: unknown, and the same for all
        samples.
    discrepancy : bool
        Add a small neural correction to the law; its share of the variance is reported.
    hidden : tuple of int
        Widths of the hidden layers of the encoder.
    coordinates : mapping, optional
        Dimension -> variable that holds an own grid per sample.
    known : mapping, optional
        Parameter -> variable of the data that it is known from, as given in ``parameters``.
    common : tuple of str, optional
        Parameters that have one value for all samples, as given in ``parameters``.
    """

    simulator: Simulator
    observe: str | None = None
    variable: str | None = None
    units: str | None = None
    likelihood: str = "normal"
    per: str = "sample"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    discrepancy: bool = False
    hidden: tuple[int, ...] = (128, 64)
    coordinates: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)
    common: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_choice("parameter scope (per)", self.per, ("sample", "component"))
        _check_choice("likelihood", self.likelihood, ("normal", "student_t"))
        if self.per == "component" and self.likelihood != "normal":
            raise ConfigError(
                "parameters per component need the normal likelihood", found=self.likelihood
            )
        outputs: tuple[str, ...] = tuple(self.simulator.outputs)
        if self.observe is None:
            guess = self.variable if self.variable in outputs else None
            if guess is None and len(outputs) > 1:
                raise ConfigError(
                    f"{type(self.simulator).__name__} has several outputs",
                    expected="observe: one of " + ", ".join(outputs),
                )
            object.__setattr__(self, "observe", guess or next(iter(outputs)))
        assert self.observe is not None
        _check_choice("output (observe)", self.observe, outputs)
        if self.variable is None:
            object.__setattr__(self, "variable", self.observe)
        if self.parameters or self.known:
            known, common, changes = _scopes_apart(self.parameters)
            known = {**self.known, **known}
            law = self.simulator.replace(**changes)
            law = law.replace(**{name: {"vary": False} for name in known})
            object.__setattr__(self, "simulator", law)
            object.__setattr__(self, "known", known)
            object.__setattr__(self, "common", (*self.common, *common))
            object.__setattr__(self, "parameters", {})
        self._check_scopes()
        object.__setattr__(self, "hidden", tuple(int(h) for h in self.hidden))

    def _check_scopes(self) -> None:
        """Refuse scopes that contradict each other."""
        object.__setattr__(self, "common", tuple(dict.fromkeys(self.common)))
        for words, names in (
            ("known of every sample", tuple(self.known)),
            ("common to all samples", self.common),
        ):
            if names and self.per == "component":
                raise ConfigError(
                    f"a parameter that is {words} cannot be one of a component",
                    found=", ".join(names),
                    fix="use per: sample",
                )
        free = self.simulator.free
        if fixed := [name for name in self.common if name not in free]:
            raise ConfigError(
                "a parameter that is common to all samples is fixed, and not inferred",
                found=", ".join(fixed),
                fix="remove common, or vary: false",
            )
        if self.common and set(self.common) == set(free):
            raise ConfigError(
                f"every parameter of {self.simulator} is common to all samples",
                found=", ".join(free),
                expected="at least one that differs between samples",
                fix="without one, the law says nothing of a sample",
            )

    def request(self, name: str) -> Request:
        """What the dataset must supply for this modality."""
        assert self.variable is not None
        request = _request(name, self.variable, self.units, self.likelihood, self.coordinates)
        inputs = {}
        for parameter, variable in self.known.items():
            declared = self.simulator.parameters[parameter]
            inputs[parameter] = Input(variable, declared.unit, *declared.bounds)
        return replace(request, inputs=inputs)


def _scopes_apart(
    parameters: Mapping[str, Any],
) -> tuple[dict[str, str], list[str], dict[str, Any]]:
    """Variables that parameters are known from, common ones, and what else is changed of all."""
    known, common, changes = {}, [], dict(parameters)
    for name, change in parameters.items():
        if not isinstance(change, Mapping):
            continue
        rest = {k: v for k, v in change.items() if k not in ("variable", "common")}
        if "variable" in change:
            if {"vary", "value"} & set(rest) or change.get("common"):
                raise ConfigError(
                    f"parameter '{name}' is known from a variable, and is given otherwise, too",
                    found=", ".join(change),
                    fix="keep variable, or the others",
                )
            known[name] = str(change["variable"])
        elif change.get("common"):
            common.append(name)
        changes[name] = rest
    return known, common, changes


Modality = Neural | Physics


def _request(
    name: str,
    variable: str | tuple[str, ...],
    units: str | None,
    likelihood: str,
    coordinates: Mapping[str, str],
) -> Request:
    variables = (variable,) if isinstance(variable, str) else variable
    return Request(name, variables, units, likelihood, coordinates=coordinates)
