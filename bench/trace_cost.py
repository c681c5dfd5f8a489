"""What traces cost a GET of one record: microseconds of this process's processor, with and without.

In process and without sockets, on a real PostgreSQL: the service's stack around its handler and its
coalesced repository, 64 requests at once. The stacks take many short turns, and of each one's turns
the best tenth counts: what disturbs a turn only ever adds. "none" has neither middleware nor
observers. What the code asks even then (is anything ambient?) is measured alone and added. Says
whether the bar of 10 µs for a request that is not sampled holds. ``python bench/trace_cost.py``;
decision 0013 quotes it.
"""

import asyncio
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from time import process_time
from typing import TextIO

import uvloop
from database import running_database

from myservice.handler.http import READ, RecordHandler
from myservice.repository.records import PgRecords
from myservice.service.records import RecordService
from paceline.clock import SystemClock
from paceline.log import new_logger
from paceline.memory import settle_memory
from paceline.pg import Pool, uuid7
from paceline.pg.spans import begin
from paceline.trace import TraceExport, Tracer, TripSpans, sender_to, span
from paceline.web.app import App
from paceline.web.middleware import (
    access_log,
    authenticate,
    real_ip,
    recover,
    request_id,
    timeout,
    trace,
)
from paceline.web.testing import Client

_CONCURRENT, _REQUESTS, _TURNS = 64, 512, 80
_BAR = 10.0
_SAMPLED = f"00-{'4b' * 16}-{'f0' * 8}-01"
_UNSAMPLED = f"00-{'4b' * 16}-{'f0' * 8}-00"


@dataclass(frozen=True)
class Somebody:
    """Whoever asks may read."""

    subject: str = "bench"
    scopes: frozenset[str] = frozenset({READ})


class Anybody:
    """Every token is good: tokens cost the same with and without traces."""

    def verify(self, token: str) -> Somebody:
        """Somebody."""
        return Somebody(token)


@dataclass(frozen=True)
class Stack:
    """One way to be traced: its application, and what its requests carry."""

    name: str
    client: Client
    records: PgRecords


def stack(
    name: str, pool: Pool, null: TextIO, tracer: Tracer | None, *, parent: str | None = None
) -> Stack:
    """The service's stack; without a ``tracer``, no trace at all."""
    log = new_logger(stream=null, format="json")
    # The same number of headers for all.
    sent = {"authorization": "Bearer bench", "traceparent" if parent else "x-other": parent or "-"}
    traced = [] if tracer is None else [trace(tracer)]
    observer = TripSpans() if tracer is not None and tracer.records else None
    records = PgRecords(pool, observer=observer)
    app = App(
        request_id(), *traced, real_ip(), access_log(log), recover(log), timeout(30.0),
        max_body=1 << 20,
    )  # fmt: skip
    RecordHandler(RecordService(records, SystemClock(), uuid7)).register(
        app.group("/api/v1", authenticate(Anybody()))
    )
    return Stack(name, Client(app, headers=sent), records)


async def cost(one: Stack, ids: Sequence[str]) -> float:
    """Microseconds of processor a request."""
    left = iter(random.choices(ids, k=_REQUESTS))  # noqa: S311 - a load, not a secret

    async def client() -> None:
        for record in left:
            response = await one.client.get(f"/api/v1/records/{record}")
            if response.status != 200:  # noqa: PLR2004 - OK
                raise SystemExit(f"{one.name}: {response.status}")

    began = process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(_CONCURRENT):
            group.create_task(client())
    return (process_time() - began) / _REQUESTS * 1e6


def each(call: Callable[[], object], count: int = 200_000) -> float:
    """Microseconds of one call."""
    began = process_time()
    for _ in range(count):
        call()
    return (process_time() - began) / count * 1e6


def drop(span: object) -> None:
    """A sink."""


def ask() -> None:
    """What a handler asks without any trace."""
    with span("handler"):
        pass


async def measure(stacks: Sequence[Stack], ids: Sequence[str]) -> dict[str, list[float]]:
    """In turns, in another order each."""
    found: dict[str, list[float]] = {one.name: [] for one in stacks}
    for _ in range(_TURNS):
        for one in random.sample(stacks, len(stacks)):
            found[one.name].append(await cost(one, ids))
    return found


async def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as text, Path("/dev/null").open("w") as null:  # noqa: ASYNC230 - no file
        async with running_database(Path(text) / "postgres") as database:
            world = await database.seed()
            ids = world.records[:20_000]
            pool = Pool(database.dsn)
            log = new_logger(stream=sys.stderr)
            # Nobody listens there: what it costs to make spans, and to be refused.
            export = TraceExport(sender_to("http://127.0.0.1:9", service="bench", version="1"), log)
            kinds = {
                "none": (None, None),
                "ids only, no endpoint": (Tracer(ratio=0.1), None),
                "not sampled": (Tracer(drop, ratio=0.0), None),
                "not sampled by the caller": (Tracer(drop, ratio=1.0), _UNSAMPLED),
                "a tenth sampled, nobody there": (Tracer(export.record, ratio=0.1), None),
                "all sampled, spans dropped": (Tracer(drop, ratio=0.0), _SAMPLED),
            }
            stacks = [
                stack(name, pool, null, tracer, parent=parent)
                for name, (tracer, parent) in kinds.items()
            ]
            await pool.start()
            await export.start()
            for one in stacks:
                await one.records.start()
            settle_memory()  # as the service does when it is ready
            found = await measure(stacks, ids)
            for one in stacks:
                await one.records.stop()
            await export.stop()
            await pool.stop()
    return report(found)


def undisturbed(spent: Sequence[float]) -> float:
    """The mean of the best tenth."""
    return mean(sorted(spent)[: max(1, len(spent) // 10)])


def report(found: dict[str, list[float]]) -> int:
    """The table; 1 if the bar does not hold."""
    asked = each(ask) + each(lambda: begin("SELECT 1"))
    base = undisturbed(found["none"])
    print("| traces | µs a GET | more than none | median turn |\n|---|---|---|---|")
    more = {}
    for name, spent in found.items():
        more[name] = undisturbed(spent) - base
        print(f"| {name} | {undisturbed(spent):.1f} | {more[name]:+.1f} | {median(spent):.1f} |")
    total = max(more["not sampled"], more["not sampled by the caller"]) + asked
    holds = total <= _BAR
    print(
        f"\nWhat is asked even without: {asked:.2f} µs. Not sampled, in all: {total:.1f} µs a GET;"
    )
    print(f"the bar of {_BAR:g} µs {'holds' if holds else 'does not hold'}.")
    return 0 if holds else 1


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(main()))
