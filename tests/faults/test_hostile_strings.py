"""Texts that break parsers, databases and terminals, in every field that takes a text, at both doors.

Each is stored and given back as it was, or refused as the caller's mistake: never a server error, and
both doors decide alike. Afterwards the tables are what they were.
"""

import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from urllib.parse import quote

import asyncpg
import pytest
from grpc import aio
from grpc_clients import GrpcService, bearer_metadata, running_grpc_service

from myservice.proto.v1 import records_pb2 as pb
from myservice.scopes import SCOPES
from paceline.http import TestClient, TestResponse
from paceline.testing import make_token

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
Record = Callable[[str, object], None]

TEXTS = [
    "\0", "a\0b", "\x01\x1b[31m\x7f", "\r\nSet-Cookie: a=b", "\u2028\u2029", "\ufeff", "\ufffe\uffff",
    "\U0010ffff", "e\u0301" * 20, "\u202e\u2066", "'", "''", '"', "\\", "\\'", "%", "_", "%_\\%",
    "'; DROP TABLE records; --", "' OR '1'='1", "1; SELECT pg_sleep(10)", "$1", "$$", "{}", "{0}",
    "%s%n", "${jndi:ldap://a}", "{{7*7}}", "../../etc/passwd", "<script>alert(1)</script>",
    "NULL", "null", "true", "NaN", "0x10", "1e400", "-0", "٣", "x" * 10_000, " ", "\t",
]  # fmt: skip
SURROGATES = [r"\ud800", r"\udc00\ud800", r"a\udfffb"]


@dataclass(frozen=True)
class Doors:
    http: TestClient
    grpc: GrpcService
    dsn: str


@pytest.fixture
async def doors(migrated: str) -> AsyncGenerator[Doors]:
    async with running_grpc_service(migrated, rate_limit=0) as service:
        headers = {"authorization": f"Bearer {make_token('ada', *SCOPES)}"}
        yield Doors(TestClient(service.process.app, headers=headers), service, migrated)


def is_callers_mistake(answer: TestResponse) -> bool:
    return 400 <= answer.status < 500


async def create_over_grpc(doors: Doors, draft: pb.RecordDraft) -> pb.Record | str:
    """What was made, or the name of the code."""
    try:
        made = await doors.grpc.records.CreateRecord(
            pb.CreateRecordRequest(record=draft), metadata=bearer_metadata("ada", *SCOPES)
        )
    except aio.AioRpcError as exc:
        return exc.code().name
    return made.record


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:24])
async def test_both_doors_keep_a_text_as_it_is_or_refuse_it(doors: Doors, text: str) -> None:
    for http_draft, rpc_draft in (
        ({"name": text}, pb.RecordDraft(name=text)),
        ({"name": "a", "data": {text: [text]}},
         pb.RecordDraft(name="a", data=json.dumps({text: [text]}))),
        ({"name": "a", "metadata": {"key": text}}, pb.RecordDraft(name="a", metadata={"key": text})),
        ({"name": "a", "metadata": {text: "b"}}, pb.RecordDraft(name="a", metadata={text: "b"})),
    ):  # fmt: skip
        answer = await doors.http.post("/api/v1/records", http_draft)
        over_grpc = await create_over_grpc(doors, rpc_draft)
        if answer.status == 201:
            kept = answer.json()
            assert {name: kept[name] for name in http_draft} == http_draft
            assert not isinstance(over_grpc, str), f"gRPC refuses it with {over_grpc}"
            assert over_grpc.name == kept["name"]
            assert dict(over_grpc.metadata) == kept["metadata"]
        else:
            assert is_callers_mistake(answer), answer.status
            assert over_grpc == "INVALID_ARGUMENT"


@pytest.mark.parametrize("escape", SURROGATES)
async def test_a_lone_surrogate_is_refused_wherever_it_stands(doors: Doors, escape: str) -> None:
    for body in (
        f'{{"name": "{escape}"}}',
        f'{{"name": "a", "{escape}": 1}}',
        f'{{"name": "a", "metadata": {{"{escape}": "b"}}}}',
        f'{{"name": "a", "data": ["{escape}"]}}',
        f'{{"name": "a", "data": {{"{escape}": 1}}}}',
    ):
        answer = await doors.http.request(
            "POST",
            "/api/v1/records",
            content=body.encode(),
            headers={"content-type": "application/json"},
        )
        assert is_callers_mistake(answer), (body, answer.status)
    draft = pb.RecordDraft(name="a", data=f'["{escape}"]')
    assert await create_over_grpc(doors, draft) == "INVALID_ARGUMENT"


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:24])
async def test_a_text_in_an_address_or_a_header_changes_nothing(doors: Doors, text: str) -> None:
    for path in (
        f"/api/v1/records?prefix={quote(text)}",
        f"/api/v1/records?cursor={quote(text)}",
        f"/api/v1/records?limit={quote(text)}",
        f"/api/v1/records/{quote(text, safe='')}",
        f"/api/v1/accounts/{quote(text, safe='')}",
        f"/api/v1/records?{quote(text)}=1",
    ):
        answer = await doors.http.get(path)
        assert answer.status < 500, (path, answer.status)
    body = {"from": text, "to": text, "amount": 1, "reference": text}
    assert is_callers_mistake(await doors.http.post("/api/v1/transfers", body))
    keyed = await doors.http.post(
        "/api/v1/accounts", {"owner": text},
        headers={"idempotency-key": text.encode("utf-8", "replace").decode("latin-1")},
    )  # fmt: skip
    assert keyed.status < 500
    connection = await asyncpg.connect(doors.dsn)
    try:
        assert await connection.fetchval("SELECT count(*) FROM records") == 0
    finally:
        await connection.close()


async def test_an_error_is_not_larger_than_its_request_by_more_than_its_words(doors: Doors) -> None:
    long = "x" * 20_000
    answers = [
        await doors.http.get(f"/api/v1/records/{long[:7_000]}"),
        await doors.http.get(f"/api/v1/records?{long[:7_000]}=1"),
        await doors.http.get(f"/api/v1/records?cursor={long[:7_000]}"),
        await doors.http.post("/api/v1/records", {long: 1}),
        await doors.http.post("/api/v1/records", {"name": long}),
        await doors.http.post("/api/v1/records", {"name": "a", "metadata": {long: "b"}}),
        await doors.http.post("/api/v1/records", [long]),
        await doors.http.get("/nothing/" + long[:7_000]),
        await doors.http.get("/api/v1/records?" + "&".join(f"a{n}" for n in range(1_000))),
        await doors.http.post("/api/v1/records", {f"a{n}": 1 for n in range(10_000)}),
    ]
    for answer in answers:
        assert is_callers_mistake(answer)
        assert len(answer.body) < 2_000, (len(answer.body), answer.body[:200])


BROKEN = {
    "no UTF-8": pb.CreateRecordRequest(record=pb.RecordDraft(name="ab")).SerializeToString().replace(b"ab", b"\xff\xfe"),
    "cut off": pb.CreateRecordRequest(record=pb.RecordDraft(name="abc")).SerializeToString()[:-1],
    "a length beyond the end": b"\x0a\xff\xff\xff\xff\x0f",
    "a number without an end": b"\x08" + b"\xff" * 11,
    "groups in groups": b"\x0b" * 10_000,
    "the tag zero": b"\x00\x00",
}  # fmt: skip


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN.keys())
async def test_bytes_that_are_no_message_are_the_callers_mistake(doors: Doors, sent: bytes) -> None:
    method = "/myservice.v1.RecordService/CreateRecord"
    call: aio.UnaryUnaryMultiCallable[bytes, bytes] = doors.grpc.channel.unary_unary(method)
    with pytest.raises(aio.AioRpcError) as caught:
        await call(sent, metadata=bearer_metadata("ada", *SCOPES))
    assert caught.value.code().name == "INVALID_ARGUMENT"
