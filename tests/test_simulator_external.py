"""Laws computed outside torch: SciPy's LSODA against the closed form; worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support.outside import Brittle, Hooke, LsodaOscillator

from pima_physics.check import check_simulator
from pima_physics.errors import InputError, SolveError
from pima_physics.simulator import Simulator, find

TIMES = torch.linspace(0, 2, 9, dtype=torch.float64)
STRAIN = {"strain": torch.linspace(0, 0.2, 5).double()}


class KnownSlope(Hooke):
    def jacobian(self, x, p):
        return {
            "stress": {"modulus": x.strain, "offset": 1.0},
            "energy": {"modulus": np.square(x.strain) / 2},
        }


class HalfKnown(Hooke):
    def jacobian(self, x, p):
        return {"stress": {"modulus": x.strain}, "energy": {}}


class Rounded(Hooke):
    """A code whose printed result is in thousands."""

    def compute(self, x, p):
        return {name: np.round(values, -3) for name, values in super().compute(x, p).items()}


class Sudden(Hooke):
    """Smooth where the batch has its middle, with a jump elsewhere."""

    def compute(self, x, p):
        jump = 1e3 if p.modulus > 9e4 else 0.0
        return {name: values + jump for name, values in super().compute(x, p).items()}


class Curved(Hooke):
    """Wiggles much faster at large moduli than at those where the step is found."""

    def compute(self, x, p):
        return {
            name: values + 1e4 * np.sin((p.modulus / 3e5) ** 6)
            for name, values in super().compute(x, p).items()
        }


def moduli(*values: float) -> dict[str, torch.Tensor]:
    return {"modulus": torch.tensor(values).double()}


def values_and_gradients(law: Simulator, parameters, coordinates=None):
    """Outputs summed with weights, and the gradient by every parameter."""
    leaves = {k: v.clone().requires_grad_() for k, v in parameters.items()}
    outputs = law.simulate(coordinates or {"time": TIMES}, leaves)
    total = sum((v * torch.linspace(1, 2, v.shape[1]).double()).sum() for v in outputs.values())
    total.backward()
    return outputs, {k: v.grad for k, v in leaves.items()}


def test_lsoda_gives_the_closed_form_and_its_gradients():
    parameters = {
        "amplitude": torch.tensor([1.0, 2.0]).double(),
        "frequency": torch.tensor([0.5, 1.5]).double(),
        "damping_ratio": torch.tensor([0.05, 0.3]).double(),
    }
    mine, slopes = values_and_gradients(LsodaOscillator(), parameters)
    exact, expected = values_and_gradients(find("damped_oscillator"), parameters)
    torch.testing.assert_close(mine["displacement"], exact["displacement"], rtol=0, atol=1e-7)
    for name, slope in expected.items():
        torch.testing.assert_close(slopes[name], slope, rtol=1e-4, atol=1e-5)


def test_lsoda_passes_the_check():
    report = check_simulator(LsodaOscillator())
    assert report.passed, str(report)


@pytest.mark.parametrize("law", [Hooke(), KnownSlope()])
def test_several_outputs_own_grids_and_a_fixed_parameter(law):
    grid = {"strain": torch.tensor([[0.0, 0.1, 0.2], [0.0, 0.01, 0.02]]).double()}
    parameters = moduli(1e4, 2e4)
    outputs, slopes = values_and_gradients(law, parameters, grid)
    strain, weights = grid["strain"], torch.linspace(1, 2, 3).double()
    torch.testing.assert_close(outputs["stress"], parameters["modulus"][:, None] * strain + 2)
    expected = ((strain + strain**2 / 2) * weights).sum(1)
    torch.testing.assert_close(slopes["modulus"], expected, rtol=1e-7, atol=1e-9)


def test_differences_that_cannot_be_trusted_are_refused():
    with pytest.raises(SolveError, match=r"(?s)by 'modulus' are not reliable.*jacobian"):
        values_and_gradients(Rounded(), moduli(3.3e4), STRAIN)


def test_every_sample_has_differences_that_it_can_trust():
    """The step is found at one sample; it would be far too long for the last."""
    values = torch.tensor([1e4, 2e4, 3e4, 9e5]).double()
    _, slopes = values_and_gradients(Curved(), {"modulus": values}, STRAIN)
    weights = torch.linspace(1, 2, 5).double()
    strain = STRAIN["strain"]
    wiggle = 2 * 1e4 * 6 * (values / 3e5) ** 5 / 3e5 * torch.cos((values / 3e5) ** 6)
    expected = ((strain + strain**2 / 2) * weights).sum() + wiggle * weights.sum()
    torch.testing.assert_close(slopes["modulus"], expected, rtol=1e-3, atol=0)
    with pytest.raises(SolveError, match=r"(?s)sample 0.*by 'modulus' are not reliable"):
        values_and_gradients(Sudden(), moduli(9e4, 2e4, 3e4), STRAIN)


def test_derivatives_left_out_are_no_zeros():
    with pytest.raises(InputError, match=r"(?s)leaves out derivatives of 'energy'.*also modulus"):
        values_and_gradients(HalfKnown(), moduli(3.3e4), STRAIN)


def test_single_precision_in_and_out():
    out = Hooke().simulate({"strain": torch.zeros(2)}, {"modulus": torch.tensor([1e4])})
    assert out["stress"].dtype == torch.float32


def test_a_failure_names_the_sample_and_its_values():
    with pytest.raises(SolveError, match=r"(?s)sample 1\n.*no equilibrium.*modulus = 300000 MPa"):
        Brittle().simulate(STRAIN, moduli(1e4, 3e5))


def test_processes_give_the_same_numbers_and_name_the_same_failures():
    alone, shared = LsodaOscillator(), LsodaOscillator()
    shared.workers = 2
    generator = torch.Generator().manual_seed(0)
    parameters = {
        name: law.constrain(torch.randn(9, generator=generator).double())
        for name, law in alone.parameters.items()
    }
    one, two = (values_and_gradients(law, parameters) for law in (alone, shared))
    assert torch.equal(one[0]["displacement"], two[0]["displacement"])
    for name in parameters:
        assert torch.equal(one[1][name], two[1][name])
    brittle = Brittle()
    brittle.workers, vars(brittle)["_workers"] = 2, vars(shared)["_workers"]
    with pytest.raises(SolveError, match=r"(?s)sample 2\n.*ArithmeticError: no equilibrium"):
        brittle.simulate(STRAIN, moduli(1e4, 2e4, 3e5))
    assert brittle.simulate(STRAIN, moduli(1e4, 2e4))["stress"].shape == (2, 5)
    with pytest.raises(SolveError, match=r"(?s)a worker process died.*__main__"):
        brittle.simulate(STRAIN, moduli(1e4, 6e5))


@pytest.mark.slow
def test_a_law_works_again_after_a_process_died_and_after_it_was_closed():
    law = Brittle()
    law.workers = 2
    with pytest.raises(SolveError, match="a worker process died"):
        law.simulate(STRAIN, moduli(1e4, 6e5))
    assert law.simulate(STRAIN, moduli(1e4, 2e4))["stress"].shape == (2, 5)
    law.close()
    wider = law.replace(modulus={"max": 2e6})
    assert wider.simulate(STRAIN, moduli(1e4, 2e4))["stress"].shape == (2, 5)
    law.close()


def test_a_law_that_cannot_be_sent_is_refused():
    class Local(Hooke):
        workers = 2

    with pytest.raises(InputError, match=r"(?s)cannot be sent to worker processes.*workers = 1"):
        Local().simulate(STRAIN, moduli(1e4, 2e4))


SCRIPT = """
import torch
from support.outside import Endless

if __name__ == "__main__":
    law = Endless()
    law.workers = 2
    law.simulate({"strain": torch.zeros(2)}, {"modulus": torch.tensor([1e4, 2e4])})
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_behind(tmp_path: Path, ending: signal.Signals):
    """After Ctrl-C in the terminal, which every process sees, and after a kill."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT, encoding="utf-8")
    paths = {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | paths, start_new_session=True,
    )  # fmt: skip
    assert run.stdout is not None
    workers = [int(run.stdout.readline()) for _ in range(2)]
    if ending is signal.SIGINT:
        os.killpg(run.pid, ending)
    else:
        run.kill()
    _, errors = run.communicate(timeout=60)
    assert run.returncode != 0
    if ending is signal.SIGINT:
        assert errors.count("KeyboardInterrupt") == 1, errors
    waited = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < waited:
        time.sleep(0.1)
    assert not any(map(alive, workers))


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1]
    except OSError:
        return False
    return state.split()[0] != "Z"
