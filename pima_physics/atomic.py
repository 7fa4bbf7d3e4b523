"""Write a file whole or not at all.

A file is written under a hidden name beside its target, flushed to disk and then renamed over it.
The rename is atomic on one file system, so a process that dies leaves the old file or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from pima_physics.errors import PimaError

PART = ".pima-part-"
"""Start of the name of a file that is still being written."""


def part_name(suffix: str = "") -> str:
    """Return a fresh name for something that is still being written."""
    return f"{PART}{os.getpid()}-{secrets.token_hex(4)}{suffix}"


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a path to write to; move the result to ``target`` when the block ends well.

    The path has the suffix of ``target`` (writers choose a format by it). Where the block fails,
    ``target`` is as it was.

    Raises
    ------
    PimaError
        Where the disk is full, read-only or not permitted.
    """
    part = target.parent / part_name(target.suffix)
    try:
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield part
            flush(part)
            os.replace(part, target)
            flush(target.parent)
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            with contextlib.suppress(NotADirectoryError):  # a file is where a folder should be
                part.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Replace ``target`` by a file that holds ``text`` (UTF-8)."""
    with atomic_path(target) as part:
        part.write_text(text, encoding="utf-8")


def flush(path: Path) -> None:
    """Force a file or folder to disk, so that a power cut can't reorder write and rename."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except (PermissionError, IsADirectoryError):  # folders on Windows
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn what the system says about a disk into a message with a remedy."""
    remedies = {
        errno.ENOSPC: "free some space, or choose another disk with --output",
        errno.EDQUOT: "free some of your quota, or choose another disk with --output",
        errno.EROFS: "choose a folder that can be written with --output",
        errno.EACCES: "choose a folder that you may write with --output",
        errno.EPERM: "choose a folder that you may write with --output",
        errno.ENAMETOOLONG: "choose a shorter name",
        errno.ENOTDIR: "a file is where a folder should be: choose another name with --output",
        errno.EEXIST: "a file is where a folder should be: choose another name with --output",
    }
    try:
        yield
    except OSError as error:
        if error.errno not in remedies:
            raise
        raise PimaError(
            f"{target} could not be written: {error.strerror}\n"
            f"  fix:      {remedies[error.errno]}; what was there before is unchanged"
        ) from error
