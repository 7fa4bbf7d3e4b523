"""The angle of a hidden polariser by the law of Malus, in real measurements.

What a sensor behind two polarisers reads, over what it would read with parallel ones, is the
transmission: Malus's law. What it would read follows from the colour of the light, calibrated in
the run in which nothing was turned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import pima_physics as pima
from pima_physics.datasets import lighttunnel_spur
from pima_physics.simulators import Malus
from pima_physics.truth import Truth
from pima_physics.validation.cases.real_data.study import (
    CASES,
    ROWS,
    STARTS,
    Case,
    Fitted,
    fitted,
    mixture_of,
    ours,
)
from pima_physics.validation.cases.study import Method, Study

SOUGHT = "lighttunnel_spur, polariser angle"
COLOURS = ("red", "green", "blue")
DIALS = (0, 10, 20, 30, 50, 60)
# Of the calibration: its weights follow from its own prediction.
ROUNDS = 3
COLUMNS = {
    "ari": "ARI, all samples",
    "found_ari": "ARI, discovery",
    "accuracy": "accuracy, all samples",
    "supported": "supported",
    **{f"angle_{dial}": f"angle at dial {dial}, degree" for dial in DIALS},
    "error": "largest stated error, degree",
}
ABOUT = (
    f"lighttunnel_spur, {ROWS} rows of the training environments, drawn by the seed; one node of "
    "six outcomes; labels hidden; {epochs} epochs. Modalities: colour, sensors 1 and 2, infrared "
    "of sensor 3, and the transmission of visible light: vis_3 over what the colour gives with "
    "parallel polarisers (linear, by relative least squares in all rows of the run in which "
    "nothing was turned). Law of Malus: amplitude 1, no background, an angle for every component "
    "between 0 and 90 degrees. ARI and accuracy against the dial of the polariser; 'angle at "
    "dial': the angle of the outcome that most samples of the dial have, by the law; with labels "
    "known: from the median transmission at the dial. Zero on the dial is not zero between the "
    "polarisers: least squares with the labels known (I cos^2(dial + offset) + background) put it "
    "ten degrees off, and an LED, which the experiment turned on with the polariser, adds light at "
    "large angles; the fit knows of neither, and its stated errors are of the transmission alone. "
    f"Gaussian mixture: scikit-learn, {STARTS} starts, on the standardised values of the same "
    "modalities; it sees all samples."
)


def study(epochs: int, folder: str | Path | None = None, reports: Path | None = None) -> Study:
    """The law and a network for the transmission, mixtures, and what labels would give.

    Parameters
    ----------
    reports : Path, optional
        Folder that the reports of the fits with the law are written to.

    Raises
    ------
    DataError
        Where the file is not there.
    """
    lighttunnel_spur(folder)
    law, network = _case(_malus), _case(lambda: pima.Neural("transmission"))
    methods: dict[tuple[str, str], Method] = {
        ("", "pima_physics, law of Malus"): partial(_by_law, law, folder, epochs, reports),
        ("", "pima_physics, neural decoders"): partial(ours, network, folder, epochs),
    }
    for kind in ("full", "diag"):
        label = f"Gaussian mixture, {kind} covariance"
        methods["", label] = partial(mixture_of, law, folder, kind)
    methods["", "labels known"] = partial(_with_labels, law, folder)
    return Study(
        name="lighttunnel_spur",
        title="A hidden polariser by the law of Malus",
        about=ABOUT.format(epochs=epochs),
        methods=methods,
        columns=COLUMNS,
    )


def with_transmission(folder: str | Path | None = None) -> tuple[xr.Dataset, Truth]:
    """The measurements with the transmission (sample, angle) in place of vis_3."""
    data, truth = lighttunnel_spur(folder)
    reference = truth.labels["environment"].values == 0
    values = transmission(data, reference)[:, None]
    light = xr.DataArray(
        values,
        dims=("sample", "angle"),
        coords={"angle": ("angle", [0.0], {"units": "degree"})},
        attrs={"units": "dimensionless", "long_name": "visible light that passes the polarisers"},
    )
    return data.drop_vars("vis_3").assign(transmission=light), truth


def transmission(data: xr.Dataset, reference: np.ndarray) -> np.ndarray:
    """``vis_3`` over its linear prediction from the colours in the reference rows, (sample,).

    The sensor's noise is a share of its reading: residuals count relative to the prediction.
    """
    design = np.stack([data[name].values.astype(float) for name in COLOURS], axis=1)
    design = np.concatenate([design, np.ones((len(design), 1))], axis=1)
    reading = data["vis_3"].values.astype(float)
    weight = np.ones(int(reference.sum()))
    gain = np.zeros(design.shape[1])
    for _ in range(ROUNDS):
        own = design[reference] * weight[:, None]
        gain = np.linalg.lstsq(own, reading[reference] * weight, rcond=None)[0]
        weight = 1.0 / np.maximum(design[reference] @ gain, 1.0)
    return reading / np.maximum(design @ gain, 1.0)


def angles(fit: Fitted) -> dict[str, float]:
    """For every dial the angle of its commonest outcome, and the largest standard error."""
    group = fit.result.tree["parameters/transmission"].to_dataset()
    degrees = group["axis_by_component"].values
    dial = _dial(fit.truth)
    commonest = [int(np.bincount(fit.labels[dial == d]).argmax()) for d in DIALS]
    found = {f"angle_{d}": float(degrees[k]) for d, k in zip(DIALS, commonest, strict=True)}
    errors = group["axis_by_component_std"].values[np.unique(commonest)]
    return {**found, "error": float(errors.max())}


def _dial(truth: Truth) -> np.ndarray:
    """Angle on the dial in degrees, (sample,)."""
    label = truth.labels["pol_2"]
    return np.array(label.attrs["flag_meanings"].split(), dtype=int)[label.values]


def _case(transmitted: Any) -> Case:
    def modalities() -> Mapping[str, Any]:
        sensors = {f"sensor_{k}": pima.Neural((f"ir_{k}", f"vis_{k}")) for k in (1, 2)}
        return {
            "colour": pima.Neural(COLOURS),
            **sensors,
            "infrared_3": pima.Neural("ir_3"),
            "transmission": transmitted(),
        }

    return replace(CASES[SOUGHT], load=with_transmission, modalities=modalities, second=())


def _malus() -> pima.Physics:
    law = Malus().replace(
        amplitude={"value": 1.0, "vary": False},
        background={"value": 0.0, "vary": False},
        axis={"bounds": [0.0, 90.0], "value": 30.0, "units": "degree"},
    )
    return pima.Physics(law, variable="transmission", per="component")


def _by_law(
    case: Case, folder: str | Path | None, epochs: int, reports: Path | None, seed: int
) -> Mapping[str, float]:
    fit = fitted(case, folder, epochs, seed)
    if reports is not None:
        reports.mkdir(parents=True, exist_ok=True)
        fit.result.report(str(reports / f"report_seed_{seed}.html"))
    return {**fit.scores, **angles(fit)}


def _with_labels(case: Case, folder: str | Path | None, seed: int) -> Mapping[str, float]:
    data, truth = case.rows(folder, seed)
    dial, passed = _dial(truth), data["transmission"].values[:, 0]
    middle = {d: float(np.median(passed[dial == d])) for d in DIALS}
    return {
        f"angle_{d}": float(np.degrees(np.arccos(np.sqrt(min(m, 1.0))))) for d, m in middle.items()
    }
