"""What becomes of a service that is asked for five times what it can do, and afterwards.

For each server: its peak, the best of three closed loops; then in an open loop a while at the
sustainable rate (0.8 of the peak), a while at five times that, and a while at the sustainable rate
again. Server and PostgreSQL have one core and the load the other, so that the load is not what
gives way; it says how late it was. A page of 20 records is asked for, for a GET by id is so cheap
that this load could not send five times as many. Writes ``bench/results/overload.{md,json}``, not
with ``--quick`` or ``--only``. Run by ``make overload``.
"""

import argparse
import asyncio
import os
import secrets
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bars import Bar, bars_table, judge
from cases import CASES, World, new_plan, new_tokens
from child_processes import run_load, run_script
from database import OWNER, RECORDS, Database, running_database, say, scratch
from load import Plan
from open_load import BIN
from outcome import machine, page, write
from servers import (
    FASTAPI,
    GO,
    GO_THROTTLED,
    OURS,
    PEERS,
    Failed,
    Peer,
    Server,
    Skipped,
    cpu_seconds,
    started,
)

HERE = Path(__file__).parent
TAKING_PART = (
    OURS,
    GO,
    GO_THROTTLED,
    FASTAPI,
    next(peer for peer in PEERS if peer.key == "litestar-asyncpg"),
)
SUSTAINABLE = 0.8  # of the peak
FACTOR = 5
PATIENCE = 1.0  # seconds until a client gives up
_SERVER_CORE, _LOAD_CORE = 0, 1
_PAGE = next(case for case in CASES if case.name == "list")
_CLOSED = 12  # connections: enough to keep it busy, and too few to be refused
_WARM = 1.5
_WELL = 3  # bins in a row that are as before
_SAMPLE = 0.2
_HEAD = (
    "| server | peak | goodput at 5× | over peak | p99 before | p99 of accepted at 5× | ×"
    " | per CPU second | refused in | given up | MiB | grown by | well again after |"
)


@dataclass
class Run:
    """What became of one server; rates a second, times in ms, memory in MiB.

    ``cost``: CPU seconds of server and PostgreSQL for each good answer, at the peak. ``samples``:
    seconds since the beginning, MiB, and CPU seconds so far.
    """

    key: str
    title: str
    peak: float
    sustainable: float
    phases: list[dict[str, float]]
    bins: list[dict[str, float]]
    late_p99_ms: float
    cost: float
    samples: list[tuple[float, float, float]]
    recovery: float | None

    @property
    def normal(self) -> dict[str, float]:
        """The while before."""
        return self.phases[0]

    @property
    def overload(self) -> dict[str, float]:
        """The while at five times the rate."""
        return self.phases[1]

    @property
    def goodput(self) -> float:
        """Good answers a second under overload, over the peak."""
        return self.overload["good"] / self.overload["seconds"] / max(self.peak, 1.0)

    @property
    def efficiency(self) -> float:
        """Good answers for each CPU second under overload, over those at the peak.

        What others do on the machine slows the clock, and hardly changes this.
        """
        begin, end = self.normal["seconds"], self.normal["seconds"] + self.overload["seconds"]
        used = self._cpu_at(end) - self._cpu_at(begin)
        return self.overload["good"] / max(used, 0.01) * self.cost

    def _cpu_at(self, seconds: float) -> float:
        return min(self.samples, key=lambda sample: abs(sample[0] - seconds))[2]

    @property
    def grown(self) -> float:
        """By how much memory grew at most."""
        return max(size for _, size, _ in self.samples) - self.samples[0][1]

    @property
    def slowdown(self) -> float:
        """The p99 of what was accepted over the normal one."""
        return self.overload["p99"] / max(self.normal["p99"], 0.001)


class Overload:
    """The bench on one database."""

    def __init__(
        self, database: Database, world: World, seconds: Sequence[float], closed: float
    ) -> None:
        self._closed_seconds = closed
        self._database = database
        self._world = world
        self._seconds = seconds
        self._secret = secrets.token_urlsafe(48)
        self._tokens = new_tokens(OWNER, "records:read", secret=self._secret)

    async def run(self, peer: Peer) -> Run:
        """Measure one server, alone. Errors: `Skipped`."""
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(
                started(peer, self._database.dsn, self._secret)
            )
            seconds = self._closed_seconds
            await self._closed(server, seconds)
            used = self._cpu(server)
            rates = [await self._closed(server, seconds) for _ in range(3)]
            cost = (self._cpu(server) - used) / max(sum(rates) * seconds, 1.0)
            await asyncio.sleep(1)
            return await self._open(server, max(*rates, 1.0), cost)

    def _cpu(self, server: Server) -> float:
        return server.cpu_seconds() + cpu_seconds([self._database.postmaster])

    async def _closed(self, server: Server, seconds: float) -> float:
        plan = self._plan(server, _CLOSED, seconds)
        result = await asyncio.to_thread(run_load, plan, core=_LOAD_CORE)
        if not result.acknowledged:
            raise Failed(f"{server.peer.title} answers nothing: {result}")
        if result.errors:
            say(f"{server.peer.title}: {result.statuses} {result.broken} in the closed loop")
        return result.requests / result.seconds

    async def _open(self, server: Server, peak: float, cost: float) -> Run:
        rate = SUSTAINABLE * peak
        before, during, after = self._seconds
        phases = [(rate, before), (FACTOR * rate, during), (rate, after)]
        plan = {
            "requests": asdict(self._plan(server, 16, 0)),
            "phases": [{"rate": rate, "seconds": seconds} for rate, seconds in phases],
            "patience": PATIENCE,
            "most": 800,
        }
        load = asyncio.create_task(
            asyncio.to_thread(run_script, "open_load.py", plan, core=_LOAD_CORE)
        )
        samples = await self._watch(server, load)
        told = await load
        server.take_log()
        run = Run(
            server.peer.key, server.peer.title, peak, rate, told["phases"], told["bins"],
            told["late_p99_ms"], cost, samples, None,
        )  # fmt: skip
        run.recovery = recovery(run.bins, round((before + during) / BIN), 3 * run.normal["p99"])
        return run

    async def _watch(
        self, server: Server, load: "asyncio.Task[Any]"
    ) -> list[tuple[float, float, float]]:
        loop = asyncio.get_running_loop()
        begin, samples = loop.time(), list[tuple[float, float, float]]()
        while not load.done():
            memory = _memory([one.pid for one in server.processes])
            samples.append((loop.time() - begin, memory, self._cpu(server)))
            await asyncio.sleep(_SAMPLE)
        return samples

    def _plan(self, server: Server, connections: int, seconds: float) -> Plan:
        return new_plan(
            _PAGE, self._world, port=server.port, tokens=self._tokens, connections=connections,
            seconds=seconds,
        )  # fmt: skip


def recovery(bins: Sequence[dict[str, float]], end: int, p99: float) -> float | None:
    """Seconds from the end of the overload until everything asked for is answered in good time."""
    well = 0
    for number, one in enumerate(bins[end:]):
        good = one["good"] == one["offered"] and one["p99"] <= p99
        well = well + 1 if good else 0
        if well == _WELL:
            return (number + 1 - _WELL) * BIN
    return None


def _memory(roots: Sequence[int]) -> float:
    """The private and the shared memory in use by processes and their children, in MiB."""
    total = 0.0
    for pid in roots:
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        total += pages * os.sysconf("SC_PAGE_SIZE") / 2**20 + _memory(
            [int(one) for one in children]
        )
    return total


def table(runs: Sequence[Run], skipped: Sequence[str]) -> str:
    """The table, as Markdown."""
    lines = [
        _HEAD,
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for run in runs:
        over, normal = run.overload, run.normal
        refused = f"{over['refused_p50']:.1f} ms" if over["refused"] else "never"
        lost = (over["given_up"] + over["failed"]) / max(over["offered"], 1)
        well = f"{run.recovery:.1f} s" if run.recovery is not None else "not at all"
        lines.append(
            f"| {run.title} | {run.peak:,.0f}/s | {over['good'] / over['seconds']:,.0f}/s"
            f" | {run.goodput:.2f} | {normal['p99']:.0f} ms | {over['p99']:.0f} ms"
            f" | {run.slowdown:.1f} | {run.efficiency:.2f} | {refused} | {lost:.0%}"
            f" | {run.samples[0][1]:.0f} | {run.grown:.0f} | {well} |"
        )
    lines += [f"\nSkipped: {line}" for line in skipped]
    return "\n".join(lines) + "\n"


def bars(runs: Sequence[Run]) -> list[Bar]:
    """What is wanted of ours, and what was measured."""
    run = next((one for one in runs if one.key == OURS.key), None)
    if run is None:
        return []
    never = run.phases[2]["seconds"] if run.recovery is None else run.recovery
    return [
        Bar("goodput at 5 times the sustainable rate, over the peak", 0.9, run.goodput),
        Bar("goodput for each CPU second, over the peak's", 0.85, run.efficiency),
        Bar("p99 of what was accepted, over the normal one", 3.0, run.slowdown, "×", most=True),
        Bar("well again after", 1.0, never, "s", most=True),
    ]


async def measure(
    peers: Sequence[Peer],
    seconds: Sequence[float],
    closed: float,
    folder: Path,
    records: int = RECORDS,
) -> tuple[list[Run], list[str]]:
    """Every server in turn, each for ``closed`` seconds to find its peak. Errors: `Failed`."""
    runs, skipped = list[Run](), list[str]()
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {_SERVER_CORE})  # servers and PostgreSQL inherit it
    async with running_database(folder / "db") as database:
        bench = Overload(database, await database.seed(records), seconds, closed)
        for peer in peers:
            try:
                run = await bench.run(peer)
            except Skipped as reason:
                skipped.append(f"{peer.title}: {reason}")
                say(f"SKIPPED {peer.title}: {reason}")
                continue
            runs.append(run)
            say(table([run], []).splitlines()[2] + f" late {run.late_p99_ms:.1f} ms")
    return runs, skipped


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of overload, for each server")
    parser.add_argument("--only", nargs="*", default=[], help="these servers, by key; unwritten")
    parser.add_argument("--quick", action="store_true", help="in seconds, nothing written")
    options = parser.parse_args()
    closed, records = _WARM, RECORDS
    if options.quick:
        options.seconds, closed, records = 0.5, 0.3, 2_000
    peers = [peer for peer in TAKING_PART if not options.only or peer.key in options.only]
    seconds = (options.seconds, options.seconds, 0.6 * options.seconds)
    on = machine()
    with scratch() as folder:
        runs, skipped = asyncio.run(measure(peers, seconds, closed, folder, records))
    found, body = bars(runs), table(runs, skipped)
    sys.stdout.write(f"{bars_table(found)}\n{body}")
    if options.only or options.quick:
        return
    figures = {"runs": [asdict(run) for run in runs]}
    write("overload", page(head(options.seconds), on, found, body), on=on, bars=found,
          figures=figures)  # fmt: skip
    judge(found)


def head(seconds: float) -> str:
    """What was done."""
    return (
        f"`make overload`: a page of 20 records, {seconds:g} s at the sustainable rate"
        f" ({SUSTAINABLE:g} of the peak), as long at {FACTOR} times that, and again at the"
        " sustainable one; open loop, latencies from when a request was due, clients give up after"
        f" {PATIENCE:g} s. Server and PostgreSQL on one core, the load on the other. Ours is one"
        " process with its defaults, which shed. Go's second row has chi's ThrottleBacklog: 25 at"
        " once, as many as there are connections to PostgreSQL, 50 that wait, for at most 100 ms;"
        " what is beyond is answered with 429."
    )


if __name__ == "__main__":
    main()
