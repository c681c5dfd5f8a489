"""Span contexts: W3C's ``traceparent`` and ``tracestate``, parsed and formatted.

Invariant: a context that was received is passed on unchanged, or dropped as a whole: a header that
breaks the rules starts a new trace, as the specification requires, and its ``tracestate`` is
dropped too. Ids stay the hexadecimal text that headers, logs and exemplars need; they become bytes
only when they are exported. Sources: W3C Trace Context level 1, and of level 2 the flag for random
trace ids.
"""

import re
from typing import Final

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
SAMPLED: Final = 0x01
_KNOWN_FLAGS: Final = 0x03
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MAX_STATE_LENGTH: Final = 512
_MAX_STATE_MEMBERS: Final = 32
_STATE: Final = re.compile(r"[\x20-\x7e\t]*")
_INVALID_TRACE_ID: Final = "0" * 32
_INVALID_SPAN_ID: Final = "0" * 16


class SpanContext:
    """What identifies a span in its trace, in this process or another.

    ``trace_id``: 32 hexadecimal digits; ``span_id``: 16, the parent of the spans below; ``flags``:
    the W3C trace flags; ``sampled``: whether the trace is recorded, as decided where it began;
    ``state``: the ``tracestate`` of other vendors, passed on as it is.
    """

    __slots__ = ("flags", "sampled", "span_id", "state", "trace_id")

    def __init__(self, trace_id: str, span_id: str, flags: int, state: str = "") -> None:
        self.trace_id: str = trace_id
        self.span_id: str = span_id
        self.flags: int = flags
        self.sampled: bool = bool(flags & SAMPLED)
        self.state: str = state

    @property
    def traceparent(self) -> str:
        """The header's value."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def ids(self) -> dict[str, str]:
        """The fields for log records: ``trace_id``, and ``span_id`` of a span recorded here."""
        return {"trace_id": self.trace_id}

    def headers(self) -> dict[str, str]:
        """The W3C headers for the next process."""
        if self.state:
            return {TRACEPARENT: self.traceparent, TRACESTATE: self.state}
        return {TRACEPARENT: self.traceparent}


def parse(traceparent: str, tracestate: str = "") -> SpanContext | None:
    """The context in these headers; None for an invalid ``traceparent``.

    Of a later version the fields of this one are read. A ``tracestate`` that is not printable
    ASCII, or longer than the specification requires to be passed on, is dropped by itself.
    """
    found = _FORM.fullmatch(traceparent)
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest):
        return None
    if trace_id == _INVALID_TRACE_ID or span_id == _INVALID_SPAN_ID:
        return None
    state = _valid_state(tracestate) if tracestate else ""
    return SpanContext(trace_id, span_id, int(flags, 16) & _KNOWN_FLAGS, state)


def is_sampled(traceparent: str) -> bool:
    """Whether the trace may be recorded, without parsing: False only if it is surely not."""
    return traceparent[-1:] in {"1", "3", "5", "7", "9", "b", "d", "f"} or len(traceparent) > 55  # noqa: PLR2004 - a later version's


def _valid_state(state: str) -> str:
    text = state.strip(" \t,")
    fits = len(text) <= _MAX_STATE_LENGTH and text.count(",") < _MAX_STATE_MEMBERS
    return text if fits and _STATE.fullmatch(text) else ""
