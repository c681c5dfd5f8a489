"""Several processes behind one address: a supervisor, and workers that it replaces one by one.

A Python process uses one core, so a host runs a process for each. The supervisor opens the
listening sockets and never accepts from them: every worker does, from the same queues, so
connections that wait when one of them ends are accepted by another, and each takes its share.
Rejected: forking, because gRPC, threads and a running event loop do not survive it; every process
is a fresh interpreter. `supervise` replaces the calling process by the supervisor, which runs the
same command again for each worker; a worker finds that out by `take_handoff`.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.commands.prefork.handoff import (
        ListenerHandoff,
        SupervisorSpec,
        WorkerHandoff,
        supervise,
        take_handoff,
    )
    from paceline.commands.prefork.link import SupervisorLink
    from paceline.commands.prefork.sockets import open_listener, port_of
    from paceline.commands.prefork.spawn import LinkedProcess
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "ListenerHandoff": "handoff",
            "SupervisorLink": "link",
            "SupervisorSpec": "handoff",
            "WorkerHandoff": "handoff",
            "LinkedProcess": "spawn",
            "open_listener": "sockets",
            "port_of": "sockets",
            "supervise": "handoff",
            "take_handoff": "handoff",
        },
    )

__all__ = [
    "LinkedProcess",
    "ListenerHandoff",
    "SupervisorLink",
    "SupervisorSpec",
    "WorkerHandoff",
    "open_listener",
    "port_of",
    "supervise",
    "take_handoff",
]
