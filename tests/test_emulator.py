"""Emulated laws: right where the gate says so, refused elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.outside import Coolant, Hooke, LsodaOscillator
from torch import Tensor

from pima_physics.dataset import Coordinate, ModalityInfo
from pima_physics.decoders_law import Law
from pima_physics.emulator import Emulator, emulate
from pima_physics.errors import InputError, SolveError
from pima_physics.parameters import Parameter
from pima_physics.refine import double, refine
from pima_physics.simulator import ExternalSimulator, Simulator, find

TIME = np.linspace(0.0, 2.0, 24)
BOX = {"frequency": (0.8, 1.2), "damping_ratio": (0.05, 0.2), "amplitude": (0.8, 1.25)}


class WrongSlope(Hooke):
    """Right values; its derivative has the wrong sign."""

    def jacobian(self, x, p):
        return {
            "stress": {"modulus": -x.strain},
            "energy": {"modulus": -np.square(x.strain) / 2},
        }


class Counted(ExternalSimulator):
    """Free fall; counts its runs, and can be changed behind the emulator's back."""

    coordinates, outputs = {"time": "s"}, {"height": "m"}
    gravity = Parameter("m/s^2", value=9.0, min=5.0, max=15.0)
    start = Parameter("m", value=2.0, vary=False)
    runs, half = 0, 0.5

    def compute(self, x, p):
        type(self).runs += 1
        return {"height": p.start - self.half * p.gravity * x.time**2}


@pytest.fixture(scope="module")
def oscillator() -> Emulator:
    return emulate(LsodaOscillator(), {"time": TIME}, box=BOX, samples=96, held_out=16)


def drawn(emulator: Emulator, count: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    u = 1.2 * torch.rand(count, len(BOX), generator=generator).double() - 0.6
    return emulator.plan.parameters(u)


def test_lsoda_is_emulated_with_its_gradients(oscillator: Emulator) -> None:
    """Against the closed form, which neither the code nor its emulator has seen."""
    assert oscillator.gate.passed, str(oscillator.gate)
    grid = {"time": torch.as_tensor(TIME)}
    results = []
    for law in (oscillator, find("damped_oscillator")):
        leaves = {k: v.requires_grad_() for k, v in drawn(oscillator, 40).items()}
        output = law.simulate(grid, leaves)["displacement"]
        weight = torch.linspace(-1.0, 1.0, len(TIME)).double()
        slopes = torch.autograd.grad((output * weight).sum(), list(leaves.values()))
        results.append((output.detach(), torch.stack(slopes)))
    (mine, slopes), (exact, expected) = results
    assert float((mine - exact).abs().max()) < 0.01
    off = (slopes - expected).abs().amax(1) / expected.square().mean(1).sqrt()
    assert float(off.max()) < 0.05


def test_parameters_are_recovered_through_the_emulator(oscillator: Emulator) -> None:
    info = ModalityInfo(
        name="x", variables=("x",), unit="m", dims=("time",), shape=(len(TIME),),
        coordinates={"time": Coordinate("time", "s", TIME)}, shift=np.zeros(1), scale=np.ones(1),
    )  # fmt: skip
    laws = [double(Law(s, "displacement", info)) for s in (oscillator, LsodaOscillator())]
    truth = drawn(oscillator, 4)
    exact = find("damped_oscillator").simulate({"time": torch.as_tensor(TIME)}, truth)
    noise = torch.randn(4, len(TIME), generator=torch.Generator().manual_seed(1)).double()
    target = exact["displacement"] + 0.02 * noise
    fits = []
    for law in laws:
        fits.append(refine(
            law, target, torch.ones_like(target), torch.zeros(4, 3).double(), noise_variance=4e-4,
            prior_mean=torch.zeros(3).double(), prior_precision=torch.zeros(3, 3).double(),
        ))  # fmt: skip
    emulated, outside = fits
    assert bool(emulated.converged.all() and outside.converged.all())
    # Far nearer to each other than the noise lets them be to the truth.
    assert float(((emulated.value - outside.value) / outside.std).abs().max()) < 0.1
    torch.testing.assert_close(emulated.std, outside.std, rtol=0.05, atol=0)
    known = torch.stack([truth[name] for name in laws[0].free], 1)
    assert float(((emulated.value - known) / emulated.std).abs().max()) < 4.0


def test_too_few_runs_are_refused_at_use() -> None:
    poor = emulate(find("damped_oscillator"), {"time": TIME}, box={**BOX, "frequency": (0.5, 3.0)},
                   samples=16)  # fmt: skip
    assert not poor.gate.passed
    assert str(poor.gate).startswith("not passed: errors up to")
    with pytest.raises(InputError, match=r"(?s)did not pass its gate.*at most 0\.01 in values"):
        poor.simulate({"time": torch.as_tensor(TIME)}, drawn(poor, 2))


def test_right_values_with_wrong_gradients_do_not_pass() -> None:
    grid = {"strain": np.linspace(0.0, 0.1, 5)}
    right, wrong = (
        emulate(law, grid, box={"modulus": (5e4, 9e4)}, samples=16)
        for law in (Hooke(), WrongSlope())
    )
    assert right.gate.passed, str(right.gate)
    assert wrong.gate.value_error.max() < 0.01
    assert not wrong.gate.passed


def test_a_kink_is_seen() -> None:
    """The corner at yield moves through the curve: smooth processes cannot follow its slope."""
    kinked = emulate(
        find("elastic_plastic"), {"strain": np.linspace(0.0, 0.02, 24)},
        box={"youngs_modulus": (5e4, 9e4), "yield_stress": (150.0, 400.0),
             "hardening_modulus": (500.0, 2000.0)},
        samples=64,
    )  # fmt: skip
    assert kinked.gate.gradient_error.max() > 0.05
    assert not kinked.gate.passed


def test_it_is_used_for_what_it_was_made_for(oscillator: Emulator) -> None:
    grid = {"time": torch.as_tensor(TIME)}
    inside = drawn(oscillator, 2)
    oscillator.simulate({"time": grid["time"].float()}, {k: v.float() for k, v in inside.items()})
    outside = inside | {"frequency": torch.tensor([1.0, 1.3]).double()}
    with pytest.raises(SolveError, match=r"(?s)outside of its box.*sample:   1 of 2.*1\.3 Hz"):
        oscillator.simulate(grid, outside)
    with pytest.raises(InputError, match=r"(?s)another grid of 'time'.*24 points from 0 to 2"):
        oscillator.simulate({"time": 0.5 * grid["time"]}, inside)
    fall = emulate(Counted(), {"time": TIME}, samples=16)
    with pytest.raises(InputError, match=r"(?s)another value of 'start'"):
        fall.replace(start={"value": 3.0}).simulate(grid, {"gravity": torch.ones(2).double() * 9})
    assert oscillator.parameters["frequency"].bounds == (0.8, 1.2)


def test_a_range_for_every_free_parameter() -> None:
    with pytest.raises(InputError, match=r"(?s)'amplitude' has no range.*box=\{'amplitude'"):
        emulate(find("damped_oscillator"), {"time": TIME})
    with pytest.raises(InputError, match=r"(?s)unknown 'frequncy'.*'frequency'"):
        emulate(find("damped_oscillator"), {"time": TIME}, box={"frequncy": (1.0, 2.0)})


def test_runs_are_kept_until_the_code_changes(tmp_path: Path, monkeypatch) -> None:
    options = {"samples": 16, "held_out": 8, "gradients": 4, "cache": tmp_path / "fall.npz"}
    Counted.runs = 0
    first = emulate(Counted(), {"time": TIME}, **options)
    spent, Counted.runs = Counted.runs, 0
    again = emulate(Counted(), {"time": TIME}, **options)
    assert Counted.runs == 1 < spent
    for a, b in zip(vars(first.processes).values(), vars(again.processes).values(), strict=True):
        assert torch.equal(a, b)
    monkeypatch.setattr(Counted, "half", 0.6)
    Counted.runs = 0
    emulate(Counted(), {"time": TIME}, **options)
    assert Counted.runs > spent
    (tmp_path / "fall.npz").write_bytes(b"PK broken")
    Counted.runs = 0
    emulate(Counted(), {"time": TIME}, **options)
    assert Counted.runs == spent


def test_properties_from_coolprop() -> None:
    """A compiled code from PyPI: glycol and volume from masses at eight temperatures."""
    pytest.importorskip("CoolProp", reason="CoolProp is not installed (extra: test)")
    temperature = np.linspace(280.0, 340.0, 8)
    law: Simulator = emulate(Coolant(), {"temperature": temperature}, samples=64, held_out=16)
    assert law.gate.passed, str(law.gate)  # type: ignore[attr-defined]
    given = {"glycol": torch.tensor([0.22, 0.41]).double(),
             "volume": torch.tensor([0.7, 1.6]).double()}  # fmt: skip
    grid = {"temperature": torch.as_tensor(temperature)}
    mass = Coolant().simulate(grid, given)["mass"]
    torch.testing.assert_close(law.simulate(grid, given)["mass"], mass, rtol=1e-4, atol=0)
