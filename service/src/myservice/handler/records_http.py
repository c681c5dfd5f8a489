"""Records over HTTP.

The types of the parameters validate a request, and errors pass through to the application's table.
Versions are entity tags: GET and PUT return them in ``ETag``, PUT and DELETE compare them in
``If-Match``, and GET is conditional.
"""

from typing import Annotated
from uuid import UUID

import msgspec

from myservice.domain.records import Record, RecordDraft, RecordNotFound, StaleVersion
from myservice.scopes import RECORDS_READ, RECORDS_WRITE
from myservice.service.records import RecordService
from paceline.auth import Principal
from paceline.http import (
    Body,
    Header,
    Headers,
    IfMatch,
    IfNoneMatchAny,
    Path,
    Provided,
    Query,
    Reply,
    RouteGroup,
    entity_tag,
    expected_versions,
)
from paceline.idempotency import IdempotencyKeyText, KeyInFlight, KeyReused

Cursor = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9_-]{28}$", description="`next_cursor` of the page before, as it is"
    ),
]
# paceline: only sample {
Prefix = Annotated[
    str,
    msgspec.Meta(
        max_length=200,
        pattern=r"^[^\u0000]*$",
        description="only records whose name starts with this",
    ),
]
# paceline: }


class ListParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a listing."""

    prefix: Prefix = ""  # paceline: only sample
    cursor: Cursor | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100, description="records a page")] = 20


class RecordList(msgspec.Struct, frozen=True):
    """A page of records, oldest first; `next_cursor` is null on the last one."""

    records: list[Record]
    next_cursor: str | None


class RecordHandler:
    """The record operations."""

    def __init__(self, service: RecordService) -> None:
        self._service = service

    def register(self, api: RouteGroup) -> None:
        """Add the routes."""
        api.get("/records", self.list_records, scopes=[RECORDS_READ])
        api.post(
            "/records", self.create_record, status=201, scopes=[RECORDS_WRITE],
            errors=[KeyReused, KeyInFlight],
        )  # fmt: skip
        one, missing = "/records/{id}", RecordNotFound
        api.get(one, self.get_record, scopes=[RECORDS_READ], errors=[missing], conditional=True)
        api.put(one, self.replace_record, scopes=[RECORDS_WRITE], errors=[missing, StaleVersion])
        api.delete(
            one,
            self.delete_record,
            status=204,
            scopes=[RECORDS_WRITE],
            errors=[missing, StaleVersion],
        )

    async def list_records(self, params: Query[ListParams]) -> RecordList:
        """List records, page by page, in order of creation.

        Records that are there throughout are seen exactly once, whatever is created or deleted
        meanwhile. A page of large records ends early, with the one that reaches 1 MiB.
        """
        page = await self._service.list_records(
            params.cursor,
            params.limit,
            params.prefix,  # paceline: only sample
        )
        return RecordList(page.records, page.next_cursor)

    async def create_record(
        self,
        idempotency_key: Header[IdempotencyKeyText | None],
        body: Body[RecordDraft],
        principal: Provided[Principal],
    ) -> Reply[Record]:
        """Create a record; the service makes its id.

        With an `Idempotency-Key` the request may be sent again until it is answered: it makes one
        record, and the answer is the first one.
        """
        record = await self._service.create_record(body, principal.subject, idempotency_key)
        location = (b"location", b"/api/v1/records/%s" % str(record.id).encode())
        return Reply(record, [location, *_etag(record)])

    async def get_record(self, id: Path[UUID]) -> Reply[Record]:  # noqa: A002 - the path's name
        """Get one record, with its version as `ETag`.

        With `If-None-Match` of that tag it is not sent again: 304.
        """
        record = await self._service.get_record(id)
        return Reply(record, _etag(record))

    async def replace_record(
        self,
        id: Path[UUID],  # noqa: A002 - the path's name
        if_match: Header[IfMatch | None],
        if_none_match: Header[IfNoneMatchAny | None],
        body: Body[RecordDraft],
    ) -> Reply[Record]:
        """Replace a record.

        With `If-Match` only if its version is still that one, else 412; without it, whatever the
        version is. `If-None-Match: *` is for what is not there, which is not created here.
        """
        expected = expected_versions(if_match, if_none_match)
        record = await self._service.replace_record(id, body, expected)
        return Reply(record, _etag(record))

    async def delete_record(
        self,
        id: Path[UUID],  # noqa: A002 - the path's name
        if_match: Header[IfMatch | None],
        if_none_match: Header[IfNoneMatchAny | None],
    ) -> None:
        """Delete a record; `If-Match` and `If-None-Match` as for replacing."""
        await self._service.delete_record(id, expected_versions(if_match, if_none_match))


def _etag(record: Record) -> Headers:
    return [(b"etag", entity_tag(record.version))]
