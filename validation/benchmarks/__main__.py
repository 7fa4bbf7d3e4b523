"""Run the benchmarks, each in a process of its own, and write RESULTS.md beside this file.

``make bench`` takes less than twenty minutes on two cores. Names as arguments run some of them.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from pima_physics.validation.software import version_of, versions

# Every claim's script, with arguments that keep the whole within its time.
SCRIPTS = {
    "step": ("--repeats", "60"),
    "multivae": ("--repeats", "4"),
    "stream": ("--epochs", "2"),
    "kills": ("--aimed", "1", "--chained", "5", "--workers", "2"),
    "growth": (),
    "startup": (),
    "gpu": (),
    "engines": ("--repeats", "5"),
}
PACKAGES = ("torch", "numpy", "xarray", "netCDF4", "zarr", "dask", "torchdiffeq", "multivae")
LIMIT = 600  # seconds of one script


def machine() -> str:
    """Processor, cores, versions."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    installed = [name for name in PACKAGES if version_of(name)]
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{model}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}; "
        f"{versions(installed)}; one thread each "
        f"(OMP_NUM_THREADS=1). Load of the machine before: {load}."
    )


def section(name: str, words: tuple[str, ...]) -> str:
    """What a script says it does, and what it printed."""
    module = f"pima_physics.validation.benchmarks.{name}"
    said = importlib.import_module(module).__doc__ or ""
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        failed = f"failed:\n\n    {done.stderr.strip().splitlines()[-1:]}"
        text = done.stdout.strip() if done.returncode == 0 else failed
    except subprocess.TimeoutExpired:
        text = f"not done after {LIMIT} s"
    command = " ".join(("python -m", module, *words))
    took = f"{time.monotonic() - began:.0f} s"
    return f"## {name}\n\n{said.strip()}\n\n`{command}`, {took}\n\n{text}\n"


def main() -> None:
    """Parse the arguments, run, write."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SCRIPTS)}; default: all")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in SCRIPTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    parts = [
        "# Benchmarks\n",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC. {machine()}\n",
        "Ratios were measured in one run, in turns, against the peer that is named.\n",
    ]
    for name in options.names or SCRIPTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        parts.append(section(name, SCRIPTS[name]))
    options.output.write_text("\n".join(parts), encoding="utf-8")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
