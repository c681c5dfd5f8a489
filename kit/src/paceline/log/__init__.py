"""Structured logs: one line a record on the service's output, JSON or, for people, coloured.

slog's shape: a message that never varies, fields that do, groups as nested mappings, ambient
fields (the request's id) that follow the task. Invariants: a call to the log never raises and
never blocks on its own account; a record is one line whatever is in it; what looks like a secret
is masked. Rejected: structlog, whose call path takes ``event=`` for itself, formats positional
arguments with ``%`` and walks frames to find the caller; what was left of it, a bound mapping and
some colours, cost every command a tenth of a second of imports. ``main`` calls `setup` once and
hands the logger on; others type against `Logger`. Read ``logger``, then ``output``, ``redact``.
"""

from paceline.log.context import ambient, pop, push
from paceline.log.exceptions import type_name
from paceline.log.level import Level
from paceline.log.logger import Log, Logger, new_logger
from paceline.log.output import Format
from paceline.log.redact import masked
from paceline.log.stdlib import setup
from paceline.log.tail import Tail
from paceline.log.writer import prepared

__all__ = [
    "Format",
    "Level",
    "Log",
    "Logger",
    "Tail",
    "ambient",
    "masked",
    "new_logger",
    "pop",
    "prepared",
    "push",
    "setup",
    "type_name",
]
