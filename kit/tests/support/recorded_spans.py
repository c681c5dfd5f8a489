"""A tracer that records all spans into a list, for assertions."""

from dataclasses import dataclass, field

from paceline.trace import Span, Tracer


@dataclass
class RecordedSpans:
    """Spans in the order in which they ended."""

    spans: list[Span] = field(default_factory=list[Span])

    def tracer(self, ratio: float = 1.0) -> Tracer:
        return Tracer(self.spans.append, ratio=ratio)

    def named(self, name: str) -> Span:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def tree(self) -> list[tuple[str, str]]:
        """The name of each span, and of its parent: "" for a root, "?" for one elsewhere."""
        names = {span.span_id: span.name for span in self.spans}
        return sorted(
            (span.name, names.get(span.parent_id, "?") if span.parent_id else "")
            for span in self.spans
        )
