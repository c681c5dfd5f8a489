"""How long ``myservice run`` takes to be ready, and what it weighs when idle.

Cold is an empty data folder (PostgreSQL's cluster is made), warm is the same folder again. Memory
is the service process alone, after 100 requests: resident set and proportional set (shared pages
divided among their users). Prints a table of the medians of 5 runs, or of one with ``--quick``.
``python bench/startup.py [RUNS]``.
"""

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median

MYSERVICE = Path(sys.executable).with_name("myservice")
REQUESTS = 100


def start(data: Path) -> tuple[float, subprocess.Popen[str], str]:
    """Seconds from the command to the ready line, the process, its URL."""
    began = time.monotonic()
    process = subprocess.Popen(
        [MYSERVICE, "run", "--port", "0", "--data-dir", data],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    for line in process.stderr:
        ready = re.search(r"^API +(http://[^\s,]+)", line)
        if ready:
            return time.monotonic() - began, process, ready[1]
    raise SystemExit(f"myservice run ended with {process.wait()}")


def stop(process: subprocess.Popen[str]) -> None:
    """End it as a person would."""
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def memory(process: subprocess.Popen[str], url: str) -> dict[str, float]:
    """Rss and Pss in MB, after some requests."""
    for _ in range(REQUESTS):
        urllib.request.urlopen(f"{url}/health", timeout=5).read()  # noqa: S310 - our own
    text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    lines = re.findall(r"^(Rss|Pss):\s+(\d+)", text, re.MULTILINE)
    return {name: int(kib) * 1024 / 1e6 for name, kib in lines}


def main(runs: int) -> None:
    """Measure and print."""
    cold: list[float] = []
    warm: list[float] = []
    weights: list[dict[str, float]] = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="paceline-") as folder:
            data = Path(folder) / "data"
            for times in (cold, warm):
                seconds, process, url = start(data)
                times.append(seconds)
                if times is warm:
                    weights.append(memory(process, url))
                stop(process)
    print("| | median of", runs, "|\n|---|---:|")
    print(f"| cold `run` to ready | {median(cold):.2f} s |")
    print(f"| warm `run` to ready | {median(warm):.2f} s |")
    for name in ("Rss", "Pss"):
        print(f"| idle memory, {name} | {median(w[name] for w in weights):.0f} MB |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int, nargs="?", default=5)
    parser.add_argument("--quick", action="store_true", help="one run")
    options = parser.parse_args()
    main(1 if options.quick else options.runs)
