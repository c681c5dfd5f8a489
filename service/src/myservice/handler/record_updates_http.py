"""Updates of records over HTTP, as server-sent events.

An event's ``id`` is the update's position, so a client that reconnects with ``Last-Event-ID``
continues exactly where it was. The stream ends when the caller's token expires. An update goes to
many subscribers and is encoded once.
"""

from collections import OrderedDict
from typing import Annotated, Final

import msgspec

from myservice.domain.record_updates import RecordUpdate
from myservice.handler.records_http import Prefix
from myservice.scopes import RECORDS_READ
from myservice.service.record_updates import RecordUpdates
from paceline.auth import Principal
from paceline.clock import Clock
from paceline.http import Events, Header, Provided, Query, RouteGroup, event

Position = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9_-]{28}$",
        description="the `id` of the last event that was seen: go on after it",
    ),
]
PATH: Final = "/records/updates"
"""The path of the stream, below the API's prefix."""
_MAX_ENCODED: Final = 4 * 1024 * 1024


class UpdateParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a stream."""

    prefix: Annotated[
        Prefix,
        msgspec.Meta(
            description="only records whose name starts with this, or did before the change"
        ),
    ] = ""
    after: Position | None = None


class RecordUpdateHandler:
    """The operation that streams updates."""

    def __init__(self, updates: RecordUpdates, clock: Clock) -> None:
        self._updates = updates
        self._clock = clock
        self._encoded: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._encoded_bytes = 0
        self._json = msgspec.json.Encoder().encode

    def register(self, api: RouteGroup) -> None:
        """Add the route."""
        api.get(PATH, self.stream_updates, scopes=[RECORDS_READ])

    async def stream_updates(
        self,
        params: Query[UpdateParams],
        last_event_id: Header[Position | None],
        principal: Provided[Principal],
    ) -> Events[RecordUpdate]:
        """Follow the changes of records as they happen (server-sent events).

        Every committed change comes once, and those of one record in order. The event `resync`
        says that updates were dropped: read the records again. `Last-Event-ID` counts before
        `after`.
        """
        return Events(
            self._updates.subscribe(
                params.prefix, last_event_id or params.after, principal.subject
            ),
            self._event,
            lifetime=max(0.0, principal.expires_at - self._clock.time()),
        )

    def _event(self, update: RecordUpdate) -> bytes:
        key = update.position, update.kind
        encoded = self._encoded.get(key)
        if encoded is None:
            encoded = event(self._json(update), name=update.kind, id=update.position)
            self._encoded[key] = encoded
            self._encoded_bytes += len(encoded)
            while self._encoded_bytes > _MAX_ENCODED:
                self._encoded_bytes -= len(self._encoded.popitem(last=False)[1])
        return encoded
