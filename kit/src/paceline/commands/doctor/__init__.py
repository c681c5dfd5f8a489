"""A check-up: what would make a service fail, or fail its users, before it does.

Each check looks at one thing from outside and gives findings: ok, warn or fail, with what was seen
and how to mend it. Invariants: checks run beside each other, each within its own time, so a
check-up never hangs; none changes anything; no finding holds a secret. A service's ``doctor``
command chooses the checks by its settings. Read ``finding`` and ``examine``, then any check.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.commands.doctor.findings import (
        Finding,
        Status,
        as_json,
        as_text,
        fail,
        healthy,
        ok,
        warn,
    )
    from paceline.commands.doctor.machine import (
        check_container,
        check_disk,
        check_open_files,
        check_ports,
        check_python,
    )
    from paceline.commands.doctor.nats import check_nats
    from paceline.commands.doctor.network import check_listening
    from paceline.commands.doctor.packages import check_packages
    from paceline.commands.doctor.postgres import check_postgres, judge_schema
    from paceline.commands.doctor.redis import check_redis
    from paceline.commands.doctor.runner import Check, blocking, examine
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Check": "runner",
            "Finding": "findings",
            "Status": "findings",
            "as_json": "findings",
            "as_text": "findings",
            "blocking": "runner",
            "check_container": "machine",
            "check_disk": "machine",
            "check_listening": "network",
            "check_nats": "nats",
            "check_open_files": "machine",
            "check_packages": "packages",
            "check_ports": "machine",
            "check_postgres": "postgres",
            "check_python": "machine",
            "check_redis": "redis",
            "examine": "runner",
            "fail": "findings",
            "healthy": "findings",
            "judge_schema": "postgres",
            "ok": "findings",
            "warn": "findings",
        },
    )

__all__ = [
    "Check",
    "Finding",
    "Status",
    "as_json",
    "as_text",
    "blocking",
    "check_container",
    "check_disk",
    "check_listening",
    "check_nats",
    "check_open_files",
    "check_packages",
    "check_ports",
    "check_postgres",
    "check_python",
    "check_redis",
    "examine",
    "fail",
    "healthy",
    "judge_schema",
    "ok",
    "warn",
]
