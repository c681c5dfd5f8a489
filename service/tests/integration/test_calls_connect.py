"""Methods by Connect, as curl calls them: JSON to gRPC's port."""

import asyncio
import json
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest
from grpc_clients import bearer_metadata, running_grpc_service

pytestmark = pytest.mark.integration

ADA = dict(bearer_metadata("ada", "records:read", "records:write"))
RECORDS = "/myservice.v1.RecordService"


def post(port: int, path: str, body: object, token: dict[str, str]) -> tuple[int, Any]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        headers = {"content-type": "application/json", **token}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.load(answer)


async def test_a_method_is_called_by_json(migrated: str) -> None:
    async with running_grpc_service(migrated) as service:
        port = service.process.servers["grpc"].port

        async def called(method: str, body: object, token: dict[str, str]) -> tuple[int, Any]:
            return await asyncio.to_thread(post, port, f"{RECORDS}/{method}", body, token)

        status, made = await called("CreateRecord", {"record": {"name": "n"}}, ADA)
        assert status == 200
        identifier = made["record"]["id"]
        status, got = await called("GetRecord", {"id": identifier}, ADA)
        assert (status, got["record"]) == (200, made["record"])
        status, refused = await called("GetRecord", {"id": identifier}, {})
        assert (status, refused["code"]) == (401, "unauthenticated")
        status, refused = await called("GetRecord", {"id": identifier[:-4] + "dead"}, ADA)
        assert (status, refused["code"]) == (404, "not_found")
        assert "google.rpc.ErrorInfo" in {detail["type"] for detail in refused["details"]}
        assert service.log.events("error") == []
