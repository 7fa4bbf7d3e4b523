"""The checks catch wrong laws, each with a message that names the cause; right ones pass."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from pima_physics.check import check_simulator
from pima_physics.parameters import Constant, Parameter
from pima_physics.simulator import ODE, Golden, Simulator


class Spring(ODE):
    """m x'' = -k x - c x': right."""

    time, state = "s", {"x": "m", "v": "m/s"}
    mass = Parameter("kg", value=1.5, min=0.1, max=10.0)
    stiffness = Parameter("N/m", value=4.0, min=0.1, max=50.0)
    damping = Parameter("N*s/m", value=0.4, min=0.0)
    gravity = Constant(9.81, "m/s^2")

    def initial(self, p):
        return {"x": 0.1, "v": 0.0}

    def force(self, y, p):
        return -(p.stiffness * y.x + p.damping * y.v)

    def rhs(self, t, y, p):
        return {"x": y.v, "v": self.force(y, p) / p.mass}


class Released(Spring):
    """The start is a parameter too, so that the spring is right in every unit."""

    release = Parameter("m", value=0.1, min=0.01, max=1.0)

    def initial(self, p):
        return {"x": p.release, "v": 0.0}


class Hooke(Simulator):
    """Stress of an elastic bar: right."""

    coordinates, outputs = {"strain": "dimensionless"}, {"stress": "MPa"}
    modulus = Parameter("MPa", value=70e3, min=1e3, max=1e6, shown_in="GPa")
    prestress = Parameter("MPa", value=5.0, min=0.0, max=100.0)
    golden = Golden(
        {"modulus": 70e3, "prestress": 5.0}, {"strain": [0.0, 0.001, 0.002]},
        {"stress": [5.0, 75.0, 145.0]}, source="by hand",
    )  # fmt: skip

    def evaluate(self, x, p):
        return {"stress": p.modulus * x.strain + p.prestress}


class MissingMass(Released):
    def rhs(self, t, y, p):
        return {"x": y.v, "v": -(p.stiffness * y.x) / p.mass - p.damping * y.v}


class HiddenGravity(Released):
    def rhs(self, t, y, p):
        return {"x": y.v, "v": self.force(y, p) / p.mass - 9.81}


class HiddenLength(Spring):
    """A start of 0.1 metres is written into the code."""


class QuadraticDrag(Released):
    def force(self, y, p):
        return -(p.stiffness * y.x + p.damping * y.v * y.v.abs())


class WrongUnit(Released):
    damping = Parameter("N/m", value=0.4, min=0.0)


class WrongOutputUnit(Hooke):
    outputs = {"stress": "MPa*m"}  # noqa: RUF012


class HiddenGasConstant(Simulator):
    coordinates, outputs = {"temperature": "K"}, {"rate": "1/s"}
    barrier = Parameter("J/mol", value=2e4, min=1e3, max=1e5)
    prefactor = Parameter("1/s", value=1e6, min=1.0, max=1e9)

    def evaluate(self, x, p):
        return {"rate": p.prefactor * torch.exp(-p.barrier / (8.314 * (300 + x.temperature)))}


class BatchMean(Hooke):
    def evaluate(self, x, p):
        return {"stress": p.modulus * x.strain + p.prestress.mean()}


class BatchCumulative(Hooke):
    def evaluate(self, x, p):
        return {"stress": p.modulus * x.strain + p.prestress.cumsum(0)}


class FirstSampleOnly(Hooke):
    def evaluate(self, x, p):
        return {"stress": p.modulus[0] * x.strain + p.prestress}


class InPlace(Hooke):
    def evaluate(self, x, p):
        x.strain.mul_(2.0)
        return {"stress": p.modulus * x.strain + p.prestress}


class Random(Hooke):
    def evaluate(self, x, p):
        stress = p.modulus * x.strain + p.prestress
        return {"stress": stress + 0.1 * torch.randn_like(stress)}


class Detached(Hooke):
    def evaluate(self, x, p):
        return {"stress": p.modulus.detach() * x.strain + p.prestress}


class ThroughNumpy(Hooke):
    def evaluate(self, x, p):
        modulus = torch.as_tensor(np.asarray(p.modulus.detach()))
        return {"stress": modulus * x.strain + p.prestress}


class WrongGradient(Hooke):
    def evaluate(self, x, p):
        modulus = 2 * p.modulus - p.modulus.detach()  # the value is right, the slope is double
        return {"stress": modulus * x.strain + p.prestress}


class InfiniteGradient(Hooke):
    def evaluate(self, x, p):
        root = torch.sqrt((p.prestress - p.prestress) ** 2)
        return {"stress": p.modulus * x.strain + p.prestress + root}


class SinglePrecisionDetour(Hooke):
    def evaluate(self, x, p):
        return {"stress": p.modulus * x.strain + p.prestress.float()}


class SinglePrecisionConstant(Hooke):
    def evaluate(self, x, p):
        return {"stress": p.modulus * x.strain + p.prestress * torch.tensor([[1.1]])}


class DoublePrecisionInside(Hooke):
    def evaluate(self, x, p):
        one = torch.ones(1, 1, dtype=torch.float64)
        return {"stress": p.modulus * x.strain * one + p.prestress}


class OnTheProcessor(Hooke):
    def evaluate(self, x, p):
        ramp = torch.arange(x.strain.shape[1], dtype=x.strain.dtype)
        return {"stress": p.modulus * (x.strain + 0 * ramp) + p.prestress}


class SignError(Hooke):
    def evaluate(self, x, p):
        return {"stress": -(p.modulus * x.strain + p.prestress)}


class PrefixError(Hooke):
    def evaluate(self, x, p):
        return {"stress": 1e-3 * (p.modulus * x.strain + p.prestress)}


class OneWrongSign(Hooke):
    def evaluate(self, x, p):
        return {"stress": p.modulus * x.strain - p.prestress}


class BlowUp(ODE):
    time, state = "s", {"n": "dimensionless"}
    rate = Parameter("1/s", value=2.0, min=0.1, max=10.0)

    def initial(self, p):
        return {"n": 1.0}

    def rhs(self, t, y, p):
        return {"n": p.rate * y.n**2}


class InfiniteInTheCorner(Hooke):
    def evaluate(self, x, p):
        return {"stress": p.modulus * x.strain + torch.log(p.prestress - 1e-3)}


class OverflowAtTheBound(Hooke):
    def evaluate(self, x, p):
        grown = p.prestress * torch.exp(p.modulus / 1e3)
        return {"stress": p.modulus * x.strain + 0 * grown + p.prestress}


class WrongOutputName(Hooke):
    def evaluate(self, x, p):
        return {"stres": p.modulus * x.strain + p.prestress}


class WrongShape(Hooke):
    def evaluate(self, x, p):
        return {"stress": (p.modulus * x.strain)[:, :2]}


class UnknownParameter(Hooke):
    def evaluate(self, x, p):
        return {"stress": p.modulos * x.strain + p.prestress}


class UnknownUnit(Hooke):
    outputs = {"stress": "megapascals_of_stress"}  # noqa: RUF012


@dataclass(frozen=True)
class Wrong:
    """A wrong law, the check that catches it, and what its message must say."""

    law: type[Simulator]
    check: str
    message: str


WRONG = (
    Wrong(MissingMass, "units", r"\[mass\].*no fixed power"),
    Wrong(HiddenGravity, "units", r"\[(length|time)\].*hidden in the code"),
    Wrong(HiddenLength, "units", r"output 'x' is declared as \[length\]\^1 and computed as .*\^0"),
    Wrong(QuadraticDrag, "units", r"\[length\].*terms of different units"),
    Wrong(WrongUnit, "units", r"\[time\].*enters through: .*damping"),
    Wrong(WrongOutputUnit, "units", r"declared as \[length\]\^0 and computed as \[length\]\^-1"),
    Wrong(HiddenGasConstant, "units", r"\[temperature\]"),
    Wrong(BatchMean, "batching", "over the first axis"),
    Wrong(BatchCumulative, "batching", "sample 1 changes"),
    Wrong(FirstSampleOnly, "batching", "over the first axis"),
    Wrong(InPlace, "batching", r"writes into its arguments \(strain\)"),
    Wrong(Random, "batching", "from run to run"),
    Wrong(Detached, "gradients", r"d stress / d modulus: autograd gives 0.*detach"),
    Wrong(ThroughNumpy, "gradients", r"d stress / d modulus: autograd gives 0.*numpy"),
    Wrong(WrongGradient, "gradients", r"d stress / d modulus: autograd gives [\d.e+]+, differ"),
    Wrong(InfiniteGradient, "gradients", r"d stress / d prestress.*not finite"),
    Wrong(SinglePrecisionDetour, "precision", r"change of prestress by 1e-9.*float32"),
    Wrong(SinglePrecisionConstant, "precision", "write plain numbers"),
    Wrong(DoublePrecisionInside, "precision", "is torch.float64 for float32"),
    Wrong(OnTheProcessor, "device", "made on the CPU"),
    Wrong(SignError, "golden point", r"-1 times too large: a sign error"),
    Wrong(PrefixError, "golden point", r"0.001 times too large: a unit prefix"),
    Wrong(OneWrongSign, "golden point", r"is -5, not 5 MPa"),
    Wrong(BlowUp, "declaration", r"step became too small.*rate = 2 1/s"),
    Wrong(InfiniteInTheCorner, "bounds", r"not finite.*prestress = 0.000"),
    Wrong(OverflowAtTheBound, "bounds", r"not finite.*modulus = (999|1000).* GPa"),
    Wrong(WrongOutputName, "declaration", "did you mean 'stress'"),
    Wrong(WrongShape, "declaration", "wrong shape"),
    Wrong(UnknownParameter, "declaration", "did you mean 'modulus'"),
    Wrong(UnknownUnit, "declaration", "megapascals_of_stress"),
)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: w.law.__name__)
def test_wrong_laws_are_caught_with_the_cause(wrong):
    report = check_simulator(wrong.law())
    assert not report.passed
    messages = [f.message.replace("\n", " ") for f in report.failures if f.check == wrong.check]
    assert messages, str(report)
    assert any(re.search(wrong.message, message) for message in messages), str(report)


@pytest.mark.parametrize("law", [Released, Hooke])
def test_right_laws_pass(law):
    report = check_simulator(law)
    assert report.passed, str(report)


def test_only_the_cause_is_reported():
    """Negative control: a wrong sign says nothing about units, gradients or batching."""
    assert {f.check for f in check_simulator(OneWrongSign).failures} == {"golden point"}
    assert {f.check for f in check_simulator(Detached).failures} == {"gradients"}
    assert {f.check for f in check_simulator(WrongUnit).failures} == {"units"}


def test_parameters_that_act_alike_are_a_warning():
    class Alike(Hooke):
        area = Parameter("dimensionless", value=2.0, min=0.1, max=10.0)

        def evaluate(self, x, p):
            return {"stress": p.modulus * p.area * x.strain + p.prestress}

    report = check_simulator(Alike, coordinates={"strain": [0.0, 0.01, 0.02, 0.03]})
    text = " ".join(f.message for f in report.warnings)
    assert "area and modulus (correlation" in text and "vary=False" in text


def test_parameter_without_effect_is_a_warning():
    class Idle(Hooke):
        spare = Parameter("MPa", value=1.0)

    text = " ".join(f.message for f in check_simulator(Idle).warnings)
    assert "no output depends on spare" in text


def test_missing_golden_point_is_a_warning_and_the_grid_is_told():
    report = check_simulator(Released)
    assert any("no golden point" in f.message for f in report.warnings)
    assert "checked on time 0 to 1 s" in report.note


def test_temperature_in_degrees_is_not_checked_and_said_so():
    class Drift(Simulator):
        coordinates, outputs = {"temperature": "degC"}, {"length": "m"}
        slope = Parameter("m/K", value=0.01, min=0.0)

        def evaluate(self, x, p):
            return {"length": p.slope * x.temperature}

    report = check_simulator(Drift)
    assert report.passed and any("offset; declare K" in f.message for f in report.warnings)


def test_report_reads_as_a_table():
    text = str(check_simulator(PrefixError))
    lines = text.splitlines()
    assert lines[0] == "PrefixError: FAILED"
    assert any(line.startswith("  fail    golden point") for line in lines)
    assert any(line.startswith("  pass    units") for line in lines)


def test_checking_leaves_no_trace():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    law = Released()
    check_simulator(law)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_default_dtype() == torch.float32
    assert vars(law) == {}
