"""Imports go one way, units stay in one file, and nothing runs code found in data."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from support.source import FOLDERS, REPOSITORY, imports, module_name, shipped_files, unsafe_calls

import pima_physics

# The level of every file of the core. A file imports lower numbers only, never its equals:
# the whole part is the level of DESIGN section 5, a decimal orders files within one level. A file
# named after another (plots_graph.py beside plots.py) or in a subfolder belongs to its family.
LEVELS: dict[str, float] = {
    "_typing": 0,
    "distributed": 1,
    "errors": 0,
    "atomic": 1,
    "gaussian": 1,
    "gumbel": 1,
    "knowledge": 1,
    "latent": 1.5,
    "masks": 1,
    "matching": 1,
    "normal": 1.5,
    "timelimit": 1,
    "truth": 1,
    "verdicts": 1,
    "units": 1,
    "bayesnet": 1.5,
    "collapse": 1,
    "cpdags": 1.5,
    "parameters": 1.5,
    "declarations": 1.6,
    "engines": 1.7,
    "law": 1.8,
    "ode": 1.9,
    "dataset": 2,
    "likelihoods": 2,
    "runfolder": 2,
    "simulator": 2,
    "emulator": 2.2,
    "importing": 2.5,
    "check": 3,
    "modality": 3,
    "dag": 4,
    "encoders": 4,
    "fusion": 4,
    "decoders": 4.5,
    "decoders_law": 4.2,
    "mixture": 4.5,
    "model": 5,
    "causal": 6,
    "factorial": 6,
    "factorial_mixture": 6.36,
    "factorial_choice": 6.48,
    "factorial_evidence": 6.47,
    "modes": 6,
    "refine": 6,
    "structure": 6,
    "calibrate": 6.1,
    "pursuit": 6.2,
    "elbo": 6.3,
    "representations": 6.3,
    "representations_shared": 6.25,
    "inference": 6.4,
    "views": 6.32,
    "nodesets": 6.35,
    "evidence": 6.4,
    "labelled": 6.46,
    "cell_pursuit": 6.4,
    "search": 6.42,
    "search_beside": 6.43,
    "prototypes": 6.3,
    "sharing": 6.42,
    "single": 6.45,
    "discovery": 6.5,
    "proposal": 6.6,
    "plots": 6.8,
    "posterior_checks": 6.85,
    "readers": 6.5,
    "report": 6.9,
    "results": 7,
    "checkpoint": 8,
    "trainer": 8,
    "schedule": 8.2,
    "stream": 8.1,
    "replicas": 8.25,
    "training": 8.3,
    "config": 8.5,
    "cli": 9,
}
TOP = "pima_physics"
OUTER = ("simulators", "datasets", "validation")
MAX_LINES = 300


def core_unit(target: str) -> str | None:
    """Name in `LEVELS` that a dotted target belongs to; None outside the core."""
    parts = target.split(".")
    if parts[0] != TOP or len(parts) == 1 or parts[1] in OUTER:
        return None
    name = parts[1]
    if name in pima_physics._HOME and not (FOLDERS[TOP] / f"{name}.py").exists():
        name = pima_physics._HOME[name].split(".")[1]  # from pima_physics import Parameter
    if name.startswith("__"):
        return None
    stems = name.split("_")
    families = ["_".join(stems[:size]) for size in range(len(stems), 0, -1)]
    return next((family for family in families if family in LEVELS), name)


def outer_package(target: str) -> str | None:
    """``simulators``, ``datasets`` or ``validation`` when the target lies in one of them."""
    parts = target.split(".")
    return parts[1] if parts[0] == TOP and len(parts) > 1 and parts[1] in OUTER else None


def allowed(module: str, target: str) -> str | None:
    """Reason why `module` must not import `target`; None when it may."""
    home, away = outer_package(module), outer_package(target)
    if target.split(".")[0] in OUTER:
        return f"import it as {TOP}.{target}"
    if home is None and away is not None:
        return f"the core never imports {away}/"
    if away is not None and home != "validation" and away not in {home, "simulators"}:
        return f"{home}/ must not import {away}/"
    if home == "simulators" and away not in {None, "simulators"}:
        return "simulators/ imports only the core's levels 0 to 2"
    unit = core_unit(target)
    if unit is None:
        return None
    if unit not in LEVELS:
        return f"{unit} has no level: add it to LEVELS in tests/test_architecture.py"
    if home == "validation":
        return "validation/ must not import the command line" if unit == "cli" else None
    if home is not None:
        return None if LEVELS[unit] < 3 else f"{home}/ may import levels 0 to 2 of the core only"
    own = core_unit(module)
    if own is None or own == unit:  # __init__ re-exports; files of one family know each other
        return None
    if own not in LEVELS:
        return f"{own} has no level: add it to LEVELS in tests/test_architecture.py"
    if LEVELS[unit] < LEVELS[own]:
        return None
    return f"level {LEVELS[own]} ({own}) must not import level {LEVELS[unit]} ({unit})"


def violations(path: Path) -> list[str]:
    """Every forbidden import of a file, with its line."""
    module, package = module_name(path), path.name == "__init__.py"
    if module == TOP:
        return []  # the re-exports
    found = []
    for line, target in imports(path.read_text("utf-8"), module, package=package):
        reason = allowed(module, target)
        if reason:
            found.append(f"{path.relative_to(REPOSITORY)}:{line}: {target}: {reason}")
    return found


@pytest.mark.parametrize("path", shipped_files(), ids=module_name)
def test_imports_go_one_way(path: Path) -> None:
    assert not violations(path)


def test_no_import_is_circular() -> None:
    names = {module_name(path): path for path in shipped_files()}
    graph = {}
    for module, path in names.items():
        source = path.read_text("utf-8")
        targets = {t for _, t in imports(source, module, package=path.name == "__init__.py")}
        graph[module] = {t if t in names else t.rpartition(".")[0] for t in targets} & set(names)
        graph[module] -= {module, TOP}
    del graph[TOP]  # the re-exports
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError naming the circle


def test_every_core_file_has_a_level() -> None:
    on_disk = {core_unit(module_name(path)) for path in FOLDERS[TOP].rglob("*.py")} - {None}
    missing = sorted(name for name in on_disk if name and name not in LEVELS)
    assert not missing, f"add to LEVELS in tests/test_architecture.py: {missing}"


@pytest.mark.parametrize("path", shipped_files(), ids=module_name)
def test_only_units_knows_pint(path: Path) -> None:
    libraries = {"pint", "pint_xarray", "cf_xarray"}
    source = path.read_text("utf-8")
    users = {target.split(".")[0] for _, target in imports(source, module_name(path))} & libraries
    assert not users or module_name(path) == "pima_physics.units"


@pytest.mark.parametrize("path", shipped_files(), ids=module_name)
def test_nothing_runs_code_found_in_data(path: Path) -> None:
    found = list(unsafe_calls(path.read_text("utf-8")))
    assert not found, "\n".join(f"{path}:{line}: {what}" for line, what in found)


@pytest.mark.parametrize("path", shipped_files(), ids=module_name)
def test_files_stay_short(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= MAX_LINES, f"{path} has {lines} lines: split it (at most {MAX_LINES})"


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("pima_physics.units", "pima_physics.dataset.prepare"),
        ("pima_physics.gaussian", "pima_physics.units.convert"),
        ("pima_physics.errors", "pima_physics.PIMA"),
        ("pima_physics.model", "pima_physics.simulators.voce"),
        ("pima_physics.training", "pima_physics.validation"),
        ("pima_physics.plots_graph", "pima_physics.config_yaml"),
        ("pima_physics.elbo", "pima_physics.not_in_the_table"),
        ("pima_physics.simulators.voce", "pima_physics.modality.Physics"),
        ("pima_physics.simulators.voce", "pima_physics.datasets.circles"),
        ("pima_physics.datasets.circle", "pima_physics.training.fit"),
        ("pima_physics.datasets.circle", "pima_physics.validation.metrics"),
        ("pima_physics.validation.metrics", "pima_physics.cli.main"),
        ("pima_physics.validation.metrics", "simulators.voce"),
    ],
)
def test_forbidden_imports_are_refused(module: str, target: str) -> None:
    assert allowed(module, target)


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("pima_physics.model", "pima_physics.dag.DAG"),
        ("pima_physics.model", "torch.nn"),
        ("pima_physics.engines.rodas", "pima_physics.engines.steps"),
        ("pima_physics.plots_graph", "pima_physics.plots_tree"),
        ("pima_physics.simulators.voce", "pima_physics.Simulator"),
        ("pima_physics.datasets.circle", "pima_physics.simulators.DampedOscillator"),
        ("pima_physics.validation.metrics", "pima_physics.training.fit"),
    ],
)
def test_right_imports_are_admitted(module: str, target: str) -> None:
    assert allowed(module, target) is None


def test_imports_inside_functions_and_relative_ones_are_seen() -> None:
    source = "def f():\n    from ..units import convert\n    import pint.errors\n"
    found = list(imports(source, "pima_physics.engines.rodas"))
    assert found == [(2, "pima_physics.units.convert"), (3, "pint.errors")]


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from joblib import load",
        "from yaml import load",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "eval('1')",
        "exec('x = 1')",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_unsafe_code_is_found(source: str) -> None:
    assert list(unsafe_calls(source))


def test_safe_code_is_not_flagged() -> None:
    source = "model.eval()\nyaml.safe_load(t)\ntorch.load(p, weights_only=True)\nnp.load(p)\n"
    assert not list(unsafe_calls(source))
