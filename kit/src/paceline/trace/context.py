"""Where in which trace: W3C's ``traceparent`` and ``tracestate``, read and written.

Invariant: what came in goes out again, or nothing does: a header that breaks the rules starts a new
trace, as the specification asks, and its ``tracestate`` goes with it. Ids stay the hexadecimal text
that headers, logs and exemplars want; only what is exported becomes numbers. Parsing is a table
lookup away from free because nearly every request has no header at all. Source: W3C Trace Context,
level 1, and of level 2 the flag that says an id is random. Used by ``tracer``; see ``ambient``.
"""

import re
from typing import Final

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
SAMPLED: Final = 0x01
_KNOWN_FLAGS: Final = 0x03
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MOST_STATE: Final = 512
_MOST_MEMBERS: Final = 32
_STATE: Final = re.compile(r"[\x20-\x7e\t]*")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16


class SpanContext:
    """A place in a trace. ``sampled``: whether whoever began the trace wants it recorded.

    ``trace_id``: 32 hexadecimal digits; ``span_id``: 16, of the span that is the parent of whatever
    comes next; ``state``: other people's notes about this trace, passed on unread.
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
        """What finds the trace from a log line: the span's own id only if there is such a span."""
        return {"trace_id": self.trace_id}

    def headers(self) -> dict[str, str]:
        """What tells the next process."""
        if self.state:
            return {TRACEPARENT: self.traceparent, TRACESTATE: self.state}
        return {TRACEPARENT: self.traceparent}


def parse(traceparent: str, tracestate: str = "") -> SpanContext | None:
    """The context that the headers tell of; None for a ``traceparent`` that is not one.

    A later version is read as far as this one knows it. A ``tracestate`` that is not plain text, or
    longer than anybody must pass on, is dropped alone.
    """
    found = _FORM.fullmatch(traceparent)
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE:
        return None
    if span_id == _NO_SPAN:
        return None
    state = _kept(tracestate) if tracestate else ""
    return SpanContext(trace_id, span_id, int(flags, 16) & _KNOWN_FLAGS, state)


def is_sampled(traceparent: str) -> bool:
    """Whether it may be worth parsing, for whoever asks only about what is recorded."""
    return traceparent[-1:] in {"1", "3", "5", "7", "9", "b", "d", "f"} or len(traceparent) > 55  # noqa: PLR2004 - a later version's


def _kept(state: str) -> str:
    text = state.strip(" \t,")
    fits = len(text) <= _MOST_STATE and text.count(",") < _MOST_MEMBERS
    return text if fits and _STATE.fullmatch(text) else ""
