"""Typed wrappers around the clients of NATS and Redis, whose options are untyped.

`connect_nats` never reconnects.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import nats
from nats.aio.client import Client
from nats.js.api import StreamConfig
from redis.asyncio import Redis


class JetStreamClient:
    """The part of JetStream that tests need."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stream = client.jetstream()  # pyright: ignore[reportUnknownMemberType]

    @property
    def max_payload(self) -> int:
        return self._client.max_payload

    async def flush(self) -> None:
        await self._client.flush()

    async def create(self, name: str, subject: str, *, replicas: int = 1) -> None:
        """A stream in files."""
        config = StreamConfig(name=name, subjects=[subject], num_replicas=replicas)
        await self._stream.add_stream(config)  # pyright: ignore[reportUnknownMemberType]

    async def publish(self, subject: str, data: bytes, *, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - the library's
        """Publish, and wait for the acknowledgement."""
        await self._stream.publish(subject, data, timeout=timeout)

    async def numbers(self, name: str) -> set[int]:
        """What is stored, when each message is a number."""
        state = (await self._stream.stream_info(name)).state
        found: set[int] = set()
        for sequence in range(state.first_seq, state.last_seq + 1):
            message = await self._stream.get_msg(name, sequence)
            found.add(int(message.data or b"0"))
        return found

    async def leader(self, name: str) -> str:
        """Which node of a cluster leads a stream; "" while none does."""
        cluster = (await self._stream.stream_info(name)).cluster
        return (cluster.leader or "") if cluster else ""

    async def step_down(self, name: str) -> None:
        """Let another node of the cluster lead a stream."""
        await self._client.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{name}", b"", timeout=5.0)

    async def count(self, name: str) -> int:
        return (await self._stream.stream_info(name)).state.messages


@asynccontextmanager
async def connect_nats(*urls: str) -> AsyncGenerator[JetStreamClient]:
    async def quiet(_: Exception) -> None:
        pass

    client = await nats.connect(list(urls), error_cb=quiet, allow_reconnect=False)  # pyright: ignore[reportUnknownMemberType]
    try:
        yield JetStreamClient(client)
    finally:
        await client.close()


class RedisClient:
    """The part of Redis that tests need."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def setting(self, name: str) -> object:
        settings = await self._client.config_get(name)  # pyright: ignore[reportUnknownMemberType]
        return settings[name]

    async def ping(self) -> bool:
        return bool(await self._client.ping())  # pyright: ignore[reportUnknownMemberType]

    async def get(self, key: str) -> object:
        return await self._client.get(key)

    async def set(self, key: str, value: str) -> None:
        await self._client.set(key, value)


@asynccontextmanager
async def connect_redis(url: str) -> AsyncGenerator[RedisClient]:
    async with Redis.from_url(url) as client:  # pyright: ignore[reportUnknownMemberType]
        yield RedisClient(client)
