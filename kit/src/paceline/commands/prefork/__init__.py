"""Several processes behind one address: a supervisor, and workers that it replaces one by one.

A Python process has one core, so a host has a process for each. The supervisor opens the
listening socket and never accepts from it: every worker does, from the same queue, so a connection
that one of them leaves behind is taken by another. Rejected: forking, because gRPC, threads and a
running event loop do not survive it; every process here is a fresh interpreter. A command calls
`supervise`, which becomes the supervisor (``__main__``); the workers it starts are the same
command again, which then finds `inherited`. Read ``workers`` for the decisions.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.commands.prefork.handoff import (
        SupervisorSpec,
        WorkerHandoff,
        inherited,
        supervise,
    )
    from paceline.commands.prefork.link import SupervisorLink
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "SupervisorLink": "link",
            "SupervisorSpec": "handoff",
            "WorkerHandoff": "handoff",
            "inherited": "handoff",
            "supervise": "handoff",
        },
    )

__all__ = ["SupervisorLink", "SupervisorSpec", "WorkerHandoff", "inherited", "supervise"]
