"""The OpenAPI document of the whole service: its groups, and examples that are true.

The examples name the ids of the sample data: on a seeded database each of them succeeds as it is.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import pytest
from wired_service import config_on, wire_service

from myservice.scopes import SCOPES
from myservice.seed import seed
from paceline.http import TestClient
from paceline.testing import RecordingLog, make_token

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Operation:
    """An operation of the document."""

    method: str
    path: str
    spec: dict[str, Any]

    @property
    def target(self) -> str:
        """Its path with the examples of its parameters."""
        values = {each["name"]: each.get("example") for each in self.spec["parameters"]}
        return self.path.format(**values)

    @property
    def content(self) -> dict[str, Any] | None:
        """Its JSON body, as described."""
        found: dict[str, Any] = self.spec.get("requestBody", {}).get("content", {})
        return found.get("application/json")


@dataclass
class Documented:
    """The started service, its document, and the groups that have sample data."""

    client: TestClient
    spec: dict[str, Any]
    seeded: Collection[str]

    def operations(self) -> list[Operation]:
        return [
            Operation(method, path, operation)
            for path, methods in self.spec["paths"].items()
            for method, operation in methods.items()
        ]


@pytest.fixture
async def documented(migrated: str) -> AsyncGenerator[Documented]:
    made = await asyncio.to_thread(seed, config_on(migrated))
    process = wire_service(config_on(migrated), RecordingLog())
    async with process.lifecycle:
        bearer = {"authorization": f"Bearer {make_token('developer', *SCOPES)}"}
        client = TestClient(process.app, headers=bearer)
        yield Documented(client, (await client.get("/openapi.json")).json(), made)


async def test_every_operation_has_a_group_and_a_summary(documented: Documented) -> None:
    groups = {tag["name"] for tag in documented.spec["tags"]}
    for operation in documented.operations():
        assert set(operation.spec["tags"]) <= groups
        assert operation.spec["summary"], operation
    assert groups >= {"records", "probes"}


async def test_every_body_has_an_example_that_its_schema_allows(documented: Documented) -> None:
    bodies = [(each, each.content) for each in documented.operations() if each.content]
    assert bodies
    for operation, content in bodies:
        schema = {**content["schema"], "components": documented.spec["components"]}
        assert jsonschema_rs.is_valid(schema, content["example"]), operation


async def test_every_example_that_is_posted_succeeds_as_it_is(documented: Documented) -> None:
    posts = [each for each in documented.operations() if each.method == "post"]
    assert posts
    for operation in posts:
        assert operation.content
        answer = await documented.client.post(operation.target, operation.content["example"])
        assert answer.status // 100 == 2, (operation.path, answer.body)


async def test_every_example_that_is_read_or_replaced_succeeds_as_it_is(
    documented: Documented,
) -> None:
    with_data = {"probes", *documented.seeded}
    for operation in documented.operations():
        if not with_data.intersection(operation.spec["tags"]):
            continue
        if operation.method == "get" and "text/event-stream" not in str(operation.spec):
            answer = await documented.client.get(operation.target)
            assert answer.status == 200, (operation.path, answer.body)
        if operation.method == "put" and operation.content:
            answer = await documented.client.request(
                "PUT", operation.target, json=operation.content["example"]
            )
            assert answer.status == 200, (operation.path, answer.body)
