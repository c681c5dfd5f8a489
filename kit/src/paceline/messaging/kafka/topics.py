"""Topics: made when they are not there, and left alone when they are.

A topic that lacks partitions is not given more: that would send a key's messages to another
partition, and so break their order. ``kafka`` makes the publisher's topics, ``kafka_source`` those
of the messages that are tried again and of the dead letters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from paceline.errors import Error
from paceline.messaging.kafka.errors import translate
from paceline.messaging.kafka.security import KafkaAccess


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is made. ``settings``: Kafka's own, such as ``retention.ms``."""

    name: str
    partitions: int = 1
    replicas: int = 1
    settings: Mapping[str, str] = field(default_factory=dict[str, str])


async def ensure_topics(
    servers: str, topics: Sequence[Topic], *, access: KafkaAccess, request_timeout: float
) -> None:
    """Make those that are not there.

    Errors: UNAVAILABLE; INVALID_ARGUMENT for a name that Kafka does not take; PERMISSION_DENIED.
    """
    if not topics:
        return
    # The client has no types that a strict reader would accept.
    admin: Any = AIOKafkaAdminClient(
        bootstrap_servers=servers,
        request_timeout_ms=int(1000 * request_timeout),
        **access.options(),
    )
    wanted = [
        NewTopic(  # type: ignore[no-untyped-call] # the client's own has no types
            each.name, each.partitions, each.replicas, topic_configs={**each.settings}
        )
        for each in topics
    ]
    try:
        await admin.start()
        answer = await admin.create_topics(wanted)
        for topic, number, *_ in answer.topic_errors:
            _raise_for(str(topic), int(number))
    except (errors.KafkaError, OSError, TimeoutError) as exc:
        raise translate(exc) from exc
    finally:
        await admin.close()


def _raise_for(topic: str, number: int) -> None:
    kind = errors.for_code(number)
    if kind in (errors.NoError, errors.TopicAlreadyExistsError):
        return
    error: Error = translate(kind())
    error.add_note(f"topic {topic!r}: {kind.__name__}")
    raise error from kind()
