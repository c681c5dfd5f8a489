"""What traces cost a GET of one record, in processor time and in instructions, with and without.

In process and without sockets: the service's stack around its handler and its coalesced repository,
64 requests at once; the database's answer is at hand, since it costs all the same. The stacks take
many short turns, and of each one's turns the best tenth counts, as what disturbs a turn only ever
adds. "none" has neither middleware nor observers. ``python bench/trace_cost.py`` says whether the
target of 10 µs for a request that is not sampled is met; with ``--count`` valgrind counts
instructions, which nothing on the machine can disturb. ``--quick`` takes a few turns and judges
nothing, and runs what is counted without valgrind, under which the imports alone take a minute.
Decision 0013 quotes both.
"""

import asyncio
import math
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median
from time import process_time
from typing import Final, TextIO, cast
from uuid import UUID

from myservice.handler.records_http import RecordHandler
from myservice.repository.records import PgRecords
from myservice.scopes import RECORDS_READ
from myservice.service.records import RecordService
from paceline.clock import SystemClock
from paceline.commands import tune_gc
from paceline.http import App, TestClient
from paceline.http.middleware import (
    access_log,
    authenticate,
    real_ip,
    recover,
    request_id,
    timeout,
    trace,
)
from paceline.log import new_logger
from paceline.postgres import Pool, uuid7
from paceline.trace import BatchSpans, SpanKind, TraceExport, Tracer, otlp_sender, recording_span

_CONCURRENT, _REQUESTS, _TURNS, _QUICK_TURNS = 64, 512, 60, 2
_COUNTED: Final = (128, 640)
_CALLGRIND: Final = ("--tool=callgrind", "--callgrind-out-file=/dev/null")
_TARGET: Final = 10.0
_SAMPLED: Final = f"00-{'4b' * 16}-{'f0' * 8}-01"
_UNSAMPLED: Final = f"00-{'4b' * 16}-{'f0' * 8}-00"
_IDS: Final = [str(uuid7()) for _ in range(1000)]


@dataclass(frozen=True)
class Somebody:
    """Whoever asks may read."""

    subject: str = "bench"
    scopes: frozenset[str] = frozenset({RECORDS_READ})
    expires_at: float = math.inf


class Anybody:
    """Every token is good: tokens cost the same with and without traces."""

    def verify(self, token: str) -> Somebody:
        """Somebody."""
        return Somebody(token)

    def recall(self, token: str) -> None:
        """Nobody is remembered."""


class Rows:
    """A pool whose answers are at hand."""

    async def fetch(self, _sql: str, ids: UUID | Sequence[UUID]) -> list[tuple[object, ...]]:
        """A record for each id, and a span of the statement with the attributes of a real one."""
        parent = recording_span()
        span = parent and parent.child(
            "SELECT records", SpanKind.CLIENT,
            {"db.system.name": "postgresql", "db.query.summary": "SELECT records"},
        )  # fmt: skip
        now = datetime.now(UTC)
        rows: list[tuple[object, ...]] = [
            (each, "a", "{}", "null", 1, now, now)
            for each in ([ids] if isinstance(ids, UUID) else ids)
        ]
        if span is not None:
            span.attributes["db.response.returned_rows"] = len(rows)
            span.end()
        return rows


@dataclass(frozen=True)
class Stack:
    """One way to be traced: its application, and what its requests carry."""

    name: str
    client: TestClient


def stack(name: str, null: TextIO, tracer: Tracer | None, parent: str | None) -> Stack:
    """The service's stack; without a ``tracer``, no trace at all."""
    log = new_logger(stream=null, format="json")
    # The same number of headers for all.
    sent = {"authorization": "Bearer bench", "traceparent" if parent else "x-other": parent or "-"}
    traced = [] if tracer is None else [trace(tracer)]
    observer = BatchSpans() if tracer is not None and tracer.records else None
    records = PgRecords(cast("Pool", Rows()), observer=observer)
    app = App(
        request_id(), *traced, real_ip(), access_log(log), recover(log), timeout(30.0),
        max_body=1 << 20,
    )  # fmt: skip
    RecordHandler(RecordService(records, SystemClock(), uuid7)).register(
        app.group("/api/v1", authenticate(Anybody()))
    )
    return Stack(name, TestClient(app, headers=sent))


def stacks(null: TextIO, export: TraceExport) -> list[Stack]:
    """All there are."""
    kinds = {
        "none": (None, None),
        "ids only: no endpoint": (Tracer(ratio=0.1), None),
        "not sampled": (Tracer(export.record, ratio=0.0), None),
        "not sampled by the caller": (Tracer(export.record, ratio=1.0), _UNSAMPLED),
        "a tenth sampled, collector away": (Tracer(export.record, ratio=0.1), None),
        "all sampled, spans dropped": (Tracer(drop, ratio=0.0), _SAMPLED),
    }
    return [stack(name, null, tracer, parent) for name, (tracer, parent) in kinds.items()]


def drop(span: object) -> None:
    """A sink."""


async def serve(one: Stack, count: int) -> None:
    """So many requests."""
    left = iter(random.choices(_IDS, k=count))  # noqa: S311 - a load, not a secret

    async def client() -> None:
        for record in left:
            response = await one.client.get(f"/api/v1/records/{record}")
            if response.status != 200:  # noqa: PLR2004 - OK
                raise SystemExit(f"{one.name}: {response.status}")

    async with asyncio.TaskGroup() as group:
        for _ in range(_CONCURRENT):
            group.create_task(client())


async def measure(found: Sequence[Stack], turns: int) -> dict[str, list[float]]:
    """Microseconds a request of each turn, in another order each time."""
    spent: dict[str, list[float]] = {one.name: [] for one in found}
    for _ in range(turns):
        for one in random.sample(found, len(found)):
            began = process_time()
            await serve(one, _REQUESTS)
            spent[one.name].append((process_time() - began) / _REQUESTS * 1e6)
    return spent


def undisturbed(spent: Sequence[float]) -> float:
    """The mean of the best tenth."""
    return mean(sorted(spent)[: max(1, len(spent) // 10)])


def report(found: dict[str, list[float]]) -> int:
    """The table; 1 if the target does not hold."""
    print("| traces | µs a GET | more than none | median turn |\n|---|---|---|---|")
    base = undisturbed(found["none"])
    more = {name: undisturbed(spent) - base for name, spent in found.items()}
    for name, spent in found.items():
        print(f"| {name} | {base + more[name]:.1f} | {more[name]:+.1f} | {median(spent):.1f} |")
    holds = max(more["not sampled"], more["not sampled by the caller"]) <= _TARGET
    print(f"\nNot sampled: the target of {_TARGET:g} µs {'holds' if holds else 'does not hold'}.")
    return 0 if holds else 1


def run(name: str, count: int, *under: str) -> "subprocess.CompletedProcess[str]":
    """So many requests in a process of their own."""
    return subprocess.run(
        [*under, sys.executable, __file__, "--serve", name, str(count)],
        env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True,
    )  # fmt: skip


def instructions(name: str) -> float:
    """Of one request, by valgrind: the difference of many requests and few."""
    said = [run(name, number, "valgrind", *_CALLGRIND).stderr for number in _COUNTED]
    counts = [int(re.findall(r"Collected : (\d+)", each)[-1]) for each in said]
    return (counts[1] - counts[0]) / (_COUNTED[1] - _COUNTED[0])


def count() -> int:
    """The table of instructions."""
    print("| traces | instructions a GET | more than none |\n|---|---|---|", flush=True)
    run("none", 1)  # what is compiled once is compiled
    base = 0.0
    for name in ("none", "not sampled", "not sampled by the caller"):
        found = instructions(name)
        base = base or found
        print(
            f"| {name} | {found:,.0f} | {found - base:+,.0f} ({found / base - 1:+.1%}) |",
            flush=True,
        )
    return 0


def quick() -> int:
    """Whether everything works: the target is nothing that a few turns could judge."""
    asyncio.run(main([], _QUICK_TURNS))
    for name in ("none", "not sampled", "not sampled by the caller"):
        run(name, 2)
    return 0


async def main(arguments: Sequence[str], turns: int = _TURNS) -> int:
    """Measure and print, or serve so many requests for valgrind to count."""
    with Path("/dev/null").open("w") as null:  # noqa: ASYNC230 - no file
        # Nobody listens there: what it costs to make spans, and to be refused.
        connect = otlp_sender("http://127.0.0.1:9", service="bench", version="1")
        export = TraceExport(connect, new_logger(stream=null))
        found = stacks(null, export)
        tune_gc()  # as the service does when it is ready
        if arguments:
            _, name, number = arguments
            await serve(next(one for one in found if one.name == name), int(number))
            return 0
        await export.start()
        spent = await measure(found, turns)
        await export.stop()
    return report(spent)


if __name__ == "__main__":
    ways = {"--count": count, "--quick": quick}
    chosen = next((ways[word] for word in sys.argv[1:] if word in ways), None)
    sys.exit(asyncio.run(main(sys.argv[1:])) if chosen is None else chosen())
