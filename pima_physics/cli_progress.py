"""Progress of a fit: a bar on a terminal, a line every few seconds anywhere else."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol

log = logging.getLogger("pima_physics.progress")

SECONDS_BETWEEN_LINES = 5.0
MOST_TERMS = 5


class Record(Protocol):
    """What training says after each epoch."""

    @property
    def phase(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def terms(self) -> dict[str, float]: ...


def format_terms(terms: Mapping[str, float]) -> str:
    """Return the terms of the bound on one line, the bound itself first."""
    ordered = sorted(terms.items(), key=lambda item: item[0] != "elbo")
    return "  ".join(f"{name} {value:.4g}" for name, value in ordered[:MOST_TERMS])


class Lines:
    """A line to the log for the first epoch of each phase, then every few seconds, and the last.

    Parameters
    ----------
    clock : callable
        Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._phase = clock, ""
        # Seconds and epoch at which the epochs that follow one another began.
        self._start, self.first, self._next = 0.0, 0, (0, 0)
        self._last = 0.0

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, record: Record) -> None:
        """Write the record where its turn has come."""
        now = self._clock()
        if (record.epoch, record.epochs) != self._next:
            self._start, self.first = now, record.epoch
        self._next = record.epoch + 1, record.epochs
        due = now - self._last >= SECONDS_BETWEEN_LINES
        if record.phase == self._phase and record.epoch < record.epochs and not due:
            return
        self._phase, self._last = record.phase, now
        log.info(
            "%s  epoch %d/%d  %s%s",
            record.phase,
            record.epoch,
            record.epochs,
            format_terms(record.terms),
            self._remaining(record, now),
        )

    def _remaining(self, record: Record, now: float) -> str:
        """Expected seconds to the end, at the mean speed so far."""
        done = record.epoch - self.first  # the clock starts when the first epoch has ended
        if not done or record.epoch >= record.epochs:
            return ""
        return f"  about {(now - self._start) / done * (record.epochs - record.epoch):.0f} s left"


class Bar:
    """A bar with the phase, the terms of the bound and the time left; the log gets its lines too.

    Parameters
    ----------
    stream : file, optional
        Where the bar is drawn (stderr).
    """

    def __init__(self, stream: Any = None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._lines = Lines()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[terms]}", markup=False),
            console=Console(file=stream or sys.stderr),
            transient=True,
        )
        self._task: Any = None

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, record: Record) -> None:
        """Move the bar; a new one starts where epochs do not follow one another (a restart)."""
        self._lines(record)
        if record.epoch == self._lines.first:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(record.phase, total=record.epochs, terms="")
        self._progress.update(
            self._task,
            completed=record.epoch,
            total=record.epochs,
            description=record.phase,
            terms=format_terms(record.terms),
        )


def display() -> Bar | Lines:
    """Return a bar where stderr is a terminal, else lines."""
    return Bar() if sys.stderr.isatty() else Lines()
