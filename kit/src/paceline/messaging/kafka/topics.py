"""Topics: created when they do not exist, and left as they are when they do.

A topic that lacks partitions is not given more: that would move a key's messages to another
partition, and so break their order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from paceline.errors import Error
from paceline.messaging.kafka.errors import translate
from paceline.messaging.kafka.security import KafkaSecurity


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is created. ``settings``: Kafka's own, such as ``retention.ms``."""

    name: str
    partitions: int = 1
    replicas: int = 1
    settings: Mapping[str, str] = field(default_factory=dict[str, str])


async def ensure_topics(
    servers: str, topics: Sequence[Topic], *, security: KafkaSecurity, request_timeout: float
) -> None:
    """Create those that do not exist. ``request_timeout`` is in seconds.

    Errors: UNAVAILABLE; INVALID_ARGUMENT for a name that Kafka does not take; PERMISSION_DENIED.
    """
    if not topics:
        return
    # The client has no types that a strict reader would accept.
    admin: Any = AIOKafkaAdminClient(
        bootstrap_servers=servers,
        request_timeout_ms=int(1000 * request_timeout),
        **security.options(),
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
