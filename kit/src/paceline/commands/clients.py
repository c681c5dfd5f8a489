"""Clients of the servers that a service uses, built from its settings and registered.

Invariant: each one is checked by ``/ready`` if the process cannot work without it, and its limits
are among those that are logged at the start.
"""

from collections.abc import Iterable

import msgspec

# Rooms of extras: their names are imported when they are used.
import paceline.messaging.nats as nats_room
import paceline.postgres as postgres_room
import paceline.redis as redis_room
from paceline.commands.settings import (
    NatsSettings,
    PostgresSettings,
    RedisSettings,
    require_settings,
)
from paceline.commands.start_failure import postgres_server, server_at
from paceline.commands.wiring import Wiring


def add_postgres(
    wiring: Wiring, config: PostgresSettings
) -> "tuple[postgres_room.Pool, postgres_room.ReadPolicy]":
    """The pool, and the policy for reads that its repositories share.

    Errors: ValueError without ``database_url``.
    """
    require_settings(config, "add_postgres", PostgresSettings)
    settings = postgres_room.PoolSettings(
        max_size=config.max_db_conns, application_name=wiring.spec.name
    )
    pool = postgres_room.Pool(config.get_database_url(), settings)
    wiring.add(pool, ready={"postgres": pool.ping}, needs=postgres_server(config))
    # Half of the connections are left to batches, which serve many callers each.
    max_pages = max(1, config.max_db_conns // 2)
    wiring.limits["max_db_conns"] = config.max_db_conns
    if wiring.spec.serves:
        wiring.limits["pages_at_once"] = max_pages
    return pool, wiring.add(postgres_room.ReadPolicy(max_pages=max_pages))


def add_redis(wiring: Wiring, config: RedisSettings) -> "redis_room.Redis | None":
    """Redis, if the settings keep anything there and the process serves requests.

    A process is ready without it. Errors: ValueError without ``redis_url``.
    """
    require_settings(config, "add_redis", RedisSettings)
    if not (wiring.spec.serves and config.uses_redis):
        return None
    url = config.get_redis_url()
    redis = redis_room.Redis(url, wiring.log, wiring.clock, timeout=config.redis_timeout)
    server = server_at("Redis", url, config.variable("redis_url"), optional=redis.ping)
    return wiring.add(redis, needs=server)


def add_nats(
    wiring: Wiring, config: NatsSettings, streams: "Iterable[nats_room.Stream]"
) -> "nats_room.NatsBus":
    """NATS, with these streams, of which a cluster keeps as many replicas as the settings say.

    What all consumers have handled is deleted from them after ``queue_keep``, dead letters after
    ``dead_letter_keep``.

    Errors: ValueError without ``nats_url``.
    """
    require_settings(config, "add_nats", NatsSettings)
    replicated = [
        msgspec.structs.replace(stream, replicas=config.nats_replicas) for stream in streams
    ]
    bus = nats_room.NatsBus(
        config.get_nats_url(),
        wiring.log,
        name=wiring.spec.service,
        streams=replicated,
        tracer=wiring.tracer,
    )
    server = server_at("NATS", config.get_nats_url(), config.variable("nats_url"))
    wiring.add(bus, ready={"nats": bus.ping}, needs=server)
    if config.queue_keep:
        for stream in replicated:
            wiring.add(
                nats_room.StreamCleaner(bus, wiring.log, stream.name, keep=config.queue_keep)
            )
    if config.dead_letter_keep:
        wiring.add(
            nats_room.StreamCleaner(
                bus, wiring.log, nats_room.dead_letter_stream().name,
                keep=config.dead_letter_keep, consumed=False,
            )
        )  # fmt: skip
    return bus
