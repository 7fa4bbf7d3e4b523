"""Processes that run an outside code for many samples at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.reduction import ForkingPickler
from typing import Any

from pima_physics.errors import InputError, PimaError, SolveError, TimeLimitError
from pima_physics.timelimit import message, place_in, watch

# Parts per process: samples differ in cost, and a process that is done takes the next part.
_PARTS = 4

Job = tuple[Any, ...]


def run_jobs(law: Any, method: str, jobs: Sequence[Job], first: int = 0) -> list[Any]:
    """Call a method of a law for every job; a failure names the sample and its parameters."""
    found = []
    for number, job in enumerate(jobs, first):
        try:
            found.append(getattr(law, method)(*job))
        except InputError:
            raise
        except TimeLimitError as error:
            where = f"  sample:   {number} with {law.described(job[1])}"
            raise TimeLimitError(f"{error}\n{where}") from None
        except Exception as error:  # a user's code may raise anything
            what = (
                str(error) if isinstance(error, PimaError) else f"{type(error).__name__}: {error}"
            )
            raise SolveError(
                f"{law}: the outside code failed for sample {number}\n"
                f"  found:    {what}\n"
                f"  values:   {law.described(job[1])}\n"
                "  fix:      tighten the bounds of the parameters, or guard the code there"
            ) from error
    return found


class Workers:
    """A pool of processes, started at the first use and closed with the last law that uses it.

    Copies of a law share its pool. Every sample is computed by itself, so the results do not
    depend on the number of processes. The processes are spawned: they import the law's module
    anew and inherit neither threads nor random state.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None
        self._watched: Any = None  # file in which a process that is stuck says where
        self._closing: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Workers:
        return self

    def __reduce__(self) -> tuple[type[Workers], tuple[int]]:
        return Workers, (self.count,)

    def run(self, law: Any, method: str, jobs: Sequence[Job]) -> list[Any]:
        """Like :func:`run_jobs`, in the processes; the results in the order of the jobs.

        Raises
        ------
        InputError
            If the law cannot be sent to another process.
        SolveError
            If a sample fails, or a process dies.
        TimeLimitError
            If a sample takes longer than the law's ``time_limit``.
        """
        size = max(1, -(-len(jobs) // (_PARTS * self.count)))
        _check_portable(law)
        pool = self._started()
        parts: list[Future[list[Any]]] = []
        try:
            for first in range(0, len(jobs), size):
                part = list(jobs[first : first + size])
                parts.append(pool.submit(run_jobs, law, method, part, first))
            return [result for part in parts for result in part.result()]
        except BrokenProcessPool as error:
            stuck = self._told()
            self.close(kill=True)
            if stuck:
                text = message(str(law), law.time_limit, place_in(stuck), law.limit_hint)
                raise TimeLimitError(text) from None
            raise SolveError(
                f"{law}: a worker process died\n"
                "  found:    the outside code crashed it, its memory ran out, or the script that "
                "uses the law starts it anew\n"
                '  fix:      put the script\'s own work under `if __name__ == "__main__":` and the '
                "law's class in a module, or set workers = 1 to see the cause"
            ) from error
        except Exception:
            for part in parts:
                part.cancel()
            raise
        except BaseException:  # Ctrl-C: nobody waits for what is still running
            self.close(kill=True)
            raise

    def close(self, *, kill: bool = False) -> None:
        """End the processes: after the samples at work, or with ``kill`` at once."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        self._closing.detach()
        self._watched = None
        # Python 3.14 has terminate_workers() for this.
        running = list((getattr(pool, "_processes", None) or {}).values())
        if kill:
            for process in running:
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)

    def _told(self) -> str:
        return self._watched.read() if self._watched else ""

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._watched = tempfile.NamedTemporaryFile("r", prefix="pima-")  # noqa: SIM115
            self._pool = ProcessPoolExecutor(
                self.count,
                multiprocessing.get_context("spawn"),
                initializer=_prepare,
                initargs=(self._watched.name,),
            )
            self._closing = weakref.finalize(self, self._pool.shutdown, cancel_futures=True)
        return self._pool


def _check_portable(law: Any) -> None:
    """Refuse here what would make the pool wait for ever (python/cpython issue 94777)."""
    try:
        ForkingPickler.dumps(law)
    except Exception as error:  # a user's attributes may raise anything
        raise InputError(
            f"{law} cannot be sent to worker processes",
            found=f"{type(error).__name__}: {error}",
            expected="a class at the top of a module, whose attributes can be pickled",
            fix="make handles of the outside code inside compute(), or set workers = 1",
        ) from error


def _prepare(watched: str) -> None:
    """Set up a worker: one thread, Ctrl-C left to the parent, no life without the parent.

    One that is stuck in C ends itself and says where in the file ``watched``.
    """
    import torch

    torch.set_num_threads(1)
    watch(os.open(watched, os.O_WRONLY | os.O_APPEND))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
