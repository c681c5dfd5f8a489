"""The commands that every service has, and what they stand on.

A service states its name, its settings, its wiring and its own checks; the rest is here.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.commands.gc import tune_gc
    from paceline.commands.lazy import LazyCommand, lazy_group
    from paceline.commands.migrate import migrate_commands
    from paceline.commands.options import USAGE, fail, load_or_fail, with_flags
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "LazyCommand": "lazy",
            "USAGE": "options",
            "fail": "options",
            "lazy_group": "lazy",
            "load_or_fail": "options",
            "migrate_commands": "migrate",
            "tune_gc": "gc",
            "with_flags": "options",
        },
    )

__all__ = [
    "USAGE",
    "LazyCommand",
    "fail",
    "lazy_group",
    "load_or_fail",
    "migrate_commands",
    "tune_gc",
    "with_flags",
]
