"""``nats``, ``kafka``: a server for the session; ``broker``: the fake, and the real ones."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from consuming import Broker, kafka_broker, memory_broker, nats_broker
from kafka_running import KafkaServer, running
from nats_running import NatsServer


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Generator[NatsServer]:
    server = NatsServer(Path(tmp_path_factory.mktemp("nats")))
    server.start()
    yield server
    assert server.process is not None
    server.process.terminate()
    server.process.wait()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Generator[KafkaServer]:
    yield from running(Path(tmp_path_factory.mktemp("kafka")))


@pytest.fixture(
    params=[
        "memory",
        pytest.param("nats", marks=pytest.mark.integration),
        pytest.param("kafka", marks=pytest.mark.integration),
    ]
)
async def broker(request: pytest.FixtureRequest) -> AsyncGenerator[Broker]:
    if request.param == "memory":
        async with memory_broker() as fake:
            yield fake
        return
    if request.param == "kafka":
        broker: KafkaServer = request.getfixturevalue("kafka")
        async with kafka_broker(broker.servers) as real:
            yield real
        return
    server: NatsServer = request.getfixturevalue("nats")
    async with nats_broker(server.url) as other:
        yield other
