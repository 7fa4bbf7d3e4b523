"""Prediction of a modality that the model was not given, judged on test samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import xarray as xr

from pima_physics.dataset import Data, ModalityData, Split
from pima_physics.inference import Predictive, predict
from pima_physics.model import Network
from pima_physics.results_fields import (
    DRAWS_HIDDEN,
    MOST_IN_TOTAL,
    Array,
    Explained,
    field_group,
    in_units,
    numbers,
    observed_in_units,
    predict_chunk,
)
from pima_physics.results_widening import can_widen, judged

MOST_TEST_SAMPLES = 2000


def crossmodal(
    network: Network, data: Data, parts: Split, *, draws: int = DRAWS_HIDDEN
) -> tuple[dict[tuple[str, str], float], dict[str, xr.Dataset]]:
    """Predict modalities that the model was not given, on test samples.

    Returns
    -------
    dict
        (target, source) -> R2 where the target is predicted from one source alone.
    dict
        Target -> its prediction from all other modalities.
    """
    if len(network.names) < 2 or not len(parts.test):
        return {}, {}
    test = data.take(parts.test[:MOST_TEST_SAMPLES])
    single, groups = {}, {}
    for source in network.names:
        found = _predict_all(network, test, [source], draws)
        shown = test.modalities[source].present.cpu().numpy()
        for target in network.names:
            if target != source:
                single[target, source] = _explained(test.modalities[target], found[target], shown)
                if len(network.names) == 2:
                    groups[target] = _crossmodal_group(test, target, [source], found[target])
    for target in network.names if len(network.names) > 2 else ():
        others = [name for name in network.names if name != target]
        found = _predict_all(network, test, others, draws)
        groups[target] = _crossmodal_group(test, target, others, found[target])
    kept = {target: group for target, group in groups.items() if group.sizes["sample"]}
    known = data.take(parts.validation)
    return single, {name: _with_factor(network, known, name, g) for name, g in kept.items()}


def _with_factor(network: Network, validation: Data, name: str, group: xr.Dataset) -> xr.Dataset:
    """Say by which factor std, lower and upper were widened, and how many samples told it."""
    factor, samples = 1.0, 0
    if network.readers is not None and can_widen(network, validation, name):
        factor = float(network.readers.widening[network.names.index(name)])
        samples = len(judged(network, validation, name))
    return group.assign_attrs(interval_factor=factor, interval_factor_samples=samples)


def _predict_all(
    network: Network, data: Data, given: Sequence[str], draws: int
) -> dict[str, Predictive]:
    infos = [m.info for m in data.modalities.values()]
    return predict(network, data, given, draws=draws, chunk=predict_chunk(infos, draws))


def _explained(modality: ModalityData, predicted: Predictive, shown: Array) -> float:
    values = modality.values.double().flatten(1).cpu().numpy()
    mask = modality.mask.flatten(1).cpu().numpy() & shown[:, None]
    sums = Explained()
    sums.add(values, predicted.mean.reshape(values.shape), mask)
    return sums.r2


def _crossmodal_group(
    test: Data, target: str, given: Sequence[str], predicted: Predictive
) -> xr.Dataset:
    """Test samples of which the target and something given was observed."""
    modality = test.modalities[target]
    shown = torch.stack([test.modalities[g].present for g in given]).any(0) & modality.present
    index = torch.nonzero(shown)[:, 0]
    index = index[: max(1, MOST_IN_TOTAL // numbers(modality.info))]
    kept = modality.take(index)
    host = index.cpu().numpy()
    arrays = in_units(modality.info, predicted, host)
    arrays["observed"] = observed_in_units(kept)
    group = field_group(modality.info, arrays, test.sample_labels[host], grid=kept.grid)
    return group.assign_attrs(given=", ".join(given), samples="test")
