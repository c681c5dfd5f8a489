"""Readiness: every dependency is checked at once, each within a timeout, and named.

Probes never stampede what they probe: concurrent callers share one round, and its result is
reused for a moment. A reason in a `Report` may be shown to anybody: it is an `Error`'s own
message or a fixed text; what really happened goes to the log, once, when a check turns from good
to bad. Liveness has nothing to ask here: a process that answers is alive, and restarting it mends
no database. Turned into HTTP by the service's handlers; ``draining`` is the lifecycle's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from paceline.concurrency import SingleFlight, fail_after, fetch_all
from paceline.errors import Error
from paceline.log import Logger

_SHOWN_FOR_UNKNOWN: Final = "check failed"

Check = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Result:
    """How one check went; ``reason`` is empty when ok, and safe to show."""

    name: str
    ok: bool
    reason: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """Whether to send work here. Ready: not draining, and every check is ok."""

    ready: bool
    draining: bool
    results: tuple[Result, ...]


class Health:
    """Run the checks when asked.

    Settings, in seconds: ``timeout`` of each check; ``reuse`` of a round's result.
    """

    def __init__(
        self,
        checks: Mapping[str, Check],
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
        self._rounds: SingleFlight[str, tuple[Result, ...]] = SingleFlight()
        self._results: tuple[Result, ...] = ()
        self._fresh_until = 0.0

    def add(self, name: str, check: Check) -> None:
        """One more check. Errors: ValueError for a name that is taken."""
        if name in self._checks:
            raise ValueError(f"two checks are called {name}")
        self._checks[name] = check

    async def ready(self) -> Report:
        """The state of everything; takes at most the timeout and never raises for a check."""
        results = self._results
        if asyncio.get_running_loop().time() >= self._fresh_until:
            results = await self._rounds.do("ready", self._run_round)
        draining = self._draining()
        ready = not draining and all(result.ok for result in results)
        return Report(ready, draining, results)

    async def _run_round(self) -> tuple[Result, ...]:
        self._results = tuple(await fetch_all(self._checks, self._run))
        self._fresh_until = asyncio.get_running_loop().time() + self._reuse
        return self._results

    async def _run(self, name: str) -> Result:
        began = perf_counter()
        ok = False
        try:
            async with fail_after(self._timeout, f"{name} check"):
                await self._checks[name]()
        except Error as exc:
            reason = exc.message
            self._failed(name, exc)
        except Exception as exc:  # noqa: BLE001 - a check that fails in any way is a check that failed
            reason = _SHOWN_FOR_UNKNOWN
            self._failed(name, exc)
        else:
            ok, reason = True, ""
            self._passed(name)
        return Result(name, ok, reason, round((perf_counter() - began) * 1000, 3))

    def _failed(self, name: str, error: Exception) -> None:
        if name not in self._failing:
            self._failing.add(name)
            self._log.error("check failed", check=name, error=error)

    def _passed(self, name: str) -> None:
        if name in self._failing:
            self._failing.remove(name)
            self._log.info("check passes again", check=name)
