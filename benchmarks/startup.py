"""Wall time of what a person waits for before any work: `resvision --help` and `import resvision`.

Each is timed in a new process beside an empty program; what is printed is the median, and what it adds to Python's own
start.

    python benchmarks/startup.py --runs 21
"""

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import resvision": [sys.executable, "-c", "import resvision"],
    "resvision --help": [sys.executable, "-m", "resvision", "--help"],
}


def seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=21)
    options = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(options.runs):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    empty = statistics.median(times["python -c pass"])
    for name, measured in times.items():
        median = statistics.median(measured)
        print(f"{name:>16}: {median:.3f} s, of which {median - empty:.3f} s its own ({min(measured):.3f} at best)")


if __name__ == "__main__":
    main()
