"""Draw result.png from a run of the demo: ``python make_result.py demo/run demo/data.nc``."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import xarray as xr

from pima_physics.plots import plot_graph
from pima_physics.plots_style import colour

HERE = Path(__file__).parent


def main(run: str, data: str) -> None:
    """Graph, then for each node two samples of each outcome and the mean curves, ± one std."""
    tree, images = xr.open_datatree(Path(run) / "results.nc"), xr.open_dataset(data)["image"]
    posterior, curves = tree["posterior"], tree["features/curve"]
    nodes = [str(name) for name in posterior["node"].values]
    figure = plt.figure(figsize=(9.6, 4.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 2.3])
    plot_graph(tree, left.subplots())
    axes = right.subplots(len(nodes), 5, width_ratios=[1, 1, 1, 1, 2.2])
    for row, node in zip(axes, nodes, strict=True):
        certain = posterior["node_probability"].sel(node=node)
        for outcome in (0, 1):
            best = certain.isel(outcome=outcome).argsort().values[::-1]
            for place, sample in zip(
                row[2 * outcome : 2 * outcome + 2], best[[5, 50]], strict=True
            ):
                place.imshow(images.isel(sample=sample), cmap="gray", vmin=0, vmax=1)
                place.set(xticks=[], yticks=[])
                place.set_title(f"{node} = {outcome}", fontsize=7, color=colour(outcome))
            mean, std = (curves[k].sel(node=node, outcome=outcome) for k in ("mean", "std"))
            row[4].plot(mean["strain"], mean, color=colour(outcome), lw=1.5)
            row[4].fill_between(
                mean["strain"], mean - std, mean + std, color=colour(outcome), alpha=0.2, lw=0
            )
        row[4].tick_params(labelsize=6)
        row[4].set_ylabel("stress / MPa", fontsize=7)
    axes[-1][4].set_xlabel("strain", fontsize=7)
    figure.savefig(HERE / "result.png", dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
