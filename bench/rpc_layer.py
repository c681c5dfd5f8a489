"""gRPC: our server against grpc.aio, and GetRecord on PostgreSQL against the peer in Go.

*A constant answer* shows what the servers cost: bare grpc.aio and our `RpcApp`, each one process on
one core, with the load on the other. *GetRecord* is the whole service: token, scopes, rate limit,
request id, access log, deadline, coalesced read; everything shares all cores, and ours and Go must
answer alike. All take turns under the same load (``rpc_load``), in rounds. Prints a table of
medians, and writes it to ``bench/results/grpc.{md,json}`` unless ``--quick``. Without Go there is
no load, and nothing is measured.
"""

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from bars import Bar, bars_table, judge
from cases import TOKENS, new_tokens
from child_processes import end, free_port, spawn
from database import OWNER, RECORDS, running_database, say, scratch
from grpc import aio
from outcome import machine, page, write
from rpc_load import CONNECTIONS, STREAMS, RpcPlan, RpcResult, call, encoded, find_rpcload
from servers import Failed, Skipped, build_go, build_rust, cpu_seconds

from myservice.proto.v1 import records_pb2

HERE = Path(__file__).parent
CLIENTS = HERE.parent / "service/tests/support"
_PATH = "/myservice.v1.RecordService/GetRecord"
_IDS = 5_000
_START_TIMEOUT = 30.0
_SERVER_CORE, _LOAD_CORE = 0, 1
_BARE, _CONSTANT = "bare grpc.aio, a constant", "paceline, a constant"
_OURS, _OURS_TWO = "paceline, `serve`", "paceline, `serve --workers 2`"
_GO = "Go: grpc-go + pgx"
_RUST = "Rust: tonic + tokio-postgres"
_HEAD = (
    "| server | calls/s | range | p50 ms | p99 ms | server CPU µs a call | load CPU µs a call"
    " | errors |"
)


@dataclass
class Turn:
    """One load on one server. ``cpu``: of the server, in microseconds a call."""

    result: RpcResult
    cpu: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.result.calls / self.result.seconds


@dataclass
class Server:
    """A started server and what was measured of it. ``alone``: on a core of its own."""

    title: str
    port: int
    process: subprocess.Popen[bytes]
    alone: bool = False
    turns: list[Turn] = field(default_factory=list[Turn])

    def middle(self, of: Callable[[Turn], float]) -> float:
        """The median over the rounds."""
        return median(map(of, self.turns))


@contextmanager
def started(
    title: str, command: Sequence[str | Path], settings: Mapping[str, str], *, alone: bool = False
) -> Generator[Server]:
    """A server that listens, until the block ends; its log goes to memory.

    ``alone``: on a core of its own.
    """
    port = free_port()
    listening = {**settings, "APP_GRPC_PORT": str(port), "APP_ADMIN_PORT": "0"}
    with tempfile.TemporaryFile(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as log:  # noqa: S108 - it has no name
        process = spawn(command, listening, log, core=_SERVER_CORE if alone else None)
        try:
            asyncio.run(_until_listening(title, port, process))
            yield Server(title, port, process, alone)
        finally:
            end([process])


async def _until_listening(title: str, port: int, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(_START_TIMEOUT):
        while process.poll() is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
    raise Failed(f"{title} ended with {process.returncode}")


def load(program: Path, plan: RpcPlan, server: Server, seconds: float) -> Turn:
    """Load it for so long. Errors: `Failed` when it answers nothing."""
    used = cpu_seconds([server.process.pid])
    alone = server.alone and (os.cpu_count() or 1) > 1
    result = call(
        program,
        replace(plan, address=f"127.0.0.1:{server.port}", seconds=seconds),
        core=_LOAD_CORE if alone else None,
    )
    if not result.all:
        raise Failed(f"{server.title} answers nothing: {result}")
    return Turn(result, (cpu_seconds([server.process.pid]) - used) / result.all * 1e6)


async def record_of(server: Server, token: str, record: str) -> records_pb2.Record:
    """What a server answers to GetRecord."""
    async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        get_record: aio.UnaryUnaryMultiCallable[
            records_pb2.GetRecordRequest, records_pb2.GetRecordResponse
        ] = channel.unary_unary(
            _PATH,
            request_serializer=records_pb2.GetRecordRequest.SerializeToString,
            response_deserializer=records_pb2.GetRecordResponse.FromString,
        )
        answer = await get_record(
            records_pb2.GetRecordRequest(id=record),
            metadata=(("authorization", f"Bearer {token}"),),
            timeout=10,
        )
        return answer.record


def check_alike(token: str, record: str, ours: Server, theirs: Server) -> None:
    """Errors: `Failed` when they answer otherwise."""
    one, other = (asyncio.run(record_of(each, token, record)) for each in (ours, theirs))
    same = json.loads(one.data) == json.loads(other.data)
    one.data = other.data  # JSON may be spelled otherwise
    if not same or one != other:
        raise Failed(f"{theirs.title} answers {other} instead of {one}")


@dataclass(frozen=True)
class Size:
    """How much is measured. ``settings``: of ours, besides."""

    rounds: int
    seconds: float
    records: int = RECORDS
    settings: tuple[tuple[str, str], ...] = ()


# A busy machine answers late, so that a service may refuse: nothing is judged here.
QUICK = Size(1, 0.3, records=1_000, settings=(("APP_SHED_DELAY", "0"),))


async def measure(size: Size, folder: Path) -> list[Server]:
    """The whole bench; gives the servers with their turns. Errors: `Skipped`, `Failed`."""
    program, secret = find_rpcload(), secrets.token_urlsafe(48)
    tokens = new_tokens(OWNER, "records:read", secret=secret)
    async with running_database(folder / "db") as database:
        world = await database.seed(size.records)
        ids = world.records[:: max(1, len(world.records) // _IDS)]
        requests = [records_pb2.GetRecordRequest(id=one).SerializeToString() for one in ids]
        settings = {
            "APP_DATABASE_URL": database.dsn, "APP_JWT_SECRET": secret, "APP_PORT": "0",
            "APP_RATE_LIMIT": "10000000", "APP_LOG_FORMAT": "json",
            "DATABASE_URL": database.dsn, "JWT_SECRET": secret, **dict(size.settings),
        }  # fmt: skip
        plan = RpcPlan("", _PATH, encoded(requests), tokens)
        return await asyncio.to_thread(_in_turn, program, plan, ids[0], size, settings)


def _in_turn(
    program: Path, plan: RpcPlan, record: str, size: Size, settings: dict[str, str]
) -> list[Server]:
    service: list[str | Path] = [Path(sys.executable).with_name("myservice"), "serve"]
    bare: list[str | Path] = [sys.executable, HERE / "peers/grpc_bare.py"]
    constant: list[str | Path] = [sys.executable, HERE / "peers/paceline_rpc.py"]
    go = build_go(HERE / "peers/gogrpc", "go-grpc-peer")
    stubs = {**settings, "PYTHONPATH": str(CLIENTS)}  # the peers speak with the tests' clients
    with ExitStack() as stack:
        servers = [
            stack.enter_context(started(_BARE, bare, stubs, alone=True)),
            stack.enter_context(started(_CONSTANT, constant, stubs, alone=True)),
            stack.enter_context(started(_OURS, service, settings)),
            stack.enter_context(started(_OURS_TWO, [*service, "--workers", "2"], settings)),
            stack.enter_context(started(_GO, [go], settings)),
        ]
        try:
            rust = build_rust(build=size is not QUICK)
        except Skipped as reason:
            say(f"SKIPPED {_RUST}: {reason}")
        else:
            servers.append(stack.enter_context(started(_RUST, [rust], settings)))
        check_alike(plan.tokens[0], record, servers[0], servers[1])
        for ours in servers[2:4]:
            for theirs in servers[4:]:
                check_alike(plan.tokens[0], record, ours, theirs)
        for server in servers:
            load(program, plan, server, min(size.seconds, 1.0))
        for number in range(size.rounds):
            for server in servers:
                turn = load(program, plan, server, size.seconds)
                server.turns.append(turn)
                told = f"{turn.rate:,.0f}/s, {turn.result.p99:.1f} ms {turn.result.failed or ''}"
                say(f"round {number + 1}: {server.title}: {told}")
        return servers


def bars(servers: Sequence[Server]) -> list[Bar]:
    """What is wanted and what was measured; ratios round by round, then their median."""
    named = {one.title: one for one in servers}
    bare, constant, ours, go = (named[title] for title in (_BARE, _CONSTANT, _OURS_TWO, _GO))

    def over(one: Server, other: Server, of: Callable[[Turn], float]) -> float:
        pairs = zip(one.turns, other.turns, strict=True)
        return median(of(mine) / max(0.001, of(theirs)) for mine, theirs in pairs)

    return [
        Bar("a constant, one core, over bare grpc.aio", 10.0,
            over(constant, bare, lambda turn: turn.rate), "×"),
        Bar("GetRecord over Go", 1.2, over(ours, go, lambda turn: turn.rate), "×"),
        Bar("GetRecord, server CPU a call, over Go's", 1.0,
            over(ours, go, lambda turn: turn.cpu), "×", most=True),
        Bar("GetRecord, p99 over Go's", 1.0,
            over(ours, go, lambda turn: turn.result.p99), "×", most=True),
    ]  # fmt: skip


def table(servers: Sequence[Server]) -> str:
    """The medians as Markdown."""
    lines = [
        _HEAD,
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in servers:
        rates = [turn.rate for turn in one.turns]
        own = one.middle(lambda turn: turn.result.cpu_seconds / turn.result.all * 1e6)
        lines.append(
            f"| {one.title} | {median(rates):,.0f} | {min(rates):,.0f}–{max(rates):,.0f}"
            f" | {one.middle(lambda turn: turn.result.p50):.2f}"
            f" | {one.middle(lambda turn: turn.result.p99):.1f}"
            f" | {one.middle(lambda turn: turn.cpu):.0f} | {own:.0f}"
            f" | {sum(turn.result.errors for turn in one.turns)} |"
        )
    return "\n".join(lines) + "\n"


def head(size: Size) -> str:
    """What was done, what is on and what is off."""
    return (
        f"`make grpc`: {CONNECTIONS * STREAMS} calls at once on {CONNECTIONS} connections,"
        f" {size.rounds} rounds of {size.seconds:g} s in turn, medians; one load for all"
        " (`bench/rpcload`), whose own processor time is in the table. The two that answer with a"
        " constant have one core, and the load the other; the others share both cores with"
        f" PostgreSQL and the load. {_IDS:,} records are asked for with {TOKENS:,} tokens, which"
        " ours and Go remember; ours runs with its defaults except the rate limit, which is as high"
        " as Go's."
    )


def main() -> None:
    """Measure, print, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--quick", action="store_true", help="in seconds, nothing written")
    options = parser.parse_args()
    size = QUICK if options.quick else Size(options.rounds, options.seconds)
    on = machine()
    try:
        with scratch() as folder:
            servers = asyncio.run(measure(size, folder))
    except Skipped as reason:
        say(f"SKIPPED all of it: {reason}")
        return
    found, body = bars(servers), table(servers)
    sys.stdout.write(f"{bars_table(found)}\n{body}")
    if options.quick:
        return
    figures = {
        "rows": [
            {
                "server": one.title, "rate": one.middle(lambda turn: turn.rate),
                "p99": one.middle(lambda turn: turn.result.p99),
                "cpu": one.middle(lambda turn: turn.cpu),
            }
            for one in servers
        ]
    }  # fmt: skip
    write("grpc", page(head(size), on, found, body), on=on, bars=found, figures=figures)
    errors = sorted({one.title for one in servers for turn in one.turns if turn.result.errors})
    if errors:
        say(f"calls failed: {', '.join(errors)}")
    judge(found)
    if errors:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
