"""Readiness: every dependency is checked at the same time, each within a timeout, and reported.

Probes do not multiply the load on what they check: concurrent callers share one round of checks,
whose result is reused for a moment. A ``reason`` may be shown to anybody: it is the message of an
`Error` or a fixed text. The cause is logged, once, when a check begins to fail.

There is no liveness check here: a process that answers is alive, and restarting it repairs no
database.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from paceline.concurrency import SingleFlight, fail_after, fetch_all
from paceline.errors import Error
from paceline.log import Logger

_UNKNOWN_REASON: Final = "check failed"

HealthCheck = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check; ``reason`` is empty when it passed, and safe to show."""

    name: str
    ok: bool
    reason: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Whether to send requests here: ``ready`` when not ``draining`` and every check passes."""

    ready: bool
    draining: bool
    results: tuple[CheckResult, ...]


class Health:
    """Runs the checks, by name, when `ready` is called.

        health = Health({"postgres": pool.ping}, log, draining=lambda: lifecycle.draining)
        report = await health.ready()

    A check passes when it returns and fails when it raises. ``draining``: whether the process is
    shutting down. In seconds: ``timeout`` of each check; ``reuse``: how long a result is reused.
    """

    def __init__(
        self,
        checks: Mapping[str, HealthCheck],
        log: Logger,
        *,
        draining: Callable[[], bool],
        timeout: float = 2.0,
        reuse: float = 0.25,
    ) -> None:
        self._checks = dict(checks)
        self._log = log
        self._draining = draining
        self._timeout = timeout
        self._reuse = reuse
        self._failing: set[str] = set()
        self._rounds: SingleFlight[str, tuple[CheckResult, ...]] = SingleFlight()
        self._results: tuple[CheckResult, ...] = ()
        self._fresh_until = 0.0

    def add(self, name: str, check: HealthCheck) -> None:
        """One more check. Errors: ``ValueError`` for a name that is taken."""
        if name in self._checks:
            raise ValueError(f"two checks are called {name}")
        self._checks[name] = check

    async def ready(self) -> HealthReport:
        """The state of all checks. Takes at most the timeout; a failing check does not raise."""
        results = self._results
        if asyncio.get_running_loop().time() >= self._fresh_until:
            results = await self._rounds.do("ready", self._run_round)
        draining = self._draining()
        ready = not draining and all(result.ok for result in results)
        return HealthReport(ready, draining, results)

    async def _run_round(self) -> tuple[CheckResult, ...]:
        self._results = tuple(await fetch_all(self._checks, self._run))
        self._fresh_until = asyncio.get_running_loop().time() + self._reuse
        return self._results

    async def _run(self, name: str) -> CheckResult:
        began = perf_counter()
        ok = False
        try:
            async with fail_after(self._timeout, f"{name} check"):
                await self._checks[name]()
        except Error as exc:
            reason = exc.message
            self._failed(name, exc)
        except Exception as exc:  # noqa: BLE001 - a check that fails in any way is a check that failed
            reason = _UNKNOWN_REASON
            self._failed(name, exc)
        else:
            ok, reason = True, ""
            self._passed(name)
        return CheckResult(name, ok, reason, round((perf_counter() - began) * 1000, 3))

    def _failed(self, name: str, error: Exception) -> None:
        if name not in self._failing:
            self._failing.add(name)
            self._log.error("check failed", check=name, error=error)

    def _passed(self, name: str) -> None:
        if name in self._failing:
            self._failing.remove(name)
            self._log.info("check passes again", check=name)
