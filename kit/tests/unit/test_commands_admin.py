"""The admin application: its responses, who may have them, and what it refuses."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from re import findall

import pytest

from paceline.commands.admin import AdminContext, Profiler, TaskAges, admin_app, require_token
from paceline.config import EffectiveSetting
from paceline.errors import Code, Error
from paceline.health import Health
from paceline.http.testing import TestClient, TestResponse
from paceline.metrics.registry import Metrics
from paceline.stats import StatsEntry
from paceline.testing import RecordingLog

TOKEN = "8f1d7c0b2a964e53b1c7a0d9e2f4c6a8"
LOCAL = {"host": "127.0.0.1:9090"}


async def passes() -> None: ...


@dataclass
class AdminPort:
    """The admin application of one process, and a client."""

    log: RecordingLog
    client: TestClient
    metrics: Metrics
    tasks: TaskAges
    profiler: Profiler
    draining: bool = False

    async def get(self, path: str, **headers: str) -> TestResponse:
        return await self.client.request("GET", path, headers={**LOCAL, **headers})


def admin_port(*, token: str | None = None, with_metrics: bool = True) -> AdminPort:
    log, metrics, tasks, profiler = RecordingLog(), Metrics(version="7"), TaskAges(), Profiler()
    health = Health({"postgres": passes}, log, draining=lambda: found.draining)
    context = AdminContext(
        "things", "7", health,
        metrics=metrics if with_metrics else None,
        settings=[EffectiveSetting("APP_PORT", "8080", "default", "Port."), EffectiveSetting("APP_SECRET", "***", "flag", "S.")],
        state=metrics.stats_collector.state, tasks=tasks, profiler=profiler,
    )  # fmt: skip
    client = TestClient(admin_app(context, log, token=token))
    found = AdminPort(log, client, metrics, tasks, profiler)
    return found


GUARDED = (
    "/metrics", "/log/level", "/config", "/debug/tasks", "/debug/state", "/debug/logs",
    "/debug/profile?seconds=0.01",
)  # fmt: skip


async def test_guesses_of_the_token_are_limited_and_the_token_passes_all_the_same() -> None:
    admin = admin_port(token=TOKEN)
    guesses = [await admin.get("/config", authorization=f"Bearer {n}") for n in range(100)]
    statuses = [each.status for each in guesses]
    assert statuses[:40] == [401] * 40
    assert statuses.count(429) > 40
    assert (await admin.get("/config", authorization=f"Bearer {TOKEN}")).status == 200
    assert len(admin.log.lines) < 65


@pytest.mark.parametrize("path", GUARDED)
async def test_with_a_token_set_requests_need_it(path: str) -> None:
    admin = admin_port(token=TOKEN)
    assert (await admin.get(path)).status == 401
    assert (await admin.get(path, authorization=f"Bearer {TOKEN[:-1]}x")).status == 401
    assert (await admin.get(path, authorization="Bearer é")).status == 401
    assert (await admin.get(path, authorization=f"Bearer {TOKEN}", host="10.1.2.3")).status == 200


@pytest.mark.parametrize("path", GUARDED)
async def test_without_a_token_only_requests_to_this_machines_own_names_are_answered(
    path: str,
) -> None:
    admin = admin_port()
    for host in ("localhost:9090", "127.0.0.1", "[::1]:9090", "127.0.0.5:1"):
        assert (await admin.get(path, host=host)).status == 200
    for host in ("rebound.example:9090", "10.0.0.1", "", "[fe80::1]:9090", "localhost.example"):
        assert (await admin.get(path, host=host)).status == 403


@pytest.mark.parametrize("token", [None, TOKEN])
async def test_probes_need_no_token(token: str | None) -> None:
    admin = admin_port(token=token)
    assert (await admin.get("/health", host="10.0.0.1")).json() == {"status": "ok"}
    assert (await admin.get("/ready", host="10.0.0.1")).json()["status"] == "ready"
    admin.draining = True
    answer = await admin.get("/ready", host="10.0.0.1")
    assert (answer.status, answer.json()["status"]) == (503, "draining")


@dataclass(frozen=True, slots=True)
class Bound:
    host: str
    token: str | None
    allowed: bool


@pytest.mark.parametrize(
    "case",
    [
        Bound("127.0.0.1", None, allowed=True),
        Bound("::1", None, allowed=True),
        Bound("localhost", None, allowed=True),
        Bound("0.0.0.0", None, allowed=False),  # noqa: S104 - that is the point
        Bound("::", None, allowed=False),
        Bound("10.0.0.1", None, allowed=False),
        Bound("0.0.0.0", TOKEN, allowed=True),  # noqa: S104 - as above
    ],
    ids=lambda case: f"{case.host} {'with' if case.token else 'without'}",
)
def test_an_address_that_others_can_reach_needs_a_token(case: Bound) -> None:
    if case.allowed:
        require_token(case.host, case.token, variable="APP_ADMIN_TOKEN")
        return
    with pytest.raises(Error, match="set APP_ADMIN_TOKEN to a long random text") as caught:
        require_token(case.host, case.token, variable="APP_ADMIN_TOKEN")
    assert caught.value.code is Code.FAILED_PRECONDITION


async def test_metrics_are_in_the_requested_format() -> None:
    admin = admin_port()
    plain = await admin.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'\npaceline_build_info{python="' in plain.body
    rich = await admin.get(
        "/metrics?any=thing", accept="application/openmetrics-text;version=1.0.0"
    )
    assert rich.headers["content-type"].startswith("application/openmetrics-text")
    assert rich.body.endswith(b"# EOF\n")
    assert (await admin_port(with_metrics=False).get("/metrics")).status == 404


async def test_the_log_level_is_shown_and_changed() -> None:
    admin = admin_port()
    changed = await admin.client.request(
        "PUT", "/log/level", json={"level": "error"}, headers=LOCAL
    )
    assert (changed.status, changed.json()) == (200, {"level": "error"})
    assert (await admin.get("/log/level")).json() == {"level": "error"}
    assert (
        "warning",
        "log level changed",
        {"before": "debug", "after": "error"},
    ) in admin.log.lines
    wrong = await admin.client.request("PUT", "/log/level", json={"level": "loud"}, headers=LOCAL)
    assert (wrong.status, admin.log.level) == (422, "error")


async def test_the_last_lines_of_the_log_can_be_followed() -> None:
    admin = admin_port()
    admin.log.tail.add([b"one\n", b"two\n"])
    assert (await admin.get("/debug/logs")).json() == {"next": 2, "lines": ["one", "two"]}
    admin.log.tail.add([b"three\n"])
    assert (await admin.get("/debug/logs?after=2")).json() == {"next": 3, "lines": ["three"]}
    assert (await admin.get("/debug/logs?after=-1")).status == 422


async def test_the_settings_in_effect_are_shown_as_they_were_masked() -> None:
    rows = (await admin_port().get("/config")).json()
    assert [(row["variable"], row["value"]) for row in rows] == [
        ("APP_PORT", "8080"),
        ("APP_SECRET", "***"),
    ]


async def test_the_state_names_the_process_and_shows_what_is_watched() -> None:
    admin = admin_port()

    @dataclass(frozen=True)
    class Figures:
        size: int
        in_use: int

    admin.metrics.stats_collector.add(StatsEntry("pools", "database", lambda: Figures(5, 2)))
    state: Mapping[str, object] = (await admin.get("/debug/state")).json()
    assert {"service": "things", "version": "7"}.items() <= state.items()
    assert state["pools"] == [{"name": "database", "size": 5, "in_use": 2}]
    assert isinstance(state["pid"], int)


async def test_every_task_is_shown_with_its_age_and_what_it_waits_for() -> None:
    admin = admin_port()
    forever = asyncio.Event()

    async def inner() -> None:
        await forever.wait()

    async def outer() -> None:
        await inner()

    old = asyncio.create_task(outer(), name="the old one")
    await asyncio.sleep(0)
    await admin.tasks.start()
    await admin.tasks.stop()
    young = asyncio.create_task(outer(), name="the young one")
    await asyncio.sleep(0)
    answer = (await admin.get("/debug/tasks")).json()
    shown = {task["name"]: task for task in answer["tasks"]}
    assert answer["total"] == len(answer["tasks"])
    assert shown["the old one"]["age_seconds"] >= 0
    assert shown["the young one"]["age_seconds"] is None
    functions = [place.rpartition(".")[2] for place in shown["the old one"]["stack"]]
    assert functions == ["outer", "inner", "wait", "waits for FutureIter"][: len(functions)]
    assert len(functions) >= 3
    for task in (old, young):
        task.cancel()
    await asyncio.wait([old, young])


def spin(until: asyncio.Event) -> None:
    """Work for a profile to find."""
    for _ in range(20_000):
        until.is_set()


async def busy(until: asyncio.Event) -> None:
    while not until.is_set():
        spin(until)
        await asyncio.sleep(0)


async def test_a_profile_finds_where_the_time_goes() -> None:
    admin, over = admin_port(), asyncio.Event()
    work = asyncio.create_task(busy(over))
    try:
        text = (await admin.get("/debug/profile?seconds=0.3&format=folded")).body.decode()
        picture = await admin.get("/debug/profile?seconds=0.1")
    finally:
        over.set()
        await work
    stacks = [line.rpartition(" ") for line in text.splitlines()]
    spent = {stack: int(cost) for stack, _, cost in stacks}
    spinning = sum(cost for stack, cost in spent.items() if ".busy;" in stack and ".spin" in stack)
    assert spinning > 0.5 * sum(spent.values())
    assert picture.headers["content-type"] == "image/svg+xml"
    names = findall(r"<title>([^<]*)</title>", picture.body.decode())
    assert any(".spin: " in name for name in names)


async def test_one_profile_at_a_time_and_within_limits() -> None:
    admin = admin_port()
    first = asyncio.create_task(admin.get("/debug/profile?seconds=60"))
    await running(admin)
    assert (await admin.get("/debug/profile?seconds=1")).status == 409
    await admin.profiler.stop()
    assert (await first).status == 200, "the profile so far when the process stops"
    assert (await admin.get("/debug/profile?seconds=1")).status == 503
    await admin.profiler.start()
    for wrong in ("0", "61", "nan", "x"):
        assert (await admin.get(f"/debug/profile?seconds={wrong}")).status == 422


async def test_a_client_that_disconnects_ends_the_profile() -> None:
    admin = admin_port()
    first = asyncio.create_task(admin.get("/debug/profile?seconds=60"))
    await running(admin)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await admin.get("/debug/profile?seconds=0.01")).status == 200


async def running(admin: AdminPort) -> None:
    """Wait until a profile is being made."""
    while not admin.profiler.running:  # noqa: ASYNC110 - no event for it
        await asyncio.sleep(0)


async def test_what_monitoring_polls_is_logged_at_debug_level() -> None:
    admin = admin_port()
    for path in ("/metrics", "/health", "/ready", "/debug/state", "/debug/logs", "/debug/tasks"):
        await admin.get(path)
    await admin.get("/config")
    assert len(admin.log.events("info")) == 1
    assert json.dumps(admin.log.lines, default=str).count("request completed") == 7
