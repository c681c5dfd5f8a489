"""``myservice dead`` on a real server: what an operator types, and what comes of it."""

import asyncio
import os
import subprocess
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from nats_running import NatsServer
from processes import running_engine
from running_instance import running_instance
from service_process import MYSERVICE, environment

from paceline.engines import NatsEngine
from paceline.messaging import DEAD_LETTER_PREFIX, DeadLetter, Message
from paceline.messaging.nats import DeadLetters, NatsBus, Stream, dead_letter_stream
from paceline.testing import RecordingLog, SilentLog

pytestmark = pytest.mark.e2e

LETTER = DeadLetter(
    id="m1",
    subject="things.made",
    data=b'{"n": 1}',
    consumer="THINGS/maker",
    attempts=5,
    kind="internal",
    reason="no\nwonder",
    died_at=datetime(2026, 1, 2, tzinfo=UTC),
    headers={"traceparent": "00-1"},
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[NatsServer]:
    running = NatsServer(tmp_path / "store")
    running.start()
    yield running
    await running.kill()


@pytest.fixture
async def bus(server: NatsServer) -> AsyncGenerator[NatsBus]:
    streams = [dead_letter_stream(), Stream("THINGS", ("things.>",))]
    connected = NatsBus(server.url, RecordingLog(), streams=streams)
    await connected.start()
    yield connected
    await connected.stop()


async def dead(*words: str, url: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    if url:
        variables = {"APP_NATS_URL": url, **variables}
    return await asyncio.to_thread(
        subprocess.run,
        [str(MYSERVICE), "dead", *words],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


async def store_dead_letter(bus: NatsBus, name: str) -> None:
    letter = msgspec.structs.replace(LETTER, id=name)
    subject = f"{DEAD_LETTER_PREFIX}{letter.subject}"
    await bus.publish(Message(subject, letter.data, name, headers=letter.to_headers()))


async def test_letters_are_listed_shown_sent_again_and_dropped(
    bus: NatsBus, server: NatsServer
) -> None:
    assert (await dead("list", url=server.url)).stdout == ""
    for name in ("m1", "m2", "m3"):
        await store_dead_letter(bus, name)

    listed = await dead("list", "--limit", "2", url=server.url)
    assert [line.split("\t")[:4] for line in listed.stdout.splitlines()] == [
        ["1", "2026-01-02T00:00:00Z", "things.made", "m1"],
        ["2", "2026-01-02T00:00:00Z", "things.made", "m2"],
    ]
    assert "--after 2" in listed.stderr
    shown = await dead("show", "1", url=server.url)
    assert "THINGS/maker" in shown.stdout
    assert '{"n": 1}' in shown.stdout
    as_data = await dead("show", "1", "--json", url=server.url)
    assert msgspec.json.decode(as_data.stdout)["reason"] == LETTER.reason

    again = await dead("retry", "1", "99", url=server.url)
    assert (again.returncode, again.stdout) == (1, "1: sent to things.made as m1.again-1\n")
    assert "there is no dead letter 99" in again.stderr
    dropped = await dead("drop", "2", url=server.url)
    assert (dropped.returncode, dropped.stdout) == (0, "2: dropped\n")
    left = await DeadLetters(bus, stream=dead_letter_stream()).list()
    assert [each.number for each in left] == [3]


async def test_without_an_address_it_uses_the_queue_of_the_instance_on_the_data_folder(
    tmp_path: Path,
) -> None:
    engine = NatsEngine(SilentLog(), data_dir=tmp_path / "nats", progress=lambda _: None)
    async with running_engine(engine):
        bus = NatsBus(engine.url, RecordingLog(), streams=[dead_letter_stream()])
        await bus.start()
        await store_dead_letter(bus, "m1")
        await bus.stop()
        with running_instance(tmp_path, {"nats_url": engine.url}):
            listed = await dead("list", "--data-dir", str(tmp_path))
            assert listed.stdout.split("\t")[3] == "m1"
            dropped = await dead("drop", "1", APP_DATA_DIR=str(tmp_path))
            assert dropped.stdout == "1: dropped\n"


async def test_without_a_queue_it_says_what_is_missing(tmp_path: Path) -> None:
    missing = await dead("list", "--data-dir", str(tmp_path))
    assert await asyncio.to_thread(os.listdir, tmp_path) == []
    assert missing.returncode == 2
    assert "APP_NATS_URL: required" in missing.stderr


async def test_every_command_has_help_with_an_example() -> None:
    for word in ("list", "show", "retry", "drop"):
        shown = await dead(word, "--help")
        assert "Example:" in shown.stdout, word
