"""The health methods on a readiness that the test sets, without a socket."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field

import pytest
from rpc_echo import FakeContext

from paceline.errors import Code, Error
from paceline.grpc.call import Call, Method
from paceline.grpc.health import LIVENESS, MAX_LISTED, HealthHandler
from paceline.grpc.protos import health_pb2 as pb
from paceline.health import Health
from paceline.testing import RecordingLog

SERVING, NOT_SERVING = pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING
SERVICE = "shop.Shop"


@dataclass
class Checked:
    """A database that can be broken, and how often it was asked."""

    broken: bool = False
    rounds: int = 0
    services: list[str] = field(default_factory=lambda: [SERVICE])
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def check(self) -> None:
        self.rounds += 1
        self.asked.set()
        if self.broken:
            raise Error(Code.UNAVAILABLE, "gone")

    def handler(self) -> HealthHandler:
        health = Health({"db": self.check}, RecordingLog(), draining=lambda: False, reuse=0.0)
        return HealthHandler(health, lambda: self.services, interval=0.001)

    async def rounds_more(self, count: int) -> None:
        """Wait for that many more rounds."""
        for _ in range(count):
            self.asked.clear()
            await self.asked.wait()


def a_call() -> Call:
    return Call(Method("/grpc.health.v1.Health/Watch"), b"", FakeContext())


def polls() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "health of watchers"]


def watch(
    handler: HealthHandler, service: str = SERVICE
) -> AsyncGenerator[pb.HealthCheckResponse, None]:
    return handler.watch(pb.HealthCheckRequest(service=service), a_call())


async def test_all_services_are_listed_with_their_states() -> None:
    checked = Checked()
    handler = checked.handler()
    checked.broken = True
    listed = (await handler.list_all(pb.HealthListRequest(), a_call())).statuses
    assert {name: each.status for name, each in listed.items()} == {
        "": NOT_SERVING, SERVICE: NOT_SERVING, LIVENESS: SERVING,
    }  # fmt: skip
    assert checked.rounds == 1


async def test_more_services_than_the_proto_allows_are_not_listed() -> None:
    checked = Checked(services=[f"shop.Shop{number}" for number in range(MAX_LISTED)])
    with pytest.raises(Error) as caught:
        await checked.handler().list_all(pb.HealthListRequest(), a_call())
    assert caught.value.code is Code.RESOURCE_EXHAUSTED


async def test_liveness_does_not_wait_for_the_checks() -> None:
    checked = Checked()
    answer = await checked.handler().check(pb.HealthCheckRequest(service=LIVENESS), a_call())
    assert answer.status == SERVING
    assert checked.rounds == 0


async def test_many_watchers_share_one_poll() -> None:
    checked = Checked()
    handler = checked.handler()
    async with AsyncExitStack() as stack, asyncio.timeout(10):
        watchers = [await stack.enter_async_context(aclosing(watch(handler))) for _ in range(50)]
        assert {(await anext(each)).status for each in watchers} == {SERVING}
        changes = [asyncio.ensure_future(anext(each)) for each in watchers]
        checked.broken = True
        assert {(await each).status for each in changes} == {NOT_SERVING}
        assert len(polls()) == 1


async def test_the_polling_ends_with_the_last_watcher_and_begins_again_with_the_next() -> None:
    checked = Checked()
    handler = checked.handler()
    async with asyncio.timeout(10):
        first, second = watch(handler), watch(handler)
        assert (await anext(first)).status == SERVING
        assert (await anext(second)).status == SERVING
        await first.aclose()
        await checked.rounds_more(3)
        (poll,) = polls()
        await second.aclose()
        await asyncio.wait([poll])
        checked.broken = True
        third = watch(handler)
        assert (await anext(third)).status == NOT_SERVING, "nothing old is told"
        await third.aclose()


async def test_a_watcher_who_reads_late_gets_the_state_that_is_true_then() -> None:
    checked = Checked()
    handler = checked.handler()
    async with aclosing(watch(handler)) as slow, aclosing(watch(handler)) as quick:
        async with asyncio.timeout(10):
            assert (await anext(slow)).status == SERVING
            assert (await anext(quick)).status == SERVING
            for broken in (True, False, True):
                checked.broken = broken
                assert (await anext(quick)).status == (NOT_SERVING if broken else SERVING)
            assert (await anext(slow)).status == NOT_SERVING


@dataclass(frozen=True)
class Constant:
    service: str
    status: pb.HealthCheckResponse.ServingStatus.ValueType


@pytest.mark.parametrize(
    "case",
    [
        Constant(LIVENESS, SERVING),
        Constant("no.Such", pb.HealthCheckResponse.SERVICE_UNKNOWN),
    ],
    ids=lambda case: case.service,
)
async def test_a_state_that_never_changes_is_told_once_and_not_polled(case: Constant) -> None:
    checked = Checked()
    async with aclosing(watch(checked.handler(), case.service)) as watcher:
        assert (await anext(watcher)).status == case.status
        following = asyncio.ensure_future(anext(watcher))
        done, _ = await asyncio.wait([following], timeout=0.02)
        assert not done
        assert checked.rounds == 0
        following.cancel()
        await asyncio.wait([following])
