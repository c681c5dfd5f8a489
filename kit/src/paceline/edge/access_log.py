"""The access log: one line a request, its level chosen by the path.

Paths that are polled (probes, scrapes) are logged at debug level. The line is prepared once for its
fields, which makes a JSON record cost a third of an ordinary one. A path is logged without its
query, which may hold what should not be kept.
"""

from collections.abc import Callable, Collection

from paceline.log import Logger, prepared

Write = Callable[..., None]


class AccessLog:
    """Writes ``event`` with ``fields``; at debug level for ``debug_paths``."""

    __slots__ = ("_by_path", "_info")

    def __init__(
        self, log: Logger, event: str, *fields: str, debug_paths: Collection[str] = ()
    ) -> None:
        self._info: Write = prepared(log, "info", event, *fields)
        self._by_path = dict.fromkeys(debug_paths, prepared(log, "debug", event, *fields))

    def writer(self, path: str) -> Write:
        """The function that writes a line for ``path``, given the values of the fields in order."""
        return self._by_path.get(path, self._info)


def milliseconds(seconds: float) -> float:
    """A duration as the line shows it."""
    return round(seconds * 1000, 3)
