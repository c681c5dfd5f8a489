"""The access log: one line a request, its level chosen by the path.

Paths that are polled (probes, scrapes) are logged at debug level. The line is prepared once for its
fields, which makes a JSON record cost a third of an ordinary one.
"""

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

from paceline.log import Logger, record_writer

WriteLine: TypeAlias = Callable[..., None]
"""Writes a line, given the values of its fields in order."""


class AccessLog:
    """The functions that write ``event`` with ``fields``; at debug level for ``debug_paths``.

    A request's is ``by_path.get(path, default)``.
    """

    __slots__ = ("by_path", "default")

    def __init__(
        self, log: Logger, event: str, *fields: str, debug_paths: Collection[str] = ()
    ) -> None:
        self.default: WriteLine = record_writer(log, "info", event, *fields)
        self.by_path: Mapping[str, WriteLine] = dict.fromkeys(
            debug_paths, record_writer(log, "debug", event, *fields)
        )
