"""Generated cases: how many, in a process of their own where a library may die, and their count.

``PIMA_FUZZ=1000`` runs so many cases of every target (a few dozen otherwise, the same each time);
``PIMA_FUZZ_RECORD=FILE`` appends what became of them, from which ``python -m support.fuzz FILE``
(in ``tests/``) writes the table of docs/robustness.md.
"""

from __future__ import annotations

import collections
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LONG = int(os.environ.get("PIMA_FUZZ", "0"))
RECORD = os.environ.get("PIMA_FUZZ_RECORD")
ACCEPTED, REFUSED = "right result", "clear error"
READ = "read, values not compared"
LIBRARY = "HDF5 library hangs or crashes"


def profile(cases: int, *, share: float = 1.0) -> settings:
    """Settings of a target: ``cases`` of it, or PIMA_FUZZ * share in a long run."""
    return settings(
        max_examples=max(1, int(LONG * share)) if LONG else cases,
        deadline=None,
        derandomize=not LONG,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class Tally(collections.Counter[str]):
    """What became of the cases of one target."""


@contextmanager
def tally(target: str) -> Iterator[Tally]:
    """Count, and append the counts to the record when the target is done."""
    counts = Tally()
    try:
        yield counts
    finally:
        if RECORD:
            with Path(RECORD).open("a") as file:
                file.write(json.dumps({"target": target, **counts}) + "\n")


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "drop", "repeat", "zero", "empty"]),
        st.floats(0, 1),
        st.integers(1, 255),
    ),
    min_size=1,
    max_size=4,
)
"""Changes to the bytes of a file: kind, relative place, value."""


def mutated(content: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    """Bytes with the changes applied one after the other."""
    data = bytearray(content)
    for kind, where, value in changes:
        place = min(int(where * len(data)), max(0, len(data) - 1))
        if kind == "flip" and data:
            data[place] ^= value
        elif kind == "cut":
            del data[place:]
        elif kind == "insert":
            data[place:place] = bytes([value]) * (1 + value % 7)
        elif kind == "drop":
            del data[place : place + value]
        elif kind == "repeat":
            data[place:place] = data[place : place + value]
        elif kind == "zero":
            data[place : place + value] = bytes(len(data[place : place + value]))
        elif kind == "empty" and value < 16:
            data.clear()
    return bytes(data)


def isolated(case: Callable[[], str], seconds: int = 60) -> str:
    """Run a case in a forked process; return what it says, or how it died.

    A library in C may crash or loop on a damaged file; that must not end the tests.
    """
    if not hasattr(os, "fork"):
        return case()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            try:
                said = case()
            except BaseException:
                said = traceback.format_exc()
            os.write(writer, said.encode()[-4000:])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"died by {signal.Signals(os.WTERMSIG(status)).name}"
    return said


def table(records: list[dict[str, Any]]) -> str:
    """The counts of a long run as a table in Markdown."""
    rows: dict[str, Tally] = {}
    for record in records:
        rows.setdefault(record.pop("target"), Tally()).update(record)
    kinds = sorted({kind for counts in rows.values() for kind in counts})
    lines = ["| inputs | cases | " + " | ".join(kinds) + " |"]
    lines.append("|---|" + "---:|" * (len(kinds) + 1))
    for target, counts in rows.items():
        cells = [str(counts[kind]) for kind in kinds]
        lines.append(f"| {target} | {sum(counts.values())} | " + " | ".join(cells) + " |")
    total = sum((counts for counts in rows.values()), Tally())
    cells = [str(total[kind]) for kind in kinds]
    lines.append(f"| **all** | {sum(total.values())} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table([json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]))
