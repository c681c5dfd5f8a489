"""The live view on a headless screen, and the client of the admin port over a real port."""

import asyncio
import json
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from textual.widgets import RichLog, Static

from paceline.commands.top.client import (
    AdminClient,
    NoAdminPort,
    Readiness,
    Snapshot,
    State,
    Unreachable,
)
from paceline.commands.top.exposition import parse
from paceline.commands.top.live import TopApp
from paceline.commands.top.report import make_report

COUNT = 'http_server_request_duration_seconds_count{http_request_method="GET",http_route="/x",http_response_status_code="200"}'


@dataclass
class Admin:
    """What the instance has; a path without a page is not found."""

    url: str = ""
    pages: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    requested: list[str] = field(default_factory=list[str])
    tokens: set[str] = field(default_factory=set[str])


@pytest.fixture
def admin() -> Generator[Admin]:
    found = Admin()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found.requested.append(self.path)
            found.tokens.add(self.headers.get("Authorization", ""))
            status, body = found.pages.get(self.path.partition("?")[0], (404, ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield found
        server.shutdown()
        thread.join()


def serve(admin: Admin, *, pid: int, count: int, lines: list[str]) -> None:
    state: dict[str, object] = {
        "service": "svc",
        "version": "1",
        "pid": pid,
        "uptime_seconds": 5,
        "pools": [],
    }
    admin.pages = {
        "/metrics": (200, f"{COUNT} {count}\n"),
        "/debug/state": (200, json.dumps(state)),
        "/ready": (503, json.dumps({"status": "not ready", "checks": [{"name": "nats", "ok": False, "reason": "away"}]})),
        "/debug/logs": (200, json.dumps({"next": len(lines), "lines": lines})),
    }  # fmt: skip


async def test_a_snapshot_has_everything_and_each_log_line_once(admin: Admin) -> None:
    serve(admin, pid=1, count=5, lines=["one", "two"])
    instance = AdminClient(admin.url, token="secret-token")
    found = await instance.take_snapshot()
    assert (found.state.pid, found.lines) == (1, ("one", "two"))
    assert found.readiness.checks[0].reason == "away"
    assert found.samples.total("http_server_request_duration_seconds_count") == 5
    await instance.take_snapshot()
    serve(admin, pid=2, count=1, lines=["anew"])
    await instance.take_snapshot()
    assert [path for path in admin.requested if "logs" in path] == [
        "/debug/logs?after=0", "/debug/logs?after=2", "/debug/logs?after=0",
    ]  # fmt: skip
    assert admin.tokens == {"Bearer secret-token"}


async def test_of_several_workers_each_has_its_own_lines(admin: Admin) -> None:
    def workers(*pids: int) -> tuple[int, str]:
        states = [{"worker": number, "pid": pid} for number, pid in enumerate(pids, 1)]
        return 200, json.dumps({"service": "svc", "pid": 1, "uptime_seconds": 5, "workers": states})

    bad = {"status": "not ready", "checks": [{"name": "nats", "ok": False, "reason": "away"}]}
    admin.pages = {
        "/metrics": (200, "a 1\n"),
        "/debug/state": workers(10, 20),
        "/ready": (200, json.dumps({"status": "ready", "workers": {"1": {"status": "ready"}, "2": bad}})),
        "/debug/logs": (200, json.dumps({"next": 3, "lines": ["one"]})),
    }  # fmt: skip
    instance = AdminClient(admin.url)
    found = await instance.take_snapshot()
    assert found.lines == ("one", "one")
    assert found.readiness.failing == ["worker 2, nats: away"]
    admin.pages["/debug/state"] = workers(10, 30)
    await instance.take_snapshot()
    admin.pages["/debug/logs"] = (503, "{}")
    assert (await instance.take_snapshot()).lines == (), "a worker that is just being exchanged"
    requested = [path.partition("?")[2] for path in admin.requested if "logs" in path]
    assert requested == [
        "worker=1&after=0", "worker=2&after=0", "worker=1&after=3", "worker=2&after=0",
        "worker=1&after=3", "worker=2&after=3",
    ]  # fmt: skip


async def test_an_instance_that_has_only_metrics_is_enough(admin: Admin) -> None:
    admin.pages = {"/metrics": (200, "a 1\n")}
    found = await AdminClient(admin.url).take_snapshot()
    assert (found.state.service, found.lines, found.samples.total("a")) == ("?", (), 1)


@dataclass(frozen=True)
class Wrong:
    id: str
    pages: dict[str, tuple[int, str]]
    kind: type[Unreachable]
    says: str


WRONG = [
    Wrong("it needs a token", {"/metrics": (401, "")}, Unreachable, "token"),
    Wrong("it redirects", {"/metrics": (302, "")}, Unreachable, "status 302"),
    Wrong("it has none of the paths", {}, NoAdminPort, "it is not an admin port"),
    Wrong("a page", {"/debug/state": (200, "<html>")}, NoAdminPort, "/debug/state is not that of an admin port"),
    Wrong("a page for every path", {"/metrics": (200, "<html>"), "/debug/state": (200, "<html>")}, NoAdminPort, "not that of an admin port"),
    Wrong("other JSON", {"/debug/state": (200, '{"detail": "hello"}')}, NoAdminPort, "it is not an admin port"),
]  # fmt: skip


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.id)
async def test_whatever_is_wrong_with_an_instance_it_is_unreachable_with_a_reason(
    case: Wrong, admin: Admin
) -> None:
    admin.pages = case.pages
    instance = AdminClient(admin.url)
    for look in (instance.check, instance.take_snapshot):
        with pytest.raises(Unreachable, match=case.says) as caught:
            await look()
        assert type(caught.value) is case.kind


async def test_nothing_there_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="refused"):
        await AdminClient("http://127.0.0.1:1").check()


async def test_what_speaks_no_http_is_no_admin_port() -> None:
    async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"INFO {}\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NoAdminPort, match="not in HTTP"):
            await AdminClient(f"http://127.0.0.1:{port}").check()


async def test_a_report_is_text(admin: Admin) -> None:
    serve(admin, pid=1, count=5, lines=['{"level":"info","msg":"started"}'])
    text = await make_report(admin.url, AdminClient(admin.url).take_snapshot, seconds=0.01)
    assert text.startswith(
        f"svc 1  not ready (nats: away)  up 5.00 s  pid 1  {admin.url}\n\nidle: no requests\n"
    )
    assert "started" in text


class Scripted:
    """An instance that responds as the test says."""

    def __init__(self) -> None:
        self.snapshots = 0
        self.away = ""
        self.lines: tuple[str, ...] = ()

    async def took_more_than(self, times: int) -> None:
        while self.snapshots <= times:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)

    async def take_snapshot(self) -> Snapshot:
        self.snapshots += 1
        if self.away:
            raise Unreachable(self.away)
        lines, self.lines = self.lines, ()
        samples = parse(f"{COUNT} {self.snapshots * 10}\n")
        return Snapshot(
            float(self.snapshots), samples, State("svc", "1", 7, 3.0), Readiness("ready"), lines
        )


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 10)], ids=str)
async def test_the_screen_shows_an_instance_loses_it_finds_it_again_pauses_and_quits(
    size: tuple[int, int],
) -> None:
    instance = Scripted()
    instance.lines = tuple(f"line [bold]{n}[/bold]" for n in range(50))
    app = TopApp("http://h:1", instance.take_snapshot, interval=0.1)
    async with app.run_test(size=size) as pilot:

        async def until(words: str, selector: str = "#head") -> None:
            while words not in str(app.query_one(selector, Static).content):  # noqa: ASYNC110 - a screen has no event
                await asyncio.sleep(0.01)

        def at_end() -> bool:
            return log.is_vertical_scroll_end

        await until("svc 1  ready")
        await until("HTTP ", "#figures")
        log = app.query_one("#log", RichLog)
        assert log.lines[0].text.rstrip() == "line [bold]0[/bold]"
        assert log.size.height >= 3
        assert app.size == size
        shown = str(app.query_one("#figures", Static).content).split("\n")
        assert max(map(len, shown)) <= size[0] - 2
        await pilot.press("home", "up", "down")
        assert not at_end()
        await pilot.press("end")
        await pilot.pause()
        assert at_end()

        instance.away = "connection refused"
        await until("away: connection refused")
        assert "HTTP" in str(app.query_one("#figures", Static).content), "the last figures stay"
        instance.away = ""
        await until("svc 1  ready")

        await pilot.press("p")
        await until("PAUSED")
        taken = instance.snapshots
        await asyncio.sleep(0.3)
        assert instance.snapshots <= taken + 1, "one may have been under way"
        await pilot.press("p")
        taken = instance.snapshots
        await asyncio.wait_for(instance.took_more_than(taken), 20)
        await pilot.press("q")
    assert app.return_code == 0
