"""Load shedding: who is refused, how the limit moves, what is told of it."""

from dataclasses import dataclass

import pytest
from recording_log import RecordingLog

from paceline.resilience.load_shedding import Admission, LoadShedder, Permit, Priority
from paceline.testing.clock import ManualClock

INTERVAL = 0.025


@dataclass
class World:
    """A service in which ``capacity`` requests a second can be done, one after another."""

    clock: ManualClock
    log: RecordingLog
    shedder: LoadShedder
    door: Admission

    def admit(self, count: int, priority: Priority = Priority.READ) -> list[Permit]:
        """Those of ``count`` that are let in."""
        tickets = [self.door.enter(priority) for _ in range(count)]
        return [ticket for ticket in tickets if ticket is not None]

    def pass_time(self, seconds: float, *, lag: float = 0.0) -> None:
        """Let time pass, with the adjustments that come with it."""
        for _ in range(round(seconds / INTERVAL)):
            self.clock.advance(INTERVAL)
            self.shedder.adjust(lag)

    def serve(self, seconds: float, *, arriving: int, capacity: int, lag: float = 0.0) -> float:
        """In order of arrival, ``arriving`` and at most ``capacity`` an interval; who is refused."""
        queue: list[Permit] = []
        refused = 0
        for _ in range(round(seconds / INTERVAL)):
            let_in = self.admit(arriving)
            refused += arriving - len(let_in)
            queue += let_in
            self.clock.advance(INTERVAL)
            for ticket in queue[:capacity]:
                ticket.leave()
            del queue[:capacity]
            self.shedder.adjust(lag)
        for ticket in queue:
            ticket.leave()
        return refused / (arriving * round(seconds / INTERVAL))


def make(*, least: int = 32, most: int = 200, target: float = 0.05) -> World:
    clock, log = ManualClock(), RecordingLog()
    shedder = LoadShedder(clock, log, least=least, most=most, target=target, interval=INTERVAL)
    return World(clock, log, shedder, Admission(shedder, "test"))


def test_classes_have_their_shares_and_health_is_always_let_in() -> None:
    world = make(most=100)
    let_in = {
        priority: len(world.admit(1000, priority))
        for priority in (Priority.BACKGROUND, Priority.READ, Priority.WRITE)
    }
    assert let_in == {Priority.BACKGROUND: 60, Priority.READ: 30, Priority.WRITE: 10}
    assert len(world.admit(5, Priority.HEALTH)) == 5
    assert world.door.stats.admitted == 105
    assert (world.door.stats.refused_writes, world.door.stats.refused_reads) == (990, 970)


def test_a_burst_is_welcome_while_all_goes_well() -> None:
    world = make(most=200)
    assert len(world.admit(180)) == 180


def test_what_can_be_done_is_never_refused() -> None:
    world = make()
    assert world.serve(5, arriving=40, capacity=40) == 0
    assert world.log.lines == []


def test_a_queue_that_stands_lowers_the_limit_until_those_let_in_wait_as_long_as_wanted() -> None:
    world = make(most=1000)
    world.serve(2, arriving=200, capacity=40)  # 1,600 a second can be done, so 80 in 50 ms
    stats = world.shedder.stats
    assert 60 <= stats.limit <= 110
    assert 0.02 <= stats.delay_seconds <= 0.08
    assert world.serve(2, arriving=200, capacity=40) == pytest.approx(0.8, abs=0.03)


def test_the_first_wave_of_an_overload_is_cut_within_a_moment() -> None:
    world = make(most=10_000)
    world.serve(1, arriving=30, capacity=40)
    world.serve(2 * INTERVAL, arriving=200, capacity=40)
    assert world.shedder.stats.limit < 250


def test_the_limit_never_falls_below_what_keeps_the_service_busy() -> None:
    world = make(least=32)
    world.serve(5, arriving=100, capacity=1)
    assert world.shedder.stats.limit == 32


def test_the_limit_rises_again_at_once_after_an_overload() -> None:
    world = make(most=200)
    world.serve(2, arriving=200, capacity=10)
    assert world.shedder.stats.limit < 50
    world.pass_time(1)
    assert world.shedder.stats.limit == 200


def test_a_lagging_event_loop_lowers_it_also_while_nothing_comes_to_an_end() -> None:
    world = make()
    let_in = world.admit(150)
    world.pass_time(0.2, lag=0.3)
    assert world.shedder.stats.limit == 32
    assert world.shedder.stats.lag_seconds == 0.3
    assert len(let_in) == 150, "who is in stays in"


def test_a_few_requests_that_take_long_refuse_nobody() -> None:
    world = make()
    slow = world.admit(10)
    assert world.serve(5, arriving=10, capacity=10, lag=0.01) == 0
    for ticket in slow:
        ticket.leave()
    assert world.serve(1, arriving=10, capacity=10) == 0


def test_a_service_that_is_slow_by_nature_is_not_taken_for_overloaded() -> None:
    world = make(least=64, most=1000)

    def everything_takes_a_second(seconds: float, arriving: int) -> int:
        queue: list[list[Permit]] = []
        refused = 0
        for _ in range(round(seconds / INTERVAL)):
            queue.append(world.admit(arriving))
            refused += arriving - len(queue[-1])
            world.clock.advance(INTERVAL)
            if len(queue) > 40:
                for ticket in queue.pop(0):
                    ticket.leave()
            world.shedder.adjust(0)
        for tickets in queue:
            for ticket in tickets:
                ticket.leave()
        return refused

    for _ in range(40):  # one every other interval: 20 are under way
        everything_takes_a_second(4, 0)
        world.clock.advance(1)
        few = world.admit(20)
        world.clock.advance(1)
        for ticket in few:
            ticket.leave()
        world.shedder.adjust(0)
    assert world.shedder.stats.normal_seconds > 0.6
    assert everything_takes_a_second(5, 10) == 0


def test_a_lasting_overload_does_not_become_what_is_normal() -> None:
    world = make(most=1000)
    world.serve(5, arriving=20, capacity=40)
    normal = world.shedder.stats.normal_seconds
    world.serve(60, arriving=60, capacity=40)
    assert world.shedder.stats.normal_seconds <= normal + 0.001
    assert world.shedder.stats.delay_seconds < 0.1


def test_without_a_target_only_the_most_counts() -> None:
    world = make(most=200, target=0)
    world.serve(2, arriving=200, capacity=1)
    assert world.shedder.stats.limit == 200


def test_an_overload_is_told_once_and_its_end_once() -> None:
    world = make()
    world.serve(2, arriving=200, capacity=10)
    world.pass_time(1)
    world.serve(1, arriving=200, capacity=10)
    shedding = [world.shedder.stats.shedding]
    world.pass_time(5)
    assert [*shedding, world.shedder.stats.shedding] == [True, False]
    [began, ended] = world.log.lines
    assert began[:2] == ("warning", "overloaded: some requests are refused")
    assert ended[:2] == ("info", "no longer overloaded")
    assert ended[2]["refused"] == world.door.stats.refused_reads
    assert ended[2]["seconds"] == pytest.approx(4, abs=0.2)


def test_a_ticket_counts_once_however_often_it_is_given_back() -> None:
    world = make()
    [ticket] = world.admit(1)
    assert world.shedder.stats.in_flight == 1
    ticket.leave()
    ticket.leave()
    ticket.leave_early()
    assert world.shedder.stats.in_flight == 0


def test_what_leaves_early_says_nothing_of_how_long_things_take() -> None:
    world = make()
    streams = world.admit(100)
    world.clock.advance(60)
    for ticket in streams:
        ticket.leave_early()
    world.shedder.adjust(0)
    assert world.shedder.stats.delay_seconds == 0


async def test_background_work_waits_for_room_and_not_for_ever() -> None:
    world = make(most=10)
    await world.shedder.wait_for_capacity()
    let_in = world.admit(9)
    world.shedder.adjust(0)
    await world.shedder.wait_for_capacity()  # gives up: nobody leaves
    for ticket in let_in:
        ticket.leave()
    world.shedder.adjust(0)
    await world.shedder.wait_for_capacity()


async def test_a_shedder_starts_and_stops_again_and_again() -> None:
    world = make()
    await world.shedder.stop()
    for _ in range(3):
        await world.shedder.start()
        await world.shedder.stop()


@pytest.mark.parametrize(
    "wrong", [{"least": 0}, {"most": 0}, {"target": -1}], ids=lambda wrong: next(iter(wrong))
)
def test_settings_out_of_range_are_named(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="from"):
        make(**wrong)
