"""HTTP/2 (RFC 9113): frames, header blocks, flow control, and the streams of a connection."""

import asyncio

from paceline.http.server.state import SharedState


class Http2Connection(asyncio.Protocol):
    """Placeholder: closes the connection."""

    def __init__(self, state: SharedState, loop: asyncio.AbstractEventLoop) -> None:
        pass

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a client."""
        transport.close()
