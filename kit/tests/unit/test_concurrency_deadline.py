"""Deadlines: their errors, that they only ever shorten, and that a cancellation stays one."""

import asyncio
from contextvars import Context

import pytest

from paceline.concurrency.deadline import (
    SharedDeadline,
    current_deadline,
    expired,
    fail_after,
    inherit,
    name_timeout,
    remaining,
    timeout_message,
)
from paceline.errors import Code, Error


async def test_a_block_that_takes_too_long_fails_with_the_deadlines_name() -> None:
    with pytest.raises(Error) as caught:
        async with fail_after(0.01, "the check"):
            await asyncio.Event().wait()
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert caught.value.message == "the check took longer than 0.01s"


async def test_without_a_deadline_there_is_no_remaining_time() -> None:
    assert remaining() is None
    async with fail_after(5, "outer"):
        left = remaining()
        assert left is not None
        assert 4 < left <= 5
    assert remaining() is None


async def test_an_inner_deadline_never_outlives_an_outer_one() -> None:
    with pytest.raises(Error, match="outer took longer"):
        async with fail_after(0.01, "outer"), fail_after(60, "inner"):
            left = remaining()
            assert left is not None
            assert left <= 0.01
            await asyncio.Event().wait()


async def test_an_inner_deadline_may_be_shorter() -> None:
    with pytest.raises(Error, match="inner took longer"):
        async with fail_after(60, "outer"), fail_after(0.01, "inner"):
            await asyncio.Event().wait()


async def test_a_cancellation_from_outside_stays_one() -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with fail_after(60, "work"):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_inside_passes_through() -> None:
    with pytest.raises(KeyError):
        async with fail_after(60, "work"):
            raise KeyError("x")


async def test_a_task_that_outlives_its_parent_keeps_the_deadline_it_inherited() -> None:
    async def detached() -> None:
        async with fail_after(60, "detached work"):
            await asyncio.Event().wait()

    async with fail_after(0.02, "outer"):
        task = asyncio.create_task(detached())
    with pytest.raises(Error, match=r"detached work exceeded the 0\.02s limit of outer"):
        await task


async def interrupted_in(*operations: str) -> None:
    """Wait for ever; the innermost of the operations is the first."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        for operation in operations:
            name_timeout(operation)
        raise


async def test_the_error_names_the_innermost_operation_and_the_deadline() -> None:
    with pytest.raises(Error) as caught:
        async with fail_after(0.01, "the check"):
            await interrupted_in("a query", "reading things")
    assert caught.value.message == "a query exceeded the 0.01s limit of the check"


async def test_an_operation_in_a_child_task_is_named_too() -> None:
    with pytest.raises(Error, match=r"^a query exceeded the 0\.01s limit of the check$"):
        async with fail_after(0.01, "the check"), asyncio.TaskGroup() as group:
            group.create_task(interrupted_in("a query"))


async def test_an_operation_that_is_cancelled_before_the_deadline_is_not_named() -> None:
    entered = asyncio.Event()

    async def work() -> None:
        try:
            async with fail_after(60, "work"):
                entered.set()
                await interrupted_in("a query")
        finally:
            messages.append(timeout_message("a query"))

    messages: list[str | None] = []
    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert messages == [None]


async def test_an_inherited_deadline_has_the_same_end_and_message_and_belongs_to_the_task() -> None:
    async def batch() -> str | None:
        assert outer is not None
        with inherit(outer):
            await asyncio.sleep(remaining() or 0.0)
            assert expired()
            return timeout_message("a query")

    async with fail_after(0.05, "the check"):
        outer = current_deadline()
        task = asyncio.create_task(batch(), context=Context())
    assert await task == "a query exceeded the 0.05s limit of the check"


class TestSharedDeadline:
    async def test_the_error_says_who_set_the_deadline(self) -> None:
        deadline = SharedDeadline(0.01, "the request", set_by="the service (TIMEOUT)")
        with pytest.raises(Error) as unnamed, deadline.scope():
            await asyncio.Event().wait()
        assert unnamed.value.message == (
            "the request took longer than the 0.01s set by the service (TIMEOUT)"
        )
        with pytest.raises(Error) as named, deadline.scope():
            await interrupted_in("reading things")
        assert named.value.message == (
            "reading things exceeded the 0.01s set by the service (TIMEOUT)"
        )

    async def test_a_block_may_be_shorter_and_its_error_says_who_set_that(self) -> None:
        deadline = SharedDeadline(60, "the request")
        with pytest.raises(Error) as caught, deadline.shorter_scope(0.01, "the client (header)"):
            await interrupted_in("reading things")
        assert caught.value.message == (
            "reading things exceeded the 0.01s set by the client (header)"
        )
        with deadline.scope(), deadline.shorter_scope(0.01, "the client"):
            pass
        await asyncio.sleep(0.03)  # past the deadline of the block that is over

    async def test_a_block_is_never_longer(self) -> None:
        block = SharedDeadline(0.01, "x").shorter_scope(60, "the client")
        with pytest.raises(Error, match=r"^x took longer than 0\.01s$"), block:
            await asyncio.Event().wait()

    async def test_a_block_that_takes_too_long_fails_with_the_deadlines_name(self) -> None:
        deadline = SharedDeadline(0.01, "the request")
        with pytest.raises(Error) as caught, deadline.scope():
            await asyncio.Event().wait()
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        assert caught.value.message == "the request took longer than 0.01s"

    async def test_the_time_left_is_ambient_inside(self) -> None:
        with SharedDeadline(5, "x").scope():
            left = remaining()
            assert left is not None
            assert 4 < left <= 5
        assert remaining() is None

    async def test_each_block_expires_by_itself(self) -> None:
        deadline = SharedDeadline(0.05, "x")
        order: list[int] = []

        async def work(number: int) -> None:
            await asyncio.sleep(0.01 * number)
            try:
                with deadline.scope():
                    await asyncio.Event().wait()
            except Error:
                order.append(number)

        async def quick() -> None:
            with deadline.scope():
                await asyncio.sleep(0)
            order.append(0)

        await asyncio.gather(*(work(n) for n in (1, 2, 3)), quick())
        assert order == [0, 1, 2, 3]

    async def test_the_timer_is_set_again_after_a_pause(self) -> None:
        deadline = SharedDeadline(0.01, "x")
        for _ in range(3):
            with pytest.raises(Error), deadline.scope():
                await asyncio.Event().wait()

    async def test_a_cancellation_from_outside_stays_one(self) -> None:
        deadline = SharedDeadline(60, "x")
        entered = asyncio.Event()

        async def work() -> None:
            with deadline.scope():
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_an_error_inside_passes_through_and_the_task_is_not_cancelled(self) -> None:
        deadline = SharedDeadline(0.01, "x")
        with pytest.raises(KeyError), deadline.scope():
            raise KeyError("x")
        await asyncio.sleep(0.03)  # past the deadline of the block that is over
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    async def test_an_outer_deadline_that_is_sooner_is_what_remains(self) -> None:
        async with fail_after(1, "outer"):
            with SharedDeadline(60, "inner").scope():
                left = remaining()
                assert left is not None
                assert left <= 1

    async def test_a_disabled_deadline_does_not_expire_and_is_not_seen(self) -> None:
        deadline = SharedDeadline(0.02, "x")
        with deadline.scope() as scope:
            scope.disable()
            assert remaining() is None
            await asyncio.sleep(0.06)
        assert remaining() is None
        with pytest.raises(Error), deadline.scope():
            await asyncio.Event().wait()

    async def test_disabling_one_leaves_the_outer_deadline(self) -> None:
        async with fail_after(1, "outer"):
            with SharedDeadline(0.5, "inner").scope() as scope:
                scope.disable()
                left = remaining()
                assert left is not None
                assert 0.5 < left <= 1
