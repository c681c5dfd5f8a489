"""The service against its peers: same database, same rows, same duties, same answers.

All servers are up; for each case they take turns, in rounds, so that what slows the machine slows
everybody. Before a turn that writes, the tables are as they were seeded; after it, every
acknowledged write must be there exactly once. Everything shares all cores: server, PostgreSQL and
load. Prints a table of medians, writes it to ``bench/results/service.{md,json}``, and judges it by
the bars. A peer whose toolchain is absent is skipped, and the table says why; one that does
not start or answers otherwise ends the bench. ``--quick`` does all of it in small numbers and
writes nothing. Run it with ``make bench``.
"""

import argparse
import asyncio
import secrets
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bars import Bar, bars_table, judge
from cases import CASES, DRAWN, MAIN_CONNECTIONS, TOKENS, Case, World, new_plan, new_tokens
from child_processes import run_load, run_script
from contract import Answer, answers, differences
from database import OWNER, RECORDS, Database, running_database, say, scratch
from load import Result
from outcome import machine, page, write
from servers import (
    ALONE,
    GO,
    GO_ORDERED,
    OURS,
    OURS_TWO,
    PEERS,
    Failed,
    Server,
    Skipped,
    cpu_seconds,
    started,
)

HERE = Path(__file__).parent
SCOPES = ["records:read", "records:write", "transfers:write"]
_ALL_ITS_OWN = 0.99  # statements a GET where nothing is coalesced, of which each needs one
_HEAD = (
    "| server | connections | requests/s | range | p50 ms | p99 ms | max ms"
    " | server CPU µs | Postgres CPU µs | statements a request | errors | deadlocks |"
)
Key = tuple[str, str, int]  # case, server, connections


@dataclass
class Turn:
    """One load on one server."""

    result: Result
    server_cpu: float
    postgres_cpu: float
    problems: list[str]


@dataclass
class Findings:
    """All turns, and what each request cost in statements."""

    turns: dict[Key, list[Turn]] = field(default_factory=dict[Key, list[Turn]])
    statements: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    skipped: list[str] = field(default_factory=list[str])
    deadlocks: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    single: dict[str, float] = field(default_factory=dict[str, float])

    def middle(self, key: Key, of: Callable[[Turn], float]) -> float:
        """The median over the rounds; 0 when there were none."""
        turns = self.turns.get(key)
        return median(map(of, turns)) if turns else 0.0

    def rate(self, case: str, server: str, connections: int = MAIN_CONNECTIONS) -> float:
        """Requests a second."""
        return self.middle((case, server, connections), rate_of)


def rate_of(turn: Turn) -> float:
    """Requests a second."""
    return turn.result.requests / turn.result.seconds


def p99_of(turn: Turn) -> float:
    """In milliseconds."""
    return turn.result.p99


@dataclass(frozen=True)
class Size:
    """How much is measured: rounds, and seconds of load in each turn and to warm up.

    ``drawn``: requests of a plan. ``connections``: in every case, instead of its own.
    """

    rounds: int
    seconds: float
    warm: float = 0.7
    records: int = RECORDS
    drawn: int = DRAWN
    connections: int | None = None


# Few connections: at many, transfers between hot accounts keep the peers waiting for many seconds.
QUICK = Size(1, 0.1, warm=0.1, records=2_000, drawn=200, connections=4)


class Bench:
    """The servers that take part, and their database."""

    def __init__(self, database: Database, world: World, size: Size) -> None:
        self.database = database
        self.size = size
        self.world = world
        self.secret = secrets.token_urlsafe(48)
        self.tokens = new_tokens(OWNER, *SCOPES, secret=self.secret)
        self.servers: list[Server] = []
        self.findings = Findings()

    async def admit(self, stack: AsyncExitStack) -> None:
        """Start everybody; all must answer as the first, ours, does. Errors: `Failed`."""
        ours: dict[str, Answer] | None = None
        for peer in PEERS:
            try:
                server = await stack.enter_async_context(
                    started(peer, self.database.dsn, self.secret, patient=self.size is QUICK)
                )
            except Skipped as reason:
                self.findings.skipped.append(f"{peer.title}: {reason}")
                say(f"SKIPPED {peer.title}: {reason}")
                continue
            await self.database.reset("transfers")
            told = await asyncio.to_thread(answers, server.url, self.tokens[0], self.world)
            ours = ours or told
            if other := differences(ours, told):
                raise Failed(f"{peer.title} answers otherwise: {other}")
            self.servers.append(server)
        await self.database.reset("records")
        await self.database.reset("transfers")

    async def warm_up(self) -> None:
        """A short load of each case on each server, in which statements are counted."""
        await self.database.count_statements(on=True)
        connections = self.size.connections or MAIN_CONNECTIONS
        for case in CASES:
            for server in self.taking_part(case):
                before = await self.database.statements()
                turn = await self._turn(case, server, connections, self.size.warm)
                used = await self.database.statements() - before
                answered = max(1, turn.result.acknowledged)
                self.findings.statements[case.name, server.peer.key] = used / answered
                if server.peer is ALONE and used / answered < _ALL_ITS_OWN:
                    raise Failed(f"{ALONE.title}: {used} statements for {answered} GETs")
        await self.database.count_statements(on=False)

    def taking_part(self, case: Case) -> list[Server]:
        """Who has this case."""
        return [one for one in self.servers if not one.peer.cases or case.name in one.peer.cases]

    async def round(self) -> None:
        """Each case, at each number of connections, on each server in turn."""
        for case in CASES:
            only = self.size.connections
            for connections in case.connections if only is None else (only,):
                for server in self.taking_part(case):
                    turn = await self._turn(case, server, connections, self.size.seconds)
                    key = case.name, server.peer.key, connections
                    self.findings.turns.setdefault(key, []).append(turn)
                    rate = f"{rate_of(turn):,.0f}/s, p99 {turn.result.p99:.1f} ms"
                    say(f"{case.name} {connections}: {server.peer.title}: {rate} {turn.problems}")

    async def _turn(self, case: Case, server: Server, connections: int, seconds: float) -> Turn:
        await self.database.reset(case.table)
        plan = new_plan(
            case, self.world, port=server.port, tokens=self.tokens, connections=connections,
            seconds=seconds, drawn=self.size.drawn,
        )  # fmt: skip
        deadlocks = self.database.deadlocks()
        used, postgres = server.cpu_seconds(), cpu_seconds([self.database.postmaster])
        result = await asyncio.to_thread(run_load, plan)
        turn = Turn(
            result, server.cpu_seconds() - used,
            cpu_seconds([self.database.postmaster]) - postgres, [],
        )  # fmt: skip
        server.take_log()
        found = await self.database.check(case.table, result)
        turn.problems += found.problems
        place = case.name, server.peer.key
        more = self.database.deadlocks() - deadlocks
        self.findings.deadlocks[place] = self.findings.deadlocks.get(place, 0) + more
        return turn


def table(findings: Findings) -> str:
    """Everything, as Markdown."""
    lines: list[str] = []
    titles = {peer.key: peer.title for peer in PEERS}
    for case in CASES:
        lines += [
            f"### {case.title}", "",
            _HEAD,
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]  # fmt: skip
        measured = sorted({place[2] for place in findings.turns if place[0] == case.name})
        lines += [
            _row(findings, (case.name, key, connections), title)
            for connections in measured
            for key, title in titles.items()
            if (case.name, key, connections) in findings.turns
        ]
        lines.append("")
    return "\n".join(lines)


def _row(findings: Findings, key: Key, title: str) -> str:
    turns = findings.turns[key]
    case, server, connections = key
    rates = [rate_of(turn) for turn in turns]

    def middle(of: Callable[[Turn], float]) -> float:
        return median(map(of, turns))

    def each(seconds: float, turn: Turn) -> float:
        return seconds / max(1, turn.result.acknowledged) * 1e6

    main = connections == MAIN_CONNECTIONS
    statements = f"{findings.statements.get((case, server), 0):.2f}" if main else ""
    deadlocks = str(findings.deadlocks.get((case, server), 0)) if main else ""
    wrong = "; ".join(problem for turn in turns for problem in turn.problems)
    cells = [
        title, str(connections), f"{median(rates):,.0f}", f"{min(rates):,.0f}–{max(rates):,.0f}",
        f"{middle(lambda t: t.result.p50):.2f}", f"{middle(p99_of):.2f}",
        f"{max(t.result.max for t in turns):.0f}",
        f"{middle(lambda t: each(t.server_cpu, t)):.0f}",
        f"{middle(lambda t: each(t.postgres_cpu, t)):.0f}", statements,
        f"{sum(t.result.errors for t in turns)} {wrong}".strip(), deadlocks,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def bars(findings: Findings) -> list[Bar]:
    """What is wanted and what was measured, `serve --workers 2` against Go.

    Ratios are taken round by round, between turns that follow each other; theirs is the median.
    """

    def over(case: str, peer: str = GO.key, *, connections: int = MAIN_CONNECTIONS) -> float | None:
        ours = findings.turns.get((case, OURS_TWO.key, connections), [])
        theirs = findings.turns.get((case, peer, connections), [])
        ratios = [
            rate_of(one) / max(1.0, rate_of(other))
            for one, other in zip(ours, theirs, strict=False)
        ]
        return median(ratios) if ratios else None

    ordered = GO_ORDERED.key
    return [
        Bar("GET by id over Go", 2.0, over("get-uniform"), "×"),
        Bar("GET by id, 1 connection, over Go", 0.85, over("get-uniform", connections=1), "×"),
        Bar("page of 20 over Go", 1.5, over("list"), "×"),
        Bar("POST record over Go", 2.0, over("post"), "×"),
        Bar("transfer, 10,000 accounts, over Go with locks in order", 3.5,
            over("transfer-uniform", ordered), "×"),
        Bar("transfer, 10,000 accounts, over Go", 4.0, over("transfer-uniform"), "×"),
        Bar("transfer, 10 hot accounts, over Go with locks in order", 6.0,
            over("transfer-hot", ordered), "×"),
    ]  # fmt: skip


def points(findings: Findings) -> list[dict[str, Any]]:
    """What ``plot`` draws: the medians of each case, server and number of connections."""
    return [
        {
            "case": case, "server": server, "connections": connections,
            "rate": findings.rate(case, server, connections),
            "rates": [rate_of(turn) for turn in turns],
            "p50": findings.middle((case, server, connections), lambda turn: turn.result.p50),
            "p99": findings.middle((case, server, connections), p99_of),
        }
        for (case, server, connections), turns in findings.turns.items()
    ]  # fmt: skip


def wrong(findings: Findings) -> list[str]:
    """What must not be: writes lost or doubled, a server that answers nothing, an error of ours.

    Errors of a peer's stand in the table: at 64 connections to hot accounts each of them has some.
    """
    lines: list[str] = []
    for (case, server, connections), turns in findings.turns.items():
        problems = [problem for turn in turns for problem in turn.problems]
        if not all(turn.result.acknowledged for turn in turns):
            problems.append("NO ANSWER")
        errors = sum(turn.result.errors for turn in turns)
        if errors and server.startswith(OURS.key):
            problems.append(f"{errors} ERRORS")
        lines += [f"{case}, {server}, {connections} connections: {text}" for text in problems]
    return lines


async def measure(size: Size, folder: Path) -> tuple[str, Findings]:
    """The whole bench. Gives the page, without its head, and what it was made of."""
    async with running_database(folder / "db") as database, AsyncExitStack() as stack:
        settings = await database.settings()
        bench = Bench(database, await database.seed(size.records), size)
        await bench.admit(stack)
        await bench.warm_up()
        for number in range(size.rounds):
            say(f"round {number + 1} of {size.rounds}")
            await bench.round()
        few = ["--quick"] if size is QUICK else []
        bench.findings.single = await asyncio.to_thread(
            run_script, "coalesce.py", None, database.dsn, *few
        )
    skipped = "".join(f"- skipped: {line}\n" for line in bench.findings.skipped)
    single = ", ".join(f"{name} {value:.2f}" for name, value in bench.findings.single.items())
    text = (
        f"PostgreSQL {settings['server_version']}, fsync and synchronous_commit on.\n{skipped}\n"
        "The coalescer by itself, in process, one call at a time (`bench/coalesce.py`):"
        f" {single}.\n\n## Cases\n\n{table(bench.findings)}"
    )
    return text, bench.findings


def head(size: Size) -> str:
    """What was done, what is on and what is off."""
    return (
        f"`make bench`: {size.rounds} rounds of {size.seconds:g} s in turn, medians; all cores are"
        " shared by server, PostgreSQL and the load. Ours runs with its defaults (metrics,"
        " shedding, access log) except the rate limit, which is as high as Go's, 10,000,000/s, for"
        " one caller sends everything; the Python peers have none, no peer sheds, and none has"
        f" metrics here. Every server remembers verified tokens; the load sends {TOKENS:,}"
        " different ones. 24 or 25 connections to PostgreSQL each, over all processes. The bars"
        " compare `serve --workers 2` with Go. Plain Go locks the two accounts one after the other,"
        " as it is often written, and deadlocks; with locks in order it takes them by one statement"
        " `ORDER BY id FOR NO KEY UPDATE`, and writes by another."
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="over all servers")
    parser.add_argument("--seconds", type=float, default=2.0, help="of load in each turn")
    parser.add_argument("--quick", action="store_true", help="in seconds, nothing written")
    options = parser.parse_args()
    size = QUICK if options.quick else Size(options.rounds, options.seconds)
    on = machine()
    with scratch() as folder:
        body, findings = asyncio.run(measure(size, folder))
    found = bars(findings)
    sys.stdout.write(f"{bars_table(found)}\n{body}")
    problems = wrong(findings)
    if not options.quick:
        figures = {"points": points(findings), "wrong": problems}
        write("service", page(head(size), on, found, body), on=on, bars=found, figures=figures)
    if problems:
        raise SystemExit("\n".join(problems))
    if not options.quick:
        judge(found)


if __name__ == "__main__":
    main()
