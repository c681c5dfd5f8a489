"""A check-up: what would make a service fail, or fail its users, found before it does.

Each check looks at one thing from outside and gives findings: ok, warn or fail, with what was seen
and how to mend it. Invariants: checks run beside each other, each within its own time, so a
check-up never hangs; none changes anything; no finding holds a secret. The settings decide which
checks are made; a service adds its own (`ServiceSpec.checks`).
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.commands.doctor.findings import Finding, Status, fail, ok, warn
    from paceline.commands.doctor.nats import check_nats
    from paceline.commands.doctor.network import check_listening
    from paceline.commands.doctor.postgres import check_direct, check_postgres, check_schema
    from paceline.commands.doctor.redis import check_redis
    from paceline.commands.doctor.runner import Check, DoctorRun, Purpose, blocking
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Check": "runner",
            "DoctorRun": "runner",
            "Finding": "findings",
            "Purpose": "runner",
            "Status": "findings",
            "blocking": "runner",
            "check_listening": "network",
            "check_nats": "nats",
            "check_direct": "postgres",
            "check_postgres": "postgres",
            "check_redis": "redis",
            "check_schema": "postgres",
            "fail": "findings",
            "ok": "findings",
            "warn": "findings",
        },
    )

__all__ = [
    "Check",
    "DoctorRun",
    "Finding",
    "Purpose",
    "Status",
    "blocking",
    "check_direct",
    "check_listening",
    "check_nats",
    "check_postgres",
    "check_redis",
    "check_schema",
    "fail",
    "ok",
    "warn",
]
