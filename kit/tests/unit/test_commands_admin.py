"""The admin application: what it answers, to whom, and what it refuses."""

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
from paceline.testing import RecordingLog

TOKEN = "8f1d7c0b2a964e53b1c7a0d9e2f4c6a8"
LOCAL = {"host": "127.0.0.1:9090"}


async def passes() -> None: ...


@dataclass
class World:
    """One process, and somebody who asks it."""

    log: RecordingLog
    client: TestClient
    metrics: Metrics
    tasks: TaskAges
    profiler: Profiler
    draining: bool = False

    async def get(self, path: str, **headers: str) -> TestResponse:
        return await self.client.request("GET", path, headers={**LOCAL, **headers})


def world(*, token: str | None = None, with_metrics: bool = True) -> World:
    log, metrics, tasks, profiler = RecordingLog(), Metrics(version="7"), TaskAges(), Profiler()
    health = Health({"postgres": passes}, log, draining=lambda: found.draining)
    operated = AdminContext(
        "things", "7", health,
        metrics=metrics if with_metrics else None,
        settings=[EffectiveSetting("APP_PORT", "8080", "default", "Port."), EffectiveSetting("APP_SECRET", "***", "flag", "S.")],
        state=metrics.watched.state, tasks=tasks, profiler=profiler,
    )  # fmt: skip
    client = TestClient(admin_app(operated, log, token=token))
    found = World(log, client, metrics, tasks, profiler)
    return found


GUARDED = (
    "/metrics", "/log/level", "/config", "/debug/tasks", "/debug/state", "/debug/logs",
    "/debug/profile?seconds=0.01",
)  # fmt: skip


@pytest.mark.parametrize("path", GUARDED)
async def test_with_a_token_it_is_asked_for(path: str) -> None:
    asked = world(token=TOKEN)
    assert (await asked.get(path)).status == 401
    assert (await asked.get(path, authorization=f"Bearer {TOKEN[:-1]}x")).status == 401
    assert (await asked.get(path, authorization="Bearer é")).status == 401
    assert (await asked.get(path, authorization=f"Bearer {TOKEN}", host="10.1.2.3")).status == 200


@pytest.mark.parametrize("path", GUARDED)
async def test_without_one_only_this_machine_is_answered_by_its_own_names(path: str) -> None:
    asked = world()
    for host in ("localhost:9090", "127.0.0.1", "[::1]:9090", "127.0.0.5:1"):
        assert (await asked.get(path, host=host)).status == 200
    for host in ("rebound.example:9090", "10.0.0.1", "", "[fe80::1]:9090", "localhost.example"):
        assert (await asked.get(path, host=host)).status == 403


@pytest.mark.parametrize("token", [None, TOKEN])
async def test_probes_are_for_everybody(token: str | None) -> None:
    asked = world(token=token)
    assert (await asked.get("/health", host="10.0.0.1")).json() == {"status": "ok"}
    assert (await asked.get("/ready", host="10.0.0.1")).json()["status"] == "ready"
    asked.draining = True
    answer = await asked.get("/ready", host="10.0.0.1")
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


async def test_metrics_are_in_the_format_that_is_asked_for() -> None:
    asked = world()
    plain = await asked.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'\npaceline_build_info{python="' in plain.body
    rich = await asked.get(
        "/metrics?any=thing", accept="application/openmetrics-text;version=1.0.0"
    )
    assert rich.headers["content-type"].startswith("application/openmetrics-text")
    assert rich.body.endswith(b"# EOF\n")
    assert (await world(with_metrics=False).get("/metrics")).status == 404


async def test_the_log_level_is_shown_and_changed() -> None:
    asked = world()
    changed = await asked.client.request(
        "PUT", "/log/level", json={"level": "error"}, headers=LOCAL
    )
    assert (changed.status, changed.json()) == (200, {"level": "error"})
    assert (await asked.get("/log/level")).json() == {"level": "error"}
    assert (
        "warning",
        "log level changed",
        {"before": "debug", "after": "error"},
    ) in asked.log.lines
    wrong = await asked.client.request("PUT", "/log/level", json={"level": "loud"}, headers=LOCAL)
    assert (wrong.status, asked.log.level) == (422, "error")


async def test_the_last_lines_of_the_log_are_told_and_told_on() -> None:
    asked = world()
    asked.log.tail.add([b"one\n", b"two\n"])
    assert (await asked.get("/debug/logs")).json() == {"next": 2, "lines": ["one", "two"]}
    asked.log.tail.add([b"three\n"])
    assert (await asked.get("/debug/logs?after=2")).json() == {"next": 3, "lines": ["three"]}
    assert (await asked.get("/debug/logs?after=-1")).status == 422


async def test_the_settings_in_effect_are_shown_as_they_were_masked() -> None:
    rows = (await world().get("/config")).json()
    assert [(row["variable"], row["value"]) for row in rows] == [
        ("APP_PORT", "8080"),
        ("APP_SECRET", "***"),
    ]


async def test_the_state_names_the_process_and_shows_what_is_watched() -> None:
    asked = world()

    @dataclass(frozen=True)
    class Figures:
        size: int
        in_use: int

    asked.metrics.watched.read("pools", "database", lambda: Figures(5, 2))
    state: Mapping[str, object] = (await asked.get("/debug/state")).json()
    assert {"service": "things", "version": "7"}.items() <= state.items()
    assert state["pools"] == [{"name": "database", "size": 5, "in_use": 2}]
    assert isinstance(state["pid"], int)


async def test_every_task_is_shown_with_its_age_and_what_it_waits_for() -> None:
    asked = world()
    forever = asyncio.Event()

    async def inner() -> None:
        await forever.wait()

    async def outer() -> None:
        await inner()

    old = asyncio.create_task(outer(), name="the old one")
    await asyncio.sleep(0)
    await asked.tasks.start()
    await asked.tasks.stop()
    young = asyncio.create_task(outer(), name="the young one")
    await asyncio.sleep(0)
    answer = (await asked.get("/debug/tasks")).json()
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
    """Something to be found by a profile."""
    for _ in range(20_000):
        until.is_set()


async def busy(until: asyncio.Event) -> None:
    while not until.is_set():
        spin(until)
        await asyncio.sleep(0)


async def test_a_profile_finds_where_the_time_goes() -> None:
    asked, over = world(), asyncio.Event()
    work = asyncio.create_task(busy(over))
    try:
        text = (await asked.get("/debug/profile?seconds=0.3&format=folded")).body.decode()
        picture = await asked.get("/debug/profile?seconds=0.1")
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


async def test_one_profile_at_a_time_and_not_for_ever() -> None:
    asked = world()
    first = asyncio.create_task(asked.get("/debug/profile?seconds=60"))
    await running(asked)
    assert (await asked.get("/debug/profile?seconds=1")).status == 409
    await asked.profiler.stop()
    assert (await first).status == 200, "who waits gets what there is when the process stops"
    assert (await asked.get("/debug/profile?seconds=1")).status == 503
    await asked.profiler.start()
    for wrong in ("0", "61", "nan", "x"):
        assert (await asked.get(f"/debug/profile?seconds={wrong}")).status == 422


async def test_who_leaves_ends_the_profile() -> None:
    asked = world()
    first = asyncio.create_task(asked.get("/debug/profile?seconds=60"))
    await running(asked)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await asked.get("/debug/profile?seconds=0.01")).status == 200


async def running(asked: World) -> None:
    """Wait until a profile is being made."""
    while not asked.profiler.running:  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(0)


async def test_what_machines_ask_for_again_and_again_is_logged_at_debug_level() -> None:
    asked = world()
    for path in ("/metrics", "/health", "/ready", "/debug/state", "/debug/logs", "/debug/tasks"):
        await asked.get(path)
    await asked.get("/config")
    assert len(asked.log.events("info")) == 1
    assert json.dumps(asked.log.lines, default=str).count("request completed") == 7
