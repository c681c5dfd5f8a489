"""HTTP/2 (RFC 9113): frames, header blocks, flow control, and the streams of a connection."""

from paceline.http.server.http2.connection import Http2Connection
from paceline.http.server.http2.head_cache import HeadCache

__all__ = ["HeadCache", "Http2Connection"]
