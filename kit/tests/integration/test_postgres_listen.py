"""LISTEN and NOTIFY on a real server, also after the connection was lost or the server restarted."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pg_sessions import started

from paceline.postgres import Notifier, Pool, PoolSettings, Wakeup, connect, listening
from paceline.testing import RecordingLog, monitor_sessions
from paceline.testing.postgres_servers import new_test_postgres

pytestmark = pytest.mark.integration


async def woken(wakeup: Wakeup) -> None:
    async with asyncio.timeout(10):
        await wakeup.wait()


@asynccontextmanager
async def following(dsn: str, log: RecordingLog) -> AsyncGenerator[Wakeup]:
    """A wakeup that was waited for once, after the first connection."""
    async with listening(
        dsn, "news", log, check_interval=0.05, timeout=1, reconnect_delay=0.01
    ) as wakeup:
        await woken(wakeup)
        yield wakeup


async def test_a_notification_wakes_and_many_become_few(database: str) -> None:
    log = RecordingLog()
    async with (
        following(database, log) as wakeup,
        started(Pool(database, PoolSettings(min_size=1))) as pool,
    ):
        notifier = Notifier(pool, "news", interval=0.001)
        await notifier.start()
        try:
            for _ in range(3):
                for _ in range(100):
                    notifier.notify()
                await woken(wakeup)
        finally:
            await notifier.stop()
    assert log.lines == []


async def test_a_notification_requested_before_the_stop_is_sent(database: str) -> None:
    async with following(database, RecordingLog()) as wakeup, started(Pool(database)) as pool:
        notifier = Notifier(pool, "news")
        await notifier.stop()
        await notifier.start()
        notifier.notify()
        await notifier.stop()
        await woken(wakeup)
        await notifier.start()
        await notifier.start()
        await notifier.stop()


async def test_a_notifier_continues_after_a_lost_connection(database: str) -> None:
    async with (
        started(Pool(database, PoolSettings(min_size=1))) as pool,
        monitor_sessions(database) as monitor,
    ):
        notifier = Notifier(pool, "news", interval=0.001)
        await notifier.start()
        await monitor.terminate_all()
        notifier.notify()
        async with following(database, RecordingLog()) as wakeup:
            async with asyncio.timeout(10):
                while True:
                    notifier.notify()
                    try:
                        async with asyncio.timeout(0.1):
                            await wakeup.wait()
                    except TimeoutError:
                        continue
                    break
        await notifier.stop()


async def test_a_lost_connection_is_replaced_and_wakes(database: str) -> None:
    log = RecordingLog()
    async with following(database, log) as wakeup, monitor_sessions(database) as monitor:
        for _ in range(3):
            await monitor.terminate_all()
            await woken(wakeup)
            raw = await connect(database)
            await raw.execute("NOTIFY news")
            await woken(wakeup)
            await raw.close()
    assert log.events("warning") == ["listening was interrupted"] * 3
    assert log.events("info") == ["listening again"] * 3


async def test_nothing_is_left_after_the_block(database: str) -> None:
    before = asyncio.all_tasks()
    async with monitor_sessions(database) as monitor:
        for _ in range(5):
            async with listening(database, "news", RecordingLog()):
                await asyncio.sleep(0)
        async with following(database, RecordingLog()):
            await monitor.wait_until(monitor.connections, 1)
        await monitor.wait_until(monitor.connections, 0)
    assert not {task for task in asyncio.all_tasks() - before if not task.done()}


async def test_listening_resumes_after_a_restart_of_the_server(tmp_path: Path) -> None:
    engine = new_test_postgres(tmp_path)
    await engine.start()
    try:
        log = RecordingLog()
        async with following(engine.dsn(), log) as wakeup:
            await engine.stop()
            async with asyncio.timeout(10):
                while not log.events("warning"):  # noqa: ASYNC110 - the log has no event
                    await asyncio.sleep(0.01)
            await engine.start()
            await woken(wakeup)
            raw = await connect(engine.dsn())
            await raw.execute("NOTIFY news")
            await woken(wakeup)
            await raw.close()
        assert log.events("warning") == ["listening was interrupted"]
    finally:
        await engine.stop()
