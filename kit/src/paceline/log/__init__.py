"""Structured logs: one line a record, as JSON, or coloured text for people.

As Go's ``slog``: a message that never varies, fields that do, groups as nested mappings, and fields
of the context (the request's id) that follow the task.

    log = setup_logging("info")
    log.bind(component="relay").info("batch sent", messages=12, took_ms=3.1)

Invariants: a call of a logger never raises and does not wait for anything but its stream; a record
is one line, whatever its values are; what looks like a secret is masked.

Rejected: structlog, whose calls take ``event=`` for themselves, format positional arguments with
``%`` and walk frames to find the caller. What was left of it, a bound mapping and some colours,
cost every command a tenth of a second of imports.
"""

from paceline.log.console import Cell, short_id
from paceline.log.context import context_fields, pop_fields, push_fields
from paceline.log.exceptions import type_name
from paceline.log.level import Level
from paceline.log.logger import Log, Logger, new_logger
from paceline.log.output import Format
from paceline.log.redact import masked
from paceline.log.stdlib import setup_logging
from paceline.log.tail import Tail
from paceline.log.terminal import (
    Style,
    columns_of,
    printable,
    printable_json,
    shows_colours,
    styled,
)
from paceline.log.urls import MASK, mask_urls, shown_hosts
from paceline.log.writer import WriteCells, line_writer, record_writer

__all__ = [
    "MASK",
    "Cell",
    "Format",
    "Level",
    "Log",
    "Logger",
    "Style",
    "Tail",
    "WriteCells",
    "columns_of",
    "context_fields",
    "line_writer",
    "mask_urls",
    "masked",
    "new_logger",
    "pop_fields",
    "printable",
    "printable_json",
    "push_fields",
    "record_writer",
    "setup_logging",
    "short_id",
    "shown_hosts",
    "shows_colours",
    "styled",
    "type_name",
]
