"""Samples per second of training against MultiVae 1.0.3: MVAE as it comes, CMVAE with K = 1.

Same data (28 x 28 x 3 image, 64 points), same encoders and decoders, batch 128, eight numbers
between them (CMVAE: four shared and four of each modality's own). MultiVae's own trainer runs its
epochs, ours the epochs of the free phase with 8 and 64 components; all take turns, and the
fastest of several epochs counts for each, in processor time of the one thread. MVAE's
default also trains each modality alone (our alignment does so without further decoding); it is
timed with that switched off as well.

MultiVae is not installed with this package: ``pip install --no-deps --target FOLDER
multivae==1.0.3 pythae tqdm``, and ``--peer FOLDER``. Its imports of torchvision and nltk, of
which the trainer uses a function for pictures only, are answered by stubs.
"""

# The peer is not installed where types are checked.
# pyright: reportMissingImports=false, reportCallIssue=false, reportReturnType=false

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pima_physics.masks import expand
from pima_physics.model import Network
from pima_physics.trainer import train_epoch
from pima_physics.trainer_loop import Options, start
from pima_physics.training import prepare_fit
from pima_physics.validation.benchmarks.step import BATCH, LATENT, images_and_curves, model
from pima_physics.validation.software import importable

SIZE = 2048
STUBS = {
    "torchvision": ("datasets", "datasets.utils", "transforms", "utils", "models"),
    "nltk": ("tokenize",),
    "wandb": (),
}
GOALS = {"MVAE, default": 1.5, "CMVAE, K = 1": 2.0}
Epoch = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """Samples per second of one method, and how much faster ours is."""

    network: str
    method: str
    rate: float
    ours: float


def available(peer: Path | None) -> bool:
    """Make MultiVae importable; False where there is none."""
    if not importable(peer, "multivae", "pythae"):
        return False
    for name, parts in STUBS.items():
        if name not in sys.modules and find_spec(name) is None:
            _stub(name, *parts)
    return True


class _Stub(types.ModuleType):
    """A module in which every name is found, and nothing works."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _stub(name: str, *parts: str) -> None:
    top = _Stub(name)
    top.__path__ = []
    sys.modules[name] = top
    for part in parts:
        module = _Stub(f"{name}.{part}")
        module.__path__ = []
        sys.modules[f"{name}.{part}"] = module


def networks(network: Network, style: int) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """Our encoders and decoders in the shape that MultiVae asks for."""
    from multivae.models.nn.default_architectures import BaseMultilatentEncoder
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    shared = LATENT - style
    base = BaseMultilatentEncoder if style else BaseEncoder

    class Encoder(base):  # type: ignore[misc, valid-type]
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner, self.latent_dim, self.style_dim = inner, shared, style

        def forward(self, x: Tensor) -> Any:
            seen = expand(torch.ones(len(x), dtype=torch.bool), x.shape)
            parts = self.inner.features(x, seen).split([shared, shared, style, style], 1)
            names = ("embedding", "log_covariance", "style_embedding", "style_log_covariance")
            return ModelOutput(**dict(zip(names[: 4 if style else 2], parts, strict=False)))

    class Decoder(BaseDecoder):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner, self.latent_dim = inner, LATENT

        def forward(self, z: Tensor) -> Any:
            # Outputs keep the leading axes of z, as those of MultiVae's own decoders do.
            out = self.inner(z.reshape(-1, LATENT))
            return ModelOutput(reconstruction=out.reshape(*z.shape[:-1], *out.shape[1:]))

    encoders = dict(zip(network.names, map(Encoder, network.encoders), strict=True))
    return encoders, dict(zip(network.names, map(Decoder, network.decoders), strict=True))


def peers(fresh: Callable[[], Network], data: dict[str, Tensor], folder: Path) -> dict[str, Epoch]:
    """One epoch of every peer."""
    from multivae.data.datasets.base import MultimodalBaseDataset
    from multivae.models import CMVAE, MVAE, CMVAEConfig, MVAEConfig
    from multivae.trainers import BaseTrainer, BaseTrainerConfig

    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("multivae", "pythae")):
            logging.getLogger(name).setLevel(logging.ERROR)
    dims = {name: tuple(x.shape[1:]) for name, x in data.items()}
    common: dict[str, Any] = {"n_modalities": 2, "input_dims": dims}
    made = {
        "MVAE, default": MVAE(MVAEConfig(latent_dim=LATENT, **common), *networks(fresh(), 0)),
        "MVAE, joint bound only": MVAE(
            MVAEConfig(latent_dim=LATENT, use_subsampling=False, **common), *networks(fresh(), 0)
        ),
        "CMVAE, K = 1": CMVAE(
            CMVAEConfig(latent_dim=LATENT // 2, modalities_specific_dim=LATENT // 2, K=1, **common),
            *networks(fresh(), LATENT // 2),
        ),
    }
    epochs = {}
    for name, vae in made.items():
        config = BaseTrainerConfig(
            output_dir=str(folder), per_device_train_batch_size=BATCH, learning_rate=1e-3
        )
        trainer = BaseTrainer(vae, MultimodalBaseDataset(data), training_config=config)
        trainer.callback_handler.callbacks = []
        epochs[name] = lambda trainer=trainer: trainer.train_step(epoch=20)
    return epochs


def compare(network: str, peer_folder: Path, repeats: int) -> list[Row]:
    """Fastest epoch of every method, taken in turns."""
    prepared = prepare_fit(model(network, 8), images_and_curves(2 * SIZE))
    train = prepared.train.take(torch.arange(SIZE))
    epochs: dict[str, Epoch] = {}
    for components in (8, 64):
        made = model(network, components)
        loop = start(made.build(prepared.infos, seed=0), Options(), seed=0, epochs=1)
        targets = torch.softmax(3.0 * torch.randn(SIZE, components), 1)
        epochs[f"ours, K = {components}"] = lambda loop=loop, targets=targets: train_epoch(
            loop, train, phase="free", rate=1e-3, targets=targets, anchor=1.0
        )

    def fresh() -> Network:
        return model(network, 8).build(prepared.infos, seed=0)

    epochs |= peers(fresh, {n: m.values for n, m in train.modalities.items()}, peer_folder)
    best = dict.fromkeys(epochs, float("inf"))
    for turn in range(repeats + 1):
        for name, epoch in epochs.items():
            began = time.process_time()
            epoch()
            if turn:
                best[name] = min(best[name], time.process_time() - began)
    ours = SIZE / best["ours, K = 8"]
    return [Row(network, name, SIZE / s, ours) for name, s in best.items()]


def table(rows: list[Row]) -> str:
    """Markdown table."""
    lines = [
        "| networks | method | samples/s | ours (K = 8) is faster by | goal |",
        "|---|---|---:|---:|---:|",
    ]
    for r in rows:
        goal = f">= {GOALS[r.method]}" if r.method in GOALS else ""
        lines.append(
            f"| {r.network} | {r.method} | {r.rate:.0f} | {r.ours / r.rate:.2f} | {goal} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(prog="multivae", description=__doc__)
    parser.add_argument("--peer", type=Path, default=os.environ.get("PIMA_MULTIVAE"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--networks", nargs="+", default=["mlp", "conv"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not available(options.peer):
        print("MultiVae: not installed (see --help); not compared")
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = [r for n in options.networks for r in compare(n, Path(folder), options.repeats)]
    print(table(rows))


if __name__ == "__main__":
    main()
