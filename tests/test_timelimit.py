"""Laws that do not come back: in Python, in C, in this process and in others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support.fuzz import REFUSED, tally
from support.outside import Endless, Stuck
from test_fuzz_runs import command, laboratory

from pima_physics.check import check_simulator
from pima_physics.errors import TimeLimitError
from pima_physics.parameters import Parameter
from pima_physics.simulator import Simulator
from pima_physics.timelimit import time_limit

STRAIN = {"strain": torch.zeros(2).double()}
MODULI = {"modulus": torch.tensor([1e4, 2e4]).double()}


class Looping(Simulator):
    """Converges for some parameters only."""

    coordinates, outputs = {"strain": "dimensionless"}, {"stress": "MPa"}
    limit = Parameter("MPa", value=100.0, min=1.0, max=1000.0)
    time_limit = 0.5
    runs = 0

    def evaluate(self, x, p):
        type(self).runs += 1
        while float(p.limit.detach().max()) > 90.0:
            pass
        return {"stress": p.limit * x.strain}


def test_a_loop_is_named_with_its_line_and_what_to_change():
    with pytest.raises(TimeLimitError) as caught:
        Looping().simulate(STRAIN, {"limit": torch.tensor([100.0])})
    said = str(caught.value)
    assert "Looping has not come back after 0.5 s" in said
    assert f"{__file__}, line" in said and "time_limit = 5 in the class" in said
    fine = Looping().simulate(STRAIN, {"limit": torch.tensor([80.0])})
    assert fine["stress"].shape == (1, 2)


def test_the_check_ends_at_the_first_call_that_does_not_come_back():
    Looping.runs = 0
    report = check_simulator(Looping, time_limit=0.2)
    assert not report.passed and Looping.runs == 1
    assert [f.check for f in report.failures] == ["time limit"]
    assert "after 0.2 s" in report.failures[0].message


def test_limits_lie_inside_one_another_and_leave_the_alarm_as_it_was():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 60)
        with time_limit(30, "outer", "none"):
            with pytest.raises(TimeLimitError, match="inner"), time_limit(0.05, "inner", "none"):
                time.sleep(20)
            left, _ = signal.getitimer(signal.ITIMER_REAL)
            assert 0 < left <= 30
        assert 30 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        time.sleep(0.05)
        assert rung == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_outer_limit_holds_where_the_inner_one_is_longer():
    with pytest.raises(TimeLimitError, match="outer"), time_limit(0.1, "outer", "none"):
        with time_limit(30, "inner", "none"):
            time.sleep(0.2)
        time.sleep(20)


def test_an_outside_code_names_the_sample():
    law = Endless()
    law.time_limit = 0.3
    with pytest.raises(TimeLimitError, match=r"(?s)Endless has not.*sample:   0 with"):
        law.simulate(STRAIN, MODULI)


@pytest.mark.parametrize("kind", [pytest.param(Endless, marks=pytest.mark.slow), Stuck])
def test_worker_processes_are_ended_too(kind):
    """One waits in Python, the other in C with the interpreter's lock held."""
    law = kind()
    law.workers, law.time_limit = 2, 0.3
    try:
        with pytest.raises(TimeLimitError, match=rf"(?s){kind.__name__} has not.*outside.py, line"):
            law.simulate(STRAIN, MODULI)
    finally:
        law.close()


# --- commands --------------------------------------------------------------------------------

LAW = """
import ctypes, time
import torch
import pima_physics as pima

class Law(pima.Simulator):
    coordinates, outputs = {{"strain": "dimensionless"}}, {{"stress": "MPa"}}
    limit = pima.Parameter("MPa", min=1, max=1000, value=100)
    time_limit = 0.5
    calls = 0

    def evaluate(self, x, p):
        type(self).calls += 1
        {body}
        return {{"stress": p.limit * (1 - torch.exp(-80.0 * x.strain))}}
"""
IN_C = (
    "lock = ctypes.create_string_buffer(64); c = ctypes.PyDLL(None).pthread_mutex_lock\n"
    "        c(lock); c(lock)"
)
HANGS = {
    "loop": "while True: pass",
    "wait": "time.sleep(600)",
    "in C": IN_C,
    "later": "while self.calls > 12: pass",
    "swallows": "\n        try:\n            time.sleep(600)\n        except BaseException:\n"
    "            time.sleep(600)",
}
"""What the body of a law does; the last ends only by force."""


@pytest.mark.parametrize(
    "how",
    [pytest.param(k, marks=() if k in ("in C", "later") else pytest.mark.slow) for k in HANGS],
)
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarms on this system")
def test_a_fit_with_a_law_that_hangs_ends_with_one_message(tmp_path: Path, how: str) -> None:
    experiment = laboratory(tmp_path, {"physics": "stuck_law:Law"})
    (tmp_path / "stuck_law.py").write_text(LAW.format(body=HANGS[how]))
    with tally("simulators that hang") as counts:
        done = outside("fit", experiment, "--output", tmp_path / "run")
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        assert done.stderr.count("error: ") == 1, done.stderr
        assert "Law has not come back after 0.5 s" in done.stderr
        assert f"{tmp_path / 'stuck_law.py'}, line" in done.stderr
        assert not (tmp_path / "run" / "results.nc").exists()
        assert (tmp_path / "run").exists() == (how == "later")
        counts[REFUSED] += 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["wait", "in C"])
def test_the_check_of_a_law_that_hangs(tmp_path: Path, how: str) -> None:
    (tmp_path / "hung.py").write_text(LAW.format(body=HANGS[how]))
    done = outside("simulators", "hung:Law", "--check", "--time-limit", "0.3", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    said = done.stdout + done.stderr
    assert "Law has not come back after 0.3 s" in said and "hung.py, line" in said


def test_a_limit_without_a_check_is_refused() -> None:
    assert "--check" in command("simulators", "--time-limit", "3").stderr


def outside(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which may be ended."""
    code = "from pima_physics.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(cwd or "")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
