"""LISTEN and NOTIFY on a real server: heard at once, also after the connection or the server ended."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pg_sessions import started, watching
from recording_log import RecordingLog

from paceline.postgres import Notifier, Pool, Wakeup, connect, listening
from paceline.testing.postgres_servers import new_test_server

pytestmark = pytest.mark.integration


async def hears(bell: Wakeup) -> None:
    async with asyncio.timeout(10):
        await bell.heard()


@asynccontextmanager
async def heard(dsn: str, log: RecordingLog) -> AsyncGenerator[Wakeup]:
    """A bell whose first ring, for the connection, is over."""
    async with listening(dsn, "news", log, ask_every=0.05, patience=1, pause=0.01) as bell:
        await hears(bell)
        yield bell


async def test_a_notification_is_heard_and_many_are_few(database: str) -> None:
    log = RecordingLog()
    async with heard(database, log) as bell, started(Pool(database, min_size=1)) as pool:
        notifier = Notifier(pool, "news", interval=0.001)
        await notifier.start()
        try:
            for _ in range(3):
                for _ in range(100):
                    notifier.notify()
                await hears(bell)
        finally:
            await notifier.stop()
    assert log.lines == []


async def test_what_was_asked_for_before_the_stop_is_sent(database: str) -> None:
    async with heard(database, RecordingLog()) as bell, started(Pool(database)) as pool:
        notifier = Notifier(pool, "news")
        await notifier.stop()
        await notifier.start()
        notifier.notify()
        await notifier.stop()
        await hears(bell)
        await notifier.start()
        await notifier.start()
        await notifier.stop()


async def test_a_notifier_goes_on_when_the_server_was_away(database: str) -> None:
    async with started(Pool(database, min_size=1)) as pool, watching(database) as watch:
        notifier = Notifier(pool, "news", interval=0.001)
        await notifier.start()
        await watch.terminate_all()
        notifier.notify()
        async with heard(database, RecordingLog()) as bell:
            async with asyncio.timeout(10):
                while True:
                    notifier.notify()
                    try:
                        async with asyncio.timeout(0.1):
                            await bell.heard()
                    except TimeoutError:
                        continue
                    break
        await notifier.stop()


async def test_an_ended_connection_is_opened_again_and_rings(database: str) -> None:
    log = RecordingLog()
    async with heard(database, log) as bell, watching(database) as watch:
        for _ in range(3):
            await watch.terminate_all()
            await hears(bell)
            raw = await connect(database)
            await raw.execute("NOTIFY news")
            await hears(bell)
            await raw.close()
    assert log.events("warning") == ["listening was interrupted"] * 3
    assert log.events("info") == ["listening again"] * 3


async def test_nothing_is_left_after_the_block(database: str) -> None:
    before = asyncio.all_tasks()
    async with watching(database) as watch:
        for _ in range(5):
            async with listening(database, "news", RecordingLog()):
                await asyncio.sleep(0)
        async with heard(database, RecordingLog()):
            await watch.becomes(watch.connections, 1)
        await watch.becomes(watch.connections, 0)
    assert not {task for task in asyncio.all_tasks() - before if not task.done()}


async def test_a_restarted_server_is_found_again(tmp_path: Path) -> None:
    engine = new_test_server(tmp_path)
    await engine.start()
    try:
        log = RecordingLog()
        async with heard(engine.dsn(), log) as bell:
            await engine.stop()
            async with asyncio.timeout(10):
                while not log.events("warning"):  # noqa: ASYNC110 - the log has no event
                    await asyncio.sleep(0.01)
            await engine.start()
            await hears(bell)
            raw = await connect(engine.dsn())
            await raw.execute("NOTIFY news")
            await hears(bell)
            await raw.close()
        assert log.events("warning") == ["listening was interrupted"]
    finally:
        await engine.stop()
