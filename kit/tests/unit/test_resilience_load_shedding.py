"""Load shedding: what is refused, how the limit moves, what is logged."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from paceline.resilience.load_shedding import Admission, LoadShedder, Permit, Priority
from paceline.testing import RecordingLog
from paceline.testing.clock import ManualClock

INTERVAL = 0.025
STEP = 0.001


@dataclass
class World:
    """A simulated service behind an admission, on a clock that the test moves."""

    clock: ManualClock
    log: RecordingLog
    shedder: LoadShedder
    admission: Admission

    def admit(self, count: int, priority: Priority = Priority.READ) -> list[Permit]:
        """The permits of those of ``count`` requests that are admitted."""
        permits = [self.admission.admit(priority) for _ in range(count)]
        return [permit for permit in permits if permit is not None]

    def pass_time(self, seconds: float, *, lag: float = 0.0) -> None:
        """Let time pass, with the adjustments that come with it."""
        for _ in range(round(seconds / INTERVAL)):
            self.clock.advance(INTERVAL)
            self.shedder.adjust(lag)

    def serve(self, seconds: float, *, arriving: int, capacity: int, lag: float = 0.0) -> float:
        """Serve in order, ``capacity`` of ``arriving`` an interval; returns the share refused."""
        queue: list[Permit] = []
        refused = 0
        for _ in range(round(seconds / INTERVAL)):
            admitted = self.admit(arriving)
            refused += arriving - len(admitted)
            queue += admitted
            self.clock.advance(INTERVAL)
            for permit in queue[:capacity]:
                permit.release()
            del queue[:capacity]
            self.shedder.adjust(lag)
        for permit in queue:
            permit.release()
        return refused / (arriving * round(seconds / INTERVAL))


@dataclass
class Outcome:
    """What became of a simulated load: when requests were refused, and how long others took."""

    refused: list[float] = field(default_factory=list[float])
    latencies: list[float] = field(default_factory=list[float])
    limits: list[int] = field(default_factory=list[int])

    @property
    def p99(self) -> float:
        return sorted(self.latencies)[len(self.latencies) * 99 // 100]


class Server:
    """Serves in order in steps of a millisecond, in batches of at least ``batch`` requests.

    ``rate``: requests a second that it can serve at a time. ``pauses``: seconds for which the event
    loop stands still, by when; adjustments come late by as much.
    """

    def __init__(
        self,
        world: World,
        rate: Callable[[float], float],
        *,
        batch: int = 1,
        pauses: Mapping[float, float] = {},
    ) -> None:
        self.world = world
        self.rate = rate
        self.batch = batch
        self.pauses = dict(pauses)
        self.begin = self.world.clock.monotonic()
        self.due = self.begin + INTERVAL
        self.queue: deque[tuple[Permit, float]] = deque()
        self.able = 0.0

    @property
    def now(self) -> float:
        return self.world.clock.monotonic() - self.begin

    def closed_loop(self, seconds: float, *, clients: int) -> Outcome:
        """Clients that send their next request as soon as they are answered or refused."""
        idle, outcome = clients, Outcome()
        while self.now < seconds:
            for _ in range(idle):
                idle -= self._ask(self.now, outcome)
            idle += self._step(outcome)
        return outcome

    def open_loop(self, seconds: float, rate: float) -> Outcome:
        """``rate`` requests a second, whatever becomes of them; latencies from when they are due."""
        end, sent, begin, outcome = self.now + seconds, 0, self.now, Outcome()
        while self.now < end:
            while begin + sent / rate <= self.now:
                self._ask(begin + sent / rate, outcome)
                sent += 1
            self._step(outcome)
        return outcome

    def _ask(self, due: float, outcome: Outcome) -> bool:
        permit = self.world.admission.admit(Priority.READ)
        if permit is None:
            outcome.refused.append(self.now)
            return False
        self.queue.append((permit, due))
        return True

    def _step(self, outcome: Outcome) -> int:
        pause = next((at for at in self.pauses if at <= self.now), None)
        if pause is None:
            self.able = min(self.able, self.batch) + self.rate(self.now) * STEP
        self.world.clock.advance(STEP if pause is None else self.pauses.pop(pause))
        if self.now >= self.due - self.begin:
            self.world.shedder.adjust(self.begin + self.now - self.due)
            outcome.limits.append(self.world.shedder.stats.limit)
            self.due = self.begin + self.now + INTERVAL
        served = min(int(self.able), len(self.queue)) if self.able >= self.batch else 0
        for _ in range(served):
            permit, due = self.queue.popleft()
            permit.release()
            outcome.latencies.append(self.now - due)
        self.able -= served
        return served


def make(*, minimum: int = 32, maximum: int = 200, target: float = 0.05) -> World:
    clock, log = ManualClock(), RecordingLog()
    shedder = LoadShedder(
        clock,
        log,
        min_in_flight=minimum,
        max_in_flight=maximum,
        target_delay=target,
        interval=INTERVAL,
    )
    return World(clock, log, shedder, Admission(shedder, "test"))


def test_priorities_have_their_shares_and_health_checks_are_always_admitted() -> None:
    world = make(maximum=100)
    admitted = {
        priority: len(world.admit(1000, priority))
        for priority in (Priority.BACKGROUND, Priority.READ, Priority.WRITE)
    }
    assert admitted == {Priority.BACKGROUND: 60, Priority.READ: 30, Priority.WRITE: 10}
    assert len(world.admit(5, Priority.HEALTH)) == 5
    assert world.admission.stats.admitted == 105
    assert (world.admission.stats.refused_writes, world.admission.stats.refused_reads) == (990, 970)


def test_a_burst_is_admitted_while_nothing_queues() -> None:
    world = make(maximum=200)
    assert len(world.admit(180)) == 180


def test_what_can_be_served_is_never_refused() -> None:
    world = make()
    assert world.serve(5, arriving=40, capacity=40) == 0
    assert world.log.lines == []


def test_a_standing_queue_lowers_the_limit_until_requests_wait_for_the_target_delay() -> None:
    world = make(maximum=1000)
    world.serve(2, arriving=200, capacity=40)  # 1,600 a second can be done, so 80 in 50 ms
    stats = world.shedder.stats
    assert 60 <= stats.limit <= 110
    assert 0.02 <= stats.delay_seconds <= 0.08
    assert world.serve(2, arriving=200, capacity=40) == pytest.approx(0.8, abs=0.03)


@dataclass(frozen=True)
class Pause:
    """A pause under a load of ``clients``, of which ``rate`` a second can be served."""

    id: str
    seconds: float
    clients: int = 64
    rate: float = 6_400
    batch: int = 1


PAUSES = [
    Pause("just too late", 0.06),
    Pause("a full garbage collection", 0.15),
    Pause("a machine that stands still", 1.0),
    Pause("64 clients in one batch", 0.15, rate=4_000, batch=64),
    Pause("64 clients in small batches", 0.15, rate=10_000, batch=16),
    Pause("256 clients", 0.15, clients=256, rate=12_000, batch=64),
]


@pytest.mark.parametrize("case", PAUSES, ids=lambda case: case.id)
def test_a_pause_of_the_event_loop_refuses_nobody(case: Pause) -> None:
    world = make(maximum=1024)
    server = Server(world, lambda _: case.rate, batch=case.batch, pauses={3: case.seconds})
    outcome = server.closed_loop(5, clients=case.clients)
    assert len(outcome.latencies) > case.rate
    assert outcome.refused == []
    assert world.log.lines == []


@pytest.mark.parametrize("case", PAUSES[1:2] + PAUSES[3:], ids=lambda case: case.id)
def test_a_pause_of_what_requests_wait_for_refuses_nobody(case: Pause) -> None:
    """Such as a slow write to the database's log: the loop runs, and no request ends."""
    server = Server(
        make(maximum=1024),
        lambda now: 0 if 3 <= now < 3 + case.seconds else case.rate,
        batch=case.batch,
    )
    assert server.closed_loop(5, clients=case.clients).refused == []


@pytest.mark.parametrize("case", PAUSES[1:2] + PAUSES[3:5], ids=lambda case: case.id)
def test_the_first_requests_of_a_process_may_be_slow(case: Pause) -> None:
    server = Server(make(maximum=1024), lambda now: 0 if now < 0.3 else case.rate, batch=case.batch)
    assert server.closed_loop(2, clients=case.clients).refused == []


def test_a_loop_that_is_late_again_and_again_is_overloaded() -> None:
    pauses = {3 + 0.12 * number: 0.1 for number in range(8)}
    server = Server(make(maximum=1024), lambda _: 6_400, pauses=pauses)
    outcome = server.closed_loop(5, clients=64)
    assert 3.1 < min(outcome.refused) < 3.7


def test_a_loop_that_is_late_every_other_time_is_overloaded() -> None:
    """Else as much as is taken off would hide that requests wait."""
    pauses = {3 + 0.1 * number: 0.06 for number in range(30)}
    server = Server(make(maximum=1024), lambda _: 2_000, pauses=pauses)
    outcome = server.closed_loop(6, clients=64)
    assert outcome.p99 > 0.06
    assert outcome.refused
    assert 3.1 < min(outcome.refused) < 4.5


def test_soon_after_a_slow_second_nobody_is_refused() -> None:
    server = Server(make(maximum=1024), lambda now: 800 if 3 <= now < 4 else 6_400)
    outcome = server.closed_loop(6, clients=64)
    assert 3.1 < min(outcome.refused) < 3.3, "it is noticed within a fraction of a second"
    assert max(outcome.refused) < 4.5


def test_under_five_times_the_load_requests_do_not_wait_much_longer_than_before() -> None:
    world, capacity = make(maximum=1024), 2_700.0
    server = Server(world, lambda _: capacity)
    server.open_loop(8, 0.8 * capacity)
    outcome = server.open_loop(10, 4 * capacity)
    assert max(outcome.latencies) < 0.15
    assert outcome.p99 < 0.03
    assert len(outcome.latencies) > 0.98 * 10 * capacity, "the server is never without work"
    afterwards = server.open_loop(3, 0.8 * capacity)
    assert all(at < 18.2 for at in afterwards.refused)


def test_the_limit_falls_within_two_intervals_of_an_overload() -> None:
    world = make(maximum=10_000)
    world.serve(1, arriving=30, capacity=40)
    world.serve(2 * INTERVAL, arriving=200, capacity=40)
    assert world.shedder.stats.limit < 250


def test_the_limit_never_falls_below_its_minimum() -> None:
    world = make(minimum=32)
    world.serve(5, arriving=100, capacity=1)
    assert world.shedder.stats.limit == 32


def test_the_limit_rises_again_at_once_after_an_overload() -> None:
    world = make(maximum=200)
    world.serve(2, arriving=200, capacity=10)
    assert world.shedder.stats.limit < 50
    world.pass_time(1)
    assert world.shedder.stats.limit == 200


def test_a_lagging_event_loop_lowers_the_limit_also_while_no_request_ends() -> None:
    world = make()
    admitted = world.admit(150)
    world.pass_time(0.2, lag=0.3)
    assert world.shedder.stats.limit == 32
    assert world.shedder.stats.lag_seconds == 0.3
    assert len(admitted) == 150, "what was admitted stays"


def test_a_few_slow_requests_cause_no_refusals() -> None:
    world = make()
    slow = world.admit(10)
    assert world.serve(5, arriving=10, capacity=10, lag=0.01) == 0
    for permit in slow:
        permit.release()
    assert world.serve(1, arriving=10, capacity=10) == 0


def test_a_service_that_is_slow_without_load_is_not_taken_for_overloaded() -> None:
    world = make(minimum=64, maximum=1000)

    def everything_takes_a_second(seconds: float, arriving: int) -> int:
        queue: list[list[Permit]] = []
        refused = 0
        for _ in range(round(seconds / INTERVAL)):
            queue.append(world.admit(arriving))
            refused += arriving - len(queue[-1])
            world.clock.advance(INTERVAL)
            if len(queue) > 40:
                for permit in queue.pop(0):
                    permit.release()
            world.shedder.adjust(0)
        for permits in queue:
            for permit in permits:
                permit.release()
        return refused

    for _ in range(40):  # one every other interval: 20 are under way
        everything_takes_a_second(4, 0)
        world.clock.advance(1)
        few = world.admit(20)
        world.clock.advance(1)
        for permit in few:
            permit.release()
        world.shedder.adjust(0)
    assert world.shedder.stats.normal_seconds > 0.6
    assert everything_takes_a_second(5, 10) == 0


def test_a_lasting_overload_does_not_become_what_is_normal() -> None:
    world = make(maximum=1000)
    world.serve(5, arriving=20, capacity=40)
    normal = world.shedder.stats.normal_seconds
    world.serve(60, arriving=60, capacity=40)
    assert world.shedder.stats.normal_seconds <= normal + 0.001
    assert world.shedder.stats.delay_seconds < 0.1


def test_without_a_target_delay_the_limit_stays_at_its_maximum() -> None:
    world = make(maximum=200, target=0)
    world.serve(2, arriving=200, capacity=1)
    assert world.shedder.stats.limit == 200


def test_an_overload_and_its_end_are_logged_once_each() -> None:
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
    assert ended[2]["refused"] == world.admission.stats.refused_reads
    assert ended[2]["seconds"] == pytest.approx(4, abs=0.2)


def test_a_permit_counts_once_however_often_it_is_released() -> None:
    world = make()
    [permit] = world.admit(1)
    assert world.shedder.stats.in_flight == 1
    permit.release()
    permit.release()
    permit.release_early()
    assert world.shedder.stats.in_flight == 0


def test_the_duration_of_what_is_released_early_does_not_count() -> None:
    world = make()
    streams = world.admit(100)
    world.clock.advance(60)
    for permit in streams:
        permit.release_early()
    world.shedder.adjust(0)
    assert world.shedder.stats.delay_seconds == 0


async def test_background_work_waits_for_capacity_and_not_for_ever() -> None:
    world = make(maximum=10)
    await world.shedder.wait_for_capacity()
    admitted = world.admit(9)
    world.shedder.adjust(0)
    await world.shedder.wait_for_capacity()  # returns after a second, since nothing is released
    for permit in admitted:
        permit.release()
    world.shedder.adjust(0)
    await world.shedder.wait_for_capacity()


async def test_a_shedder_starts_and_stops_again_and_again() -> None:
    world = make()
    await world.shedder.stop()
    for _ in range(3):
        await world.shedder.start()
        await world.shedder.stop()


@pytest.mark.parametrize(
    "wrong", [{"minimum": 0}, {"maximum": 0}, {"target": -1}], ids=lambda wrong: next(iter(wrong))
)
def test_settings_out_of_range_are_named(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        make(**wrong)
