"""Ctrl-C and SIGTERM while training: finish the batch, keep the state, then stop."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

EXIT_TERMINATED = 143
"""Exit code after SIGTERM, as shells have it (128 + 15)."""


class Terminated(KeyboardInterrupt):
    """The system asked the process to end (SIGTERM: a time limit of a cluster, say)."""

    exit_code = EXIT_TERMINATED


class Stop:
    """Whether somebody asked to stop.

    The first signal is only noted, for :meth:`check` to act upon between two batches; inside
    :meth:`at_once`, and at the second signal, it interrupts whatever runs.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._patient = True

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """Take a signal."""
        again, self.requested = self.requested is not None, number
        if again or not self._patient:
            self.check()

    def check(self) -> None:
        """Raise where a stop was asked for.

        Raises
        ------
        KeyboardInterrupt
            `Terminated` for SIGTERM.
        """
        if self.requested is not None:
            raise Terminated() if self.requested == signal.SIGTERM else KeyboardInterrupt()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """A block that a signal interrupts at once: nothing in it is worth waiting for."""
        self._patient = False
        try:
            self.check()
            yield
        finally:
            self._patient = True


@contextlib.contextmanager
def deferred_signals() -> Iterator[Stop]:
    """Catch Ctrl-C and SIGTERM inside the block (in the main thread, the only one that can)."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    # A signal that is ignored (as by nohup) stays ignored.
    ours = [number for number in numbers if before[number] is not signal.SIG_IGN]
    try:
        for number in ours:
            signal.signal(number, stop.handle)
        yield stop
    finally:
        for number in ours:
            signal.signal(number, before[number] or signal.SIG_DFL)
