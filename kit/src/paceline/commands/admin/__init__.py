"""The admin port: what an operator can see and change of one process, on an address of its own.

`admin_app` makes the application: metrics, probes, the log's level and last lines, the settings in
effect, tasks, a CPU profile, the figures of everything watched; a browser gets pages. Invariant:
nothing of it is on the public port, and other machines need the token for everything but the
probes.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.commands.admin.access import POLLED_PATHS, require_token, restrict_access
    from paceline.commands.admin.app import AdminContext, AdminLog, admin_app
    from paceline.commands.admin.browser import add_assets, with_pages
    from paceline.commands.admin.profile import Profiler
    from paceline.commands.admin.tasks import TaskAges
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "AdminContext": "app",
            "AdminLog": "app",
            "Profiler": "profile",
            "POLLED_PATHS": "access",
            "TaskAges": "tasks",
            "add_assets": "browser",
            "admin_app": "app",
            "require_token": "access",
            "restrict_access": "access",
            "with_pages": "browser",
        },
    )

__all__ = [
    "POLLED_PATHS",
    "AdminContext",
    "AdminLog",
    "Profiler",
    "TaskAges",
    "add_assets",
    "admin_app",
    "require_token",
    "restrict_access",
    "with_pages",
]
