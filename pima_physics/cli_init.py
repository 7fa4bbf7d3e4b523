"""The command ``init``: look at a data file and write a commented experiment file for it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from pima_physics.atomic import write_text
from pima_physics.cli_common import say
from pima_physics.cli_inspect import Guess, Inspection, inspect_dataset
from pima_physics.config_yaml import parse_mapping
from pima_physics.dataset import open_dataset
from pima_physics.errors import ConfigError, DataError


def run_init(source: Path | None, output: Path | None) -> Path:
    """Write an experiment file for a data file (or a template without one); return its path.

    Raises
    ------
    InputError
        Where the data cannot be read, nothing in them can be a modality, or the file exists.
    """
    stem = "experiment" if source is None else (source.stem or "experiment")
    target = output if output is not None else Path(f"{stem}.yaml")
    if target.exists() or target.is_symlink():
        raise ConfigError(
            f"{target} exists",
            expected="a new file",
            fix=f"--output {target.with_name(f'{target.stem}_new.yaml')}",
        )
    if source is not None:
        _refuse_other_formats(source)
    if source is None:
        write_text(target, TEMPLATE)
        say("a template: put the name of your data file and its variables in")
        return target
    with open_dataset(source) as dataset:
        text = experiment_text(_data_path(source, target), inspect_dataset(dataset))
    parse_mapping(text, str(target))  # never write what we could not read again
    write_text(target, text)
    return target


IMPORTERS = {
    ".csv": "from_csv", ".tsv": "from_csv", ".txt": "from_csv", ".mat": "from_mat",
    ".png": "from_images", ".tif": "from_images", ".jpg": "from_images",
}  # fmt: skip
"""What reads a file of another format, by its suffix."""


def _refuse_other_formats(source: Path) -> None:
    """Name the function that makes a Dataset of what is there.

    HDF5 files are not among them: one in the form of NetCDF-4 can be read as it is.
    """
    suffixes = [source.suffix.lower()]
    if source.is_dir():
        suffixes = [p.suffix.lower() for p in sorted(source.iterdir())[:100]]
    function = next((IMPORTERS[suffix] for suffix in suffixes if suffix in IMPORTERS), None)
    if function is None or not source.exists() or (source / "zarr.json").exists():
        return
    if source.is_dir() and function == "from_csv":
        function = "from_csv_folder"
    raise DataError(
        f"{source} is not in a format that can be fitted",
        expected="a NetCDF file or Zarr store with units",
        fix=f"make one in Python: pima_physics.importing.{function}('{source}', ...)"
        ".to_netcdf('data.nc')",
    )


def experiment_text(data: str, seen: Inspection) -> str:
    """Return the commented experiment file for what was seen in the data."""
    lines = [
        f"# Experiment for pima-physics: {seen.samples} samples in {comment(data)}.",
        "# Check it with: pima-physics check THIS_FILE    then: pima-physics fit THIS_FILE",
        f"data: {plain(data)}",
        f"sample_dim: {plain(seen.sample_dim)}",
        "",
        "modalities:  # what was measured; remove what the model should not explain",
    ]
    for guess in seen.modalities:
        lines += _modality_lines(guess)
    if seen.skipped:
        lines += ["", "# Left out (add them as modalities if they are measurements):"]
        lines += [f"#   {comment(name)}: {comment(why)}" for name, why in seen.skipped.items()]
    lines += [
        "",
        f"latent: {{dim: {seen.latent_dim}}}",
        "",
        "# Nodes: the discrete features to find, with their numbers of outcomes. Names are yours.",
        f"nodes: {{{', '.join(f'feature_{i + 1}: 2' for i in range(seen.nodes))}}}",
        "",
        "# What you know about their graph (all optional):",
        "# graph: {tiers: [[feature_1], [feature_2]], forbidden: [], required: [], roots: []}",
    ]
    lines += _factor_lines(data, seen)
    lines += [
        "",
        "training: {epochs: 200, batch_size: 128, learning_rate: 3e-3, seed: 0, device: auto}",
        SPLIT,
    ]
    return "\n".join(lines) + "\n"


def _modality_lines(guess: Guess) -> list[str]:
    variables = [plain(name) for name in guess.variables]
    variable = variables[0] if len(variables) == 1 else f"[{', '.join(variables)}]"
    missing = f"; {guess.missing:.1%} missing" if guess.missing else ""
    lines = [
        f"  {plain(guess.name)}:  # {comment(guess.shape)}{missing}",
        f"    variable: {variable}",
        f"    units: {plain(guess.units)}"
        + ("" if guess.has_units else "   # the file gives no unit: please correct this one"),
    ]
    for dim, grid in guess.coordinates.items():
        lines.append(f"    coordinates: {{{plain(dim)}: {plain(grid)}}}   # its own grid")
    if guess.likelihood != "normal":
        lines.append(f"    likelihood: {guess.likelihood}   # the values are 0 and 1")
    lines.append("    decoder: {neural: auto}")
    if guess.laws:
        lines.append(
            f"    # or a physical law that fits its unit: {comment(', '.join(guess.laws))}"
        )
        lines.append(f"    # decoder: {{physics: {comment(guess.laws[0])}, per: sample}}")
    return lines


def _factor_lines(data: str, seen: Inspection) -> list[str]:
    if not seen.factors:
        return []
    names = ",".join(comment(name) for name in seen.factors)
    return [
        "",
        "# The file holds known factors; the fit does not see them. Compare afterwards:",
        f"#   pima-physics validate RUN --labels {comment(data)}:{names}",
    ]


def _data_path(source: Path, target: Path) -> str:
    """Return the data's path as seen from the experiment file."""
    path = source.absolute()
    if "$" in str(path):
        return str(path)
    try:
        relative = os.path.relpath(path, target.absolute().parent)
    except ValueError:  # another drive on Windows
        return str(path)
    return str(path) if relative.count("..") > 3 else relative


def plain(text: str) -> str:
    """Return text as a YAML scalar: bare where that is safe, else in double quotes."""
    bare = re.fullmatch(r"[A-Za-z_][\w./ -]*[\w]|[A-Za-z_]", text)
    if bare and text.lower() not in ("null", "true", "false"):
        return text
    return json.dumps(text)


def comment(text: str) -> str:
    """Return text that stays inside one comment line, whatever a file put into it."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


SPLIT = """\
split: {validation: 0.1, test: 0.1}
# Samples of one run, specimen or subject are alike: keep them together, groups: VARIABLE."""

TEMPLATE = """\
# Experiment for pima-physics. Better: pima-physics init --from DATA.nc writes one for your data.
data: DATA.nc               # NetCDF or Zarr; every variable with the attribute units
sample_dim: sample

modalities:                 # what was measured
  curve:
    variable: stress        # dims (sample, ...); NaN = not observed
    units: MPa              # optional: the unit to work in; the data are converted
    decoder: {neural: auto}
    # a physical law instead (pima-physics simulators lists them):
    # decoder:
    #   physics: voce
    #   per: sample         # or component
    #   parameters: {youngs_modulus: {bounds: [10, 100], units: GPa}}
  image:
    variable: image
    decoder: {neural: conv}

latent: {dim: 4}
nodes: {feature_1: 2, feature_2: 2}        # the discrete features to find: name and outcomes

# graph: {tiers: [[feature_1], [feature_2]], forbidden: [], required: [], roots: []}
# labels: {feature_1: VARIABLE}            # (partly) known outcomes; NaN or -1 = unknown
# interventions: {target: VARIABLE}        # the node that was intervened on, for each sample
#                                          # value: VARIABLE; kind: perfect | stochastic | soft

training: {epochs: 200, batch_size: 128, learning_rate: 3e-3, seed: 0, device: auto, restarts: 1}
"""
TEMPLATE += f"{SPLIT}\n"
