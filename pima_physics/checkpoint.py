"""Checkpoints of a fit: what it knows so far, on disk, whole or not at all.

A checkpoint is a folder of parts and an index. A part is one safetensors file that is never
changed; the index (JSON) names the file and the checksum of every part, and is replaced by a
rename. A process that dies at any moment therefore leaves the former checkpoint or the new one.

========  ==========================================================================
part      holds
========  ==========================================================================
fits      laws fitted to single samples (`Calibration`), once per start
looked    a `Discovery` and the latent of each look so far, while another is under way
found     the `Discovery`, once per start
best      the best finished start, where there are several
state     weights, optimiser, generator, position, history: all that changes by step
========  ==========================================================================
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pima_physics.atomic import PART, atomic_path, write_text
from pima_physics.checkpoint_codec import pack, unpack
from pima_physics.checkpoint_stop import Stop
from pima_physics.distributed import anyone, rank
from pima_physics.errors import ConfigError, InputError
from pima_physics.runfolder import RunFolder

log = logging.getLogger("pima_physics.checkpoint")

FORMAT = 2
INDEX = "index.json"
# Epochs and seconds between checkpoints; writing a small model's takes some milliseconds.
EPOCHS, SECONDS = 10, 60.0


class CheckpointFolder:
    """The files of a checkpoint.

    Parameters
    ----------
    path : Path
        Created at the first :meth:`write`.
    fingerprint : mapping of str to str
        What the experiment is, by readable names; another one must not be continued.
    """

    def __init__(self, path: Path, fingerprint: Mapping[str, str]) -> None:
        self.path, self.fingerprint = path, dict(fingerprint)
        self._parts: dict[str, dict[str, str]] = {}

    @property
    def index(self) -> Path:
        """The file that makes the parts a checkpoint."""
        return self.path / INDEX

    def write(self, drop: tuple[str, ...] = (), **parts: Any) -> None:
        """Replace parts, and drop others, in one atomic step."""
        listed = {name: entry for name, entry in self._parts.items() if name not in drop}
        for name, value in parts.items():
            content = pack(value)
            file = self.path / f"{name}-{secrets.token_hex(4)}.safetensors"
            with atomic_path(file) as unfinished:
                unfinished.write_bytes(content)
            listed[name] = {"file": file.name, "sha256": hashlib.sha256(content).hexdigest()}
        index = {"format": FORMAT, "fingerprint": self.fingerprint, "parts": listed}
        write_text(self.index, json.dumps(index, indent=1))
        self._parts = listed
        self._remove_unlisted()

    def read(self) -> dict[str, Any] | None:
        """All parts by name; None where there is no checkpoint.

        Raises
        ------
        InputError
            Where it belongs to another experiment, or is damaged.
        """
        if not self.index.is_file():
            return None
        try:
            index = json.loads(self.index.read_text("utf-8"))
            layout, before, listed = index["format"], index["fingerprint"], index["parts"]
            files = {name: (entry["file"], entry["sha256"]) for name, entry in listed.items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._damaged(f"{INDEX} cannot be read") from error
        if layout != FORMAT:
            raise self._damaged(f"format {layout}, written by another version of pima_physics")
        self._check_same(before)
        parts = {name: self._read_part(*entry) for name, entry in files.items()}
        self._parts = dict(listed)
        return parts

    def _read_part(self, name: str, digest: str) -> Any:
        try:
            content = (self.path / Path(name).name).read_bytes()
        except OSError as error:
            raise self._damaged(f"{name} is missing") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise self._damaged(f"{name} is not the file that was written: other checksum")
        return unpack(content)

    def _damaged(self, what: str) -> InputError:
        return InputError(
            f"the checkpoint in {self.path} cannot be used",
            found=what,
            fix="run it without --resume to start again",
        )

    def _check_same(self, before: Mapping[str, str]) -> None:
        now = self.fingerprint
        changed = [key for key in dict.fromkeys((*before, *now)) if before.get(key) != now.get(key)]
        if changed:
            raise ConfigError(
                f"the checkpoint in {self.path} belongs to another experiment",
                found="other " + "; ".join(_change(k, before.get(k), now.get(k)) for k in changed),
                expected="the model, data and options that it was started with",
                fix="run it without --resume to start again, or with another --output",
            )

    def _remove_unlisted(self) -> None:
        listed = {INDEX, *(entry["file"] for entry in self._parts.values())}
        for file in self.path.iterdir():
            if file.name not in listed and (file.suffix == ".safetensors" or PART in file.name):
                file.unlink(missing_ok=True)


def _change(key: str, before: str | None, now: str | None) -> str:
    """A difference in words; long descriptions are only named."""
    short = all(text is not None and len(text) <= 40 for text in (before, now))
    return f"{key} ({before} before, {now} now)" if short else key


class Keeper:
    """Decides when the state of a fit is written, and stops it where that was asked for.

    Parameters
    ----------
    folder : CheckpointFolder, optional
        None: nothing is kept.
    stop : Stop, optional
    epochs : int
        A checkpoint at least every so many epochs ...
    seconds : float
        ... and every so many seconds, also in the middle of an epoch.
    """

    def __init__(
        self,
        folder: CheckpointFolder | None = None,
        stop: Stop | None = None,
        *,
        epochs: int = EPOCHS,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Of several processes, the first one writes.
        self.folder, self.stop = folder if rank() == 0 else None, stop or Stop()
        self._epochs, self._seconds, self._clock = epochs, seconds, clock
        self._last = clock()
        self._since = 0

    def write(self, drop: tuple[str, ...] = (), **parts: Any) -> None:
        """Write parts now."""
        if self.folder is not None:
            self.folder.write(drop, **parts)
        self._last, self._since = self._clock(), 0

    def after_batch(self, state: Callable[[], Any]) -> None:
        """Between two batches: write where it is time, stop where it was asked for."""
        if self.stop.requested is None and anyone(False):
            self.stop.requested = signal.SIGTERM
        elif self.stop.requested is not None:
            anyone(True)
        late = self._clock() - self._last >= self._seconds
        if self.folder is not None and (late or self.stop.requested is not None):
            self.write(state=state())
        self.stop.check()

    def after_epoch(self, state: Callable[[], Any]) -> None:
        """Between two epochs: the same, and every so many epochs."""
        self._since += 1
        if self.folder is not None and self._since >= self._epochs:
            self.write(state=state())
        self.after_batch(state)


def open_checkpoint(
    run: RunFolder, fingerprint: Mapping[str, str], *, resume: bool
) -> tuple[CheckpointFolder, dict[str, Any]]:
    """The checkpoint folder of a run, and its parts where it is to be continued.

    Without a checkpoint the fit starts anew and says so: the same command line can be submitted
    to a queue again and again.

    Raises
    ------
    InputError
        Where the checkpoint belongs to another experiment, or is damaged.
    """
    folder = CheckpointFolder(run.checkpoint, fingerprint)
    parts = folder.read() if resume else None
    if resume and parts is None:
        log.warning("no checkpoint in %s: starting from the beginning", run.checkpoint)
    elif not resume and folder.index.is_file():
        log.warning("a checkpoint in %s will be replaced (--resume continues it)", run.checkpoint)
    return folder, parts or {}


def clear(run: RunFolder) -> None:
    """Remove the checkpoint of a run that is complete."""
    # The index first: what is left of a removal that is cut short is no checkpoint.
    (run.checkpoint / INDEX).unlink(missing_ok=True)
    shutil.rmtree(run.checkpoint, ignore_errors=True)
