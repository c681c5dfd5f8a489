"""For the tests of a service: fixtures with real servers, fakes, and checks for asynchronous code.

Nothing here is imported by running code. A conftest imports the fixtures ``postgres``, ``nats``,
``redis`` and ``database``, and the two hooks that fail a test which blocks its event loop.
`ManualClock` and `SilentLog` replace the real ones, `make_token` signs what `TEST_SECRET` verifies,
`CertificateAuthority` makes certificates, `cancel_at_every_await` cancels a coroutine at each of
its waits, and `stalling_proxy` is a network that loses bytes.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.testing.cancel import CancellationFault, cancel_at_every_await
    from paceline.testing.certificates import CertificateAuthority, CertificateFiles
    from paceline.testing.clock import ManualClock
    from paceline.testing.fake_queue import FakeQueue
    from paceline.testing.fixtures import (
        database,
        nats,
        postgres,
        pytest_asyncio_loop_factories,
        pytest_runtest_call,
        redis,
    )
    from paceline.testing.frozen_servers import RunningServer, child_pids, frozen
    from paceline.testing.logs import RecordingLog, SilentLog
    from paceline.testing.nats_servers import nats_cluster
    from paceline.testing.pg_sessions import SessionMonitor, monitor_sessions
    from paceline.testing.postgres_servers import TemplateDatabase, scratch_folder
    from paceline.testing.proxy import FlowDirection, StallingProxy, stalling_proxy
    from paceline.testing.tokens import TEST_SECRET, make_token
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "CancellationFault": "cancel",
            "CertificateAuthority": "certificates",
            "CertificateFiles": "certificates",
            "FakeQueue": "fake_queue",
            "FlowDirection": "proxy",
            "ManualClock": "clock",
            "RecordingLog": "logs",
            "RunningServer": "frozen_servers",
            "SessionMonitor": "pg_sessions",
            "SilentLog": "logs",
            "StallingProxy": "proxy",
            "TEST_SECRET": "tokens",
            "TemplateDatabase": "postgres_servers",
            "cancel_at_every_await": "cancel",
            "child_pids": "frozen_servers",
            "database": "fixtures",
            "frozen": "frozen_servers",
            "make_token": "tokens",
            "monitor_sessions": "pg_sessions",
            "nats": "fixtures",
            "nats_cluster": "nats_servers",
            "postgres": "fixtures",
            "pytest_asyncio_loop_factories": "fixtures",
            "pytest_runtest_call": "fixtures",
            "redis": "fixtures",
            "scratch_folder": "postgres_servers",
            "stalling_proxy": "proxy",
        },
        extra="testing",
    )

__all__ = [
    "TEST_SECRET",
    "CancellationFault",
    "CertificateAuthority",
    "CertificateFiles",
    "FakeQueue",
    "FlowDirection",
    "ManualClock",
    "RecordingLog",
    "RunningServer",
    "SessionMonitor",
    "SilentLog",
    "StallingProxy",
    "TemplateDatabase",
    "cancel_at_every_await",
    "child_pids",
    "database",
    "frozen",
    "make_token",
    "monitor_sessions",
    "nats",
    "nats_cluster",
    "postgres",
    "pytest_asyncio_loop_factories",
    "pytest_runtest_call",
    "redis",
    "scratch_folder",
    "stalling_proxy",
]
