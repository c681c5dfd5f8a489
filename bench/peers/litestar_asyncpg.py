"""The peer: Litestar and asyncpg, with msgspec as its models. Started by bench/servers.py."""

import asyncio
import base64
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from asyncpg_store import Store
from litestar import Litestar, Request, Response, get, post
from stack import Refused, RequestLog, authenticate, problem, serve

store = Store()


class Draft(msgspec.Struct, forbid_unknown_fields=True):
    """A record to be."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    metadata: dict[str, str] = {}
    data: Any = None


class Record(msgspec.Struct):
    """A record."""

    id: UUID
    name: str
    metadata: dict[str, str]
    data: Any
    version: int
    created_at: datetime
    updated_at: datetime


class Page(msgspec.Struct):
    """Some records."""

    records: list[Record]
    next_cursor: str | None


class TransferDraft(msgspec.Struct, rename={"from_": "from"}, forbid_unknown_fields=True):
    """A transfer to be."""

    from_: UUID
    to: UUID
    amount: Annotated[int, msgspec.Meta(gt=0)]
    reference: str = ""


def caller(request: Request, scope: str):
    """Whose request it is."""
    return authenticate(request.headers.get("authorization", ""), scope)


@get("/health")
async def health() -> dict[str, str]:
    """Alive."""
    return {"status": "ok"}


@get("/api/v1/records/{id:uuid}")
async def get_record(id: UUID, request: Request) -> Response[Record]:
    """One record."""
    caller(request, "records:read")
    async with asyncio.timeout(30):
        found = Record(**await store.get(id))
    return Response(found, headers={"etag": f'"{found.version}"'})


@get("/api/v1/records")
async def list_records(request: Request, limit: int = 20) -> Page:
    """A page."""
    caller(request, "records:read")
    async with asyncio.timeout(30):
        found, more = await store.list(limit)
    cursor = base64.urlsafe_b64encode(found[-1]["id"].bytes).decode() if more else None
    return Page([Record(**each) for each in found], cursor)


@post("/api/v1/records")
async def create_record(data: Draft, request: Request) -> Record:
    """A new record."""
    caller(request, "records:write")
    async with asyncio.timeout(30):
        return Record(**await store.insert(data.name, data.metadata, data.data))


@post("/api/v1/transfers")
async def transfer(data: TransferDraft, request: Request) -> dict[str, Any]:
    """A transfer."""
    who = caller(request, "transfers:write")
    wanted = {"from": data.from_, "to": data.to, "amount": data.amount, "reference": data.reference}
    async with asyncio.timeout(30):
        return await store.transfer(who.subject, wanted)


def refused(_: Request, exc: Refused) -> Response[dict[str, object]]:
    """A problem."""
    body = problem(exc.status, exc.detail)
    return Response(body, status_code=exc.status, media_type="application/problem+json")


app = Litestar(
    [health, get_record, list_records, create_record, transfer],
    on_startup=[store.start],
    on_shutdown=[store.stop],
    exception_handlers={Refused: refused},
    middleware=[RequestLog],
    openapi_config=None,
)

if __name__ == "__main__":
    serve("litestar_asyncpg")
