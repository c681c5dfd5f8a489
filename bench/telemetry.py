"""The headline with telemetry on: GET by id, ours against Go and FastAPI, each with its own.

Every server runs twice, without traces and with them (one in ten, exported over OTLP to a collector
of ours that counts and forgets); ours has its metrics both times, as by default, the peers only
with their traces. All take turns, in rounds; ratios are taken round by round. Prints a table of
medians and writes it to ``bench/results/telemetry.{md,json}`` unless ``--quick``. The peers'
telemetry is in ``peers/telemetry.py`` and ``peers/go/telemetry.go``.
"""

import argparse
import asyncio
import secrets
import sys
import threading
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from bars import Bar, bars_table, judge
from cases import CASES, MAIN_CONNECTIONS, TOKENS, World, new_plan, new_tokens
from child_processes import run_load
from database import OWNER, RECORDS, Database, running_database, say, scratch
from load import Result
from outcome import machine, page, write
from servers import FASTAPI, GO, OURS_TWO, Peer, Server, Skipped, started

HERE = Path(__file__).parent
PEERS = (OURS_TWO, GO, FASTAPI)
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
    errors: int = 0


class Contest:
    """Everybody's turns on one database."""

    def __init__(self, database: Database, world: World, secret: str, *, patient: bool) -> None:
        self._patient = patient
        self._database = database
        self._world = world
        self._secret = secret
        self._tokens = new_tokens(OWNER, "records:read", secret=secret)
        self.entrants: list[Entrant] = []
        self.skipped: list[str] = []

    async def admit(self, stack: AsyncExitStack, collector: str, seconds: float) -> None:
        """Start everybody twice, and warm them up for so long, or less."""
        for peer in PEERS:
            for telemetry in ("", collector):
                try:
                    server = await stack.enter_async_context(
                        started(
                            peer,
                            self._database.dsn,
                            self._secret,
                            telemetry=telemetry,
                            patient=self._patient,
                        )
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
            if not result.acknowledged:
                raise SystemExit(f"{one.peer.title} answers nothing: {result}")
            one.errors += result.errors
            one.cpu.append((one.server.cpu_seconds() - used) / result.acknowledged * 1e6)
            one.rates.append(result.requests / result.seconds)
            one.p99s.append(result.p99)
            one.server.take_log()
            state = "with" if one.observed else "without"
            say(f"{one.peer.title} {state}: {one.rates[-1]:,.0f}/s, p99 {result.p99:.1f} ms")

    def _load(self, server: Server, seconds: float) -> Result:
        plan = new_plan(
            _CASE, self._world, port=server.port, tokens=self._tokens,
            connections=MAIN_CONNECTIONS, seconds=seconds,
        )  # fmt: skip
        return run_load(plan)


def table(contest: Contest) -> str:
    """The medians as Markdown."""
    lines = ["| server | traces | requests/s | range | p99 ms | server CPU µs a request | errors |",
             "|---|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    for one in contest.entrants:
        state = "on" if one.observed else "off"
        lines.append(
            f"| {one.peer.title} | {state} | {median(one.rates):,.0f}"
            f" | {min(one.rates):,.0f}–{max(one.rates):,.0f}"
            f" | {median(one.p99s):.1f} | {median(one.cpu):.0f} | {one.errors} |"
        )
    return "\n".join([*lines, *(f"\n- skipped: {line}" for line in contest.skipped), ""])


def bars(contest: Contest) -> list[Bar]:
    """What is wanted and what was measured."""
    observed = {one.peer.key: one.rates for one in contest.entrants if one.observed}
    pairs = list(zip(observed[OURS_TWO.key], observed.get(GO.key, []), strict=False))
    ratio = median(a / max(1.0, b) for a, b in pairs) if pairs else None
    return [Bar("GET by id with traces and metrics on, over Go with its own", 1.6, ratio, "×")]


async def measure(
    rounds: int, seconds: float, folder: Path, *, records: int = RECORDS, patient: bool = False
) -> Contest:
    """The whole bench; gives everybody's turns."""
    secret = secrets.token_urlsafe(48)
    with collecting() as collector:
        async with running_database(folder / "db") as database, AsyncExitStack() as stack:
            world = await database.seed(records)
            contest = Contest(database, world, secret, patient=patient)
            await contest.admit(stack, collector, seconds)
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}")
                await contest.round(seconds)
    if not Collector.taken:
        raise SystemExit("nobody exported a trace")
    return contest


def head(rounds: int, seconds: float) -> str:
    """What was done, and what a trace is."""
    return (
        f"`make bench-telemetry`: GET by id, {MAIN_CONNECTIONS} connections, {rounds} rounds of"
        f" {seconds:g} s in turn, medians; all cores are shared by server, PostgreSQL, load and"
        f" collector; {TOKENS:,} tokens. With traces on, one in ten is recorded and sent over OTLP,"
        " and each server has a histogram by route; ours has its metrics both times. A recorded"
        " request is a server span and a span of its statement: in Go and FastAPI each request has"
        " a statement and a span of its own; ours shares one statement among the requests of a"
        " batch, so its span is made once, below the first of them that is recorded, and linked"
        " with the others. So ours sends fewer spans: as many as there are statements."
    )


def main() -> None:
    """Measure, print, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--quick", action="store_true", help="in seconds, nothing written")
    options = parser.parse_args()
    quick = options.quick
    rounds, seconds = (1, 0.2) if quick else (options.rounds, options.seconds)
    on, records = machine(), 2_000 if quick else RECORDS
    with scratch() as folder:
        contest = asyncio.run(measure(rounds, seconds, folder, records=records, patient=quick))
    found, body = bars(contest), table(contest)
    sys.stdout.write(f"{bars_table(found)}\n{body}")
    if not quick:
        figures = {
            "rows": [
                {"server": one.peer.title, "traces": one.observed, "rate": median(one.rates),
                 "p99": median(one.p99s), "cpu": median(one.cpu)}
                for one in contest.entrants
            ]
        }  # fmt: skip
        text = page(head(rounds, seconds), on, found, body)
        write("telemetry", text, on=on, bars=found, figures=figures)
    if failed := [one.peer.title for one in contest.entrants if one.errors]:
        raise SystemExit(f"requests failed: {', '.join(failed)}")
    if not quick:
        judge(found)


if __name__ == "__main__":
    main()
