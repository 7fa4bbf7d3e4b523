"""The run folder: where its files lie, one writer at a time, new results only when complete."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pima_physics.atomic import PART, disk_errors, flush, part_name
from pima_physics.errors import InputError

SUMS = "SHA256SUMS"
"""File of checksums, as ``sha256sum`` writes it."""


class FolderInUseError(InputError):
    """Another process writes into the run folder."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    Parameters
    ----------
    path : Path
        The folder. Nothing is created before :meth:`locked`.
    """

    path: Path

    @property
    def experiment(self) -> Path:
        """The experiment as it was run: every default filled in, versions, seed."""
        return self.path / "experiment.yaml"

    @property
    def model(self) -> Path:
        """The trained weights."""
        return self.path / "model.safetensors"

    @property
    def checkpoint(self) -> Path:
        """Folder of what ``--resume`` needs."""
        return self.path / "checkpoint"

    @property
    def results(self) -> Path:
        """Everything a scientist reads, with units."""
        return self.path / "results.nc"

    @property
    def sums(self) -> Path:
        """Checksums of model, results and history."""
        return self.path / SUMS

    @property
    def history(self) -> Path:
        """Terms of the evidence bound by epoch."""
        return self.path / "history.csv"

    @property
    def report(self) -> Path:
        """One self-contained page."""
        return self.path / "report.html"

    @property
    def log(self) -> Path:
        """What happened, warnings and tracebacks included."""
        return self.path / "log.txt"

    @property
    def proposal(self) -> Path:
        """Nodes proposed by ``nodes: auto``, and what they depend on."""
        return self.path / "proposal.json"

    @property
    def validation(self) -> Path:
        """Comparison with known factors."""
        return self.path / "validation.json"

    @property
    def finished(self) -> bool:
        """Whether the folder holds the results of a complete run."""
        return self.results.is_file()

    def check_usable(self) -> None:
        """Raise where the folder could not be written; create nothing.

        Raises
        ------
        InputError
            Where a file is in the way or the nearest existing folder is not writable.
        """
        place = self.path.absolute()
        for folder in (place, *place.parents):
            if not os.path.lexists(folder):
                continue
            if not folder.is_dir():
                raise InputError(
                    f"the run folder {self.path} cannot be made",
                    found=f"a file at {folder}",
                    expected="a folder, or a free name",
                    fix="choose another folder with --output",
                )
            if not os.access(folder, os.W_OK | os.X_OK):
                raise InputError(
                    f"the run folder {self.path} cannot be written",
                    found=f"no permission to write in {folder}",
                    fix="choose another folder with --output",
                )
            return

    @contextlib.contextmanager
    def locked(self) -> Iterator[RunFolder]:
        """Create the folder and keep other writers out until the block ends.

        The lock belongs to the process: the system frees it even after ``kill -9``.

        Raises
        ------
        FolderInUseError
            Where another process holds it.
        """
        self.check_usable()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the run folder {self.path} cannot be made",
                found=error.strerror,
                fix="choose another folder with --output",
            ) from None
        with _lock(self.path / ".lock", self.path):
            self._remove_leftovers()
            yield self

    @contextlib.contextmanager
    def staged(self) -> Iterator[RunFolder]:
        """Collect new files in a hidden folder; move them into place together when all are there.

        Where the block fails, the folder keeps what it had.
        """
        stage = RunFolder(self.path / part_name())
        with disk_errors(self.path):
            stage.path.mkdir(parents=True)
        try:
            yield stage
            with disk_errors(self.path):
                self.validation.unlink(missing_ok=True)  # it is of the results that are replaced
                _move_into(stage.path, self.path)
        finally:
            shutil.rmtree(stage.path, ignore_errors=True)

    def _remove_leftovers(self) -> None:
        """Remove half-written files of a process that died (called with the lock held)."""
        for left in self.path.glob(f"{PART}*"):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _move_into(stage: Path, folder: Path) -> None:
    """Flush every staged file first, then rename: the moment of change is as short as it can be."""
    last = ("results.nc", SUMS)  # old checksums go first, new ones come when all they say is true
    entries = sorted(stage.iterdir(), key=lambda p: (p.name in last, p.name == SUMS, p.name))
    for file in stage.rglob("*"):
        if file.is_file():
            flush(file)
    (folder / SUMS).unlink(missing_ok=True)
    for entry in entries:
        goal = folder / entry.name
        if entry.is_dir() and goal.is_dir():
            _move_into(entry, goal)
        else:
            os.replace(entry, goal)
    flush(folder)


@contextlib.contextmanager
def _lock(path: Path, folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file at ``path``, which says who holds it."""
    try:
        import fcntl
    except ImportError:  # Windows has no flock: go on without
        yield
        return
    try:
        handle = _acquire(path, folder, fcntl)
    except OSError as error:
        raise InputError(
            f"the run folder {folder} cannot be written",
            found=error.strerror,
            fix="choose another folder with --output",
        ) from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # still locked: nobody else can have it open as the holder
        os.close(handle)


def _acquire(path: Path, folder: Path, fcntl: object) -> int:
    flock, flags = fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB  # type: ignore[attr-defined]
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            flock(handle, flags)
        except BlockingIOError:
            holder = os.read(handle, 200).decode("utf-8", "replace").strip()
            os.close(handle)
            raise FolderInUseError(
                f"another fit is writing into {folder}",
                found=holder or "a lock held by another process",
                expected="one fit at a time in one folder",
                fix="wait for it, or choose another folder with --output",
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
                os.close(handle)
                raise
            # Some network disks have no locks; the fit goes on without one.
        try:
            same = os.stat(path).st_ino == os.fstat(handle).st_ino
        except FileNotFoundError:
            same = False
        if same:  # else the former holder removed the file between our open and our lock
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
            return handle
        os.close(handle)
