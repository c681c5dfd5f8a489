"""A check-up of real servers, of their absence, and of one that never answers."""

import asyncio
import socket
import time
from collections.abc import Sequence
from uuid import uuid4

import pytest
from doctor_runs import doctor_run

from paceline.clock import SystemClock
from paceline.commands.doctor import Finding, Status
from paceline.commands.doctor.machine import check_ports
from paceline.commands.doctor.nats import check_nats
from paceline.commands.doctor.network import check_listening
from paceline.commands.doctor.postgres import check_postgres
from paceline.commands.doctor.redis import check_redis
from paceline.commands.doctor.runner import run_checks
from paceline.engines import NatsEngine, RedisEngine
from paceline.errors import Error
from paceline.messaging import Message
from paceline.messaging.nats import NatsBus, Stream
from paceline.postgres import connect
from paceline.redis import Redis
from paceline.testing import SilentLog

pytestmark = pytest.mark.integration
DEAD = Stream("DOCTOR_DEAD", ("doctor-dead.>",))


def by_name(findings: Sequence[Finding]) -> dict[str, tuple[Status, str]]:
    return {each.name: (each.status, each.saw) for each in findings}


async def test_the_database_check_reports_everything(database: str) -> None:
    found = by_name(await check_postgres(database, doctor_run(), wanted=5))
    assert found["postgres"][0] is Status.OK
    assert "PostgreSQL" in found["postgres"][1]
    assert found["durability"] == (Status.FAIL, "fsync and full_page_writes off"), "a test's server"
    others = {name: status for name, (status, _) in found.items() if name != "durability"}
    assert others == dict.fromkeys(
        ("postgres", "connections", "rights", "encryption", "encoding", "clocks"), Status.OK
    )
    crowd = by_name(await check_postgres(database, doctor_run(), wanted=10_000))
    assert crowd["connections"][0] is Status.FAIL


async def test_the_rights_are_those_of_the_role(database: str) -> None:
    name = f"reader_{uuid4().hex[:8]}"
    owner = await connect(database)
    try:
        await owner.execute(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 3")
        await owner.execute(f"ALTER ROLE {name} SET default_transaction_read_only = on")
        as_role = database.replace("postgres@", f"{name}@")
        found = by_name(await check_postgres(as_role, doctor_run(), wanted=5))
        assert found["rights"][0] is Status.FAIL
        assert found["connections"] == (Status.FAIL, found["connections"][1])
        await owner.execute(f"ALTER ROLE {name} RESET default_transaction_read_only")
        found = by_name(await check_postgres(as_role, doctor_run(), wanted=1))
        assert found["rights"][0] is Status.WARN
    finally:
        await owner.execute(f"DROP ROLE IF EXISTS {name}")
        await owner.close()


async def test_a_server_that_never_answers_does_not_hold_up_the_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]

        async def postgres() -> Sequence[Finding]:
            dsn = f"postgresql://app:hunter2@127.0.0.1:{port}/app"
            return await check_postgres(dsn, doctor_run(seconds=0.5), wanted=1)

        async def nats() -> Sequence[Finding]:
            url = f"nats://app:hunter2@127.0.0.1:{port}"
            return await check_nats(url, doctor_run(seconds=0.5), consumers={}, dead=DEAD)

        async def redis() -> Sequence[Finding]:
            url = f"redis://:hunter2@127.0.0.1:{port}/0"
            return await check_redis(url, doctor_run(seconds=0.5))

        began = time.monotonic()
        found = await run_checks({"postgres": postgres, "nats": nats, "redis": redis}, seconds=2.0)
        assert time.monotonic() - began < 6
    assert [(each.name, each.status) for each in found] == [
        (name, Status.FAIL) for name in ("postgres", "nats", "redis")
    ]
    assert all("itself failed" not in each.saw for each in found)
    assert all("hunter2" not in each.saw + each.mend for each in found)


async def test_the_queue_check_reports_streams_and_consumers(nats: NatsEngine) -> None:
    stream = Stream(f"DOCTOR_{uuid4().hex[:8]}", (f"{uuid4().hex}.>",))
    dead = Stream(f"DEAD_{uuid4().hex[:8]}", (f"{uuid4().hex}.>",))

    async def check(wanted: Stream = stream) -> dict[str, tuple[Status, str]]:
        return by_name(
            await check_nats(nats.url, doctor_run(), consumers={"maker": wanted}, dead=dead)
        )

    before = await check()
    assert {status for status, _ in before.values()} == {Status.OK}
    assert "not there yet" in before[f"stream {stream.name}"][1]
    assert "not there yet" in before["consumer maker"][1]

    bus = NatsBus(nats.url, SilentLog(), streams=[stream, dead])
    await bus.start()
    try:
        await bus.publish(Message(stream.subjects[0].replace(">", "a"), b"1", "m1"))
        await bus.publish(Message(dead.subjects[0].replace(">", "a"), b"1", "m2"))
        after = await check()
        assert "1 messages" in after[f"stream {stream.name}"][1]
        assert after["dead letters"] == (Status.WARN, "1")
        wider = Stream(stream.name, (*stream.subjects, "more.>"))
        assert (await check(wider))[f"stream {stream.name}"][0] is Status.WARN
        safer = Stream(stream.name, stream.subjects, replicas=3)
        assert (await check(safer))[f"stream {stream.name}"][0] is Status.WARN
    finally:
        for each in (stream, dead):
            await bus.call_api(f"STREAM.DELETE.{each.name}", None, dict)
        await bus.stop()


async def test_the_redis_check_reports_its_memory(redis: RedisEngine) -> None:
    found = by_name(await check_redis(redis.url, doctor_run()))
    assert found["redis"][0] is Status.OK
    assert "Valkey" in found["redis"][1]
    assert found["redis memory"][0] is Status.OK
    assert "used" in found["redis memory"][1]
    client = Redis(redis.url, SilentLog(), SystemClock())
    await client.start()
    assert (await client.info())["role"] == "master"
    await client.stop()


async def test_a_redis_that_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(Error, match="not available"):
        await check_redis("redis://127.0.0.1:1/0", doctor_run())


async def test_a_port_that_is_taken_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (found,) = await asyncio.to_thread(check_ports, "127.0.0.1", {"APP_PORT": port})
        assert (found.status, found.name) == (Status.WARN, f"port {port}")
    (free,) = check_ports("127.0.0.1", {"APP_PORT": port})
    assert free.status is Status.OK
    (any_port,) = check_ports("127.0.0.1", {"APP_PORT": 0})
    assert "APP_PORT=0" in any_port.saw
    (nowhere,) = check_ports("192.0.2.1", {"APP_PORT": port})
    assert nowhere.status is Status.WARN


async def test_whether_something_listens_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        target = f"127.0.0.1:{listening.getsockname()[1]}"
        assert (await check_listening("traces", target, "start it"))[0].status is Status.OK
        url = f"http://{target}/v1/traces"
        assert (await check_listening("traces", url, "start it"))[0].status is Status.OK
    (found,) = await check_listening("traces", target, "start it")
    assert (found.status, found.saw) == (
        Status.WARN,
        f"nothing listens at {target}: connection refused",
    )
