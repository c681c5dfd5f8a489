"""What the HTTP layer costs: raw ASGI, our typed layer, the whole stack, and FastAPI.

Every server is one process pinned to one core, the load generator is pinned to the other, and the
servers take turns of a second or so, so that whatever else the machine does hits all of them; the
ratios are of one round, and their median is shown. Prints a table of
medians and writes it to ``bench/results/http_layer.md``; the log lines of a server go to a pipe
that is read, as in production. Run it with ``make layer``; ``--quick`` for a short look.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO

from child_processes import end, free_port, run_load, spawn
from load import Plan
from outcome import machine, page, write

from paceline.testing import make_token

HERE = Path(__file__).parent
SECRET = b"a-benchmark-secret-of-at-least-32-bytes"
EXPECTED = {"id": 42, "message": "hello, world"}
_SERVER_CORE, _LOAD_CORE = 0, 1
OURS, PEER = "peers/paceline_http.py", "peers/fastapi_http.py"


@dataclass(frozen=True)
class Case:
    """One server: its name in the table, its script and the kind that the script takes."""

    name: str
    script: str
    kind: str


CASES = [
    Case("raw ASGI function, our server", OURS, "raw"),
    Case("paceline, typed route", OURS, "bare"),
    Case("paceline, whole stack", OURS, "full"),
    Case("FastAPI, typed route", PEER, "bare"),
    Case("FastAPI, usual equivalents of the stack", PEER, "full"),
]


def drain(pipe: IO[bytes]) -> None:
    """Read a server's log so that it never waits for its reader."""
    while pipe.read1(1 << 16):  # type: ignore[attr-defined]
        pass


def get(port: int, token: str) -> object:
    """One request, answered and decoded."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/hello/42", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=1) as answer:  # noqa: S310
        return json.load(answer)


def until_serving(port: int, token: str, server: subprocess.Popen[bytes]) -> None:
    """Wait for the server and check that its answer means what it should."""
    give_up = time.monotonic() + 20
    while True:
        try:
            answer = get(port, token)
        except OSError:
            if server.poll() is not None or time.monotonic() > give_up:
                raise
            time.sleep(0.05)
            continue
        if answer != EXPECTED:
            raise SystemExit(f"{server.args!r} answered {answer!r}")
        return


@contextmanager
def serving(case: Case, token: str) -> Generator[int]:
    """The port of a started server, until the block ends."""
    port = free_port()
    read, write_end = os.pipe()
    threading.Thread(target=drain, args=(os.fdopen(read, "rb"),), daemon=True).start()
    command: list[str | Path] = [sys.executable, HERE / case.script, case.kind, str(port)]
    server = spawn(command, {}, write_end, core=_SERVER_CORE, shows_errors=True)
    os.close(write_end)
    try:
        until_serving(port, token, server)
        yield port
    finally:
        end([server])


def measure(port: int, token: str, connections: int, seconds: float) -> dict[str, float]:
    """Load a server for some seconds. Errors: SystemExit when it does not answer as it should."""
    plan = Plan(
        port, ["/hello/42"], connections, seconds, [f"Authorization: Bearer {token}"], spin=True
    )
    result = run_load(plan, core=_LOAD_CORE)
    if result.errors or not result.acknowledged:
        raise SystemExit(f"the server on port {port}: {result}")
    rate = result.requests / result.seconds
    return {"rps": rate, "p50": result.p50, "p99": result.p99, "errors": result.errors}


def table(results: dict[Case, list[dict[str, float]]]) -> str:
    """The medians as Markdown; the ratios are medians of each round's own ratio."""
    lines = [
        "| server | requests/s | range | p50 ms | p99 ms | errors | × raw | × FastAPI, stack |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for case, runs in results.items():
        rps, p50, p99 = (median(run[name] for run in runs) for name in ("rps", "p50", "p99"))
        low, high = min(run["rps"] for run in runs), max(run["rps"] for run in runs)
        errors = sum(run["errors"] for run in runs)
        versus = [ratio(runs, results[other]) for other in (CASES[0], CASES[-1])]
        lines.append(
            f"| {case.name} | {rps:,.0f} | {low:,.0f}–{high:,.0f} | {p50:.2f} | {p99:.2f} "
            f"| {errors:.0f} | {versus[0]:.2f} | {versus[1]:.2f} |"
        )
    return "\n".join(lines) + "\n"


def ratio(runs: list[dict[str, float]], others: list[dict[str, float]]) -> float:
    """How many times faster, round by round: what slows a round slows both."""
    pairs = zip(runs, others, strict=True)
    return median(run["rps"] / max(1.0, other["rps"]) for run, other in pairs)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="over all servers")
    parser.add_argument("--seconds", type=float, default=1.5, help="of load for each in a round")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="in seconds, nothing written")
    options = parser.parse_args()
    rounds, seconds = (1, 0.3) if options.quick else (options.rounds, options.seconds)
    on = machine()
    token = make_token("bench", "bench", secret=SECRET.decode())
    results: dict[Case, list[dict[str, float]]] = {case: [] for case in CASES}
    with ExitStack() as stack:
        ports = {case: stack.enter_context(serving(case, token)) for case in CASES}
        for number in range(rounds + 1):
            for case in CASES:
                result = measure(ports[case], token, options.connections, seconds)
                if number:  # the first round warms up
                    results[case].append(result)
            sys.stderr.write(f"round {number} of {rounds}\n")
    text = table(results)
    sys.stdout.write(text)
    if not options.quick:
        head = (
            f"`make layer`: one process on one core, load on the other, {options.connections}"
            f" connections, {rounds} rounds of {seconds:g} s each in turn, medians."
        )
        rates = {case.name: median(run["rps"] for run in runs) for case, runs in results.items()}
        write("http_layer", page(head, on, (), text), on=on, figures={"rates": rates})


if __name__ == "__main__":
    main()
