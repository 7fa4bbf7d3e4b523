"""Sections on data, provenance and citation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pima_physics import plots_tree as view
from pima_physics.report_blocks import Block, Details, Paragraph, Preformatted, Section, Table
from pima_physics.report_format import counted, duration, moment, percent, short

KNOWN = {
    "data_file": "Data file",
    "data_checksum": "Checksum of the data",
    "seed": "Random seed",
    "created": "Made",
    "package_version": "Software version",
    "torch_version": "PyTorch",
    "device": "Device",
    "dtype": "Number type",
    "wall_time_seconds": "Wall time",
    "git_commit": "Source commit",
}
HIDDEN = {"title", "warnings"}
LONGEST = 20_000


def data_section(tree: xr.DataTree, experiment: Mapping[str, Any] | None) -> Section:
    """What was measured, where it came from and how the run can be repeated."""
    blocks: list[Block] = [*_modality_table(tree)]
    rows = [
        [title, _attribute(name, tree.attrs[name])]
        for name, title in KNOWN.items()
        if name in tree.attrs
    ]
    rows += [
        [short(view.readable(name)), _attribute(str(name), value)]
        for name, value in tree.attrs.items()
        if name not in KNOWN and name not in HIDDEN
    ]
    if rows:
        blocks.append(Table("Where this run comes from", ["What", "Value"], rows))
    else:
        blocks.append(Paragraph("This run stored nothing about where it comes from."))
    if experiment is not None:
        text = json.dumps(experiment, indent=2, ensure_ascii=False, default=str)
        cut = "" if len(text) <= LONGEST else "\n… (cut: see experiment.yaml)"
        blocks.append(
            Details(
                "The experiment as it was run",
                [Preformatted(text[:LONGEST] + cut, "Experiment settings")],
            )
        )
    return Section("data", "Data and provenance", blocks)


def _attribute(name: str, value: object) -> str:
    if name == "wall_time_seconds" and isinstance(value, (int, float, np.number)):
        return duration(float(value))
    text = view.as_text(value)
    return short(moment(text) if name == "created" else text, 200)


def _modality_table(tree: xr.DataTree) -> list[Block]:
    rows = []
    for modality in view.modalities(tree):
        array = view.variable(tree, f"reconstruction/{modality}", "observed")
        if array is None:
            continue
        shape = [f"{view.readable(d)} {n}" for d, n in array.sizes.items() if d != "sample"]
        present = array.notnull()
        rest = [d for d in array.dims if d != "sample"]
        whole = float((present.any(rest) if rest else present).mean())
        rows.append(
            [
                short(view.readable(modality)),
                " × ".join(shape) or "one number per sample",
                short(view.unit_of(array), 24) or "dimensionless",
                counted(array.sizes["sample"], "sample"),
                percent(whole),
                percent(1 - float(present.mean())),
            ]
        )
    columns = ["Modality", "Shape", "Unit", "Stored", "Samples observed", "Values missing"]
    return [Table("The measurements", columns, rows)] if rows else []


def citation_section(tree: xr.DataTree) -> Section:
    """How to cite the software and the method."""
    version = short(view.as_text(tree.attrs.get("package_version", "unknown version")), 40)
    made = short(moment(view.as_text(tree.attrs.get("created", ""))), 40)
    checksum = short(view.as_text(tree.attrs.get("data_checksum", "")), 90)
    software = (
        f"pima_physics {version}, report"
        + (f" of {made}" if made else "")
        + (f", data {checksum}" if checksum else "")
        + "."
    )
    method = (
        "Method: N. Trask, C. Martinez, K. Lee, B. Boyce, Unsupervised physics-informed "
        "disentanglement of multimodal data for high-throughput scientific discovery, "
        "arXiv:2202.03242 (2022); and Causal disentanglement of multimodal data (causalPIMA), "
        "arXiv:2310.18471 (2023)."
    )
    lead = "Give the version and the checksum of the data, so that others can repeat the run."
    return Section(
        "cite",
        "How to cite",
        [Paragraph(lead), Preformatted(f"{software}\n\n{method}", "Citation")],
    )
