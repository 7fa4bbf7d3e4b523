"""Checksums of a run's files: a changed byte is noticed before a wrong number is read.

``SHA256SUMS`` has the usual form: ``sha256sum -c SHA256SUMS`` in the folder checks the same.
It is removed before the files change and written after the last: a run that dies in between
leaves files without checksums, never ones that do not fit.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from pima_physics.atomic import write_text
from pima_physics.errors import InputError
from pima_physics.runfolder import RunFolder

_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")


def write_sums(run: RunFolder, files: Iterable[Path]) -> None:
    """Write the checksums of files in the folder."""
    lines = [f"{_digest(file)}  {file.name}\n" for file in files]
    write_text(run.sums, "".join(lines))


def verify(run: RunFolder) -> None:
    """Compare the files with their checksums, where there are any (older runs have none).

    Raises
    ------
    InputError
        Every file that was changed since it was written.
    """
    if not run.sums.is_file():
        return
    try:
        text = run.sums.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise _changed(run, run.sums.name) from error
    lines = [_LINE.fullmatch(line) for line in text.splitlines()]
    if not lines or not all(lines):
        raise _changed(run, run.sums.name)
    known = {match[2]: match[1] for match in lines if match}
    files = {name: file for file in (run.model, run.results) if (name := file.name) in known}
    if len(files) < 2:
        raise _changed(run, run.sums.name)
    wrong = [name for name, file in files.items() if _digest(file) != known[name]]
    if wrong:
        raise _changed(run, ", ".join(wrong))


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{file} cannot be read", found=error.strerror) from None


def _changed(run: RunFolder, names: str) -> InputError:
    return InputError(
        f"{run.path}: damaged or changed since the fit: {names}",
        found=f"other bytes than {run.sums.name} says",
        expected="the files as pima-physics fit wrote them",
        fix=f"copy them again, or repeat the fit; if you changed them on purpose, remove "
        f"{run.sums.name}",
    )
