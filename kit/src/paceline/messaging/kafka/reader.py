"""A member of a consumer group: records in, committed offsets out.

The client hides an outage: it keeps trying and returns nothing, so `KafkaReader.check` asks the
brokers for an answer. How long a handler may take is not the client's to judge: a member that does
not poll stays one, since the consumer bounds its handlers. Invariant: a revocation is reported
before the partition can be assigned to anybody else.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias, cast

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition, errors

from paceline.errors import Code
from paceline.messaging.errors import QueueError
from paceline.messaging.kafka.errors import translate
from paceline.messaging.kafka.records import Record
from paceline.messaging.kafka.security import KafkaSecurity

Partition: TypeAlias = tuple[str, int]
"""A topic and the number of its partition."""

_POLL_INTERVAL_MS: Final = 86_400_000  # in effect, no limit
_CLOSE_TIMEOUT: Final = 5.0
_FAILURES: Final = (errors.KafkaError, errors.ConsumerStoppedError, OSError, TimeoutError)


class _RebalanceListener(ConsumerRebalanceListener):
    def __init__(self, revoked: Callable[[], None]) -> None:
        self._revoked = revoked

    def on_partitions_revoked(self, revoked: object) -> None:
        """Every rebalance revokes all partitions first."""
        del revoked
        self._revoked()

    def on_partitions_assigned(self, assigned: object) -> None:
        """Nothing to do: the client begins at the committed offsets."""


class KafkaReader:
    """A member of ``group`` for ``topics``. Times are in seconds.

    ``on_revoked`` is called when no partition is assigned to this process any more.
    ``session_timeout``: after how long a silence its partitions are assigned to others.

    *Resources*: connections and tasks of the client from `open` to `close`.
    """

    def __init__(
        self,
        servers: str,
        topics: Sequence[str],
        group: str,
        on_revoked: Callable[[], None],
        *,
        security: KafkaSecurity,
        request_timeout: float,
        session_timeout: float,
        max_bytes: int,
    ) -> None:
        self._client: Any = AIOKafkaConsumer(  # type: ignore[no-untyped-call] # the client's own has no types
            bootstrap_servers=servers,
            group_id=group,
            client_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=int(1000 * request_timeout),
            session_timeout_ms=int(1000 * session_timeout),
            heartbeat_interval_ms=int(1000 * session_timeout / 3),
            max_poll_interval_ms=_POLL_INTERVAL_MS,
            fetch_max_bytes=max_bytes,
            **security.options(),
        )
        self._client.subscribe(  # type: ignore[no-untyped-call] # as above
            list(topics), listener=_RebalanceListener(on_revoked)
        )

    async def open(self, seconds: float) -> None:
        """Join the group. Errors: UNAVAILABLE, also when a topic does not exist."""
        try:
            async with asyncio.timeout(seconds):
                await self._client.start()
        except _FAILURES as exc:
            raise QueueError(Code.UNAVAILABLE) from exc

    async def poll(
        self, limit: int, seconds: float, *, grace: float, exclude: str | None = None
    ) -> Sequence[Record]:
        """Records, waited for at most ``seconds``; none of the topic ``exclude``.

        Errors: UNAVAILABLE: the group has not finished a rebalance ``grace`` seconds later.
        """
        wanted: set[TopicPartition] = set()
        if exclude is not None:
            wanted = {each for each in self._client.assignment() if each.topic != exclude}
            if not wanted:
                await asyncio.sleep(seconds)
                return []
        try:
            async with asyncio.timeout(seconds + grace):
                found = await self._client.getmany(
                    *wanted, timeout_ms=int(1000 * seconds), max_records=limit
                )
        except _FAILURES as exc:
            raise translate(exc) from exc
        return cast("list[Record]", [record for records in found.values() for record in records])

    async def commit(self, offsets: Mapping[Partition, int], seconds: float) -> None:
        """Commit offsets. Errors: ABORTED: a partition was revoked; UNAVAILABLE."""
        try:
            async with asyncio.timeout(seconds):
                await self._client.commit(
                    {TopicPartition(*partition): offset for partition, offset in offsets.items()}
                )
        except _FAILURES as exc:
            raise translate(exc) from exc

    async def check(self, seconds: float) -> None:
        """Wait for an answer of the brokers. Errors: UNAVAILABLE."""
        assigned = self._client.assignment()
        try:
            async with asyncio.timeout(seconds):
                if assigned:
                    await self._client.committed(next(iter(assigned)))
                else:
                    await self._client.topics()
        except _FAILURES as exc:
            raise QueueError(Code.UNAVAILABLE) from exc

    async def close(self) -> None:
        """Leave the group, so that others get its partitions at once, and close."""
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._client.stop()
        except TimeoutError:
            await self._abandon()
        except _FAILURES:
            await self._abandon()

    async def _abandon(self) -> None:
        """Close what the client holds, without waiting for a broker that does not answer."""
        coordinator, fetcher = self._client._coordinator, self._client._fetcher  # noqa: SLF001 - there is no other way
        tasks = [
            task
            for task in (
                getattr(coordinator, "_coordination_task", None),
                getattr(coordinator, "_heartbeat_task", None),
                getattr(coordinator, "_commit_refresh_task", None),
                getattr(fetcher, "_fetch_task", None),
            )
            if task is not None
        ]
        for task in tasks:
            task.cancel()
        await self._client._client.close()  # noqa: SLF001 - as above
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_TIMEOUT)
        for task in tasks:
            with suppress(asyncio.CancelledError, asyncio.InvalidStateError):
                task.exception()
