"""Loggers for tests: one that records what is logged, one that drops it.

`RecordingLog` is for a test that asserts on records; `SilentLog` for what logs beside the subject
of a test, such as an embedded engine. Both satisfy ``paceline.log.Logger``.
"""

from dataclasses import dataclass, field

from paceline.log import Level, Tail


@dataclass
class RecordingLog:
    """Keeps each record as (level, event, fields) in `lines`.

    It also has the level and the tail that the admin port reads and changes.

        log = RecordingLog()
        await Health(checks, log, draining=lambda: False).ready()
        assert log.events("error") == ["check failed"]
    """

    lines: list[tuple[str, str, dict[str, object]]] = field(
        default_factory=list[tuple[str, str, dict[str, object]]]
    )
    level: Level = "debug"
    tail: Tail = field(default_factory=Tail)

    def set_level(self, level: Level) -> None:
        """Change `level`; records of every level are kept all the same."""
        self.level = level

    def debug(self, event: str, /, **fields: object) -> None:
        """Keep a record of level debug."""
        self.lines.append(("debug", event, fields))

    def info(self, event: str, /, **fields: object) -> None:
        """Keep a record of level info."""
        self.lines.append(("info", event, fields))

    def warning(self, event: str, /, **fields: object) -> None:
        """Keep a record of level warning."""
        self.lines.append(("warning", event, fields))

    def error(self, event: str, /, **fields: object) -> None:
        """Keep a record of level error."""
        self.lines.append(("error", event, fields))

    def events(self, level: str) -> list[str]:
        """The events logged at ``level``, in order."""
        return [event for at, event, _ in self.lines if at == level]


class SilentLog:
    """Drops every record."""

    def debug(self, event: str, /, **fields: object) -> None:
        """Drop it."""

    def info(self, event: str, /, **fields: object) -> None:
        """Drop it."""

    def warning(self, event: str, /, **fields: object) -> None:
        """Drop it."""

    def error(self, event: str, /, **fields: object) -> None:
        """Drop it."""
