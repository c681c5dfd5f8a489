"""How long ``myservice`` takes to be ready, and what it weighs when idle.

Cold is an empty data folder (PostgreSQL's cluster is made), warm is the same folder again; ``help``
is the whole of ``myservice --help``. Memory is that of ``serve`` after 100 requests: the resident
set of one process, and of a supervisor with two workers the sum of their proportional sets, in
which a shared page is divided among its users. Writes medians to
``bench/results/startup.{md,json}``, not with ``--quick``, which is one run of each.
``python bench/startup.py``; `make layer` runs it.
"""

import argparse
import asyncio
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bars import Bar, bars_table, judge
from database import running_database, say, scratch
from outcome import machine, page, write
from servers import OURS, OURS_TWO, Peer, Server, started

from myservice.cli import SERVICE
from paceline.postgres.migrate import SchemaUpgrade

MYSERVICE = Path(sys.executable).with_name("myservice")
REQUESTS = 100
# As for users: what a first start has compiled the next one does not compile again.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class Memory:
    """In MB, over all processes."""

    rss: float
    pss: float


def start_run(data: Path) -> tuple[float, subprocess.Popen[str]]:
    """Seconds from the command to the ready line, and the process."""
    began = time.monotonic()
    process = subprocess.Popen(
        [MYSERVICE, "run", "--port", "0", "--grpc-port", "0", "--admin-port", "0",
         "--data-dir", data],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    for line in process.stderr:
        if re.search(r"^API +(http://[^\s,]+)", line):
            return time.monotonic() - began, process
    raise SystemExit(f"myservice run ended with {process.wait()}")


def run_times() -> tuple[float, float]:
    """Seconds until a cold and a warm ``run`` are ready."""
    times: list[float] = []
    with tempfile.TemporaryDirectory(prefix="paceline-") as folder:
        for _ in range(2):
            seconds, process = start_run(Path(folder) / "data")
            times.append(seconds)
            process.send_signal(signal.SIGINT)  # as a person would
            process.communicate(timeout=60)
    return times[0], times[1]


def help_time() -> float:
    """Seconds of ``myservice --help``."""
    began = time.monotonic()
    subprocess.run([MYSERVICE, "--help"], check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return time.monotonic() - began


def family(root: int) -> list[int]:
    """A process and its descendants."""
    children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    return [root, *(pid for child in children for pid in family(int(child)))]


def memory(server: Server) -> Memory:
    """After some requests."""
    for _ in range(REQUESTS):
        urllib.request.urlopen(f"{server.url}/health", timeout=5).read()  # noqa: S310 - our own
    sums = {"Rss": 0.0, "Pss": 0.0}
    for pid in family(server.processes[0].pid):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        for name, kib in re.findall(r"^(Rss|Pss):\s+(\d+)", text, re.MULTILINE):
            sums[name] += int(kib) * 1024 / 1e6
    return Memory(sums["Rss"], sums["Pss"])


async def weigh(peer: Peer, dsn: str) -> Memory:
    """Start it, and weigh it."""
    async with started(peer, dsn, secrets.token_urlsafe(48)) as server:
        return await asyncio.to_thread(memory, server)


async def weights(runs: int, folder: Path) -> dict[str, list[Memory]]:
    """One process, and two workers, each so often."""
    found: dict[str, list[Memory]] = {}
    async with running_database(folder) as database:
        await SchemaUpgrade(database.dsn, SERVICE.get_migrations()).start()
        for _ in range(runs):
            for peer in (OURS, OURS_TWO):
                found.setdefault(peer.key, []).append(await weigh(peer, database.dsn))
    return found


def main() -> None:
    """Measure, print, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one run of each, nothing written")
    options = parser.parse_args()
    runs = 1 if options.quick else options.runs
    on = machine()
    runs_taken = [run_times() for _ in range(runs)]
    helped = median(help_time() for _ in range(2 * runs + 1))
    say(f"{runs_taken} {helped}")
    with scratch() as folder:
        found = asyncio.run(weights(runs, folder / "db"))
    one, two = found[OURS.key], found[OURS_TWO.key]
    rss, cold, warm = (
        median(each.rss for each in one),
        median(pair[0] for pair in runs_taken),
        median(pair[1] for pair in runs_taken),
    )
    bars = [
        Bar("idle `serve`, resident", 75.0, rss, "MB", most=True),
        Bar("warm `run` until it is ready", 1.0, warm, "s", most=True),
        Bar("`myservice --help`", 0.1, helped, "s", most=True),
    ]
    pss, both = median(each.pss for each in one), median(each.pss for each in two)
    body = (
        f"| | |\n|---|---:|\n| cold `run` until it is ready | {cold:.2f} s |\n"
        f"| idle `serve`, proportional | {pss:.0f} MB |\n"
        f"| idle `serve --workers 2`, proportional, all processes | {both:.0f} MB |\n"
    )
    sys.stdout.write(f"{bars_table(bars)}\n{body}")
    if options.quick:
        return
    head = f"`bench/startup.py`: medians of {runs} runs; memory after {REQUESTS} requests."
    figures = {"cold": cold, "warm": warm, "help": helped, "rss": rss, "pss": pss, "workers": both}
    write("startup", page(head, on, bars, body), on=on, bars=bars, figures=figures)
    judge(bars)


if __name__ == "__main__":
    main()
