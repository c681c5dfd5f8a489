"""A logger that keeps what it is told, for tests that ask what was logged."""

from dataclasses import dataclass, field

from paceline.log import Level, Tail


@dataclass
class RecordingLog:
    """Implements ``paceline.log.Logger``, and what the admin port asks of a log."""

    lines: list[tuple[str, str, dict[str, object]]] = field(
        default_factory=list[tuple[str, str, dict[str, object]]]
    )

    level: Level = "debug"
    tail: Tail = field(default_factory=Tail)

    def set_level(self, level: Level) -> None:
        self.level = level

    def debug(self, event: str, /, **fields: object) -> None:
        self.lines.append(("debug", event, fields))

    def info(self, event: str, /, **fields: object) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, /, **fields: object) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, /, **fields: object) -> None:
        self.lines.append(("error", event, fields))

    def events(self, level: str) -> list[str]:
        return [event for at, event, _ in self.lines if at == level]
