"""Tables, images, HDF5 and MAT files become Datasets that an experiment can be fitted to."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from pima_physics import importing
from pima_physics.dataset import Request, open_dataset, prepare
from pima_physics.errors import DataError, InputError

HEADER = "specimen,hardness [GPa],mass (g),plant\n"


def table(folder: Path, text: str, name: str = "t.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_table_keeps_values_units_names_and_gaps(tmp_path: Path) -> None:
    rows = "".join(f"s{i},{i}.5,{'' if i == 2 else 10 * i},P{i % 2}\n" for i in range(10))
    read = importing.from_csv(table(tmp_path, HEADER + rows), sample="specimen")
    assert read["hardness"].attrs["units"] == "GPa"
    assert read["mass"].attrs["units"] == "g"
    assert float(read["hardness"].sel(sample="s3")) == 3.5
    assert bool(np.isnan(read["mass"].sel(sample="s2")))
    assert list(read["plant"].values[:2]) == ["P0", "P1"]
    read.to_netcdf(tmp_path / "t.nc")
    with open_dataset(tmp_path / "t.nc") as again:
        data = prepare(again, [Request("m", ("mass",), "kg"), Request("h", ("hardness",))])
    assert data.modalities["m"].info.unit == "kg"
    assert not data.modalities["m"].present[2]


def test_curves_share_a_grid_or_keep_their_own(tmp_path: Path) -> None:
    head = "id,strain [dimensionless],stress [MPa],temperature [degC]\n"
    same = [(f"s{i}", x, i + x, 20 + i) for i in range(3) for x in (0.2, 0.1, 0.0)]
    text = head + "".join(f"{a},{b},{c},{d}\n" for a, b, c, d in same)
    read = importing.from_csv(table(tmp_path, text), sample="id", along="strain")
    assert read["stress"].dims == ("sample", "strain")
    assert list(read["strain"].values) == [0.0, 0.1, 0.2]
    assert list(read["stress"].values[1]) == [1.0, 1.1, 1.2]
    assert read["temperature"].dims == ("sample",)
    text = head + "".join(f"{a},{b},{c},{d}\n" for a, b, c, d in same[:-1])
    gap = importing.from_csv(table(tmp_path, text), sample="id", along="strain")
    assert gap["stress"].dims == ("sample", "strain") and gap["strain"].equals(read["strain"])
    np.testing.assert_array_equal(gap["stress"].values[2], [np.nan, 2.1, 2.2])
    moved = [(a, b + 0.01 * d, c, d) for a, b, c, d in same[:-1]]
    text = head + "".join(f"{a},{b},{c},{d}\n" for a, b, c, d in moved)
    own = importing.from_csv(table(tmp_path, text), sample="id", along="strain")
    assert own["strain"].dims == own["stress"].dims == ("sample", "point")
    assert "strain" in own["stress"].coords and own["strain"].attrs["units"] == "dimensionless"
    assert np.isnan(own["stress"].values[2, 2]) and own["stress"].values[2, 0] == 2.1


def test_a_curve_of_a_file_may_have_rows_at_one_point(tmp_path: Path) -> None:
    for name in ("a", "b"):
        rows = "0,1\n1,2\n1,3\n2,4\n"
        table(tmp_path, "time [s],force [N]\n" + rows, f"{name}.csv")
    read = importing.from_csv_folder(tmp_path, along="time")
    assert read["force"].dims == read["time"].dims == ("sample", "point")
    assert read["time"].values[1].tolist() == [0.0, 1.0, 1.0, 2.0]
    assert read["force"].values[1].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_folder_of_curves(tmp_path: Path) -> None:
    for name, factor in (("a", 1), ("b", 2)):
        rows = "".join(f"{t};{factor * t},5\n" for t in range(4))
        table(tmp_path, "time [s];force [N]\n" + rows, f"{name}.csv")
    read = importing.from_csv_folder(tmp_path, along="time", separator=";", decimal=",")
    assert list(read["sample"].values) == ["a", "b"]
    assert list(read["force"].sel(sample="b").values) == [0.5, 2.5, 4.5, 6.5]
    table(tmp_path, "time [s];force [kN]\n0;1\n", "c.csv")
    with pytest.raises(DataError, match="another unit"):
        importing.from_csv_folder(tmp_path, along="time", separator=";", decimal=",")


WRONG_TABLES = {
    "no unit": ("a,b\n1,2\n", {}, "'a' has no unit"),
    "unknown unit": ("a [MPaa]\n1\n", {}, "MPaa"),
    "text among numbers": ("a [m]\n1\nx\n2\n", {}, "'x' in line 3"),
    "other separator": ("a [m];b [m]\n1;2\n", {}, "separator=';'"),
    "unit of nothing": ("mass [g]\n1\n", {"units": {"mas": "g"}}, "did you mean 'mass'"),
    "no such column": ("a [m]\n1\n", {"sample": "id"}, "no column 'id'"),
    "names twice": ("id,a [m]\nx,1\nx,2\n", {"sample": "id"}, "along=..."),
    "columns twice": ("a [m],a [s]\n1,2\n", {}, "several columns"),
    "point twice": ("id,t [s],a [m]\nx,1,1\nx,1,2\n", {"sample": "id", "along": "t"}, "two rows"),
    "unnamed sample": ("id,a [m]\nx,1\n,2\n", {"sample": "id"}, "line 3"),
    "no rows": ("a [m]\n", {}, "no rows"),
    "empty": ("", {}, "cannot be read"),
}


@pytest.mark.parametrize("case", WRONG_TABLES)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, case: str) -> None:
    text, options, expected = WRONG_TABLES[case]
    with pytest.raises(InputError) as caught:
        importing.from_csv(table(tmp_path, text), **options)
    assert expected in str(caught.value)


def test_all_offenders_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'a' has no unit") as caught:
        importing.from_csv(table(tmp_path, "a,b,c [MPaa]\n1,2,3\n"))
    assert "'b' has no unit" in str(caught.value) and "MPaa" in str(caught.value)


def test_a_wrong_path_names_the_closest(tmp_path: Path) -> None:
    table(tmp_path, "a [m]\n1\n", "tests.csv")
    with pytest.raises(DataError, match=r"did you mean .*tests\.csv"):
        importing.from_csv(tmp_path / "test.csv")


def pictures(folder: Path, sizes: dict[str, tuple[int, ...]]) -> None:
    from PIL import Image

    for number, (name, size) in enumerate(sizes.items()):
        Image.fromarray(np.full(size, number, "u1")).save(folder / name)


def test_images_become_pixels_by_name(tmp_path: Path) -> None:
    pictures(tmp_path, {"b.png": (5, 4), "a.png": (5, 4), "c.tif": (5, 4)})
    read = importing.from_images(tmp_path)
    assert read["image"].dims == ("sample", "y", "x") and read["image"].shape == (3, 5, 4)
    assert [int(read["image"].sel(sample=s).max()) for s in "abc"] == [1, 0, 2]
    colour = tmp_path / "colour"
    colour.mkdir()
    pictures(colour, {"a.png": (5, 4, 4)})
    assert importing.from_images(colour)["image"].shape == (1, 5, 4, 3)


def test_every_image_that_does_not_fit_is_named(tmp_path: Path) -> None:
    pictures(tmp_path, {"a.png": (5, 4), "b.png": (4, 4), "c.png": (5, 4, 3)})
    (tmp_path / "d.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(DataError) as caught:
        importing.from_images(tmp_path)
    assert all(name in str(caught.value) for name in ("b.png", "c.png", "d.png"))


def test_an_image_that_claims_to_be_huge_is_not_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", 1 << 20, 1 << 20, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99)))
    (tmp_path / "bomb.png").write_bytes(png + chunk(b"IEND", b""))
    with pytest.raises(DataError, match=r"too large|cannot be read as an image"):
        importing.from_images(tmp_path)


@pytest.fixture
def hdf5(tmp_path: Path) -> Path:
    path = tmp_path / "a.h5"
    with netCDF4.Dataset(path, "w") as file:
        group = file.createGroup("tests")
        group.createDimension("n", 9)
        group.createDimension("t", 5)
        stress = group.createVariable("stress", ">f4", ("n", "t"), endian="big")
        stress[:] = np.arange(45).reshape(9, 5)
        stress.units = "MPa"
        group.createVariable("strain", "f8", ("t",))[:] = np.linspace(0, 1, 5)
        group.createVariable("id", str, ("n",))[:] = np.array([f"s{i}" for i in range(9)], object)
    return path


def test_arrays_of_an_hdf5_file(hdf5: Path) -> None:
    read = importing.from_hdf5(
        hdf5,
        {
            "stress": ("tests/stress", ("sample", "strain")),
            "strain": ("tests/strain", ("strain",)),
            "sample": ("tests/id", ("sample",)),
        },
        units={"strain": "dimensionless"},
    )
    assert read["stress"].attrs["units"] == "MPa" and "strain" in read.coords
    assert float(read["stress"].sel(sample="s1")[2]) == 7
    assert prepare(read, [Request("c", ("stress",), "GPa")]).size == 9


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"stress": ("tests/stres", ("sample", "t"))}, "did you mean 'tests/stress'?"),
        ({"stress": ("tests/stress", ("sample",))}, "has 2 dims"),
        ({"stress": ("tests/stress", ("specimen", "t"))}, "no array has the dim 'sample'"),
        ({"strain": ("tests/strain", ("sample",))}, "has no unit"),
    ],
)
def test_what_does_not_fit_in_an_hdf5_file(hdf5: Path, arrays: dict, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        importing.from_hdf5(hdf5, arrays)
    assert expected in str(caught.value)


def test_arrays_of_a_matlab_file(tmp_path: Path) -> None:
    from scipy.io import savemat

    savemat(tmp_path / "a.mat", {"x": np.arange(9.0), "y": np.ones((9, 4))}, do_compression=True)
    arrays = {"x": ("x", ("sample",)), "y": ("y", ("sample", "t"))}
    read = importing.from_mat(tmp_path / "a.mat", arrays, units={"x": "m", "y": "V"})
    assert read["x"].shape == (9,) and read["y"].attrs["units"] == "V"
    (tmp_path / "b.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:150])
    with pytest.raises(DataError, match="cannot be read as a MATLAB file"):
        importing.from_mat(tmp_path / "b.mat", arrays, units={"x": "m"})


def test_parts_are_joined_by_the_names_of_samples(tmp_path: Path) -> None:
    first = xr.Dataset({"a": ("sample", [1.0, 2.0])}, coords={"sample": ["x", "y"]})
    second = xr.Dataset({"b": ("sample", [3.0, 4.0])}, coords={"sample": ["y", "z"]})
    joined = importing.combine(first, second)
    assert list(joined["sample"].values) == ["x", "y", "z"]
    assert np.isnan(joined["a"].sel(sample="z")) and joined["b"].sel(sample="y") == 3
    with pytest.raises(DataError, match="no sample in common"):
        importing.combine(first, second.assign_coords(sample=["u", "v"]))
    with pytest.raises(DataError, match="different values"):
        importing.combine(first, first.assign(a=first["a"] + 1))
    with pytest.raises(DataError, match="need names"):
        importing.combine(first, second.drop_vars("sample"))
