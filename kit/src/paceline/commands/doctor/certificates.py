"""The certificates of the ports: whether they can be used, for which names, and when they end."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from paceline.commands.doctor.findings import Finding, fail, ok, warn
from paceline.commands.doctor.runner import DoctorRun, Purpose
from paceline.commands.settings import ServiceSettings
from paceline.commands.tls import find_tls_problems, tls_files, tls_paths
from paceline.commands.tls_fields import ADMIN, PUBLIC

_SOON: Final = timedelta(days=30)


def check_certificates(config: ServiceSettings, run: DoctorRun) -> Sequence[Finding]:
    """Each certificate; nothing for a port without TLS."""
    # A worker has no public ports, and reads no files of theirs.
    public = _check(config, run, PUBLIC, "certificate") if run.purpose is Purpose.SERVE else ()
    return [*public, *_check(config, run, ADMIN, "admin certificate")]


def _check(config: ServiceSettings, run: DoctorRun, prefix: str, name: str) -> Sequence[Finding]:
    problems = find_tls_problems(dict(config), prefix)
    if problems:
        return [
            fail(run.variable(field), text, "give a file that can be used, or correct that one")
            for field, text in problems.items()
        ]
    tls = tls_files(tls_paths(config, prefix))
    if tls is None:
        return []
    found, now = tls.certificate, datetime.now(UTC)
    left = found.not_after - now
    names = ", ".join(found.names) or "no host"
    saw = f"for {names}, with its key, until {found.not_after:%Y-%m-%d} ({left.days} days)"
    objections = [warn(name, each, "have it issued again") for each in tls.warnings]
    if left < timedelta(0):
        mend = "renew it now: clients refuse it"
        return [fail(name, f"expired on {found.not_after:%Y-%m-%d %H:%M} UTC", mend)]
    if left < _SOON:
        mend = "renew it: the files are read again when they change"
        return [warn(name, saw, mend), *objections]
    return objections or [ok(name, saw)]
