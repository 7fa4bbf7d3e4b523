"""When to kill a fit: moments after its start, or those told by the files of its run folder."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pima_physics.atomic import PART
from pima_physics.checkpoint import INDEX
from pima_physics.runfolder import RunFolder

LOOK = 0.0005  # seconds between two looks at a folder

Process = subprocess.Popen[str]
Moment = Callable[[RunFolder, Process, float], None]
"""Returns when the process that writes into the folder is to be killed, or has ended; its delays
are multiplied by a factor."""


def parts(run: RunFolder) -> dict[str, dict[str, str]]:
    """What the index of the checkpoint lists."""
    try:
        return json.loads((run.checkpoint / INDEX).read_text("utf-8"))["parts"]
    except FileNotFoundError:
        return {}


def after(seconds: float) -> Moment:
    """So many seconds after the start."""
    return lambda run, process, factor: time.sleep(factor * seconds)


def at_search(writes: int, seconds: float) -> Moment:
    """So many seconds after the last checkpoint before the search for the nodes."""

    def wait(run: RunFolder, process: Process, factor: float) -> None:
        for count, _ in enumerate(checkpoints(run, process), 1):
            if count == writes:
                break
        time.sleep(factor * seconds)

    return wait


def at_checkpoint(number: int) -> Moment:
    """While the n-th file of the checkpoint is being written."""

    def wait(run: RunFolder, process: Process, factor: float) -> None:
        for count, _ in enumerate(unfinished(run.checkpoint, process), 1):
            if count == number:
                return

    return wait


def at_results(seconds: float) -> Moment:
    """So many seconds after the first of the results began to be written."""

    def wait(run: RunFolder, process: Process, factor: float) -> None:
        next(unfinished(run.path, process), None)
        time.sleep(factor * seconds)

    return wait


def checkpoints(run: RunFolder, process: Process) -> Iterator[dict[str, dict[str, str]]]:
    """Checkpoints as they come up, until all epochs are done and the results are begun."""
    before: dict[str, dict[str, str]] = {}
    while process.poll() is None and not any(run.path.glob(f"{PART}*")):
        listed = parts(run)
        if listed and listed != before:
            yield listed
            before = listed
        time.sleep(LOOK)


def unfinished(folder: Path, process: Process) -> Iterator[str]:
    """Names of unfinished files as they come up."""
    seen: set[str] = set()
    while process.poll() is None:
        try:
            names = {name for name in os.listdir(folder) if name.startswith(PART)}
        except FileNotFoundError:
            names = set()
        yield from sorted(names - seen)
        seen |= names
        time.sleep(LOOK / 10)
