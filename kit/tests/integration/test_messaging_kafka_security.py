"""A login at a real Kafka, and what a client leaves open after a frozen one."""

import asyncio
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from consuming import RecordingHandler, Thing, kafka_broker
from kafka_running import KafkaServer, running

from paceline.errors import Code
from paceline.messaging import Message, QueueError
from paceline.messaging.kafka import (
    KafkaBus,
    KafkaBusSettings,
    KafkaConsumer,
    KafkaSecurity,
    KafkaSubscription,
    Topic,
)
from paceline.testing import RecordingLog

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

GOOD = KafkaSecurity(user="ada", password="lovelace", mechanism="PLAIN", plaintext_login=True)
ESTABLISHED = "01"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Generator[KafkaServer]:
    yield from running(Path(tmp_path_factory.mktemp("kafka")))


async def test_a_client_that_logs_in_publishes_and_consumes(kafka: KafkaServer) -> None:
    servers = f"127.0.0.1:{kafka.login_port}"
    bus = KafkaBus(servers, RecordingLog(), security=GOOD, topics=[Topic("private")])
    await bus.start()
    recorder = RecordingHandler()
    consumer = KafkaConsumer(
        bus,
        recorder,
        RecordingLog(),
        type=Thing,
        subscription=KafkaSubscription(("private",), "readers"),
    )
    await consumer.start()
    await bus.publish(Message("private", b'{"n": 1}', "m1"))
    await recorder.until(lambda: bool(recorder.done))
    await consumer.stop()
    await bus.stop()


async def test_a_wrong_password_is_refused(kafka: KafkaServer) -> None:
    servers = f"127.0.0.1:{kafka.login_port}"
    wrong = KafkaSecurity(user="ada", password="byron", mechanism="PLAIN", plaintext_login=True)
    bus = KafkaBus(
        servers, RecordingLog(), security=wrong, settings=KafkaBusSettings(start_timeout=1.0)
    )
    with pytest.raises(QueueError, match=servers) as caught:
        await bus.start()
    # All that the client says; its log has the reason.
    assert caught.value.code in {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}
    assert "byron" not in str(caught.value)
    await bus.stop()


async def test_a_client_of_a_frozen_broker_leaves_no_task_and_no_connection(
    kafka: KafkaServer,
) -> None:
    async with kafka_broker(kafka.servers) as broker:
        tasks, connections = asyncio.all_tasks(), connections_to(kafka.port)
        bus = KafkaBus(
            kafka.servers,
            RecordingLog(),
            settings=KafkaBusSettings(publish_timeout=5.0, request_timeout=2.0),
        )
        await bus.start()
        await bus.publish(Message(broker.topic.name, b"{}", "m1"))
        assert connections_to(kafka.port) > connections
        kafka.send(signal.SIGSTOP)
        try:
            with pytest.raises(QueueError):
                await bus.publish(Message(broker.topic.name, b"{}", "m2"))
            await bus.stop()
        finally:
            kafka.send(signal.SIGCONT)
        async with asyncio.timeout(10):
            while asyncio.all_tasks() - tasks or connections_to(kafka.port) > connections:  # noqa: ASYNC110 - no event is set
                await asyncio.sleep(0.05)


def connections_to(port: int) -> int:
    """How many of this process are open."""
    ours: set[str] = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            ours.add(str(entry.readlink()))
        except OSError:
            continue  # it was the folder itself
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return sum(
        int(row[2].rpartition(":")[2], 16) == port
        and row[3] == ESTABLISHED
        and f"socket:[{row[9]}]" in ours
        for row in rows
    )
