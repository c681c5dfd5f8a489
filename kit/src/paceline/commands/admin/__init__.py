"""The admin port: what an operator asks one process, on an address of its own.

`admin_app` gives the application: metrics, probes, the log's level and last lines, the settings in
effect, tasks, a CPU profile, the figures of everything watched. Invariant: nothing here is on the
public port, and beyond this machine nothing but the probes answers without the token (``access``).
Built by ``main``; read ``app``, which lists the paths.
"""

from paceline.commands.admin.access import require_token
from paceline.commands.admin.app import Operated, admin_app
from paceline.commands.admin.profile import Profiler
from paceline.commands.admin.tasks import TaskAges

__all__ = ["Operated", "Profiler", "TaskAges", "admin_app", "require_token"]
