"""``run --reload``: the service is started anew whenever a file of its source is saved.

A supervisor keeps the engines up and the sockets open, and looks at the files; the service is a
child process. The next child waits with its libraries imported already, so a reload takes as long
as importing the service and starting it. It is ready before the one before it ends, so no request
is refused; one that does not get ready changes nothing. Rejected: ``importlib.reload``, after which
old and new classes live side by side; forking, which gRPC, threads and a running event loop do not
survive; a library that watches files, where looking at a few hundred of them takes a millisecond.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.commands.reload.files import WatchedFiles, watched_files
    from paceline.commands.reload.handoff import ReloadHandoff, libraries_line, take_handoff
    from paceline.commands.reload.supervisor import supervise
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "ReloadHandoff": "handoff",
            "WatchedFiles": "files",
            "libraries_line": "handoff",
            "supervise": "supervisor",
            "take_handoff": "handoff",
            "watched_files": "files",
        },
    )

__all__ = [
    "ReloadHandoff",
    "WatchedFiles",
    "libraries_line",
    "supervise",
    "take_handoff",
    "watched_files",
]
