"""The examples of guides and pattern book are tests: ``pytest docs`` runs them, on real servers.

Each heading's code is a module of its own.
"""

from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from kafka_running import KafkaServer, running
from page_examples import Example, examples_of

from paceline.testing import (
    database,
    nats,
    postgres,
    pytest_asyncio_loop_factories,
    pytest_runtest_call,
    redis,
)

__all__ = [
    "database",
    "nats",
    "postgres",
    "pytest_asyncio_loop_factories",
    "pytest_runtest_call",
    "redis",
]


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Generator[KafkaServer]:
    """A running Kafka, where there is one."""
    yield from running(tmp_path_factory.mktemp("kafka"))


class ExampleModule(pytest.Module):
    """The example below one heading."""

    example: Example

    def _getobj(self) -> ModuleType:
        return self.example.load()


class Page(pytest.File):
    """A page with examples."""

    def collect(self) -> Iterator[pytest.Module]:
        """One module for each heading that has code."""
        for example in examples_of(self.path):
            name = example.heading
            module = ExampleModule.from_parent(  # pyright: ignore[reportUnknownMemberType] - pytest's
                self, path=self.path, name=name, nodeid=f"{self.nodeid}::{name}"
            )
            module.example = example
            yield module


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Page | None:
    """Collect the guides and the pattern book."""
    if file_path.suffix == ".md" and file_path.parent.name in {"guides", "patterns"}:
        return Page.from_parent(  # pyright: ignore[reportUnknownMemberType] - pytest's
            parent, path=file_path
        )
    return None
