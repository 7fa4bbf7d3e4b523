"""Handwritten digits paired with a noisy line whose slope follows the digit."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pima_physics.datasets.assembly import category, graph_array, run_law, sample_numbers, variable
from pima_physics.datasets.sampling import check_options, drop_modalities
from pima_physics.errors import DataError
from pima_physics.parameters import Parameter
from pima_physics.simulator import Golden, Simulator
from pima_physics.truth import Truth

LINE_NOISE = 0.2
AVAILABLE = 1797


class SteadyMotion(Simulator):
    r"""Motion at constant speed.

    .. math:: y(t) = b + m\,t

    | symbol | name      | unit |
    |--------|-----------|------|
    | t      | time      | s    |
    | y      | line      | mm   |
    | b      | intercept | mm   |
    | m      | slope     | mm/s |

    Source: definition; `pima_physics.simulators.Linear` with units.
    """

    coordinates, outputs = {"time": "s"}, {"line": "mm"}
    slope = Parameter("mm/s", value=0.0, description="speed")
    intercept = Parameter("mm", value=0.0, description="position at t = 0")
    golden = Golden(
        {"slope": -2.0, "intercept": 1.0},
        {"time": [0.0, 0.5, 3.0]},
        {"line": [1.0, 0.0, -5.0]},
        source="by hand",
    )

    def evaluate(self, x, p):
        """Return the line, see `Simulator.evaluate`."""
        return {"line": p.intercept + p.slope * x.time}


def digits_line(
    samples: int = AVAILABLE,
    *,
    seed: int = 0,
    separation: float = 2.5,
    points: int = 32,
    missing: float = 0.0,
) -> tuple[xr.Dataset, Truth]:
    r"""Real 8x8 handwritten digits (scikit-learn's), each with a line of its own slope.

    .. math:: y(t) = b + m t + 0.2\,\text{mm}\;\epsilon, \qquad
        m = \Big(d - 4.5 + \tfrac{1}{s} \epsilon_m\Big)\,\text{mm/s}, \quad
        b = 0.5\,\text{mm}\;\epsilon_b, \quad t = 0 .. 1\,\text{s}

    with digit d and ``separation`` s: slopes of neighbouring digits are s sigma apart, so that at
    2.5 the slope alone names about four digits of five, and the image confuses other pairs than the
    line does. The images are drawn without replacement and shuffled by ``seed``.

    Parameters
    ----------
    samples : int
        At most 1797, the number of images.
    missing : float
        Fraction of samples that lack one whole modality (NaN), never both.

    Returns
    -------
    dataset : xr.Dataset
        image (sample, y, x) 0..1 dimensionless; line (sample, time) mm; time s.
    truth : Truth
        label digit (10 outcomes); graph of the one node; parameters slope (mm/s), intercept (mm).

    Raises
    ------
    DataError
        For an option out of range.

    References
    ----------
    Alpaydin and Kaynak 1998, Optical recognition of handwritten digits, doi:10.24432/C50P49;
    the pairing follows Walker et al. 2022, arXiv:2202.03242.
    """
    check_options(samples=samples, separation=separation, points=points, missing=missing)
    if samples > AVAILABLE:
        raise DataError("too many samples", found=samples, expected=f"at most {AVAILABLE} images")
    from sklearn.datasets import load_digits

    generator = np.random.default_rng(seed)
    pixels, written = load_digits(return_X_y=True)
    images = np.asarray(pixels).reshape(AVAILABLE, 8, 8)
    chosen = generator.permutation(AVAILABLE)[:samples]
    digit = np.asarray(written)[chosen].astype(np.int64)
    slope = digit - 4.5 + generator.normal(size=samples) / separation
    intercept = 0.5 * generator.normal(size=samples)
    time = np.linspace(0.0, 1.0, points)
    parameters = {"slope": (slope, "mm/s"), "intercept": (intercept, "mm")}
    line = run_law(
        SteadyMotion(),
        coordinate=("time", time, "s"),
        parameters=parameters,
        output="line",
        unit="mm",
    )
    line = line + LINE_NOISE * generator.normal(size=line.shape)
    seen = drop_modalities({"image": images[chosen] / 16.0, "line": line}, missing, generator)
    dataset = _dataset(seen["image"], seen["line"], time)
    return dataset, _truth(digit, parameters, chosen)


def _dataset(image: np.ndarray, line: np.ndarray, time: np.ndarray) -> xr.Dataset:
    pixels = np.arange(image.shape[1])
    return xr.Dataset(
        {
            "image": variable(
                ("sample", "y", "x"), image, "dimensionless", "handwritten digit, ink 0..1"
            ),
            "line": variable(("sample", "time"), line, "mm", "position of a steady mover"),
        },
        coords={
            "sample": sample_numbers(len(image)),
            "y": variable("y", pixels, "dimensionless", "pixel row"),
            "x": variable("x", pixels, "dimensionless", "pixel column"),
            "time": variable("time", time, "s", "time"),
        },
        attrs={
            "title": "Handwritten digits (real) with lines (generated)",
            "source": "scikit-learn load_digits: UCI optical recognition of handwritten digits",
            "licence": "CC BY 4.0 (UCI)",
            "Conventions": "CF-1.8",
        },
    )


def _truth(
    digit: np.ndarray, parameters: dict[str, tuple[np.ndarray, str]], chosen: np.ndarray
) -> Truth:
    sample = {"sample": sample_numbers(len(digit))}
    names = [str(number) for number in range(10)]
    return Truth(
        labels=xr.Dataset({"digit": category(digit, names, "digit written")}, coords=sample),
        graph=graph_array(np.zeros((1, 1)), ("digit",)),
        parameters=xr.Dataset(
            {
                name: variable("sample", values, unit, f"{name} of the line")
                for name, (values, unit) in parameters.items()
            },
            coords=sample,
        ),
        nuisance=xr.Dataset(
            {"source_row": variable("sample", chosen, "dimensionless", "row in load_digits")},
            coords=sample,
        ),
    )
