"""``/health`` and ``/ready``: what an orchestrator asks, without authentication.

Health says that the process answers and never touches a dependency, for a restart mends no
database. Readiness asks each dependency, with a timeout, and names it; while draining it is 503 at
once, so that no new work is sent here. The checks themselves are ``paceline.health``. Added to the
public application and to the admin port's.
"""

import msgspec

from paceline.health import Health
from paceline.http.app import App
from paceline.http.endpoint import Reply


class Alive(msgspec.Struct, frozen=True):
    """The answer of a process that is alive."""

    status: str = "ok"


class CheckResult(msgspec.Struct, frozen=True):
    """One dependency; `reason` says what is wrong with it."""

    name: str
    ok: bool
    reason: str
    milliseconds: float


class Readiness(msgspec.Struct, frozen=True):
    """Whether to send requests here: "ready", "draining" or "unavailable"."""

    status: str
    checks: list[CheckResult]


def add_probes(app: App, health: Health) -> None:
    """Serve both, outside every group: neither asks who is there."""

    async def alive() -> Alive:
        return Alive()

    async def ready() -> Reply[Readiness]:
        report = await health.ready()
        checks = [CheckResult(r.name, r.ok, r.reason, r.milliseconds) for r in report.results]
        if report.draining:
            return Reply(Readiness("draining", checks), status=503)
        if not report.ready:
            return Reply(Readiness("unavailable", checks), status=503)
        return Reply(Readiness("ready", checks))

    app.group().get("/health", alive)
    app.group().get("/ready", ready)
