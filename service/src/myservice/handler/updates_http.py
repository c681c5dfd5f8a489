"""The stream of record changes over HTTP, as server-sent events.

An event's ``id`` is the update's position, so a browser or a library that comes back with
``Last-Event-ID`` goes on exactly where it was. The stream ends when the caller's token does. One
update goes to many: its bytes are made once. Wired in ``main``; next is ``service.feed``.
"""

from collections import OrderedDict
from typing import Annotated, Final

import msgspec

from myservice.handler.records_http import READ
from myservice.service.updates import RecordUpdate, RecordUpdates
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
UPDATES: Final = "/records/updates"
"""The path of the stream, below the API's prefix."""
_REMEMBERED: Final = 512


class UpdateParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a stream."""

    prefix: Annotated[
        str,
        msgspec.Meta(
            max_length=200,
            pattern=r"^[^\u0000]*$",
            description="only records whose name starts with this, or did before the change",
        ),
    ] = ""
    after: Position | None = None


class UpdateHandler:
    """The one operation of the stream."""

    def __init__(self, updates: RecordUpdates, clock: Clock) -> None:
        self._updates = updates
        self._clock = clock
        self._encoded: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._json = msgspec.json.Encoder().encode

    def register(self, api: RouteGroup) -> None:
        """Add the route."""
        api.get(UPDATES, self.stream_updates, scopes=[READ])

    async def stream_updates(
        self,
        params: Query[UpdateParams],
        last_event_id: Header[Position | None],
        who: Provided[Principal],
    ) -> Events[RecordUpdate]:
        """Follow the changes of records as they happen (server-sent events).

        Every committed change comes once, and those of one record in order. The event `resync`
        says that updates were dropped: read the records again. `Last-Event-ID` counts before
        `after`.
        """
        return Events(
            self._updates.subscribe(params.prefix, last_event_id or params.after),
            self._event,
            lifetime=max(0.0, who.expires_at - self._clock.time()),
        )

    def _event(self, update: RecordUpdate) -> bytes:
        key = update.position, update.kind
        encoded = self._encoded.get(key)
        if encoded is None:
            encoded = event(self._json(update), name=update.kind, id=update.position)
            self._encoded[key] = encoded
            if len(self._encoded) > _REMEMBERED:
                self._encoded.popitem(last=False)
        return encoded
