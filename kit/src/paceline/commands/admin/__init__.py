"""The admin port: what an operator asks one process, on an address of its own.

`admin_app` gives the application: metrics, probes, the log's level and last lines, the settings in
effect, tasks, a CPU profile, the figures of everything watched. Invariant: nothing here is on the
public port, and beyond this machine nothing but the probes answers without the token (``access``).
Built by ``main``; read ``app``, which lists the paths.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.commands.admin.access import QUIET, guard, require_token
    from paceline.commands.admin.app import AdminContext, AdminLog, admin_app
    from paceline.commands.admin.profile import Profiler
    from paceline.commands.admin.tasks import TaskAges
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "AdminContext": "app",
            "AdminLog": "app",
            "Profiler": "profile",
            "QUIET": "access",
            "TaskAges": "tasks",
            "admin_app": "app",
            "guard": "access",
            "require_token": "access",
        },
    )

__all__ = [
    "QUIET",
    "AdminContext",
    "AdminLog",
    "Profiler",
    "TaskAges",
    "admin_app",
    "guard",
    "require_token",
]
