"""``/health`` and ``/ready``: an orchestrator's probes, without authentication.

``/health`` is 200 as long as the process answers; it checks no dependency, because a restart mends
no database. ``/ready`` checks each dependency (``paceline.health``), with a timeout, and names it;
while draining it is 503 at once, so that no new requests are sent here.
"""

import msgspec

from paceline.health import Health
from paceline.http.app import App
from paceline.http.endpoint import Reply


class Alive(msgspec.Struct, frozen=True):
    """The answer of ``/health``."""

    status: str = "ok"


class CheckResult(msgspec.Struct, frozen=True):
    """One dependency; ``reason``: what is wrong with it."""

    name: str
    ok: bool
    reason: str
    milliseconds: float


class Readiness(msgspec.Struct, frozen=True):
    """The answer of ``/ready``: "ready", "draining" or "unavailable"."""

    status: str
    checks: list[CheckResult]


def add_probes(app: App, health: Health) -> None:
    """Serve both, outside every group, so that neither needs a token."""

    async def alive() -> Alive:
        """Whether the process answers."""
        return Alive()

    async def ready() -> Reply[Readiness]:
        """Whether requests can be sent here: each dependency, and whether it answers."""
        report = await health.ready()
        checks = [CheckResult(r.name, r.ok, r.reason, r.milliseconds) for r in report.results]
        if report.draining:
            return Reply(Readiness("draining", checks), status=503)
        if not report.ready:
            return Reply(Readiness("unavailable", checks), status=503)
        return Reply(Readiness("ready", checks))

    app.group().get("/health", alive, tag="probes")
    app.group().get("/ready", ready, tag="probes")
