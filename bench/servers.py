"""The servers that are measured: ours and its peers, started alike, each in its own group.

Invariant: what was started is stopped by its pid, also when the bench is interrupted. A server that
cannot be here (no toolchain, no package) is skipped with the reason; one that could and does not
start ends the bench, or its row would be missing and nobody would notice. Logs go to a file in
memory that is emptied after each turn, so nobody waits for a reader and nobody can do without
logging unseen. What a peer must do is in ``contract``.
"""

import asyncio
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from child_processes import end, free_port, spawn

HERE = Path(__file__).parent
_HOST = "127.0.0.1"
_CACHE = HERE / ".cache"
_START_TIMEOUT = 90.0  # a busy machine takes long to import FastAPI three times; a dead one is seen
_BUILD_TIMEOUT = 600  # seconds; without Go's cache it compiles pgx and OpenTelemetry
_TICKS = os.sysconf("SC_CLK_TCK")


class Skipped(Exception):
    """What this server needs is not on this machine; the text says what."""


class Failed(SystemExit):
    """This server should run here and does not, or answers wrongly; the text says how."""


@dataclass(frozen=True)
class Peer:
    """A server: its key, its name in the tables, what to run, and how many times.

    ``script`` of bench/peers; without one it is the service. ``needs``: packages. ``workers``:
    processes. ``ours``: it is set up as our service is. ``settings``: more of its environment.
    ``cases``: it takes part in; all if empty.
    """

    key: str
    title: str
    script: str = ""
    workers: int = 2
    needs: tuple[str, ...] = ()
    ours: bool = False
    settings: tuple[tuple[str, str], ...] = ()
    cases: tuple[str, ...] = ()


OURS = Peer("paceline", "paceline, `serve`", workers=1, ours=True)
OURS_TWO = Peer("paceline-2", "paceline, `serve --workers 2`", ours=True)
ALONE = Peer(
    "paceline-alone", "paceline without its coalescer, `serve`", "paceline_alone.py", workers=1,
    ours=True, cases=("get-uniform", "get-zipf"),
)  # fmt: skip
GO = Peer("go", "Go: chi + pgx", "go")
GO_ORDERED = Peer(
    "go-ordered", "Go: chi + pgx, locks in order", "go", settings=(("LOCKS", "ordered"),),
    cases=("transfer-uniform", "transfer-hot"),
)  # fmt: skip
RUST = Peer("rust", "Rust: axum + tokio-postgres", "rust")
GO_THROTTLED = Peer("go-throttled", "Go: chi + pgx + Throttle", "go", settings=(("THROTTLE", "1"),))
FASTAPI = Peer(
    "fastapi-asyncpg", "FastAPI + asyncpg, 2 processes", "fastapi_asyncpg.py",
    needs=("fastapi", "asyncpg"),
)  # fmt: skip
PEERS = (
    OURS,
    OURS_TWO,
    ALONE,
    GO,
    GO_ORDERED,
    RUST,
    FASTAPI,
    Peer("fastapi-sqlalchemy", "FastAPI + SQLAlchemy, 2 processes", "fastapi_sqlalchemy.py",
         needs=("fastapi", "sqlalchemy")),
    Peer("litestar-asyncpg", "Litestar + asyncpg, 2 processes", "litestar_asyncpg.py",
         needs=("litestar", "asyncpg")),
)  # fmt: skip


@dataclass
class Server:
    """A started peer. *Resources*: its processes and its log, until `stop`."""

    peer: Peer
    port: int
    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{_HOST}:{self.port}"

    def cpu_seconds(self) -> float:
        """Used so far by its processes and all their children."""
        return cpu_seconds([process.pid for process in self.processes])

    def take_log(self) -> int:
        """Empty the log; the bytes that were in it."""
        size = self.log.stat().st_size
        os.truncate(self.log, 0)
        return size

    def ended(self) -> bool:
        """Whether one of its processes is gone."""
        return any(process.poll() is not None for process in self.processes)

    def stop(self) -> None:
        """End all of it, in order first and by force after a while."""
        end(self.processes)
        self.log.unlink(missing_ok=True)


def parent_and_ticks(stat: str) -> tuple[int, int]:
    """The parent, and the clock ticks of a process and its waited-for children.

    From /proc/PID/stat, whose second field, the name, may hold anything.
    """
    fields = stat.rpartition(")")[2].split()
    return int(fields[1]), sum(int(ticks) for ticks in fields[11:15])


def cpu_seconds(roots: list[int]) -> float:
    """Used so far by these processes and their descendants, also those that have ended."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended just now: its parent's sum has it
            pid = int(path.parent.name)
            parents[pid], ticks[pid] = parent_and_ticks(path.read_text(errors="replace"))
    family = set(roots)
    for _ in parents:
        children = {pid for pid, parent in parents.items() if parent in family} - family
        if not children:
            break
        family |= children
    return sum(ticks.get(pid, 0) for pid in family) / _TICKS


@asynccontextmanager
async def started(
    peer: Peer, database_url: str, secret: str, *, telemetry: str = "", patient: bool = False
) -> AsyncGenerator[Server, None]:
    """A server that is ready; ``secret`` signs its tokens. Errors: `Skipped`, `Failed`.

    ``telemetry``: where its traces go (OTLP over HTTP), with a peer's metrics on, too. ``patient``:
    ours refuses nobody however late it is, for the quick forms, which run on busy machines.

    *Resources*: the server, until the block ends.
    """
    command = find_command(peer, build=not patient)
    server = Server(peer, free_port(), _log_file(peer))
    try:
        settings = _settings(server, database_url, secret, telemetry)
        if patient:
            settings["APP_SHED_DELAY"] = "0"
        server.processes.append(_spawn(command, server, settings))
        await _until_ready(server)
        yield server
    finally:
        server.stop()


def _log_file(peer: Peer) -> Path:
    """Where the server writes its lines: in memory where we can, so that no disk is measured."""
    memory = Path("/dev/shm")  # noqa: S108 - the name is random
    where = memory if memory.is_dir() else None
    handle, name = tempfile.mkstemp(prefix=f"paceline-bench-{peer.key}-", suffix=".log", dir=where)
    os.close(handle)
    return Path(name)


def find_command(peer: Peer, *, build: bool = True) -> list[str | Path]:
    """What to run; what is in Go or Rust is built first. Errors: `Skipped`, `Failed`.

    ``build``: Rust, too, which takes minutes the first time.
    """
    if not peer.script:
        return [Path(sys.executable).with_name("myservice"), "serve"]
    path = HERE / "peers" / peer.script
    if not path.exists():
        raise Failed(f"bench/peers/{peer.script} is not there")
    missing = [name for name in peer.needs if importlib.util.find_spec(name) is None]
    if missing:
        raise Skipped(f"not installed: {', '.join(missing)}")
    if path.is_dir():
        return [build_rust(build=build) if peer is RUST else build_go(path, "go-peer")]
    return [sys.executable, path, "serve"] if peer.ours else [sys.executable, path]


def build_go(folder: Path, name: str) -> Path:
    """The program ``name``, built from the sources in ``folder``. Errors: `Skipped`, `Failed`."""
    go = shutil.which("go")
    if go is None:
        raise Skipped("there is no Go toolchain")
    if not folder.is_dir():
        raise Failed(f"{folder} is not there")
    _CACHE.mkdir(exist_ok=True)
    program = _CACHE / name
    with program.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # benches may run at the same time: build it once
        try:
            built = subprocess.run(
                [go, "build", "-C", folder, "-o", program, "."],
                check=False, timeout=_BUILD_TIMEOUT, capture_output=True, text=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired as exc:
            raise Failed(f"go build of {name} took longer than {_BUILD_TIMEOUT} s") from exc
    if built.returncode != 0:
        raise Failed(f"go build of {name} failed: {built.stderr.strip()[-500:]}")
    return program


def build_rust(*, build: bool = True) -> Path:
    """The peer in Rust, HTTP and gRPC in one program. Errors: `Skipped`, `Failed`."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise Skipped("there is no Rust toolchain")
    program = _CACHE / "rust/release/rust-peer"
    if not build and not program.exists():
        raise Skipped("building it takes minutes: the whole bench does")
    _CACHE.mkdir(exist_ok=True)
    built = subprocess.run(
        [cargo, "build", "--quiet", "--release", "--target-dir", _CACHE / "rust"],
        cwd=HERE / "peers/rust", check=False, capture_output=True, text=True,
    )  # fmt: skip
    if built.returncode != 0:
        raise Failed(f"cargo build failed: {built.stderr.strip()[-500:]}")
    return program


def _settings(server: Server, database_url: str, secret: str, telemetry: str) -> dict[str, str]:
    port, workers = str(server.port), server.peer.workers
    if not server.peer.ours:
        return {
            "DATABASE_URL": database_url,
            "HOST": _HOST,
            "PORT": port,
            "JWT_SECRET": secret,
            "WORKERS": str(workers),
            "TELEMETRY": telemetry,
            **dict(server.peer.settings),
        }
    settings = {
        "APP_DATABASE_URL": database_url,
        "APP_HOST": _HOST,
        "APP_PORT": port,
        "APP_GRPC_PORT": "0",
        "APP_ADMIN_PORT": "0",
        "APP_JWT_SECRET": secret,
        "APP_LOG_FORMAT": "json",
        # All else is as by default, metrics and shedding too. One caller sends everything, whom
        # the default of 1,000 requests a second would stop; Go's limiter has the same number.
        "APP_RATE_LIMIT": "10000000",
        "APP_WORKERS": str(workers),  # which share the default 25 connections
        **dict(server.peer.settings),
    }
    if telemetry:
        settings["APP_OTEL_ENDPOINT"] = telemetry
    return settings


def _spawn(
    command: list[str | Path], server: Server, settings: dict[str, str]
) -> subprocess.Popen[bytes]:
    with server.log.open("ab") as log:  # O_APPEND: it can be emptied while they write
        return spawn(command, settings, log, folder=server.log.parent)


async def _until_ready(server: Server) -> None:
    """Wait for a 200 from /health. Errors: `Failed` with the end of the log."""
    try:
        async with asyncio.timeout(_START_TIMEOUT):
            while not server.ended():
                if await asyncio.to_thread(_is_healthy, server.url):
                    await asyncio.sleep(0.5)  # for its other processes
                    if not server.ended():
                        return
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    tail = server.log.read_text(errors="replace").strip()[-400:]
    raise Failed(f"{server.peer.title} did not become ready; the end of its log: {tail}")


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=1) as answer:  # noqa: S310 - our own
            return bool(answer.status == 200)  # noqa: PLR2004 - OK
    except OSError:
        return False
