"""Time to import the package and to show the help, each in a new process; medians in turns."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "import torch": ("-c", "import torch"),
    "import torch, pima_physics and its public names": (
        "-c",
        "import torch, pima_physics as p; [getattr(p, n) for n in p.__all__]",
    ),
    "import torch, pima_physics": ("-c", "import torch, pima_physics"),
    "pima-physics --help": ("-m", "pima_physics.cli", "--help"),
}
BASE = "import torch"


def loads_torch() -> bool:
    """Whether showing the help imports torch."""
    code = (
        "import sys; sys.argv = ['pima-physics', '--help']\n"
        "from pima_physics.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit(3 if 'torch' in sys.modules else 0)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 3


def measure(repeats: int) -> dict[str, float]:
    """Median seconds of every command."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(repeats + 1):
        for name, words in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            if turn:
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def table(seconds: dict[str, float], torch_loaded: bool) -> str:
    """Markdown table."""
    goals = {"import torch, pima_physics": "+ <= 0.3 s", "pima-physics --help": "<= 0.5 s"}
    lines = ["| process | s | over torch | goal |", "|---|---:|---:|---:|"]
    for name, value in seconds.items():
        extra = f"{value - seconds[BASE]:+.2f}" if name.startswith("import torch,") else ""
        lines.append(f"| {name} | {value:.2f} | {extra} | {goals.get(name, '')} |")
    words = "is" if torch_loaded else "is not"
    return "\n".join([*lines, "", f"torch {words} imported for the help."])


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(prog="startup", description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    print(table(measure(options.repeats), loads_torch()))


if __name__ == "__main__":
    main()
