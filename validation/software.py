"""Software that is compared with: versions for the heading of a table, and where it lies."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path


def version_of(package: str) -> str | None:
    """Installed version of a package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions(packages: Iterable[str]) -> str:
    """Versions of Python and of packages, as ``Python 3.11.7, torch 2.13.0``."""
    found = [f"{name} {version_of(name) or 'not installed'}" for name in packages]
    return ", ".join([f"Python {platform.python_version()}", *found])


def importable(folder: str | Path | None, *packages: str) -> bool:
    """Whether packages can be imported, also from a folder that they were installed to."""
    if folder and str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: everything else comes from this environment
    return all(find_spec(name) is not None for name in packages)
