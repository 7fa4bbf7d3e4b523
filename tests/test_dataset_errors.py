"""What is wrong with data is said once, with what was found, expected and a remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from pima_physics.dataset import Data, ModalityInfo, Request, open_dataset, prepare, split
from pima_physics.errors import DataError, InputError

N = 6


def make() -> xr.Dataset:
    """Six curves, a scalar and factors, all in order."""
    values = np.arange(N * 4.0).reshape(N, 4)
    return xr.Dataset(
        {
            "stress": (("sample", "strain"), values**1.5, {"units": "MPa"}),
            "load": ("sample", np.linspace(1.0, 2.0, N) ** 2, {"units": "kN"}),
            "level": ("sample", np.arange(N) % 3),
        },
        coords={"strain": ("strain", np.linspace(0, 0.1, 4), {"units": "dimensionless"})},
    )


def ask(dataset: xr.Dataset, *requests: Request, **options: object) -> Data:
    chosen = requests or (Request("curve", ("stress",)), Request("load", ("load",)))
    return prepare(dataset, chosen, **options)  # type: ignore[arg-type]


def set_values(name: str, values: object) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda d: d.assign({name: (d[name].dims, np.asarray(values), d[name].attrs)})


def set_units(name: str, unit: object) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda d: d.assign({name: d[name].assign_attrs(units=unit)})


infinite = np.linspace(1.0, 2.0, N)
infinite[[2, 4]] = np.inf

BAD: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    "missing variable": (lambda d: d.rename(stress="stres"), "did you mean 'stres'"),
    "no sample dimension": (lambda d: d.rename(sample="test"), "no dimension 'sample'"),
    "variable without it": (lambda d: d.assign(load=d["load"][0]), "'load' has no dimension"),
    "infinite": (set_values("load", infinite), "2 in 2 samples, the first at position 2"),
    "complex": (set_values("load", np.arange(N) * 1j), "real and imaginary"),
    "strings": (set_values("load", list("abcdef")), "does not hold real numbers"),
    "objects": (set_values("load", np.array([None] * N, object)), "does not hold real numbers"),
    "dates": (set_values("load", np.array(["2020-01-01"] * N, "M8[ns]")), "real numbers"),
    "no unit": (lambda d: d.assign(load=d["load"].assign_attrs(units="")), "has no unit"),
    "ambiguous unit": (set_units("load", "a.u."), "write 'dimensionless'"),
    "logarithmic unit": (set_units("load", "dB"), "logarithm"),
    "unknown unit": (set_units("load", "kNn"), "did you mean 'kN'"),
    "never observed": (set_values("load", [np.nan] * N), "no observed value"),
    "coordinate with NaN": (
        lambda d: d.assign_coords(strain=[0.0, np.nan, 1.0, 2.0]),
        "'strain' has values that are not finite",
    ),
    "empty": (lambda d: d.isel(strain=slice(0, 0)), "is empty"),
    "one sample": (lambda d: d.isel(sample=[0]), "too few samples"),
    "no sample": (lambda d: d.isel(sample=[]), "too few samples"),
}


@pytest.mark.parametrize(("change", "reason"), BAD.values(), ids=list(BAD))
def test_bad_data(change: Callable[[xr.Dataset], xr.Dataset], reason: str) -> None:
    ask(make())  # the data are fine without the change
    with pytest.raises(InputError) as caught:
        ask(change(make()))
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Request("m", ("stress",), "kg"), "units 'MPa' in the data"),
        (Request("m", ("stress",), "MPaa"), "(asked for)"),
        (Request("m", ("stress", "load")), "only scalar variables"),
        (Request("m", ("load", "level")), "different quantities"),
        (Request("m", ("load", "load")), "several different ones"),
        (Request("m", ()), "name one variable"),
        (Request("m", ("load",), likelihood="poisson"), "whole numbers"),
        (Request("m", ("level",), likelihood="bernoulli"), "from 0 to 1"),
        (Request("m", ("stress",), coordinates={"strian": "load"}), "dimension 'strian'"),
        (Request("m", ("stress",), coordinates={"strain": "loud"}), "did you mean 'load'"),
        (Request("m", ("stress",), coordinates={"strain": "load"}), "wrong dimensions"),
    ],
)
def test_bad_requests(request_: Request, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        ask(make(), request_)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"labels": {"grade": "level"}}, "did you mean 'grad'"),
        ({"labels": {"grad": "levl"}}, "did you mean 'level'"),
        ({"labels": {"grad": "stress"}}, "wrong dimensions"),
        ({"labels": {"grad": "level"}, "nodes": {"grad": 2}}, "3: 0, 1, 2"),
        ({"interventions": "level"}, "names nodes that do not exist"),
        ({"interventions": "set"}, "there is no variable 'set'"),
        ({"interventions": "load"}, "whole numbers"),
        ({"interventions": "stress"}, "flag every node"),
    ],
)
def test_bad_factors(options: dict, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        ask(make(), **({"nodes": {"grad": 3}} | options))
    assert reason in str(caught.value)


def test_every_problem_is_reported_at_once() -> None:
    dataset = set_units("load", "a.u.")(make())
    with pytest.raises(InputError) as caught:
        ask(
            dataset,
            Request("a", ("nothing",)),
            Request("b", ("load",)),
            Request("c", ("stress",), "kg"),
            labels={"n": "level"},
        )
    text = str(caught.value)
    assert "4 problems" in text
    for part in ("'nothing'", "a.u.", "'kg'", "'n', which is no node"):
        assert part in text


def test_samples_of_which_nothing_was_observed_are_listed_or_dropped() -> None:
    dataset = make()
    for name in ("stress", "load"):
        dataset[name][1:4] = np.nan
    with pytest.raises(DataError, match=r"3 of 6 \(1, 2, 3\)"):
        ask(dataset)
    assert ask(dataset, drop_empty=True).sample_labels.tolist() == [0, 4, 5]


def test_not_a_dataset() -> None:
    with pytest.raises(DataError, match="to_dataset"):
        prepare(make()["stress"], [Request("m", ("stress",))])  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 7])
def test_too_few_samples_to_split(size: int) -> None:
    with pytest.raises(DataError, match=f"{size} sample"):
        split(size)


def test_bad_shares() -> None:
    for shares in ({"validation": -0.1}, {"test": 1.0}, {"validation": 0.5, "test": 0.5}):
        with pytest.raises(DataError):
            split(100, **shares)


class TestPrediction:
    """New data are read with the units, coordinates, shift and scale of the fit."""

    @pytest.fixture
    def infos(self) -> dict[str, ModalityInfo]:
        return {n: m.info for n, m in ask(make()).modalities.items()}

    def test_stored_factors_hold(self, infos: dict[str, ModalityInfo]) -> None:
        new = make().isel(sample=[4])
        new["stress"] = (new["stress"] / 1000).assign_attrs(units="GPa")
        new["strain"] = ("strain", new["strain"].values * 100, {"units": "percent"})
        data = prepare(new.transpose(), infos=infos)
        fitted = ask(make()).take(slice(4, 5))
        torch.testing.assert_close(
            data.modalities["curve"].values, fitted.modalities["curve"].values
        )
        assert data.modalities["curve"].info.unit == "MPa"

    def test_absent_modalities(self, infos: dict[str, ModalityInfo]) -> None:
        new = make().drop_vars("stress")
        with pytest.raises(DataError, match="no variable 'stress'"):
            prepare(new, infos=infos)
        curve = prepare(new, infos=infos, require_all=False).modalities["curve"]
        assert curve.values.shape == (N, 4)
        assert not curve.present.any() and not curve.mask.any()
        new["stress"] = make()["stress"].where(False)
        assert not prepare(new, infos=infos).modalities["curve"].present.any()

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda d: d.isel(strain=slice(3)), "strain 4"),
            (lambda d: d.assign_coords(strain=d["strain"] + 0.1), "differs from that of the fit"),
            (lambda d: d.rename(strain="angle"), "another shape"),
            (set_units("stress", "s"), "cannot be converted"),
            (
                lambda d: d.assign_coords(strain=d["strain"].assign_attrs(units="m")),
                "another unit",
            ),
        ],
    )
    def test_other_shape_or_coordinates(
        self, infos: dict[str, ModalityInfo], change: Callable, reason: str
    ) -> None:
        with pytest.raises(InputError) as caught:
            prepare(change(make()), infos=infos)
        assert reason in str(caught.value)


class TestFiles:
    def test_round_trip_netcdf_and_zarr(self, tmp_path: Path) -> None:
        make().to_netcdf(tmp_path / "a.nc")
        make().to_zarr(tmp_path / "a.zarr", consolidated=False, zarr_format=2)
        expected = ask(make()).modalities["curve"].values
        for name in ("a.nc", "a.zarr"):
            with open_dataset(tmp_path / name) as dataset:
                assert torch.equal(ask(dataset).modalities["curve"].values, expected)

    def test_durations_stay_numbers(self, tmp_path: Path) -> None:
        dataset = make()
        dataset["load"].attrs["units"] = "s"
        dataset.to_netcdf(tmp_path / "a.nc")
        with open_dataset(tmp_path / "a.nc") as stored:
            load = ask(stored).modalities["load"]
            assert load.info.unit == "s"
        # xarray by itself turns them into timedelta64
        with xr.open_dataset(tmp_path / "a.nc", decode_timedelta=True) as decoded:
            again = ask(decoded).modalities["load"]
        torch.testing.assert_close(again.values, load.values)

    def test_missing_file_names_the_nearest(self, tmp_path: Path) -> None:
        make().to_netcdf(tmp_path / "tension.nc")
        with pytest.raises(DataError, match=r"did you mean '.*tension\.nc'"):
            open_dataset(tmp_path / "tensoin.nc")
        with pytest.raises(DataError, match="no folder"):
            open_dataset(tmp_path / "nowhere" / "tension.nc")

    @pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x89HDF", b"CDF\x01rubbish"])
    def test_what_is_no_netcdf(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.nc").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.nc"):
            open_dataset(tmp_path / "a.nc")

    def test_a_folder_that_is_no_store(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no Zarr store"):
            open_dataset(tmp_path)
        (tmp_path / "zarr.json").write_text("{")
        with pytest.raises(DataError, match="cannot be read"):
            open_dataset(tmp_path)

    def test_a_file_without_variables(self, tmp_path: Path) -> None:
        xr.Dataset().to_netcdf(tmp_path / "a.nc")
        with pytest.raises(DataError, match="holds no variables"):
            open_dataset(tmp_path / "a.nc")

    @pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95, 0.99])
    def test_truncated_files(self, tmp_path: Path, share: float) -> None:
        path = tmp_path / "a.nc"
        big = xr.Dataset({"v": (("sample", "x"), np.random.default_rng(0).random((200, 100)))})
        big["v"].attrs["units"] = "m"
        big.to_netcdf(path, encoding={"v": {"zlib": True, "chunksizes": (10, 100)}})
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        with pytest.raises(DataError, match="cannot be read"):
            prepare(open_dataset(path), [Request("v", ("v",))])
