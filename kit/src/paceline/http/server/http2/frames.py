"""Frames of HTTP/2 (RFC 9113 §4, §6): types, flags, error codes, and their bytes.

Plain numbers: an enum's member is looked up slowly.
"""

from struct import Struct
from typing import Final

FRAME: Final = Struct(">HBBBI")
"""A frame's header: length (16 and 8 bits), type, flags, stream."""
FRAME_HEADER: Final = 9
MAX_STREAM: Final = 2**31 - 1
MAX_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535
DEFAULT_FRAME: Final = 16_384
MAX_FRAME: Final = 2**24 - 1

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
SETTINGS_TIMEOUT: Final = 4
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11

ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6
NO_RFC7540_PRIORITIES: Final = 9

_SETTING: Final = Struct(">HI")


class ConnectionFault(Exception):
    """The client broke the protocol or a limit: the connection ends with GOAWAY ``code``."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def _starts(kind: int, flags: int, sizes: int) -> list[bytes]:
    """What a frame's header begins with, up to its stream, by its length."""
    return [FRAME.pack(size >> 8, size & 255, kind, flags, 0)[:5] for size in range(sizes)]


# Nearly all frames of responses are short, and packing a header costs more than all else of it.
SHORT_BLOCK: Final = 256
SHORT_DATA: Final = 1_024
HEADERS_STARTS: Final = _starts(HEADERS, END_HEADERS, SHORT_BLOCK)
TRAILERS_STARTS: Final = _starts(HEADERS, END_HEADERS | END_STREAM, SHORT_BLOCK)
DATA_STARTS: Final = _starts(DATA, 0, SHORT_DATA)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    size = len(payload)
    return FRAME.pack(size >> 8, size & 255, kind, flags, stream) + payload


def header_frames(stream: int, block: bytes, *, end: bool, max_frame: int) -> bytes:
    """A header block: HEADERS, and CONTINUATION frames for what is larger than a frame."""
    size = len(block)
    if size <= max_frame:
        flags = END_HEADERS | END_STREAM if end else END_HEADERS
        return FRAME.pack(size >> 8, size & 255, HEADERS, flags, stream) + block
    parts = [frame(HEADERS, END_STREAM if end else 0, stream, block[:max_frame])]
    for start in range(max_frame, size, max_frame):
        flags = END_HEADERS if start + max_frame >= size else 0
        parts.append(frame(CONTINUATION, flags, stream, block[start : start + max_frame]))
    return b"".join(parts)


def response_frames(stream: int, head: bytes, body: bytes, trailers: bytes) -> bytes:
    """A whole response; each part may be empty, and fits into one frame."""
    kinds = [(HEADERS, head, END_HEADERS), (DATA, body, 0), (HEADERS, trailers, END_HEADERS)]
    parts = [part for part in kinds if part[1]] or [kinds[1]]
    kind, payload, flags = parts[-1]
    parts[-1] = kind, payload, flags | END_STREAM
    return b"".join([frame(kind, flags, stream, payload) for kind, payload, flags in parts])


def settings_frame(settings: dict[int, int]) -> bytes:
    """SETTINGS of this side."""
    return frame(SETTINGS, 0, 0, b"".join([_SETTING.pack(*item) for item in settings.items()]))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings of a SETTINGS frame, in the order in which they apply."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
    return [(key, value) for key, value in _SETTING.iter_unpack(payload)]


def goaway(last: int, code: int, text: str) -> bytes:
    """GOAWAY: streams above ``last`` are not processed."""
    return frame(
        GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + text.encode("ascii")
    )


def rst_stream(stream: int, code: int) -> bytes:
    """RST_STREAM."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def window_update(stream: int, size: int) -> bytes:
    """WINDOW_UPDATE: the other side may send ``size`` bytes more."""
    return frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big"))
