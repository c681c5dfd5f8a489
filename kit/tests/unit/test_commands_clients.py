"""Clients of servers: built from the settings, checked by readiness, with their limits listed."""

import pytest

from paceline.commands import (
    NatsSettings,
    PostgresSettings,
    ProcessSpec,
    RedisSettings,
    Wiring,
    add_nats,
    add_postgres,
    add_redis,
)
from paceline.messaging.nats import Stream
from paceline.redis import Redis
from paceline.testing import RecordingLog


class Config(PostgresSettings, NatsSettings, RedisSettings):
    """The settings of a service with all three."""


def config_with(**settings: object) -> Config:
    urls = {
        "database_url": "postgresql://app@127.0.0.1:1/app",
        "nats_url": "nats://127.0.0.1:1",
        "redis_url": "redis://127.0.0.1:1/0",
    }
    return Config.model_validate({**urls, **settings})


def wiring_of(config: Config, *, serves: bool = True) -> Wiring:
    spec = ProcessSpec(service="small", version="1", serves=serves, listens=False)
    return Wiring(config, RecordingLog(), spec)


async def checks_of(wiring: Wiring) -> list[str]:
    wiring.finish()
    return [check.name for check in (await wiring.health.ready()).results]


@pytest.mark.parametrize(("connections", "pages"), [(1, 1), (2, 1), (25, 12)])
async def test_pages_get_half_of_the_connections(connections: int, pages: int) -> None:
    config = config_with(max_db_conns=connections)
    wiring = wiring_of(config)
    _, reads = add_postgres(wiring, config)
    assert reads.pages.stats.limit == pages
    assert wiring.limits["max_db_conns"] == connections
    assert wiring.limits["pages_at_once"] == pages
    assert await checks_of(wiring) == ["postgres"]


async def test_a_worker_lists_no_limit_of_pages() -> None:
    config = config_with()
    wiring = wiring_of(config, serves=False)
    add_postgres(wiring, config)
    assert "max_db_conns" in wiring.limits
    assert "pages_at_once" not in wiring.limits


async def test_a_process_is_not_ready_without_its_queue() -> None:
    config = config_with()
    wiring = wiring_of(config, serves=False)
    add_nats(wiring, config, [Stream("THINGS", ("things.>",))])
    assert await checks_of(wiring) == ["nats"]


async def test_redis_is_used_by_servers_if_anything_is_kept_there() -> None:
    shared = config_with(rate_limit_shared=True)
    assert add_redis(wiring_of(config_with()), config_with()) is None
    assert add_redis(wiring_of(shared, serves=False), shared) is None
    wiring = wiring_of(shared)
    assert isinstance(add_redis(wiring, shared), Redis)
    assert await checks_of(wiring) == []
