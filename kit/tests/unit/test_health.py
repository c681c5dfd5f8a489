"""Readiness: all at once, each in time, shared by those who ask together, and discreet."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from paceline.concurrency.deadline import fail_after, remaining
from paceline.errors import Code, Error
from paceline.health import Health
from paceline.testing import RecordingLog

Check = Callable[[], Awaitable[None]]


@dataclass
class Probe:
    """A check that can be held, counted and made to fail."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled_once: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    calls: int = 0
    cancelled: int = 0
    seen_remaining: float | None = None

    async def __call__(self) -> None:
        self.calls += 1
        self.seen_remaining = remaining()
        self.entered.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            self.cancelled_once.set()
            raise
        if self.error:
            raise self.error


def opened(error: Exception | None = None) -> Probe:
    probe = Probe(error=error)
    probe.gate.set()
    return probe


def health(
    checks: dict[str, Probe],
    log: RecordingLog | None = None,
    *,
    draining: bool = False,
    timeout: float = 5,
    reuse: float = 60,
) -> Health:
    return Health(
        checks, log or RecordingLog(), draining=lambda: draining, timeout=timeout, reuse=reuse
    )


async def test_it_is_ready_when_every_check_is() -> None:
    report = await health({"postgres": opened(), "nats": opened()}).ready()
    assert report.ready
    assert not report.draining
    assert [(r.name, r.ok, r.reason) for r in report.results] == [
        ("postgres", True, ""),
        ("nats", True, ""),
    ]
    assert all(0 <= r.milliseconds < 1000 for r in report.results)


async def test_without_checks_it_is_ready() -> None:
    assert (await health({}).ready()).ready


async def test_draining_is_not_ready_though_all_is_well() -> None:
    report = await health({"postgres": opened()}, draining=True).ready()
    assert not report.ready
    assert report.draining
    assert report.results[0].ok


@dataclass(frozen=True)
class Failure:
    id: str
    error: Exception
    reason: str


FAILURES = [
    Failure(
        "an Error shows its message", Error(Code.UNAVAILABLE, "pool is empty"), "pool is empty"
    ),
    Failure("an Error without a message", Error(Code.UNAVAILABLE, ""), ""),
    Failure("another exception shows nothing", OSError("secret host"), "check failed"),
    Failure("nor does a time-out of its own", TimeoutError("secret"), "check failed"),
]


@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case.id)
async def test_a_failed_check_is_named_with_a_safe_reason(case: Failure) -> None:
    log = RecordingLog()
    report = await health({"good": opened(), "bad": opened(case.error)}, log).ready()
    assert not report.ready
    assert [(r.name, r.ok, r.reason) for r in report.results] == [
        ("good", True, ""),
        ("bad", False, case.reason),
    ]
    assert log.lines == [("error", "check failed", {"check": "bad", "error": case.error})]


async def test_a_check_that_hangs_fails_after_the_timeout_alone() -> None:
    report = await health({"hangs": Probe(), "good": opened()}, timeout=0.01).ready()
    hangs, good = report.results
    assert (hangs.ok, hangs.reason) == (False, "hangs check took longer than 0.01s")
    assert hangs.milliseconds >= 10
    assert good.ok


async def test_checks_run_at_once() -> None:
    first, second = Probe(), Probe()
    asking = asyncio.create_task(health({"first": first, "second": second}).ready())
    await first.entered.wait()
    await second.entered.wait()
    first.gate.set()
    second.gate.set()
    assert (await asking).ready


async def test_those_who_ask_together_share_one_round() -> None:
    probe = Probe()
    subject = health({"postgres": probe})
    asking = [asyncio.create_task(subject.ready()) for _ in range(100)]
    await probe.entered.wait()
    probe.gate.set()
    assert all(report.ready for report in await asyncio.gather(*asking))
    assert probe.calls == 1


@pytest.mark.parametrize(("reuse", "calls"), [(60, 1), (0, 3)], ids=["fresh", "stale"])
async def test_a_result_is_reused_only_while_it_is_fresh(reuse: float, calls: int) -> None:
    probe = opened()
    subject = health({"postgres": probe}, reuse=reuse)
    for _ in range(3):
        await subject.ready()
    assert probe.calls == calls


async def test_draining_is_seen_at_once_in_a_reused_result() -> None:
    draining = False
    subject = Health({"postgres": opened()}, RecordingLog(), draining=lambda: draining)
    assert (await subject.ready()).ready
    draining = True
    assert not (await subject.ready()).ready


async def test_one_who_gives_up_does_not_break_it_for_the_others() -> None:
    probe = Probe()
    subject = health({"postgres": probe})
    first, second = (asyncio.create_task(subject.ready()) for _ in range(2))
    await probe.entered.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    probe.gate.set()
    assert (await second).ready
    assert (probe.calls, probe.cancelled) == (1, 0)


async def test_when_the_last_one_gives_up_the_round_ends() -> None:
    probe = Probe()
    subject = health({"postgres": probe})
    asking = asyncio.create_task(subject.ready())
    await probe.entered.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await probe.cancelled_once.wait()
    probe.gate.set()
    assert (await subject.ready()).ready


async def test_the_deadline_of_one_caller_is_not_that_of_the_round() -> None:
    probe = Probe()
    subject = health({"postgres": probe}, timeout=5)

    async def impatient() -> None:
        async with fail_after(0.01, "an impatient caller"):
            await subject.ready()

    first = asyncio.create_task(impatient())
    await probe.entered.wait()
    second = asyncio.create_task(subject.ready())
    with pytest.raises(Error, match="an impatient caller"):
        await first
    probe.gate.set()
    assert (await second).ready
    assert probe.seen_remaining is not None
    assert probe.seen_remaining > 4


async def test_a_change_is_logged_once_each_way() -> None:
    probe = opened(OSError("down"))
    log = RecordingLog()
    subject = health({"postgres": probe}, log, reuse=0)
    for _ in range(2):
        await subject.ready()
    probe.error = None
    for _ in range(2):
        await subject.ready()
    assert [line[:2] for line in log.lines] == [
        ("error", "check failed"),
        ("info", "check passes again"),
    ]
