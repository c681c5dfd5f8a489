"""The methods in the OpenAPI document, which `/docs` lists with lines for curl and grpcurl."""

import pytest
from google.protobuf import descriptor_pool, json_format
from google.protobuf.message_factory import GetMessageClass
from wired_service import config_on, wire_service

from paceline.http import TestClient
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration


async def test_every_method_is_listed_with_the_port_to_call_and_an_example(migrated: str) -> None:
    config = config_on(migrated, grpc_reflection=True)
    process = wire_service(config, RecordingLog(), listens=True)
    async with process.lifecycle:
        document = (await TestClient(process.app).get("/openapi.json")).json()
        found = document["x-grpc"]
        assert found["port"] == process.servers["grpc"].port
    assert found["reflection"] is True
    assert "myservice.v1.RecordService" in {each["name"] for each in found["services"]}
    for service in found["services"]:
        descriptor = descriptor_pool.Default().FindServiceByName(service["name"])
        assert {one["name"] for one in service["methods"]} == set(descriptor.methods_by_name)
        for method in service["methods"]:
            described = descriptor.methods_by_name[method["name"]]
            json_format.ParseDict(method["example"], GetMessageClass(described.input_type)())
            assert method["summary"], method
            assert method["scopes"], method
