"""Versions of software, for the heading of a table."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


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
