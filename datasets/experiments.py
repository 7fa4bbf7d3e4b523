"""Suggested experiment files for the generated sets."""

from __future__ import annotations

from typing import Any

from pima_physics.errors import DataError, closest


def experiment(name: str) -> dict[str, Any]:
    """Return the content of an experiment file that fits a generated set.

    The paths are relative to the file: write the data beside it with ``write(name, NAME.nc)``.

    Parameters
    ----------
    name : {"circles", "lattices", "digits_line"}

    Raises
    ------
    DataError
        For a set without a suggestion.
    """
    suggestions = {"circles": _circles, "lattices": _lattices, "digits_line": _digits_line}
    if name not in suggestions:
        near = closest(name, suggestions)
        raise DataError(
            f"no experiment is suggested for data set '{name}'",
            expected=f"one of {', '.join(suggestions)}",
            fix=f"did you mean '{near}'?" if near else None,
        )
    return suggestions[name]()


def _experiment(
    name: str, modalities: dict[str, Any], *, dim: int, nodes: dict[str, int]
) -> dict[str, Any]:
    return {
        "data": f"{name}.nc",
        "sample_dim": "sample",
        "modalities": modalities,
        "latent": {"dim": dim},
        "nodes": nodes,
        "training": {"seed": 0, "device": "auto"},
        "split": {"validation": 0.1, "test": 0.1},
    }


def _image() -> dict[str, Any]:
    return {"variable": "image", "decoder": {"neural": "mlp"}}


def _circles() -> dict[str, Any]:
    signal = {
        "variable": "signal",
        "units": "mm",
        "decoder": {
            "physics": "damped_oscillator",
            "per": "sample",
            "parameters": {
                "frequency": {"bounds": [0.2, 6.0], "value": 1.0, "units": "Hz"},
                "damping_ratio": {"bounds": [0.005, 0.95], "value": 0.1, "units": "dimensionless"},
                "amplitude": {"bounds": [0.1, 10.0], "value": 1.0, "units": "mm"},
            },
        },
    }
    return _experiment(
        "circles",
        {"image": _image(), "signal": signal},
        dim=8,
        nodes={"hue": 2, "radius": 2, "shift": 2},
    )


def _lattices() -> dict[str, Any]:
    curve = {
        "variable": "stress",
        "units": "MPa",
        "decoder": {
            "physics": "elastic_plastic",
            "per": "sample",
            "parameters": {
                "youngs_modulus": {"bounds": [2.0, 200.0], "value": 30.0, "units": "GPa"},
                "yield_stress": {"bounds": [20.0, 2000.0], "value": 200.0, "units": "MPa"},
                "hardening_modulus": {"bounds": [100.0, 20000.0], "value": 1500.0, "units": "MPa"},
            },
        },
    }
    return _experiment(
        "lattices",
        {"image": _image(), "curve": curve},
        dim=8,
        nodes={"process": 2, "lattice": 2, "strength": 2},
    )


def _digits_line() -> dict[str, Any]:
    line = {
        "variable": "line",
        "units": "mm",
        "decoder": {
            "physics": "pima_physics.datasets.digits:SteadyMotion",
            "per": "sample",
            "parameters": {
                "slope": {"bounds": [-20.0, 20.0], "value": 0.0, "units": "mm/s"},
                "intercept": {"bounds": [-10.0, 10.0], "value": 0.0, "units": "mm"},
            },
        },
    }
    return _experiment(
        "digits_line", {"image": _image(), "line": line}, dim=10, nodes={"digit": 10}
    )
