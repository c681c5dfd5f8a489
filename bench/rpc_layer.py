"""GetRecord over gRPC: bare grpc.aio's ceiling, our service on PostgreSQL, and the peer in Go.

All are up and take turns under ghz, in rounds; a server is one process, and everything shares all
cores. Ours is the whole service: token, scopes, rate limit, request id, access log, deadline,
coalesced read. The ceiling answers with a constant; ours and Go must answer alike. Prints a table
of medians, and writes it to ``bench/results/grpc.md`` unless ``--quick``. Without Go there is no
load generator, and nothing is measured.
"""

import argparse
import asyncio
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from database import OWNER, RECORDS, running_database, say, scratch
from grpc import aio
from servers import Failed, Skipped, build_go, cpu_seconds, free_port

from myservice.proto.v1 import records_pb2
from paceline.testing import make_token

HERE = Path(__file__).parent
PROTO = HERE.parent / "service/api/proto/myservice/v1/records.proto"
CLIENTS = HERE.parent / "service/tests/support"
GO_TOOL = HERE.parent / "kit/tests/tools/go_tool.py"
WANTED = 0.8
_METHOD = "myservice.v1.RecordService/GetRecord"
_IDS = 5_000
_CONCURRENCY = 64
_CONNECTIONS = 8
_START_TIMEOUT = 20.0


@dataclass
class Turn:
    """One load on one server. ``p99`` in milliseconds, ``cpu`` in microseconds a call."""

    rate: float
    p99: float
    cpu: float


@dataclass
class Server:
    """A started server and what was measured of it."""

    title: str
    port: int
    process: subprocess.Popen[bytes]
    turns: list[Turn] = field(default_factory=list[Turn])

    def middle(self, of: Callable[[Turn], float]) -> float:
        """The median over the rounds."""
        return median(map(of, self.turns))


@dataclass(frozen=True)
class Plan:
    """What ghz needs: itself, a token, a file of requests."""

    ghz: str
    token: str
    data: Path


@contextmanager
def started(title: str, command: list[str | Path], **settings: str) -> Generator[Server]:
    """A server that listens, until the block ends; its log goes to memory."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("APP_")}
    with tempfile.TemporaryFile(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as log:  # noqa: S108 - it has no name
        process = subprocess.Popen(
            command,
            env={**kept, **settings, "APP_GRPC_PORT": str(port), "APP_ADMIN_PORT": "0"},
            stdout=log,
            stderr=log,
        )
        try:
            asyncio.run(_until_listening(port))
            yield Server(title, port, process)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def _until_listening(port: int) -> None:
    async with asyncio.timeout(_START_TIMEOUT):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def load(plan: Plan, server: Server, seconds: float) -> Turn:
    """Load it for so long. Errors: SystemExit when a call fails."""
    used = cpu_seconds([server.process.pid])
    done = subprocess.run(
        [
            plan.ghz, "--insecure", "--proto", PROTO, "--call", _METHOD,
            "--format", "json", "--concurrency", str(_CONCURRENCY),
            "--connections", str(_CONNECTIONS), "--duration", f"{seconds}s",
            "--duration-stop", "wait", "--data-file", plan.data,
            "--metadata", json.dumps({"authorization": f"Bearer {plan.token}"}),
            f"127.0.0.1:{server.port}",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    if set(told["statusCodeDistribution"]) != {"OK"}:
        raise SystemExit(f"{server.title}: {told['statusCodeDistribution']}")
    slow = next(one["latency"] for one in told["latencyDistribution"] if one["percentage"] == 99)  # noqa: PLR2004 - p99
    cpu = (cpu_seconds([server.process.pid]) - used) / told["count"] * 1e6
    return Turn(told["rps"], slow / 1e6, cpu)


def find_ghz() -> str:
    """The load generator. Errors: `Skipped` without Go, SystemExit when it cannot be built."""
    if shutil.which("go") is None:
        raise Skipped("the load generator, ghz, needs a Go toolchain")
    done = subprocess.run(
        [sys.executable, GO_TOOL, "ghz"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    return done.stdout.strip()


async def record_of(server: Server, token: str, record: str) -> records_pb2.Record:
    """What a server answers to GetRecord."""
    async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        get_record: aio.UnaryUnaryMultiCallable[
            records_pb2.GetRecordRequest, records_pb2.GetRecordResponse
        ] = channel.unary_unary(
            "/myservice.v1.RecordService/GetRecord",
            request_serializer=records_pb2.GetRecordRequest.SerializeToString,
            response_deserializer=records_pb2.GetRecordResponse.FromString,
        )
        answer = await get_record(
            records_pb2.GetRecordRequest(id=record),
            metadata=(("authorization", f"Bearer {token}"),),
            timeout=10,
        )
        return answer.record


def check_alike(plan: Plan, ours: Server, theirs: Server) -> None:
    """Errors: `Failed` when they answer otherwise."""
    record = json.loads(plan.data.read_text())[0]["id"]
    one, other = (asyncio.run(record_of(each, plan.token, record)) for each in (ours, theirs))
    same = json.loads(one.data) == json.loads(other.data)
    one.data = other.data  # JSON may be spelled otherwise
    if not same or one != other:
        raise Failed(f"{theirs.title} answers {other} instead of {one}")


async def measure(rounds: int, seconds: float, folder: Path, records: int = RECORDS) -> str:
    """The whole bench; gives the report. Errors: `Skipped` without Go, `Failed`."""
    ghz, secret = find_ghz(), secrets.token_urlsafe(48)
    token = make_token(OWNER, "records:read", secret=secret)
    async with running_database(folder / "db") as database:
        world = await database.seed(records)
        step = max(1, len(world.records) // _IDS)
        data = folder / "ids.json"
        data.write_text(json.dumps([{"id": record} for record in world.records[::step]]))
        settings = {
            "APP_DATABASE_URL": database.dsn, "APP_JWT_SECRET": secret, "APP_PORT": "0",
            "APP_RATE_LIMIT": "10000000", "APP_LOG_FORMAT": "json",
            "DATABASE_URL": database.dsn, "JWT_SECRET": secret,
        }  # fmt: skip
        plan = Plan(ghz, token, data)
        return await asyncio.to_thread(_in_turn, plan, rounds, seconds, settings)


def _in_turn(plan: Plan, rounds: int, seconds: float, settings: dict[str, str]) -> str:
    service: list[str | Path] = [Path(sys.executable).with_name("myservice"), "serve"]
    bare: list[str | Path] = [sys.executable, HERE / "peers/grpc_bare.py"]
    go: list[str | Path] = [build_go(HERE / "peers/gogrpc", "go-grpc-peer")]
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                started("bare grpc.aio, a constant", bare, **settings, PYTHONPATH=str(CLIENTS))
            ),
            stack.enter_context(started("paceline on PostgreSQL", service, **settings)),
            stack.enter_context(started("Go on PostgreSQL", go, **settings)),
        ]
        check_alike(plan, *servers[1:])
        for server in servers:
            load(plan, server, min(seconds, 1.0))
        for number in range(rounds):
            for server in servers:
                turn = load(plan, server, seconds)
                server.turns.append(turn)
                say(f"round {number + 1}: {server.title}: {turn.rate:,.0f}/s, {turn.p99:.1f} ms")
        return table(servers)


def table(servers: list[Server]) -> str:
    """The medians as Markdown."""
    head = (
        f"GetRecord, {_CONCURRENCY} at once on {_CONNECTIONS} connections, ghz on the same"
        f" {os.cpu_count()} cores.\n"
    )
    lines = [
        head,
        "| server | calls/s | p99 ms | server CPU µs a call |", "|---|---:|---:|---:|",
    ]  # fmt: skip
    for one in servers:
        rate, p99 = one.middle(lambda turn: turn.rate), one.middle(lambda turn: turn.p99)
        cpu = one.middle(lambda turn: turn.cpu)
        lines.append(f"| {one.title} | {rate:,.0f} | {p99:.1f} | {cpu:.0f} |")
    bare, ours = servers[:2]
    pairs = zip(ours.turns, bare.turns, strict=True)
    ratio = median(mine.rate / ceiling.rate for mine, ceiling in pairs)
    state = "holds" if ratio >= WANTED else "MISSED"
    lines.append(
        f"\nOurs over the ceiling, median of rounds: {ratio:.2f} (wanted {WANTED}: {state})"
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--quick", action="store_true", help="in seconds, nothing written")
    options = parser.parse_args()
    quick = options.quick
    rounds, seconds = (1, 0.2) if quick else (options.rounds, options.seconds)
    try:
        with scratch() as folder:
            text = asyncio.run(measure(rounds, seconds, folder, 1_000 if quick else RECORDS))
    except Skipped as reason:
        say(f"SKIPPED all of it: {reason}")
        return
    sys.stdout.write(text)
    if not options.quick:
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results/grpc.md").write_text(text)


if __name__ == "__main__":
    main()
