"""Checks, run beside each other: each within its own time, none able to spoil the others.

Invariant: every check that does not end well gives a finding. One that takes too long failed, one
that raises failed, and an unknown exception is shown as its type only, because its text may hold
an address with a password.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from paceline.clock import Clock
from paceline.commands.doctor.findings import Finding, fail
from paceline.concurrency import fetch_all, run_in_daemon_thread
from paceline.errors import Error
from paceline.log import Logger

Check: TypeAlias = Callable[[], Awaitable[Sequence[Finding]]]
"""Looks at one thing, and may raise: an `Error`'s own message becomes the finding."""


class Purpose(StrEnum):
    """The command that is to work."""

    SERVE = "serve"
    WORKER = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorRun:
    """What checks are made with.

    ``name``: of the service's program. ``seconds``: for one connection, less than a check as a
    whole may take. ``variable``: of a setting's name its environment variable. ``log``: for
    clients; nothing of it is shown.
    """

    purpose: Purpose
    name: str
    seconds: float
    variable: Callable[[str], str]
    log: Logger
    clock: Clock


def blocking(look: Callable[[], Sequence[Finding]]) -> Check:
    """A check of a function that may block, on a file system that hangs for example."""

    async def check() -> Sequence[Finding]:
        return await run_in_daemon_thread(look, name="check")

    return check


async def run_checks(checks: Mapping[str, Check], *, seconds: float = 5.0) -> list[Finding]:
    """All findings, in the order of ``checks``; each check may take so many ``seconds``."""

    async def run(name: str) -> Sequence[Finding]:
        try:
            async with asyncio.timeout(seconds):
                return await checks[name]()
        except TimeoutError:
            return [fail(name, f"no answer within {seconds:g} s", "see that it can be reached")]
        except Error as exc:
            return [fail(name, exc.message, "see that it runs, and that its address is right")]
        except Exception as exc:  # noqa: BLE001 - whatever happens to one check, the others count
            return [fail(name, f"the check itself failed: {type(exc).__name__}", "report this")]

    found = await fetch_all(checks, run, limit=max(len(checks), 1))
    return [finding for findings in found for finding in findings]
