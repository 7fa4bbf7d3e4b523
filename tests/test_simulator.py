"""Declaration, arguments and errors of laws."""

from __future__ import annotations

import math

import pytest
import torch

from pima_physics import parameters as declared
from pima_physics.errors import InputError, SolveError, UnitError
from pima_physics.simulator import ODE, Simulator, find, registered, simulator

Parameter, Constant, Simplex = declared.Parameter, declared.Constant, declared.Simplex


class Hooke(Simulator):
    coordinates, outputs = {"strain": "dimensionless"}, {"stress": "MPa"}
    modulus = Parameter("MPa", value=70e3, min=1e3, max=1e6, shown_in="GPa")
    offset = Parameter("MPa", value=1.5, vary=False)

    def evaluate(self, x, p):
        return {"stress": p.modulus * x.strain + p.offset}


class FallingBody(ODE):
    r"""$m \dot v = m g - c v^2$: quadratic drag."""

    time, state = "s", {"v": "m/s"}
    m = Parameter("kg", value=0.145, vary=False)
    g = Constant(9.81, "m/s^2")
    c = Parameter("kg/m", min=0)

    def initial(self, p):
        return {"v": 0.0}

    def rhs(self, t, y, p):
        return {"v": p.g - p.c / p.m * y.v**2}


def tensor(*values):  # float64 throughout: tolerances below are those of double precision
    return torch.tensor(values, dtype=torch.float64)


def test_parameters_keep_the_order_of_declaration():
    law = Hooke()
    assert list(law.parameters) == ["modulus", "offset"]
    assert law.free == ("modulus",)


def test_simulate_uses_fixed_values_and_broadcasts_a_shared_grid():
    out = Hooke().simulate({"strain": tensor(0, 0.001)}, {"modulus": tensor(1e4, 2e4)})
    torch.testing.assert_close(out["stress"], tensor([1.5, 11.5], [1.5, 21.5]).double())


def test_own_grid_per_sample():
    grid = tensor([0, 0.001], [0, 0.002])
    out = Hooke().simulate({"strain": grid}, {"modulus": tensor(1e4, 1e4)})
    torch.testing.assert_close(out["stress"][:, 1], tensor(11.5, 21.5))


def test_dtype_follows_the_parameters():
    out = Hooke().simulate({"strain": tensor(0, 0.001)}, {"modulus": tensor(1e4).float()})
    assert out["stress"].dtype == torch.float32
    out = Hooke().simulate({"strain": [0.0, 0.001]}, {"modulus": tensor(1e4)})
    assert out["stress"].dtype == torch.float64


def test_replace_gives_a_copy_and_converts():
    law = Hooke()
    new = law.replace(modulus={"bounds": [10, 100], "units": "GPa"})
    assert new.parameters["modulus"].max == pytest.approx(100e3)
    assert law.parameters["modulus"].max == 1e6


def test_replace_in_another_unit_is_refused():
    with pytest.raises(InputError, match="another unit"):
        Hooke().replace(modulus=Parameter("GPa", value=70.0))


def test_every_wrong_name_is_told_at_once():
    with pytest.raises(InputError) as error:
        Hooke().simulate({"strain": tensor(0)}, {"moduls": tensor(1.0), "q": tensor(1.0)})
    text = str(error.value)
    assert "did you mean 'modulus'" in text and "'q'" in text and "missing modulus" in text


def test_different_batch_sizes_are_told():
    with pytest.raises(InputError, match="different numbers of samples"):
        three, two = tensor(1, 2, 3), tensor(1, 2)
        Hooke().simulate({"strain": tensor(0)}, {"modulus": two, "offset": three})


def test_output_of_a_wrong_shape_is_told():
    class Mean(Hooke):
        def evaluate(self, x, p):
            return {"stress": (p.modulus * x.strain).mean(0).sum() * torch.ones(7)}

    with pytest.raises(InputError, match=r"\(samples, points\)"):
        Mean().simulate({"strain": tensor(0, 1)}, {"modulus": tensor(1, 2, 3)})


def test_output_that_is_not_finite_names_the_sample_in_user_units():
    class Root(Hooke):
        def evaluate(self, x, p):
            return {"stress": torch.log(p.modulus - 2e3) + 0 * x.strain}

    with pytest.raises(SolveError, match=r"(?s)sample: +1 of 2.*modulus = 1.5 GPa"):
        Root().simulate({"strain": tensor(0, 1)}, {"modulus": tensor(5e3, 1.5e3)})
    with pytest.raises(SolveError, match=r"(?s)sample: +0 of 3.*modulus = 1.5 GPa"):
        Root().simulate({"strain": tensor(0, 1)}, {"modulus": tensor(1.5e3, 5e3, 5e3)})


def test_reserved_names_are_refused_all_at_once():
    with pytest.raises(InputError, match=r"(?s)'free' cannot.*'simulate' cannot"):

        class Bad(Hooke):
            simulate = Parameter("m")
            free = Parameter("m")


def test_missing_value_names_the_nearest():
    class Typo(Hooke):
        def evaluate(self, x, p):
            return {"stress": p.modulos * x.strain}

    with pytest.raises(AttributeError, match="did you mean 'modulus'"):
        Typo().simulate({"strain": tensor(0, 1)}, {"modulus": tensor(1)})


def test_falling_body_as_in_the_design():
    """v = v_t tanh(g t / v_t) with terminal speed v_t = sqrt(m g / c)."""
    time, drag = torch.linspace(0, 8, 20).double(), tensor(1e-3, 4e-3)
    out = FallingBody().simulate({"time": time}, {"c": drag})
    terminal = (0.145 * 9.81 / drag).sqrt()[:, None]
    exact = terminal * torch.tanh(9.81 * time / terminal)
    torch.testing.assert_close(out["v"], exact, rtol=1e-5, atol=1e-5)


def test_unsorted_and_repeated_times_come_back_in_their_order():
    law, drag = FallingBody(), {"c": tensor(1e-3)}
    out = law.simulate({"time": tensor(3, 0, 1, 1)}, drag)["v"][0]
    ordered = law.simulate({"time": tensor(0, 1, 3)}, drag)["v"][0]
    torch.testing.assert_close(out, ordered[[2, 0, 1, 1]], rtol=1e-6, atol=1e-9)


def test_start_is_before_the_first_time():
    law = FallingBody()
    late = law.simulate({"time": tensor(2.0, 3.0)}, {"c": tensor(1e-3)})["v"]
    whole = law.simulate({"time": tensor(0, 2.0, 3.0)}, {"c": tensor(1e-3)})["v"]
    torch.testing.assert_close(late[0], whole[0, 1:], rtol=1e-6, atol=1e-9)
    with pytest.raises(InputError, match="times before the start"):
        law.simulate({"time": tensor(-1.0, 3.0)}, {"c": tensor(1e-3)})


def test_rhs_with_a_missing_state_is_told():
    class Bad(FallingBody):
        def rhs(self, t, y, p):
            return {"w": y.v}

    with pytest.raises(InputError, match="missing v"):
        Bad().simulate({"time": tensor(0, 1)}, {"c": tensor(1)})


def test_observables_join_the_states():
    class Energy(FallingBody):
        outputs = {"v": "m/s", "energy": "J"}  # noqa: RUF012

        def observables(self, t, y, p):
            return {"energy": p.m * y.v**2 / 2}

    out = Energy().simulate({"time": tensor(0, 1)}, {"c": tensor(1e-3)})
    torch.testing.assert_close(out["energy"], 0.145 * out["v"] ** 2 / 2)


def test_a_law_from_a_function():
    @simulator(
        coordinates={"time": "s"},
        outputs={"charge": "coulomb"},
        parameters={
            "initial": Parameter("coulomb", value=2.0),
            "rate": Parameter("1/s", min=0),
            "k": Constant(2.0, "1"),
        },
    )
    def discharge(x, p):
        return p.k * p.initial * torch.exp(-p.rate * x.time)

    time = tensor(0, 1)
    out = discharge.simulate({"time": time}, {"initial": tensor(3), "rate": tensor(0.5)})
    torch.testing.assert_close(out["charge"], tensor([6, 6 * math.exp(-0.5)]))
    assert discharge.free == ("initial", "rate") and str(discharge) == "discharge"


def test_simplex_fractions_come_with_their_own_axis():
    class Mixture(Simulator):
        coordinates, outputs = {"time": "s"}, {"signal": "1"}
        weights = Simplex(3)

        def evaluate(self, x, p):
            return {"signal": sum(w * torch.exp(-x.time * k) for k, w in enumerate(p.weights))}

    weights = tensor([0.5, 0.3, 0.2], [0.1, 0.1, 0.8])
    out = Mixture().simulate({"time": tensor(0, 1)}, {"weights": weights})["signal"]
    torch.testing.assert_close(out[:, 0], tensor(1, 1))
    decay = torch.exp(-torch.arange(3).double())
    torch.testing.assert_close(out[:, 1], weights @ decay)


def test_simplex_in_an_ode():
    class Split(ODE):
        state = {"a": "1"}  # noqa: RUF012
        weights = Simplex(2)

        def initial(self, p):
            return {"a": p.weights[1]}

        def rhs(self, t, y, p):
            return {"a": -p.weights[0] * y.a}

    out = Split().simulate({"time": tensor(0, 1)}, {"weights": tensor([0.25, 0.75])})["a"]
    assert out[0, 1].item() == pytest.approx(0.75 * math.exp(-0.25), rel=1e-6)


def test_find_by_name_and_by_module():
    assert find("voce").reference == "voce"
    assert type(find("pima_physics.simulators.voce:Voce")) is type(find("voce"))
    assert registered()["voce"] == "pima_physics.simulators.voce:Voce"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("voice", "did you mean 'voce'"),
        ("math:Nothing", "cannot be loaded"),
        ("no_such_package.law:Law", "cannot be loaded"),
        ("math:pi", "is no simulator"),
    ],
)
def test_find_says_why_not(name, message):
    with pytest.raises(InputError, match=message):
        find(name)


def test_incompatible_unit_in_replace():
    with pytest.raises(UnitError):
        Hooke().replace(modulus={"value": 3, "units": "s"})
