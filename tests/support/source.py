"""What a source file imports and calls, read from its syntax tree without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = {
    "pima_physics": REPOSITORY / "pima_physics",
    "pima_physics.simulators": REPOSITORY / "simulators",
    "pima_physics.datasets": REPOSITORY / "datasets",
    "pima_physics.validation": REPOSITORY / "validation",
}
PICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
# Processes of this program hand each other objects; no file is read.
PROCESSES = {"joblib.Parallel", "joblib.delayed"}


def shipped_files() -> list[Path]:
    """Every Python file that the wheel contains."""
    return sorted(path for folder in FOLDERS.values() for path in folder.rglob("*.py"))


def module_name(path: Path) -> str:
    """Dotted name of a shipped file: ``simulators/voce.py`` -> ``pima_physics.simulators.voce``."""
    for package, folder in sorted(FOLDERS.items(), reverse=True):
        if path.is_relative_to(folder):
            parts = path.relative_to(folder).with_suffix("").parts
            return ".".join([package, *(part for part in parts if part != "__init__")])
    raise ValueError(f"{path} lies in none of the shipped folders")


def imports(source: str, module: str, *, package: bool = False) -> Iterator[tuple[int, str]]:
    """Yield ``(line, dotted target)`` of every import, also inside functions.

    ``from a import b`` yields ``a.b``: whether ``b`` is a module or a name is for the caller.
    Relative imports are made absolute from `module`.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                parents = parents[: len(parents) - node.level + package]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def unsafe_calls(source: str) -> Iterator[tuple[int, str]]:
    """Yield ``(line, what)`` of everything that could run code from a file that a user opens."""
    for line, target in imports(source, "module"):
        if target.split(".")[0] in PICKLING and target not in PROCESSES:
            yield line, f"imports {target}"
        if target == "yaml.load":
            yield line, "imports yaml.load (use yaml.safe_load)"
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called in {"eval", "exec", "builtins.eval", "builtins.exec"}:
            yield node.lineno, f"calls {called}"
        elif called == "torch.load" and keywords.get("weights_only") != "True":
            yield node.lineno, "calls torch.load without weights_only=True"
        elif called in {"yaml.load", "yaml.unsafe_load", "yaml.full_load"}:
            yield node.lineno, f"calls {called} (use yaml.safe_load)"
        elif keywords.get("allow_pickle", "False") != "False":
            yield node.lineno, f"calls {called} with allow_pickle"
