"""The FastAPI peer around a store: pydantic models, dependencies, the usual middleware.

Used by ``fastapi_asyncpg`` and ``fastapi_sqlalchemy``, which differ in the store alone.
"""

import asyncio
import base64
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from stack import Caller, Refused, RequestLog, authenticate, problem


class Draft(BaseModel):
    """A record to be."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=200)
    metadata: dict[str, str] = {}
    data: Any = None


class Record(BaseModel):
    """A record."""

    id: UUID
    name: str
    metadata: dict[str, str]
    data: Any
    version: int
    created_at: datetime
    updated_at: datetime


class Page(BaseModel):
    """Some records."""

    records: list[Record]
    next_cursor: str | None


class TransferDraft(BaseModel):
    """A transfer to be."""

    model_config = ConfigDict(extra="forbid")
    from_: UUID = Field(alias="from")
    to: UUID
    amount: int = Field(gt=0)
    reference: str = Field("", max_length=200)


class Transfer(BaseModel):
    """A transfer that was made."""

    model_config = ConfigDict(populate_by_name=True)
    id: UUID
    from_: UUID = Field(alias="from")
    to: UUID
    amount: int
    reference: str
    from_balance: int
    to_balance: int
    created_at: datetime


def needs(scope):
    """The dependency that authenticates."""

    async def caller(request: Request) -> Caller:
        return authenticate(request.headers.get("authorization", ""), scope)

    return Depends(caller)


def new_app(store):
    """The application."""

    @asynccontextmanager
    async def lifespan(_):
        await store.start()
        yield
        await store.stop()

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(RequestLog)

    @app.exception_handler(Refused)
    async def refused(_: Request, exc: Refused):
        body = problem(exc.status, exc.detail)
        return JSONResponse(body, exc.status, media_type="application/problem+json")

    @app.get("/health")
    async def health():
        return {"status": "ok"}

    @app.get("/api/v1/records/{id}", dependencies=[needs("records:read")])
    async def get_record(id: UUID, response: Response) -> Record:
        async with asyncio.timeout(30):
            found = await store.get(id)
        response.headers["etag"] = f'"{found["version"]}"'
        return found

    @app.get("/api/v1/records", dependencies=[needs("records:read")])
    async def list_records(limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Page:
        async with asyncio.timeout(30):
            found, more = await store.list(limit)
        cursor = base64.urlsafe_b64encode(found[-1]["id"].bytes).decode() if more else None
        return {"records": found, "next_cursor": cursor}

    @app.post("/api/v1/records", status_code=201, dependencies=[needs("records:write")])
    async def create_record(body: Draft) -> Record:
        async with asyncio.timeout(30):
            return await store.insert(body.name, body.metadata, body.data)

    @app.post("/api/v1/transfers", status_code=201)
    async def transfer(
        body: TransferDraft, caller: Annotated[Caller, needs("transfers:write")]
    ) -> Transfer:
        async with asyncio.timeout(30):
            return await store.transfer(caller.subject, body.model_dump(by_alias=True))

    return app
