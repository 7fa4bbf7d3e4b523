"""Whatever a file contains, the result is sound tensors or one clear error."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from pima_physics.dataset import Request, prepare
from pima_physics.errors import InputError

KINDS = st.sampled_from(["f4", "f8", "i2", "u1", "?", "c8", "U3", "O", "M8[ns]", "m8[ns]"])
UNITS = st.sampled_from([None, "", "MPa", "degC", "a.u.", "dB", "1", 7, "counts", "MPaa", "K s"])
NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e30, np.nan, np.inf, 255.0, 1e300])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    kind=KINDS,
    unit=UNITS,
    asked=st.sampled_from([None, "GPa", "K", "dimensionless"]),
    numbers=st.lists(NUMBERS, min_size=24, max_size=24),
    shape=st.sampled_from([(6,), (6, 4), (4, 6), (6, 2, 2), (6, 0)]),
    likelihood=st.sampled_from(["normal", "poisson", "bernoulli"]),
)
def test_any_content_gives_sound_tensors_or_a_clear_error(
    kind: str, unit: object, asked: str | None, numbers: list, shape: tuple, likelihood: str
) -> None:
    flat = np.array(numbers)[: int(np.prod(shape))]
    if kind[0] not in "fc":
        flat = np.nan_to_num(flat, nan=-1.0, posinf=0.0).clip(0 if kind == "u1" else -9, 200)
        flat = flat.astype("i8")
    with np.errstate(over="ignore"):
        array = flat.astype(kind).reshape(shape)
    dims = ("x", "sample") if shape == (4, 6) else ("sample", "x", "y")[: len(shape)]
    dataset = xr.Dataset({"v": (dims, array, {} if unit is None else {"units": unit})})
    try:
        data = prepare(dataset, [Request("m", ("v",), asked, likelihood)])
    except InputError as error:
        assert "'m'" in str(error) or "'v'" in str(error)
        return
    modality = data.modalities["m"]
    assert torch.isfinite(modality.values).all()
    assert (modality.values[~modality.mask] == 0).all()
    assert modality.present.all()
    back = modality.info.destandardise(modality.values)
    assert torch.isfinite(back).all()
