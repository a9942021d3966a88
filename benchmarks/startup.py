"""Start-up of im4d against `import click`: median of paired runs. Usage: python benchmarks/startup.py [RUNS]"""

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import click": ["-c", "import click"],
    "im4d --help": ["-m", "imagic4d_cli.main", "--help"],
    "im4d warmup --help": ["-m", "imagic4d_cli.main", "warmup", "--help"],
    "im4d --version": ["-m", "imagic4d_cli.main", "--version"],
    "import numpy": ["-c", "import numpy"],
}


def main() -> None:
    """Run all commands in turn, several times, and print medians in ms and as a ratio to `import click`."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, args in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *args], stdout=subprocess.DEVNULL, check=True)
            times[name].append(1e3 * (time.perf_counter() - start))
    base = statistics.median(times["import click"])
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name:22s} {middle:7.1f} ms   {middle / base:5.2f} x import click")


if __name__ == "__main__":
    main()
