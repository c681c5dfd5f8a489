"""The headline with telemetry on: GET by id, ours against Go and FastAPI, each with its own.

Every server runs twice, without telemetry and with traces (one in ten, exported over OTLP to a
collector of ours that counts and forgets) and metrics. All take turns, in rounds; ratios are taken
round by round. Prints a table of medians and writes it to ``bench/results/telemetry.md`` unless
``--quick``. The peers' telemetry is in ``peers/telemetry.py`` and ``peers/go/telemetry.go``.
"""

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from cases import CASES, MAIN_CONNECTIONS, World, new_plan
from database import OWNER, RECORDS, Database, running_database, say, scratch
from load import Result
from servers import FASTAPI, GO, OURS_TWO, Peer, Server, Skipped, started

from paceline.testing import make_token

HERE = Path(__file__).parent
PEERS = (OURS_TWO, GO, FASTAPI)
BARS = {GO.key: 1.3, FASTAPI.key: 5.0}
_CASE = CASES[0]
_WARM = 0.7


class Collector(BaseHTTPRequestHandler):
    """Takes what OTLP exporters send; ``taken`` counts the bytes."""

    protocol_version = "HTTP/1.1"
    taken = 0

    def do_POST(self) -> None:
        """Take one batch."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).taken += len(body)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def collecting() -> Generator[str]:
    """A collector on a free port; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Entrant:
    """A server that takes turns. ``cpu``: its processor time a request, in microseconds."""

    peer: Peer
    observed: bool
    server: Server
    rates: list[float] = field(default_factory=list[float])
    p99s: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])


class Contest:
    """Everybody's turns on one database."""

    def __init__(self, database: Database, world: World, secret: str) -> None:
        self._database = database
        self._world = world
        self._secret = secret
        self._token = make_token(OWNER, "records:read", secret=secret, expiry=7200)
        self.entrants: list[Entrant] = []
        self.skipped: list[str] = []

    async def admit(self, stack: AsyncExitStack, collector: str, seconds: float) -> None:
        """Start everybody twice, and warm them up for so long, or less."""
        for peer in PEERS:
            for telemetry in ("", collector):
                try:
                    server = await stack.enter_async_context(
                        started(peer, self._database.dsn, self._secret, telemetry=telemetry)
                    )
                except Skipped as reason:
                    self.skipped.append(f"{peer.title}: {reason}")
                    say(f"SKIPPED {peer.title}: {reason}")
                    break
                self.entrants.append(Entrant(peer, bool(telemetry), server))
        for one in self.entrants:
            await asyncio.to_thread(self._load, one.server, min(_WARM, seconds))

    async def round(self, seconds: float) -> None:
        """A turn for each."""
        for one in self.entrants:
            used = one.server.cpu_seconds()
            result = await asyncio.to_thread(self._load, one.server, seconds)
            if result.errors or not result.acknowledged:
                raise SystemExit(f"{one.peer.title}: {result}")
            one.cpu.append((one.server.cpu_seconds() - used) / result.acknowledged * 1e6)
            one.rates.append(result.requests / result.seconds)
            one.p99s.append(result.p99)
            one.server.take_log()
            state = "with" if one.observed else "without"
            say(f"{one.peer.title} {state}: {one.rates[-1]:,.0f}/s, p99 {result.p99:.1f} ms")

    def _load(self, server: Server, seconds: float) -> Result:
        plan = new_plan(
            _CASE, self._world, port=server.port, token=self._token,
            connections=MAIN_CONNECTIONS, seconds=seconds,
        )  # fmt: skip
        done = subprocess.run(
            [sys.executable, HERE / "load.py"], check=True,
            input=json.dumps(asdict(plan)).encode(), stdout=subprocess.PIPE,
        )  # fmt: skip
        return Result(**json.loads(done.stdout))


def table(contest: Contest) -> str:
    """The medians as Markdown, and the targets."""
    lines = ["| server | telemetry | requests/s | p99 ms | server CPU µs a request |",
             "|---|---|---:|---:|---:|"]  # fmt: skip
    for one in contest.entrants:
        state = "on" if one.observed else "off"
        lines.append(
            f"| {one.peer.title} | {state} | {median(one.rates):,.0f}"
            f" | {median(one.p99s):.1f} | {median(one.cpu):.0f} |"
        )
    lines.append("")
    observed = {one.peer.key: one for one in contest.entrants if one.observed}
    ours = observed[OURS_TWO.key]
    for key, wanted in BARS.items():
        if key not in observed:
            continue
        other = observed[key]
        ratio = median(a / max(1.0, b) for a, b in zip(ours.rates, other.rates, strict=True))
        state = "holds" if ratio >= wanted else "MISSED"
        lines.append(f"- × {other.peer.title}, telemetry on: {ratio:.2f} (≥ {wanted:g}: {state})")
    return "\n".join([*lines, *(f"- skipped: {line}" for line in contest.skipped), ""])


async def measure(rounds: int, seconds: float, folder: Path, records: int = RECORDS) -> str:
    """The whole bench; gives the report."""
    secret = secrets.token_urlsafe(48)
    with collecting() as collector:
        async with running_database(folder / "db") as database, AsyncExitStack() as stack:
            contest = Contest(database, await database.seed(records), secret)
            await contest.admit(stack, collector, seconds)
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}")
                await contest.round(seconds)
    if not Collector.taken:
        raise SystemExit("nobody exported a trace")
    head = (
        f"`make bench-telemetry`: GET by id, {MAIN_CONNECTIONS} connections, {rounds} rounds of"
        f" {seconds:g} s in turn, medians; {os.cpu_count()} cores shared by server, PostgreSQL,"
        " load and collector. Telemetry: one trace in ten over OTLP, and a histogram by route.\n\n"
    )
    return head + table(contest)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--quick", action="store_true", help="in seconds, nothing written")
    options = parser.parse_args()
    rounds, seconds = (1, 0.2) if options.quick else (options.rounds, options.seconds)
    with scratch() as folder:
        text = asyncio.run(measure(rounds, seconds, folder, 2_000 if options.quick else RECORDS))
    sys.stdout.write(text)
    if not options.quick:
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results/telemetry.md").write_text(text)


if __name__ == "__main__":
    main()
