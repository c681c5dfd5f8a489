"""NATS: reachable, JetStream on, streams and consumers as they should be, nothing dead.

Nothing is created: a stream that does not exist yet is made by the service when it starts, so its
absence is no fault. Whether the server syncs each write to disk cannot be seen from a client, and
the finding says so.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from paceline.commands.doctor.findings import Finding, fail, ok, warn
from paceline.commands.doctor.runner import DoctorRun
from paceline.commands.units import number, size
from paceline.errors import Code
from paceline.messaging import QueueError
from paceline.messaging.nats import (
    CONSUMER_NOT_FOUND,
    STREAM_NOT_FOUND,
    JetStreamError,
    NatsBus,
    NatsBusSettings,
    Stream,
    dead_letter_stream,
    server_addresses,
)

_NAME: Final = "nats"
_JETSTREAM: Final = "jetstream"
_JETSTREAM_OFF: Final = frozenset({Code.UNAVAILABLE, Code.PERMISSION_DENIED})
_SYNC: Final = (
    "one replica; an acknowledged message is safe if the server has "
    "jetstream { sync_interval: always }, which cannot be seen from here"
)


class _Account(msgspec.Struct, frozen=True):
    storage: int = 0
    streams: int = 0
    consumers: int = 0


class _StreamConfig(msgspec.Struct, frozen=True):
    num_replicas: int = 1
    storage: str = "file"
    subjects: tuple[str, ...] = ()


class _StreamState(msgspec.Struct, frozen=True):
    messages: int = 0
    bytes: int = 0


class _StreamInfo(msgspec.Struct, frozen=True):
    config: _StreamConfig
    state: _StreamState


class _ConsumerInfo(msgspec.Struct, frozen=True):
    num_pending: int = 0
    num_ack_pending: int = 0
    num_redelivered: int = 0


async def check_nats(
    url: str,
    run: DoctorRun,
    *,
    consumers: Mapping[str, Stream] | None = None,
    dead: Stream | None = None,
    replicas: int = 1,
) -> list[Finding]:
    """All about the queue.

    ``consumers``: the stream of each durable consumer. ``dead``: the stream of dead letters, as
    `dead_letter_stream` makes it unless given; ``replicas``: of that one.

    Errors: `QueueError` when it cannot be reached within ``run.seconds``.
    """
    dead = dead or dead_letter_stream(replicas=replicas)
    settings = NatsBusSettings(start_timeout=run.seconds, publish_timeout=run.seconds)
    bus = NatsBus(url, run.log, name="doctor", settings=settings)
    await bus.start()
    try:
        found = [ok(_NAME, f"connected with {server_addresses(url.split(','))}")]
        account = await _account(bus)
        if account is None:
            mend = "start the server with -js, or allow this account JetStream"
            return [*found, fail(_JETSTREAM, "JetStream is off", mend)]
        saw = f"{number(account.streams)} streams, {size(account.storage)} stored"
        found.append(ok(_JETSTREAM, saw))
        for durable, stream in (consumers or {}).items():
            found += await _stream(bus, stream)
            found.append(await _consumer(bus, stream, durable))
        return [*found, await _dead(bus, dead, run.name)]
    finally:
        await bus.stop()


async def _account(bus: NatsBus) -> _Account | None:
    try:
        return await bus.call_api("INFO", None, _Account)
    except QueueError as exc:
        # Without JetStream there is no answer; with it, an account without the right is refused.
        if isinstance(exc, JetStreamError) or exc.code in _JETSTREAM_OFF:
            await bus.ping()
            return None
        raise


async def _info(bus: NatsBus, stream: Stream) -> _StreamInfo | None:
    try:
        return await bus.call_api(f"STREAM.INFO.{stream.name}", None, _StreamInfo)
    except JetStreamError as exc:
        if exc.number == STREAM_NOT_FOUND:
            return None
        raise


async def _stream(bus: NatsBus, stream: Stream) -> Sequence[Finding]:
    name = f"stream {stream.name}"
    info = await _info(bus, stream)
    if info is None:
        return [ok(name, f"not there yet; made at the start, on {stream.replicas} server(s)")]
    saw = f"{number(info.state.messages)} messages, {size(info.state.bytes)}"
    if info.config.storage != "file":
        mend = "make it again with storage: file; a restart of the server empties it"
        return [fail(name, f"{saw}, kept in {info.config.storage} only", mend)]
    lacking = [each for each in stream.subjects if each not in info.config.subjects]
    if lacking:
        return [warn(name, f"{saw}, without {', '.join(lacking)}", "they are added at the start")]
    if info.config.num_replicas < stream.replicas:
        mend = f"nats stream edit {stream.name} --replicas={stream.replicas}"
        return [warn(name, f"{saw}, {info.config.num_replicas} replica(s)", mend)]
    kept = _SYNC if info.config.num_replicas == 1 else f"{info.config.num_replicas} replicas"
    return [ok(name, f"{saw}; {kept}")]


async def _consumer(bus: NatsBus, stream: Stream, durable: str) -> Finding:
    name = f"consumer {durable}"
    try:
        subject = f"CONSUMER.INFO.{stream.name}.{durable}"
        info = await bus.call_api(subject, None, _ConsumerInfo)
    except JetStreamError as exc:
        if exc.number in {STREAM_NOT_FOUND, CONSUMER_NOT_FOUND}:
            return ok(name, "not there yet; made when a worker starts")
        raise
    return ok(
        name,
        f"{number(info.num_pending)} waiting, {number(info.num_ack_pending)} being handled, "
        f"{number(info.num_redelivered)} of them again",
    )


async def _dead(bus: NatsBus, stream: Stream, program: str) -> Finding:
    name = "dead letters"
    info = await _info(bus, stream)
    if info is None or info.state.messages == 0:
        return ok(name, "none")
    count = number(info.state.messages)
    return warn(name, count, f"{program} dead list shows them; mend the cause, then: dead retry")
