"""A fitted model on data that it drew itself: what fails here is the inference, not the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pima_physics.validation.calibration import Reliability, coverage, reliability


@dataclass(frozen=True)
class SelfCalibration:
    """Inference of a fit on data drawn from the fit itself.

    Attributes
    ----------
    nodes : dict of Reliability
        Node -> stated probabilities of its outcomes against the outcomes drawn.
    crossmodal : dict of dict
        Modality -> level -> share of values inside, predicted from all other modalities.
    samples : int
    """

    nodes: dict[str, Reliability]
    crossmodal: dict[str, dict[float, float]]
    samples: int

    def __str__(self) -> str:
        rows = [f"{self.samples} samples drawn from the fitted model"]
        rows += [
            f"  {name}: calibration error {found.calibration_error:.3f}, p = {found.p_value:.3g}"
            for name, found in self.nodes.items()
        ]
        for name, found in self.crossmodal.items():
            shares = ", ".join(f"{level:.0%}: {share:.1%}" for level, share in found.items())
            rows.append(f"  {name} from the others covers {shares}")
        return "\n".join(rows)


def self_calibration(result: Any, *, samples: int = 1000, seed: int = 0) -> SelfCalibration:
    """Let a fitted model infer what it drew itself.

    Parameters
    ----------
    result : FitResult
    samples : int
    seed : int
    """
    drawn = result.sample(samples, seed=seed)
    dim, names = result.sample_dim, list(result.network.names)
    true = drawn["node_outcome"].transpose(dim, "node").values
    data = drawn.drop_vars("node_outcome")
    posterior = result.predict(data, given=names, seed=seed)["posterior"].to_dataset()
    given = posterior["node_probability"].transpose("sample", "node", "outcome")
    nodes = {
        str(node): reliability(np.nan_to_num(given.values[:, k]), true[:, k])
        for k, node in enumerate(given["node"].values)
    }
    crossmodal = {}
    for target in names if len(names) > 1 else ():
        others = [name for name in names if name != target]
        other = result.predict(data, given=others, seed=seed)
        observed = _drawn_values(drawn, result.network.infos[target])
        parts = (other[f"reconstruction/{target}"][n].values for n in ("mean", "std"))
        crossmodal[target] = coverage(observed, *parts)
    return SelfCalibration(nodes, crossmodal, samples)


def _drawn_values(drawn: Any, info: Any) -> np.ndarray:
    """Values of a modality in the order of its reconstruction."""
    if info.stacked and info.dims:
        return np.stack([drawn[v].values for v in info.variables], axis=1)
    return np.asarray(drawn[info.variables[0]].values)
