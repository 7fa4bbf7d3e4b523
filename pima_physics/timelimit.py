"""A time limit for code of the user's that may never come back.

Between two steps of the interpreter an alarm raises our error; that ends loops and waits in
Python. Code in C that does not come back sees no alarm: where the process holds nothing that
could be lost (a check, a worker), the interpreter's own watchdog ends it.
"""

from __future__ import annotations

import faulthandler
import math
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from pima_physics.errors import TimeLimitError

GRACE = 2.0
"""Seconds after the alarm before the watchdog takes it that nothing will answer."""

_resort: ContextVar[int | None] = ContextVar("last resort", default=None)

# Prints what the watchdog leaves; started beforehand, as a stuck process starts nothing.
_TELLER = """
import re, signal, sys
PATTERN = r'File "(.*)", line (\\d+) in (\\S+)'
signal.signal(signal.SIGINT, signal.SIG_IGN)
left = sys.stdin.read()
if left:
    where = re.search(PATTERN, left.rpartition("Thread 0x")[2])
    place = "%s, line %s (%s)" % where.groups() if where else "code that is not Python"
    print(sys.argv[1].replace("@PLACE@", place), file=sys.stderr, flush=True)
"""


def message(what: str, seconds: float, where: str, fix: str) -> str:
    """The one text for a law that does not come back."""
    return (
        f"{what} has not come back after {seconds:g} s\n"
        f"  found:    still in {where}\n"
        f"  expected: an answer within {seconds:g} s, its time_limit\n"
        f"  fix:      {fix}"
    )


@contextmanager
def time_limit(seconds: float, what: str, fix: str) -> Iterator[None]:
    """Raise where the block takes longer; blocks may lie inside one another.

    Only the main thread can be stopped, and not on Windows: elsewhere this does nothing.

    Raises
    ------
    TimeLimitError
        Saying what was running, and in which line.
    """
    possible = hasattr(signal, "setitimer") and (
        threading.current_thread() is threading.main_thread()
    )
    if not possible or not 0 < seconds < math.inf:
        yield
        return
    running = True

    def ring(number: int, frame: FrameType | None) -> None:
        if running:
            raise TimeLimitError(message(what, seconds, _place(frame), fix))

    began = time.monotonic()
    former = signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    resort = _resort.get()
    if resort is not None:
        faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=resort)
    try:
        yield
    finally:
        running = False
        if resort is not None:
            faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        if left:  # an outer limit goes on with what is left of it
            rest = max(left - (time.monotonic() - began), 1e-3)
            signal.setitimer(signal.ITIMER_REAL, rest)


def _place(frame: FrameType | None) -> str:
    if frame is None:
        return "code that is not Python"
    code = frame.f_code
    return f"{code.co_filename}, line {frame.f_lineno} ({code.co_name})"


def watch(file: int) -> None:
    """From now on, end this process (code 1) where a limit passes and nothing answers.

    Parameters
    ----------
    file : int
        File descriptor that is told where the process was; :func:`place_in` reads it.
    """
    _resort.set(file)


def place_in(told: str) -> str:
    """The innermost line of Python in what the watchdog wrote."""
    # Threads are listed from the newest to the oldest, which is the main one.
    found = re.search(r'File "(.*)", line (\d+) in (\S+)', told.rpartition("Thread 0x")[2])
    return "{}, line {} ({})".format(*found.groups()) if found else "code that is not Python"


@contextmanager
def ended_by_limit(what: str, seconds: float, fix: str) -> Iterator[None]:
    """Let the watchdog end a command that may be stuck, and say so on stderr.

    For commands that have nothing to lose: what is unsaved is gone.
    """
    if not hasattr(signal, "setitimer"):
        yield
        return
    text = "error: " + message(what, seconds, "@PLACE@", fix)
    teller = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _TELLER, text], stdin=subprocess.PIPE
    )
    assert teller.stdin is not None
    token = _resort.set(teller.stdin.fileno())
    try:
        yield
    finally:
        _resort.reset(token)
        teller.stdin.close()
        teller.wait()
